//! What a listing means: records in, exact groups out.
//!
//! A [`Fold`] takes a listing page by page and forgets the records; [`Fold::finish`] makes the
//! [`Inventory`]: how many numbers there are, and what they cost, by country, type, status and
//! currency. Everything here is pure: no I/O, no clock, no async.

mod e164;
mod fold;
mod limit;
mod money;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use e164::{E164, InvalidE164};
pub use fold::{Fold, Folded, InvalidRecord};
pub use money::{InvalidMoney, Money};

/// The statuses that the API documents; an inventory has a group for each, if only an empty one.
pub const STATUSES: [&str; 3] = ["active", "pending", "suspended"];

/// What one group of numbers has in common, as the API wrote it.
///
/// The order of the fields is the order of the groups: those that differ only in currency are
/// neighbours.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupKey {
    /// ISO 3166-1 alpha-2.
    pub country: Arc<str>,
    /// `local`, `toll_free`, `mobile` or what else the API says.
    pub kind: Arc<str>,
    /// `active`, `pending`, `suspended` or what else the API says.
    pub status: Arc<str>,
    /// ISO 4217.
    pub currency: Arc<str>,
}

/// How many numbers a group has and what they cost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    /// Distinct numbers.
    pub numbers: u64,
    /// The exact sum of `monthly_fee`, in units of the currency.
    pub monthly_fees: Money,
    /// The exact sum of `setup_fee`, in units of the currency.
    pub setup_fees: Money,
}

/// A whole listing of one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// Every group of the listing. For each country, type and currency in it all documented statuses
    /// that were asked for are here, so that a status that nobody has reads 0 instead of being absent.
    pub groups: BTreeMap<GroupKey, Group>,
    /// Distinct numbers in the listing.
    pub listed: u64,
    /// Records that could not be read and are in no group.
    pub invalid: u64,
}
