//! The inventory of an account: tables of counts and exact sums, by the labels that metrics have.
//!
//! An [`Inventory`] is complete when the fold returns it. Afterwards, only limits are applied:
//! [`Inventory::with_label_limit`] to the label values that come from the API, and [`Inventory::with_number_limit`] to
//! the per-number series.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::{AddAssign, Range};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::serialized::entries;
use super::{CollectorOptions, E164, FeeMovements, Money, NumberStates, WatchedNumber};
use crate::tryvox::{Deviation, OptionalField, STATUSES};

/// The label value that replaces all values beyond a limit.
pub(crate) const OTHER: &str = "other";

/// Values by `N` labels. Label values are as the API wrote them; a label without a value is empty.
pub type LabelTable<const N: usize, V> = BTreeMap<[Arc<str>; N], V>;

/// How many numbers a group has and what they cost.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupTotals {
    /// Distinct numbers.
    pub numbers: u64,
    /// Exact sum of the monthly fees, in units of the currency.
    pub monthly_fees: Money,
    /// Exact sum of the setup fees, in units of the currency.
    pub setup_fees: Money,
}

impl AddAssign for GroupTotals {
    fn add_assign(&mut self, other: Self) {
        self.numbers += other.numbers;
        self.monthly_fees += other.monthly_fees;
        self.setup_fees += other.setup_fees;
    }
}

/// A number that gets per-number series. Texts that the number lacks are empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// In units of the currency.
    pub monthly_fee: Money,
    /// Unix timestamp in seconds; `None` if unknown.
    pub updated_at: Option<u32>,
    /// Unix timestamp in seconds; `None` if unknown.
    #[serde(default)]
    pub created_at: Option<u32>,
}

/// What one complete listing of an account contains. The tables of disabled collectors are empty.
///
/// In its serialized form, fields that are missing are empty, so a field can be added without a new form.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Inventory {
    /// Totals by country, type, status and currency. Currency comes last, so that groups that differ only in currency
    /// are neighbors. Each country, type and currency that occurs has an entry for every documented status that the
    /// listing can contain, so that a status without numbers reads 0 instead of being absent.
    #[serde(with = "entries")]
    pub groups: LabelTable<4, GroupTotals>,
    /// Numbers by capability and status. A number counts once for each of its capabilities.
    #[serde(with = "entries")]
    pub capabilities: LabelTable<2, u64>,
    /// Totals by assignment (`trunk`, `application`, `both` or `none`), status and currency. Setup fees are always 0.
    #[serde(with = "entries")]
    pub assignments: LabelTable<3, GroupTotals>,
    /// Totals by country, region, status and currency. Setup fees are always 0, here and in the next two tables.
    #[serde(with = "entries")]
    pub regions: LabelTable<4, GroupTotals>,
    /// Totals by trunk, status and currency.
    #[serde(with = "entries")]
    pub trunks: LabelTable<3, GroupTotals>,
    /// Totals by application, status and currency.
    #[serde(with = "entries")]
    pub applications: LabelTable<3, GroupTotals>,
    /// Unix timestamp in seconds of the oldest `updated_at`, by status.
    pub oldest_update: BTreeMap<Arc<str>, u32>,
    /// Unix timestamp in seconds of the newest `created_at`.
    pub newest_creation: Option<u32>,
    /// Totals of the numbers that are known to have no trunk and no application, by currency. In `assignments`, numbers
    /// whose trunk or application cannot be read also count as unassigned. Not serialized.
    #[serde(skip)]
    pub unassigned: BTreeMap<Arc<str>, GroupTotals>,
    /// The numbers that get per-number series, the least recently updated first.
    pub numbers: Vec<NumberDetails>,
    /// How many more numbers would get per-number series if there were no limit; `None` if no status is selected.
    pub truncated_numbers: Option<u64>,
    /// Distinct numbers in the listing.
    pub listed: u64,
    /// Invalid records. They are counted nowhere else.
    pub invalid: u64,
    /// Invalid records by [`InvalidRecord::kind`](super::InvalidRecord::kind); their sum is `invalid`. Not serialized.
    #[serde(skip)]
    pub invalid_by_kind: BTreeMap<&'static str, InvalidRecords>,
    /// Numbers with an unreadable field, in the order of [`OptionalField::ALL`].
    pub unreadable_fields: [u64; OptionalField::ALL.len()],
    /// The undocumented forms that occurred. Not serialized.
    #[serde(skip)]
    pub deviations: BTreeSet<Deviation>,
}

