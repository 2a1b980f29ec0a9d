//! The bound on label values that come from the API.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::ops::AddAssign;
use std::sync::Arc;

use super::{GroupTotals, Inventory, Table};
use crate::tryvox::STATUSES;

/// What the values beyond a limit are called.
pub(crate) const OTHER: &str = "other";

impl Inventory {
    /// At most `limit` distinct values of each label of a table, those that most numbers have; the
    /// rest is `other`, and entries that are alike then are one. The documented statuses always stay.
    #[must_use]
    pub fn with_label_limit(mut self, limit: usize) -> Self {
        limit_table(&mut self.groups, limit, |sum: &GroupTotals| sum.numbers);
        limit_table(&mut self.assignments, limit, |sum: &GroupTotals| sum.numbers);
        limit_table(&mut self.capabilities, limit, |numbers: &u64| *numbers);
        limit_table(&mut self.regions, limit, |numbers: &u64| *numbers);
        limit_table(&mut self.trunks, limit, |numbers: &u64| *numbers);
        limit_table(&mut self.applications, limit, |numbers: &u64| *numbers);
        // Of as many statuses only the groups tell which are frequent; those that they keep stay here.
        let kept: HashSet<Arc<str>> = self.groups.keys().map(|[_, _, status, _]| status.clone()).collect();
        for (status, updated) in std::mem::take(&mut self.oldest_update) {
            let status = if kept.contains(&status) { status } else { OTHER.into() };
            let oldest = self.oldest_update.entry(status).or_insert(updated);
            *oldest = updated.min(*oldest);
        }
        self
    }
}

fn limit_table<const N: usize, V>(table: &mut Table<N, V>, limit: usize, weigh: fn(&V) -> u64)
where
    V: AddAssign + Default,
{
    for label in 0..N {
        let mut numbers: BTreeMap<Arc<str>, u64> = BTreeMap::new();
        for (labels, value) in &*table {
            *numbers.entry(labels[label].clone()).or_default() += weigh(value);
        }
        if numbers.len() <= limit {
            continue;
        }
        let mut values: Vec<_> = numbers.into_iter().collect();
        // Where as many numbers have two values, the alphabet decides, at each poll alike.
        values.sort_by_key(|(value, numbers)| (!STATUSES.contains(&&**value), Reverse(*numbers)));
        let rest: HashSet<_> = values.into_iter().skip(limit).map(|(value, _)| value).collect();
        let other: Arc<str> = OTHER.into();
        for (mut labels, value) in std::mem::take(table) {
            if rest.contains(&labels[label]) && !STATUSES.contains(&&*labels[label]) {
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
            let fee: crate::inventory::Money = "1.15".parse().unwrap();
            let sum = GroupTotals { numbers: *numbers, monthly_fees: fee * *numbers, ..GroupTotals::default() };
            ([country, "local", status, "USD"].map(Arc::from), sum)
        };
        Inventory { groups: groups.iter().map(group).collect(), ..Inventory::default() }
    }

    #[test]
    fn the_most_frequent_values_stay_and_the_rest_is_other() {
        let before = inventory(&[
            ("A", "active", 5),
            ("B", "active", 2),
            ("B", "gone", 1),
            ("C", "active", 2),
            ("C", "lost", 0),
            ("D", "active", 9),
            ("other", "active", 1),
        ]);
        let after = before.clone().with_label_limit(3);
        // B has 3 numbers, C 2, and `other` itself 1.
        let expected = inventory(&[
            ("A", "active", 5),
            ("B", "active", 2),
            ("B", "gone", 1),
            ("D", "active", 9),
            ("other", "active", 3),
            ("other", "lost", 0),
        ]);
        assert_eq!(after, expected);
        assert_eq!(before.clone().with_label_limit(5), before);
    }

    #[test]
    fn the_oldest_of_the_rest_is_of_other() {
        let mut before = inventory(&[("A", "active", 5), ("A", "gone", 1), ("A", "lost", 2), ("A", "odd", 1)]);
        before.oldest_update =
            [("active", 9), ("gone", 3), ("lost", 5), ("odd", 4)].map(|(status, at)| (status.into(), at)).into();
        let after = before.with_label_limit(2).oldest_update;
        assert_eq!(after, [("active", 9), ("lost", 5), ("other", 3)].map(|(status, at)| (status.into(), at)).into());
    }

    #[test]
    fn documented_statuses_are_no_other() {
        let before = inventory(&[("A", "active", 0), ("A", "pending", 0), ("A", "suspended", 0), ("A", "odd", 7)]);
        let after = inventory(&[("A", "active", 0), ("A", "pending", 0), ("A", "suspended", 0), ("A", "other", 7)]);
        assert_eq!(before.with_label_limit(1), after);
    }
}
