//! The class of a number: all the fields that an inventory counts by or sums up, which many numbers share.
//!
//! A record goes in and a [`NumberClass`] comes out, or the reason why the record is invalid. An account has few
//! classes, so fields are parsed and checked once for each class and not for each record: [`RawNumberClass`] borrows
//! the fields as the API wrote them, and identifies a class that was parsed before. No record is changed to
//! make it valid.

use std::sync::Arc;

use indexmap::Equivalent;

use super::interner::{StringId, StringInterner};
use super::{CollectorOptions, InvalidE164, InvalidMoney, Money};
use crate::tryvox::{FieldSet, MAX_TEXT, NumberRecord, OptionalField};

/// Why a record is invalid and therefore counted in no group.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidRecord {
    /// `e164` is not a phone number.
    #[error(transparent)]
    E164(#[from] InvalidE164),
    /// The JSON value does not have the shape of a record. Holds the decoder's error message.
    #[error("{0}")]
    Malformed(String),
    /// The named field, which every group needs, is empty.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// The named field is too long for a label value.
    #[error("{0} is longer than {MAX_TEXT} bytes")]
    TooLong(&'static str),
    /// A fee is not an amount of money.
    #[error(transparent)]
    Money(#[from] InvalidMoney),
}

impl InvalidRecord {
    /// Returns the category by which invalid records are counted: `shape`, `fee` or the name of the field.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::E164(_) => "e164",
            Self::Malformed(_) => "shape",
            Self::Empty(field) | Self::TooLong(field) => field,
            Self::Money(_) => "fee",
        }
    }
}

/// The number of texts of a class that come from the API.
const TEXTS: usize = 7;

/// The fields that make a class, as the API wrote them: `1.5` and `1.50` make two classes, whose numbers are counted
/// in one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct RawNumberClass<T> {
    country: T,
    kind: T,
    status: T,
    currency: T,
    monthly_fee: T,
    setup_fee: T,
    /// A JSON value; empty if the record has none.
    capabilities: T,
    has_trunk: bool,
    has_application: bool,
    /// The fields that cannot be read. Those inside `capabilities` are not known yet.
    unreadable: FieldSet,
}

/// A parsed and valid [`RawNumberClass`].
#[derive(Debug)]
pub(super) struct NumberClass {
    pub(super) country: StringId,
    pub(super) kind: StringId,
    pub(super) status: StringId,
    pub(super) currency: StringId,
    pub(super) monthly_fee: Money,
    pub(super) setup_fee: Money,
    /// Without duplicates, in the API's order.
    pub(super) capabilities: Vec<Arc<str>>,
    /// `trunk`, `application`, `both` or `none`.
    pub(super) assignment: &'static str,
    /// The fields that cannot be read.
    pub(super) unreadable: FieldSet,
    /// Whether a fee is a string.
    pub(super) has_string_fee: bool,
    pub(super) requirements: NumberRequirements,
}

/// What is needed of each number of a class, beyond the class itself. The rest is neither read nor stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct NumberRequirements {
    /// Whether the numbers are candidates for per-number series.
    pub(super) has_number_series: bool,
    /// Whether the region is needed.
    pub(super) needs_region: bool,
    /// Whether the time of the last update is needed.
    pub(super) needs_updated_at: bool,
}

impl NumberRequirements {
    fn new(status: &str, options: &CollectorOptions) -> Self {
        let has_number_series = options.number_statuses.iter().any(|selected| selected == status);
        Self {
            has_number_series,
            needs_region: has_number_series || options.region,
            needs_updated_at: has_number_series || options.lifecycle,
        }
    }
}

impl<T: AsRef<str>> RawNumberClass<T> {
    /// Returns the texts that come from the API.
    fn texts(&self) -> [&str; TEXTS] {
        let Self { country, kind, status, currency, monthly_fee, setup_fee, capabilities, .. } = self;
        [country, kind, status, currency, monthly_fee, setup_fee, capabilities].map(AsRef::as_ref)
    }
}

impl Equivalent<RawNumberClass<Box<str>>> for RawNumberClass<&str> {
    fn equivalent(&self, stored: &RawNumberClass<Box<str>>) -> bool {
        let others = (self.has_trunk, self.has_application, self.unreadable);
        others == (stored.has_trunk, stored.has_application, stored.unreadable) && self.texts() == stored.texts()
    }
}