/// The invalid records of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidRecords {
    /// How many there are.
    pub count: u64,
    /// What is wrong with the first of them.
    pub example: String,
}

/// What a [`ListingFold`](super::ListingFold) returns.
#[derive(Debug)]
pub struct FoldedListing {
    /// The inventory, without the numbers that were added during the listing.
    pub inventory: Inventory,
    /// The state of each number in the inventory, for a comparison with the next listing.
    pub number_states: NumberStates,
    /// The numbers that, according to their `created_at`, were purchased while the listing was read. Pass them to
    /// [`ListingFold::new`](super::ListingFold::new) if the account is listed again.
    pub added_during_listing: HashSet<E164>,
    /// The numbers that have only invalid records, in ascending order without duplicates. Their account still has
    /// them.
    pub unreadable_numbers: Vec<E164>,
}

impl Inventory {
    /// Limits the numbers that get per-number series, apart from the watched ones, to those with a selected status and to
    /// the limit of their number; the least recently updated ones are kept.
    #[must_use]
    pub fn with_number_limit(mut self, options: &CollectorOptions, watched: &[WatchedNumber]) -> Self {
        let watched: HashSet<E164> = watched.iter().map(|number| number.e164).collect();
        let is_selected = |status: &str| options.number_statuses.iter().any(|selected| selected == status);
        let mut selected = 0_usize;
        self.numbers.retain(|number| {
            if watched.contains(&number.e164) {
                return true;
            }
            selected += usize::from(is_selected(&number.status));
            is_selected(&number.status) && selected <= options.number_limit
        });
        let removed = selected.saturating_sub(options.number_limit) as u64;
        self.truncated_numbers = self.truncated_numbers.map(|truncated| truncated + removed);
        self
    }

    /// Limits each label of each table to `limit` distinct values, apart from currencies. The values that most numbers have
    /// are kept, the others become `other`, and entries whose labels become equal are added up. Documented statuses are
    /// always kept. Currencies have the labels of the `fees`. Totals over a whole table do not change.
    #[must_use]
    pub fn with_label_limit(mut self, limit: usize, fees: &FeeMovements) -> Self {
        limit_totals(&mut self.groups, limit, fees);
        limit_totals(&mut self.assignments, limit, fees);
        limit_label_values(&mut self.capabilities, 0..2, limit, |numbers: &u64| *numbers);
        limit_totals(&mut self.regions, limit, fees);
        limit_totals(&mut self.trunks, limit, fees);
        limit_totals(&mut self.applications, limit, fees);
        // This table does not count the numbers of a status, so it keeps the statuses that the groups keep.
        let statuses: HashSet<Arc<str>> = self.groups.keys().map(|[_, _, status, _]| status.clone()).collect();
        for (status, updated_at) in std::mem::take(&mut self.oldest_update) {
            let status = if statuses.contains(&status) { status } else { OTHER.into() };
            let oldest = self.oldest_update.entry(status).or_insert(updated_at);
            *oldest = updated_at.min(*oldest);
        }
        self
    }
}

/// Limits all labels of a table whose last label is the currency, see [`Inventory::with_label_limit`].
fn limit_totals<const N: usize>(table: &mut LabelTable<N, GroupTotals>, limit: usize, fees: &FeeMovements) {
    for (mut labels, totals) in std::mem::take(table) {
        if let Some(currency) = labels.last_mut() {
            *currency = fees.label_of(currency);
        }
        *table.entry(labels).or_default() += totals;
    }
    limit_label_values(table, 0..N - 1, limit, |totals| totals.numbers);
}

