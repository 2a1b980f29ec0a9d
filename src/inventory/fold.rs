//! The fold of records into groups.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;
use std::time::SystemTime;

use indexmap::{Equivalent, IndexMap};

use super::{E164, Group, GroupKey, InvalidE164, InvalidMoney, Inventory, Money};
use crate::tryvox::{Page, Record, Written};

/// A longer text is no name of anything.
const MAX_TEXT: usize = 256;

/// Takes the pages of one listing, the first one first, the others in any order, and makes the
/// inventory as of the first page of them.
///
/// The list may shift while it is read: numbers are bought and released between two pages. A number
/// that was bought after the first page had been asked for, which its `created_at` tells, is a
/// newcomer and is left out; it is the next listing's. So what is kept was all there when the first
/// page was written, and it is everything that was there if it is as many numbers as that page
/// reported.
///
/// Of a number 16 bytes are kept: itself, its page, and its class. All numbers that share
/// everything an inventory asks about are of one class, and of those there are few.
#[derive(Debug, Default)]
pub struct Fold {
    classes: IndexMap<ClassKey, Class>,
    numbers: Vec<Entry>,
    newcomers: Vec<Entry>,
    statuses: Vec<Arc<str>>,
    /// Newcomers of an earlier listing: they are none in this one.
    known: HashSet<E164>,
    began: Option<SystemTime>,
    invalid: u64,
}

/// What a listing came to.
#[derive(Debug)]
pub struct Folded {
    /// What was listed, without newcomers.
    pub inventory: Inventory,
    /// The numbers that look as if they had been bought while the listing was read. In a listing
    /// that begins later they are known, see [`Fold::new`].
    pub newcomers: HashSet<E164>,
}

#[derive(Debug, Clone, Copy)]
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

impl Fold {
    /// A fold that has seen nothing. Groups are filled up with `statuses`. `known` are the newcomers of a listing that began earlier: what
    /// that one saw cannot have been bought during this one.
    #[must_use]
    pub fn new(statuses: &[Arc<str>], known: HashSet<E164>) -> Self {
        Self { statuses: statuses.to_vec(), known, ..Self::default() }
    }

    /// Begins another series of pages, which is of other numbers and has a first page of its own.
    pub fn next_series(&mut self) {
        self.began = None;
    }

    /// Takes a page; of the same number twice, the last page's record wins.
    ///
    /// A record that lacks what a group needs is counted as invalid, and only that. `complain` is
    /// told why, at least of the first few.
    pub fn page(&mut self, number: u32, page: &Page<'_>, mut complain: impl FnMut(InvalidRecord)) {
        self.began = self.began.or(page.written.map(|written| written.from));
        self.invalid += page.unreadable.count;
        for example in &page.unreadable.examples {
            complain(InvalidRecord::Unreadable(example.clone()));
        }
        for record in &page.records {
            match self.classify(record) {
                Ok((e164, class)) => {
                    let entry = Entry { e164, page: number, class };
                    if self.is_newcomer(record, page.written) {
                        self.newcomers.push(entry);
                    } else {
                        self.numbers.push(entry);
                    }
                }
                Err(invalid) => {
                    self.invalid += 1;
                    complain(invalid);
                }
            }
        }
    }

    /// The inventory of all pages taken.
    #[must_use]
    pub fn finish(mut self) -> Folded {
        let newcomers: HashSet<E164> = self.newcomers.iter().map(|entry| entry.e164).collect();
        self.numbers.extend(self.newcomers.iter().filter(|entry| self.known.contains(&entry.e164)));
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
            for status in &self.statuses {
                inventory.groups.entry(key.group(status.clone())).or_default();
            }
            let group: &mut Group = inventory.groups.entry(key.group(key.status.clone())).or_default();
            group.numbers += numbers;
            group.monthly_fees += class.monthly_fee * numbers;
            group.setup_fees += class.setup_fee * numbers;
        }
        Folded { inventory, newcomers }
    }

    /// Whether a number was bought after the first page had been asked for and before this page was
    /// written. A time that is yet to come tells of a clock, not of a purchase.
    fn is_newcomer(&self, record: &Record<'_>, written: Option<Written>) -> bool {
        let (Some(began), Some(written)) = (self.began, written) else { return false };
        record.created().is_some_and(|created| began <= created && created <= written.to)
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
        match fields.into_iter().find(|(_, value)| value.is_empty() || value.len() > MAX_TEXT) {
            Some((name, "")) => Err(InvalidRecord::Empty(name)),
            Some((name, _)) => Err(InvalidRecord::TooLong(name)),
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
