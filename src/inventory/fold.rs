//! The fold of records into groups.

use std::hash::Hash;
use std::sync::Arc;

use indexmap::{Equivalent, IndexMap};

use super::{E164, Group, GroupKey, InvalidE164, InvalidMoney, Inventory, Money, STATUSES};
use crate::tryvox::Record;

/// Takes the records of one listing, in any order of its pages.
///
/// Of a number it keeps 16 bytes: itself, its page, and its class. All numbers that share
/// everything an inventory asks about are of one class, and of those there are few.
#[derive(Debug, Default)]
pub struct Fold {
    classes: IndexMap<ClassKey, Class>,
    numbers: Vec<Entry>,
    invalid: u64,
}

#[derive(Debug)]
struct Entry {
    e164: E164,
    page: u32,
    class: u32,
}

/// The fees are as the API wrote them: `1.5` and `1.50` are two classes of one group.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ClassKey {
    country: Arc<str>,
    kind: Arc<str>,
    status: Arc<str>,
    currency: Arc<str>,
    monthly_fee: Box<str>,
    setup_fee: Box<str>,
}

/// A [`ClassKey`] that is borrowed from a record; the two hash alike, field by field.
#[derive(Hash)]
struct ClassRef<'a> {
    country: &'a str,
    kind: &'a str,
    status: &'a str,
    currency: &'a str,
    monthly_fee: &'a str,
    setup_fee: &'a str,
}

#[derive(Debug)]
struct Class {
    monthly_fee: Money,
    setup_fee: Money,
}

/// Why a record is in no group.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidRecord {
    /// Not a phone number.
    #[error(transparent)]
    E164(#[from] InvalidE164),
    /// A field that every group needs is there but empty.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// Not an amount.
    #[error(transparent)]
    Money(#[from] InvalidMoney),
}

impl Fold {
    /// A fold that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one record of a page; of the same number twice, the last page's record wins.
    ///
    /// # Errors
    /// When the record lacks what a group needs. It is then counted as invalid, and only that.
    pub fn record(&mut self, page: u32, record: &Record<'_>) -> Result<(), InvalidRecord> {
        match self.classify(record) {
            Ok((e164, class)) => {
                self.numbers.push(Entry { e164, page, class });
                Ok(())
            }
            Err(invalid) => {
                self.invalid_record();
                Err(invalid)
            }
        }
    }

    /// Counts a record that could not even be read as one.
    pub fn invalid_record(&mut self) {
        self.invalid += 1;
    }

    /// The inventory of all records taken, with [`STATUSES`] filled up.
    #[must_use]
    pub fn finish(mut self) -> Inventory {
        // Stable: within a page, too, the later record of a number wins.
        self.numbers.sort_by_key(|entry| (entry.e164, entry.page));
        let mut listed = 0;
        let mut counts = vec![0_u64; self.classes.len()];
        for same in self.numbers.chunk_by(|a, b| a.e164 == b.e164) {
            if let Some(count) = same.last().and_then(|last| counts.get_mut(last.class as usize)) {
                *count += 1;
                listed += 1;
            }
        }

        let mut inventory = Inventory { groups: [].into(), listed, invalid: self.invalid };
        for ((key, class), numbers) in self.classes.into_iter().zip(counts) {
            // A class that only a superseded record had.
            if numbers == 0 {
                continue;
            }
            for status in STATUSES {
                inventory.groups.entry(key.group(Arc::from(status))).or_default();
            }
            let group: &mut Group = inventory.groups.entry(key.group(key.status.clone())).or_default();
            group.numbers += numbers;
            group.monthly_fees += class.monthly_fee * numbers;
            group.setup_fees += class.setup_fee * numbers;
        }
        inventory
    }

    fn classify(&mut self, record: &Record<'_>) -> Result<(E164, u32), InvalidRecord> {
        let e164 = record.e164.parse()?;
        let class = ClassRef {
            country: &record.country,
            kind: &record.kind,
            status: &record.status,
            currency: &record.currency,
            monthly_fee: record.monthly_fee.get(),
            setup_fee: record.setup_fee.get(),
        };
        let index = match self.classes.get_index_of(&class) {
            Some(index) => index,
            None => self.classes.insert_full(class.check()?.into(), class.amounts()?).0,
        };
        Ok((e164, u32::try_from(index).unwrap_or(u32::MAX)))
    }
}

impl ClassRef<'_> {
    fn check(&self) -> Result<&Self, InvalidRecord> {
        let fields =
            [("country", self.country), ("type", self.kind), ("status", self.status), ("currency", self.currency)];
        match fields.into_iter().find(|(_, value)| value.is_empty()) {
            Some((name, _)) => Err(InvalidRecord::Empty(name)),
            None => Ok(self),
        }
    }

    fn amounts(&self) -> Result<Class, InvalidRecord> {
        Ok(Class { monthly_fee: self.monthly_fee.parse()?, setup_fee: self.setup_fee.parse()? })
    }
}

impl ClassKey {
    fn group(&self, status: Arc<str>) -> GroupKey {
        GroupKey { country: self.country.clone(), kind: self.kind.clone(), status, currency: self.currency.clone() }
    }
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
    }
}