/// Limits some labels of one table, see [`Inventory::with_label_limit`]. `count` returns how many numbers a value of the
/// table stands for.
pub(super) fn limit_label_values<const N: usize, V>(
    table: &mut LabelTable<N, V>,
    labels: Range<usize>,
    limit: usize,
    count: fn(&V) -> u64,
) where
    V: AddAssign + Default,
{
    for label in labels {
        let mut numbers_by_value: BTreeMap<Arc<str>, u64> = BTreeMap::new();
        for (labels, value) in &*table {
            *numbers_by_value.entry(labels[label].clone()).or_default() += count(value);
        }
        if numbers_by_value.len() <= limit {
            continue;
        }
        let mut ranking: Vec<_> = numbers_by_value.into_iter().collect();
        // The sort is stable, so ties keep their alphabetical order, which is the same at every poll.
        ranking.sort_by_key(|(value, numbers)| (!STATUSES.contains(&&**value), Reverse(*numbers)));
        let excess: HashSet<_> = ranking.into_iter().skip(limit).map(|(value, _)| value).collect();
        let other: Arc<str> = OTHER.into();
        for (mut labels, value) in std::mem::take(table) {
            if excess.contains(&labels[label]) && !STATUSES.contains(&&*labels[label]) {
                labels[label] = other.clone();
            }
            *table.entry(labels).or_default() += value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inventory(groups: &[(&str, &str, u64)]) -> Inventory {
        let group = |(country, status, numbers): &(&str, &str, u64)| {
            let fee: Money = "1.15".parse().unwrap();
            let totals = GroupTotals { numbers: *numbers, monthly_fees: fee * *numbers, ..GroupTotals::default() };
            ([country, "local", status, "USD"].map(Arc::from), totals)
        };
        Inventory { groups: groups.iter().map(group).collect(), ..Inventory::default() }
    }

    fn oldest_update<const N: usize>(timestamps: [(&str, u32); N]) -> BTreeMap<Arc<str>, u32> {
        timestamps.map(|(status, updated_at)| (status.into(), updated_at)).into()
    }

    #[test]
    fn most_frequent_values_are_kept_and_the_rest_becomes_other() {
        let before = inventory(&[
            ("A", "active", 5),
            ("B", "active", 2),
            ("B", "closed", 1),
            ("C", "active", 2),
            ("C", "lost", 0),
            ("D", "active", 9),
            ("other", "active", 1),
        ]);
        let after = before.clone().with_label_limit(3, &FeeMovements::default());
        // B has 3 numbers, C has 2, and `other` has 1 from the start.
        let expected = inventory(&[
            ("A", "active", 5),
            ("B", "active", 2),
            ("B", "closed", 1),
            ("D", "active", 9),
            ("other", "active", 3),
            ("other", "lost", 0),
        ]);
        assert_eq!(after, expected);
        assert_eq!(before.clone().with_label_limit(5, &FeeMovements::default()), before);
    }

    #[test]
    fn oldest_update_of_other_is_the_oldest_of_its_statuses() {
        let mut before = inventory(&[("A", "active", 5), ("A", "closed", 1), ("A", "lost", 2), ("A", "blocked", 1)]);
        before.oldest_update = oldest_update([("active", 9), ("closed", 3), ("lost", 5), ("blocked", 4)]);
        let after = before.with_label_limit(2, &FeeMovements::default()).oldest_update;
        assert_eq!(after, oldest_update([("active", 9), ("lost", 5), ("other", 3)]));
    }

    #[test]
    fn documented_statuses_never_become_other() {
        let statuses = [("A", "active", 0), ("A", "pending", 0), ("A", "suspended", 0)];
        let before = inventory(&[&statuses[..], &[("A", "blocked", 7)]].concat());
        let after = inventory(&[&statuses[..], &[("A", "other", 7)]].concat());
        assert_eq!(before.with_label_limit(1, &FeeMovements::default()), after);
    }
}
