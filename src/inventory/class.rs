//! What numbers have in common: their class, which everything is counted by, and their place.

use std::ops::Index;
use std::sync::Arc;

use foldhash::fast::RandomState;
use indexmap::IndexSet;

use super::{CollectorOptions, InvalidE164, InvalidMoney, Money};
use crate::tryvox::NumberRecord;

/// A longer text is no name of anything.
const MAX_TEXT: usize = 256;

/// Why a record is in no group.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidRecord {
    /// Not a phone number.
    #[error(transparent)]
    E164(#[from] InvalidE164),
    /// Not a record at all.
    #[error("{0}")]
    InvalidRecords(String),
    /// A field that every group needs is there but empty.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// A field is longer than any name.
    #[error("{0} is longer than {MAX_TEXT} bytes")]
    TooLong(&'static str),
    /// Not an amount.
    #[error(transparent)]
    Money(#[from] InvalidMoney),
}

impl InvalidRecord {
    /// What is wrong, in a word or two.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::E164(_) => "e164",
            Self::InvalidRecords(_) => "shape",
            Self::Empty(field) | Self::TooLong(field) => field,
            Self::Money(_) => "fee",
        }
    }
}

/// Texts, each once.
#[derive(Debug, Default)]
pub(super) struct Labels(IndexSet<Arc<str>, RandomState>);

/// One of the [`Labels`]: the same text is the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Label(u32);

impl Labels {
    pub(super) fn of(&mut self, text: &str) -> Label {
        let index = self.0.get_index_of(text).unwrap_or_else(|| self.0.insert_full(text.into()).0);
        // More names than that do not fit into memory.
        Label(u32::try_from(index).unwrap_or(u32::MAX))
    }
}

impl Index<Label> for Labels {
    type Output = Arc<str>;

    fn index(&self, Label(index): Label) -> &Arc<str> {
        &self.0[index as usize]
    }
}

/// Ends each text of a key: no text has it, as UTF-8 has not.
const END: u8 = 0xff;

/// What makes a class, as the API wrote it: `1.5` and `1.50` are two classes of one group.
pub(super) struct ClassTexts<'a> {
    country: &'a str,
    kind: &'a str,
    status: &'a str,
    currency: &'a str,
    monthly_fee: &'a str,
    setup_fee: &'a str,
    capabilities: &'a str,
    assignment: &'static str,
}

/// What they mean.
#[derive(Debug)]
pub(super) struct Class {
    pub(super) country: Label,
    pub(super) kind: Label,
    pub(super) status: Label,
    pub(super) currency: Label,
    pub(super) monthly_fee: Money,
    pub(super) setup_fee: Money,
    /// Each once.
    pub(super) capabilities: Vec<Arc<str>>,
    /// `trunk`, `application`, `both` or `none`.
    pub(super) assignment: &'static str,
    /// What is asked of each of its numbers.
    pub(super) required: RequiredFields,
}

/// Which of a number's own fields some table needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequiredFields {
    /// All of them, for series of its own.
    pub(super) series: bool,
    /// Its region, trunk and application.
    pub(super) place: bool,
    /// When it was last updated.
    pub(super) updated: bool,
}

impl RequiredFields {
    fn of(status: &str, options: &CollectorOptions) -> Self {
        let series = options.number_statuses.iter().any(|selected| selected == status);
        Self {
            series,
            place: series || options.region || options.trunk || options.application,
            updated: series || options.lifecycle,
        }
    }
}

impl<'a> ClassTexts<'a> {
    pub(super) fn of(record: &'a NumberRecord<'_>) -> Self {
        Self {
            country: &record.country,
            kind: &record.kind,
            status: &record.status,
            currency: &record.currency,
            monthly_fee: record.monthly_fee.get(),
            setup_fee: record.setup_fee.get(),
            capabilities: record.capabilities.map_or("", |text| text.get()),
            assignment: match (record.trunk_id.is_some(), record.application_id.is_some()) {
                (true, true) => "both",
                (true, false) => "trunk",
                (false, true) => "application",
                (false, false) => "none",
            },
        }
    }

    /// All of them, one behind the other, to be compared as one.
    pub(super) fn key(&self, key: &mut Vec<u8>) {
        let Self { country, kind, status, currency, monthly_fee, setup_fee, capabilities, assignment } = self;
        key.clear();
        for text in [country, kind, status, currency, monthly_fee, setup_fee, capabilities, assignment] {
            key.extend_from_slice(text.as_bytes());
            key.push(END);
        }
    }

    pub(super) fn read(&self, labels: &mut Labels, options: &CollectorOptions) -> Result<Class, InvalidRecord> {
        let fields =
            [("country", self.country), ("type", self.kind), ("status", self.status), ("currency", self.currency)];
        match fields.into_iter().find(|(_, value)| value.is_empty() || value.len() > MAX_TEXT) {
            Some((name, "")) => return Err(InvalidRecord::Empty(name)),
            Some((name, _)) => return Err(InvalidRecord::TooLong(name)),
            None => {}
        }
        let (monthly_fee, setup_fee) = (self.monthly_fee.parse()?, self.setup_fee.parse()?);
        let [country, kind, status, currency] = fields.map(|(_, value)| labels.of(value));
        Ok(Class {
            country,
            kind,
            status,
            currency,
            monthly_fee,
            setup_fee,
            capabilities: capabilities(self.capabilities),
            assignment: self.assignment,
            required: RequiredFields::of(self.status, options),
        })
    }
}

/// The names in an array, each once; what is no name is passed over, and so is what is no array.
fn capabilities(text: &str) -> Vec<Arc<str>> {
    let mut names: Vec<Arc<str>> = Vec::new();
    for value in serde_json::from_str::<Vec<serde_json::Value>>(text).unwrap_or_default() {
        if let Some(name) = value.as_str()
            && !name.is_empty()
            && name.len() <= MAX_TEXT
            && !names.iter().any(|other| **other == *name)
        {
            names.push(name.into());
        }
    }
    names
}

/// Where a number is and what it leads to; each is empty where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) region: Label,
    pub(super) trunk: Label,
    pub(super) application: Label,
}
