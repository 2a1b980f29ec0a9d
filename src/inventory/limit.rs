//! The bound on label values that come from the API.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::{GroupKey, Inventory, STATUSES};

/// What the values beyond a limit are called.
const OTHER: &str = "other";

type Field = fn(&mut GroupKey) -> &mut Arc<str>;

const FIELDS: [Field; 4] =
    [|key| &mut key.country, |key| &mut key.kind, |key| &mut key.status, |key| &mut key.currency];

impl Inventory {
    /// At most `limit` distinct values of each field of a group, those that most numbers have; the
    /// rest is `other`, and groups that are alike then are one. The documented statuses always stay.
    #[must_use]
    pub fn with_label_limit(mut self, limit: usize) -> Self {
        for field in FIELDS {
            let mut numbers: BTreeMap<Arc<str>, u64> = BTreeMap::new();
            for (key, group) in &self.groups {
                *numbers.entry(field(&mut key.clone()).clone()).or_default() += group.numbers;
            }
            if numbers.len() <= limit {
                continue;
            }
            let mut values: Vec<_> = numbers.into_iter().collect();
            // Where as many numbers have two values, the alphabet decides, at each poll alike.
            values.sort_by_key(|(value, numbers)| (!STATUSES.contains(&&**value), Reverse(*numbers)));
            let rest: HashSet<_> = values.into_iter().skip(limit).map(|(value, _)| value).collect();
            let other: Arc<str> = OTHER.into();
            for (mut key, group) in std::mem::take(&mut self.groups) {
                let value = field(&mut key);
                if rest.contains(value) && !STATUSES.contains(&&**value) {
                    *value = other.clone();
                }
                let merged = self.groups.entry(key).or_default();
                merged.numbers += group.numbers;
                merged.monthly_fees += group.monthly_fees;
                merged.setup_fees += group.setup_fees;
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Group;

    fn inventory(groups: &[(&str, &str, u64)]) -> Inventory {
        let group = |(country, status, numbers): &(&str, &str, u64)| {
            let key = GroupKey {
                country: (*country).into(),
                kind: "local".into(),
                status: (*status).into(),
                currency: "USD".into(),
            };
            let fee: crate::inventory::Money = "1.15".parse().unwrap();
            (key, Group { numbers: *numbers, monthly_fees: fee * *numbers, ..Group::default() })
        };
        Inventory { groups: groups.iter().map(group).collect(), listed: 0, invalid: 0 }
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
    fn documented_statuses_are_no_other() {
        let before = inventory(&[("A", "active", 0), ("A", "pending", 0), ("A", "suspended", 0), ("A", "odd", 7)]);
        let after = inventory(&[("A", "active", 0), ("A", "pending", 0), ("A", "suspended", 0), ("A", "other", 7)]);
        assert_eq!(before.with_label_limit(1), after);
    }
}