impl<'a> RawNumberClass<&'a str> {
    /// Borrows the fields from a record. Capabilities that are too long to keep are unreadable.
    pub(super) fn new(record: &'a NumberRecord<'_>) -> Self {
        let mut unreadable = record.unreadable;
        let mut capabilities = record.capabilities.unwrap_or_default();
        if capabilities.len() > MAX_TEXT {
            capabilities = "";
            unreadable.insert(OptionalField::Capabilities);
        }
        Self {
            country: &record.country,
            kind: &record.kind,
            status: &record.status,
            currency: &record.currency,
            monthly_fee: record.monthly_fee,
            setup_fee: record.setup_fee,
            capabilities,
            has_trunk: record.trunk_id.is_some(),
            has_application: record.application_id.is_some(),
            unreadable,
        }
    }

    /// Returns a copy that borrows nothing.
    pub(super) fn to_owned(self) -> RawNumberClass<Box<str>> {
        RawNumberClass {
            country: self.country.into(),
            kind: self.kind.into(),
            status: self.status.into(),
            currency: self.currency.into(),
            monthly_fee: self.monthly_fee.into(),
            setup_fee: self.setup_fee.into(),
            capabilities: self.capabilities.into(),
            has_trunk: self.has_trunk,
            has_application: self.has_application,
            unreadable: self.unreadable,
        }
    }

    /// Returns whether the texts are so long together that one of them is too long. Such a class is never valid, so
    /// it is not looked up.
    pub(super) fn is_too_long(&self) -> bool {
        self.texts().iter().map(|text| text.len()).sum::<usize>() > TEXTS * MAX_TEXT
    }

    /// Parses the fields.
    ///
    /// # Errors
    /// If a field that every group needs is empty, too long or not an amount of money.
    pub(super) fn parse(
        &self,
        strings: &mut StringInterner,
        options: &CollectorOptions,
    ) -> Result<NumberClass, InvalidRecord> {
        let fields =
            [("country", self.country), ("type", self.kind), ("status", self.status), ("currency", self.currency)];
        match fields.into_iter().find(|(_, value)| value.is_empty() || value.len() > MAX_TEXT) {
            Some((name, "")) => return Err(InvalidRecord::Empty(name)),
            Some((name, _)) => return Err(InvalidRecord::TooLong(name)),
            None => {}
        }
        let (monthly_fee, setup_fee) = (parse_fee(self.monthly_fee)?, parse_fee(self.setup_fee)?);
        let mut unreadable = self.unreadable;
        let capabilities = parse_capabilities(self.capabilities);
        if capabilities.is_none() {
            unreadable.insert(OptionalField::Capabilities);
        }
        let [country, kind, status, currency] = fields.map(|(_, value)| strings.intern(value));
        Ok(NumberClass {
            country,
            kind,
            status,
            currency,
            monthly_fee,
            setup_fee,
            capabilities: capabilities.unwrap_or_default(),
            assignment: match (self.has_trunk, self.has_application) {
                (true, true) => "both",
                (true, false) => "trunk",
                (false, true) => "application",
                (false, false) => "none",
            },
            unreadable,
            has_string_fee: [self.monthly_fee, self.setup_fee].iter().any(|fee| fee.starts_with('"')),
            requirements: NumberRequirements::new(self.status, options),
        })
    }
}

/// Parses a fee: a JSON number, or a JSON string that contains one.
fn parse_fee(json: &str) -> Result<Money, InvalidMoney> {
    if !json.starts_with('"') {
        return json.parse();
    }
    // No amount is this long, even if each character is escaped.
    if json.len() > MAX_TEXT {
        return Err(InvalidMoney);
    }
    serde_json::from_str::<String>(json).map_err(|_| InvalidMoney)?.parse()
}

/// Parses a JSON array of names and removes duplicates. Empty text, or `null`, is an empty array.
///
/// Returns `None` if the value is not an array of strings. An unknown name is kept.
fn parse_capabilities(json: &str) -> Option<Vec<Arc<str>>> {
    let mut capabilities: Vec<Arc<str>> = Vec::new();
    if json.is_empty() {
        return Some(capabilities);
    }
    for name in serde_json::from_str::<Vec<String>>(json).ok()? {
        if !name.is_empty() && !capabilities.iter().any(|other| **other == *name) {
            capabilities.push(name.into());
        }
    }
    Some(capabilities)
}

/// The labels that a record may lack. A label without a value is empty, and so is a region that no collector needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct OptionalLabels {
    pub(super) region: StringId,
    pub(super) trunk: StringId,
    pub(super) application: StringId,
}
