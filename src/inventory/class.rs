//! The class of a number: all the fields that an inventory counts by or sums up, which many numbers share.
//!
//! A record goes in and a [`NumberClass`] comes out, or the reason why the record is invalid. An account has few
//! classes, so fields are parsed and checked once for each class and not for each record: [`RawNumberClass`] borrows
//! the fields as the API wrote them, and identifies a class that was parsed before. No record is changed to
//! make it valid.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use foldhash::fast::RandomState;
use indexmap::{Equivalent, IndexMap};

use super::index::index;
use super::interner::{StringId, StringInterner};
use super::{CollectorOptions, InvalidE164, InvalidMoney, Money};
use crate::short_text::{MAX_EXACT_DIGEST, digest, equal};
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
pub(super) struct RawNumberClass<'a> {
    /// Country, type, status, currency, monthly fee, setup fee and capabilities. Fees and capabilities are JSON values; the
    /// latter are empty if the record has none.
    texts: [&'a str; TEXTS],
    key: ClassKey,
}

/// What classes are hashed by, and compared by first.
#[derive(Debug, Clone, Copy, Eq)]
struct ClassKey {
    /// The [`digest`]s of the texts.
    digests: [u64; TEXTS],
    others: OtherFields,
}

/// What makes a class besides its texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OtherFields {
    has_trunk: bool,
    has_application: bool,
    /// The fields that cannot be read. Those inside `capabilities` are not known yet.
    unreadable: FieldSet,
}

/// A [`RawNumberClass`] that borrows nothing.
#[derive(Debug, PartialEq, Eq)]
struct StoredNumberClass {
    key: ClassKey,
    /// The texts that are too long for their digests to identify them, one after the other.
    long_texts: Box<str>,
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

impl PartialEq for ClassKey {
    fn eq(&self, other: &Self) -> bool {
        // Arrays are compared by `memcmp`, see `short_text`.
        let differences = self.digests.iter().zip(&other.digests).map(|(a, b)| a ^ b);
        differences.fold(0, |all, difference| all | difference) == 0 && self.others == other.others
    }
}

impl Hash for ClassKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [country, kind, status, currency, monthly_fee, setup_fee, capabilities] = self.digests;
        let OtherFields { has_trunk, has_application, unreadable } = self.others;
        let flags = u64::from(unreadable.bits()) << 2 | u64::from(has_trunk) << 1 | u64::from(has_application);
        // Two words take one step of the hasher.
        for (one, other) in [(country, kind), (status, currency), (monthly_fee, setup_fee), (capabilities, flags)] {
            state.write_u128(u128::from(one) << 64 | u128::from(other));
        }
    }
}

impl Hash for StoredNumberClass {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl Hash for RawNumberClass<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl Equivalent<StoredNumberClass> for RawNumberClass<'_> {
    fn equivalent(&self, stored: &StoredNumberClass) -> bool {
        let mut rest = stored.long_texts.as_bytes();
        let mut is_next = |text: &str| {
            let Some((next, others)) = rest.split_at_checked(text.len()) else { return false };
            rest = others;
            equal(text.as_bytes(), next)
        };
        // If the keys are equal, the same texts are long. Those of a stored class have at most `MAX_TEXT` bytes, so the digests
        // differ unless their lengths are equal, too, or the raw text is far longer than all of them.
        self.key == stored.key && self.long_texts().all(&mut is_next) && rest.is_empty()
    }
}

/// All classes of a listing.
#[derive(Debug, Default)]
pub(super) struct ClassTable {
    /// What is needed for each record, and nothing else, so that it stays in the CPU cache.
    requirements: IndexMap<StoredNumberClass, NumberRequirements, RandomState>,
    /// The classes at the same indexes.
    classes: Vec<NumberClass>,
}

