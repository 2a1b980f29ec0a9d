//! What numbers have in common: their class, which everything is counted by, and their place.

use std::hash::Hash;
use std::sync::Arc;

use indexmap::Equivalent;

use super::{InvalidE164, InvalidMoney, Money};
use crate::tryvox::Record;

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
    Unreadable(String),
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
            Self::Unreadable(_) => "shape",
            Self::Empty(field) | Self::TooLong(field) => field,
            Self::Money(_) => "fee",
        }
    }
}

/// What makes a class, as the API wrote it: `1.5` and `1.50` are two classes of one group.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ClassKey {
    pub(super) country: Arc<str>,
    pub(super) kind: Arc<str>,
    pub(super) status: Arc<str>,
    pub(super) currency: Arc<str>,
    monthly_fee: Box<str>,
    setup_fee: Box<str>,
    capabilities: Box<str>,
    assigned: (bool, bool),
}

/// A [`ClassKey`] that is borrowed from a record; the two hash alike, field by field.
#[derive(Hash)]
pub(super) struct ClassRef<'a> {
    country: &'a str,
    kind: &'a str,
    status: &'a str,
    currency: &'a str,
    monthly_fee: &'a str,
    setup_fee: &'a str,
    capabilities: &'a str,
    assigned: (bool, bool),
}

/// What the texts of a class mean.
#[derive(Debug)]
pub(super) struct Class {
    pub(super) monthly_fee: Money,
    pub(super) setup_fee: Money,
    /// Each once.
    pub(super) capabilities: Vec<Arc<str>>,
    /// `trunk`, `application`, `both` or `none`.
    pub(super) assignment: &'static str,
}

impl<'a> ClassRef<'a> {
    pub(super) fn new(record: &'a Record<'_>, trunk: bool, application: bool) -> Self {
        Self {
            country: &record.country,
            kind: &record.kind,
            status: &record.status,
            currency: &record.currency,
            monthly_fee: record.monthly_fee.get(),
            setup_fee: record.setup_fee.get(),
            capabilities: record.capabilities.map_or("", |text| text.get()),
            assigned: (trunk, application),
        }
    }

    pub(super) fn check(&self) -> Result<&Self, InvalidRecord> {
        let fields =
            [("country", self.country), ("type", self.kind), ("status", self.status), ("currency", self.currency)];
        match fields.into_iter().find(|(_, value)| value.is_empty() || value.len() > MAX_TEXT) {
            Some((name, "")) => Err(InvalidRecord::Empty(name)),
            Some((name, _)) => Err(InvalidRecord::TooLong(name)),
            None => Ok(self),
        }
    }

    pub(super) fn read(&self) -> Result<Class, InvalidRecord> {
        Ok(Class {
            monthly_fee: self.monthly_fee.parse()?,
            setup_fee: self.setup_fee.parse()?,
            capabilities: capabilities(self.capabilities),
            assignment: match self.assigned {
                (true, true) => "both",
                (true, false) => "trunk",
                (false, true) => "application",
                (false, false) => "none",
            },
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

impl From<&ClassRef<'_>> for ClassKey {
    fn from(class: &ClassRef<'_>) -> Self {
        Self {
            country: class.country.into(),
            kind: class.kind.into(),
            status: class.status.into(),
            currency: class.currency.into(),
            monthly_fee: class.monthly_fee.into(),
            setup_fee: class.setup_fee.into(),
            capabilities: class.capabilities.into(),
            assigned: class.assigned,
        }
    }
}

impl Equivalent<ClassKey> for ClassRef<'_> {
    fn equivalent(&self, key: &ClassKey) -> bool {
        *self.country == *key.country
            && *self.kind == *key.kind
            && *self.status == *key.status
            && *self.currency == *key.currency
            && *self.monthly_fee == *key.monthly_fee
            && *self.setup_fee == *key.setup_fee
            && *self.capabilities == *key.capabilities
            && self.assigned == key.assigned
    }
}

/// Where a number is and what it leads to; each is empty where there is none.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) region: Arc<str>,
    pub(super) trunk: Arc<str>,
    pub(super) application: Arc<str>,
}

/// A [`Place`] that is borrowed from a record; the two hash alike.
#[derive(Hash)]
pub(super) struct PlaceRef<'a> {
    pub(super) region: &'a str,
    pub(super) trunk: &'a str,
    pub(super) application: &'a str,
}

impl From<&PlaceRef<'_>> for Place {
    fn from(place: &PlaceRef<'_>) -> Self {
        let [region, trunk, application] = [place.region, place.trunk, place.application].map(Arc::from);
        Self { region, trunk, application }
    }
}

impl Equivalent<Place> for PlaceRef<'_> {
    fn equivalent(&self, place: &Place) -> bool {
        *self.region == *place.region && *self.trunk == *place.trunk && *self.application == *place.application
    }
}
