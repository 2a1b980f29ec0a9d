//! What a listing means: records in, exact sums out.
//!
//! A [`Fold`] takes a listing page by page and forgets the records; [`Fold::finish`] makes the
//! [`Inventory`], which is how many numbers there are and what they cost, by all that is asked for,
//! and a [`NumberStates`] of it, from two of which [`Difference`] says what happened in between.
//! Everything here is pure: no I/O, no clock, no async.

mod class;
mod difference;
mod e164;
mod fold;
mod limit;
mod money;
mod options;
mod overview;

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::Arc;

pub use class::InvalidRecord;
pub use difference::{Difference, NumberChange, NumberState, NumberStates};
pub use e164::{E164, InvalidE164};
pub use fold::{Fold, Folded};
pub(crate) use limit::OTHER;
pub use money::{InvalidMoney, Money};
pub use options::CollectorOptions;
pub use overview::Overview;

/// Values by so many labels, which are as the API wrote them.
pub type Table<const N: usize, V> = BTreeMap<[Arc<str>; N], V>;

/// How many numbers there are and what they cost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupTotals {
    /// Distinct numbers.
    pub numbers: u64,
    /// The exact sum of `monthly_fee`, in units of the currency.
    pub monthly_fees: Money,
    /// The exact sum of `setup_fee`, in units of the currency.
    pub setup_fees: Money,
}

impl AddAssign for GroupTotals {
    fn add_assign(&mut self, other: Self) {
        self.numbers += other.numbers;
        self.monthly_fees += other.monthly_fees;
        self.setup_fees += other.setup_fees;
    }
}

/// A number that has series of its own. Texts are empty where there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the API's")]
pub struct NumberDetails {
    pub e164: E164,
    pub country: Arc<str>,
    pub kind: Arc<str>,
    pub region: Arc<str>,
    pub status: Arc<str>,
    pub trunk: Arc<str>,
    pub application: Arc<str>,
    pub currency: Arc<str>,
    pub monthly_fee: Money,
    /// Seconds since the epoch.
    pub updated: Option<u32>,
}

/// A whole listing of one account. A table that nobody asked for is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// By country, type, status and currency, so that groups that differ only in currency are
    /// neighbours. For each country, type and currency in it all documented statuses that were asked
    /// for are here, so that a status that nobody has reads 0 instead of being absent.
    pub groups: Table<4, GroupTotals>,
    /// Numbers by capability and status.
    pub capabilities: Table<2, u64>,
    /// By assignment (`trunk`, `application`, `both` or `none`), status and currency, without setup fees.
    pub assignments: Table<3, GroupTotals>,
    /// Numbers by country, region and status.
    pub regions: Table<3, u64>,
    /// Numbers by trunk and status.
    pub trunks: Table<2, u64>,
    /// Numbers by application and status.
    pub applications: Table<2, u64>,
    /// The smallest `updated_at` by status, in seconds since the epoch.
    pub oldest_update: BTreeMap<Arc<str>, u32>,
    /// The largest `created_at`, in seconds since the epoch.
    pub newest_creation: Option<u32>,
    /// Numbers with series of their own, those that were updated longest ago first.
    pub numbers: Vec<NumberDetails>,
    /// How many more there would be; none where none are asked for.
    pub truncated: Option<u64>,
    /// Distinct numbers in the listing.
    pub listed: u64,
    /// Records that could not be read and are counted nowhere else.
    pub invalid: u64,
    /// The same by what is wrong with them, see [`InvalidRecord::kind`].
    pub invalid_kinds: BTreeMap<&'static str, u64>,
}