impl ClassTable {
    /// Returns the index of a class and what is needed of its numbers. A class that is new is parsed.
    ///
    /// # Errors
    /// If the class is not valid.
    pub(super) fn index_of(
        &mut self,
        raw: &RawNumberClass<'_>,
        strings: &mut StringInterner,
        options: &CollectorOptions,
    ) -> Result<(u32, NumberRequirements), InvalidRecord> {
        if let Some((known, _, requirements)) = self.requirements.get_full(raw) {
            return Ok((index(known), *requirements));
        }
        let class = raw.parse(strings)?;
        let requirements = NumberRequirements::new(&strings[class.status], options);
        self.classes.push(class);
        Ok((index(self.requirements.insert_full(raw.stored(), requirements).0), requirements))
    }

    /// Returns what is needed of the numbers of the class at an index.
    pub(super) fn requirements(&self, index: u32) -> Option<NumberRequirements> {
        self.requirements.get_index(index as usize).map(|(_, requirements)| *requirements)
    }

    /// Returns the class at an index.
    pub(super) fn get(&self, index: u32) -> Option<&NumberClass> {
        self.classes.get(index as usize)
    }

    /// Returns all classes by index.
    pub(super) fn all(&self) -> &[NumberClass] {
        &self.classes
    }

    /// Returns all classes by index.
    pub(super) fn into_all(self) -> Vec<NumberClass> {
        self.classes
    }
}

impl<'a> RawNumberClass<'a> {
    /// Borrows the fields from a record. Capabilities that are too long to keep are unreadable.
    pub(super) fn new(record: &'a NumberRecord<'_>) -> Self {
        let mut unreadable = record.unreadable;
        let mut capabilities = record.capabilities.unwrap_or_default();
        if capabilities.len() > MAX_TEXT {
            capabilities = "";
            unreadable.insert(OptionalField::Capabilities);
        }
        let NumberRecord { country, kind, status, currency, monthly_fee, setup_fee, .. } = record;
        let texts: [&str; TEXTS] = [country, kind, status, currency, monthly_fee, setup_fee, capabilities];
        let (has_trunk, has_application) = (record.trunk_id.is_some(), record.application_id.is_some());
        let others = OtherFields { has_trunk, has_application, unreadable };
        Self { texts, key: ClassKey { digests: texts.map(|text| digest(text.as_bytes())), others } }
    }

    /// Returns the texts that are too long for their digests to identify them.
    fn long_texts(&self) -> impl Iterator<Item = &'a str> {
        self.texts.into_iter().filter(|text| text.len() > MAX_EXACT_DIGEST)
    }

    fn stored(&self) -> StoredNumberClass {
        StoredNumberClass { key: self.key, long_texts: self.long_texts().collect() }
    }

    /// Parses the fields.
    ///
    /// # Errors
    /// If a field that every group needs is empty, too long or not an amount of money.
    fn parse(&self, strings: &mut StringInterner) -> Result<NumberClass, InvalidRecord> {
        let [country, kind, status, currency, monthly_fee, setup_fee, capabilities] = self.texts;
        let OtherFields { has_trunk, has_application, mut unreadable } = self.key.others;
        let fields = [("country", country), ("type", kind), ("status", status), ("currency", currency)];
        match fields.into_iter().find(|(_, value)| value.is_empty() || value.len() > MAX_TEXT) {
            Some((name, "")) => return Err(InvalidRecord::Empty(name)),
            Some((name, _)) => return Err(InvalidRecord::TooLong(name)),
            None => {}
        }
        let has_string_fee = [monthly_fee, setup_fee].iter().any(|fee| fee.starts_with('"'));
        let (monthly_fee, setup_fee) = (parse_fee(monthly_fee)?, parse_fee(setup_fee)?);
        let capabilities = parse_capabilities(capabilities);
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
            assignment: match (has_trunk, has_application) {
                (true, true) => "both",
                (true, false) => "trunk",
                (false, true) => "application",
                (false, false) => "none",
            },
            unreadable,
            has_string_fee,
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
