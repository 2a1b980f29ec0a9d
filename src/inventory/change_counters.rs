//! Counts of all changes of an account.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::serialized::entries;
use super::{FeeMovements, ListingDifference, NumberStates, OTHER};
use crate::tryvox::STATUSES;

/// Counts of the changes between successive valid listings, since the start or since a state file was created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChangeCounters {
    /// Numbers that were not in the previous listing.
    pub added: u64,
    /// Numbers that were only in the previous listing.
    pub removed: u64,
    /// Numbers whose status changed, by old and new status. Every pair of documented statuses is present from the
    /// start, so that its series begins at 0.
    #[serde(with = "entries")]
    pub statuses: BTreeMap<[Arc<str>; 2], u64>,
    /// Numbers whose monthly fee increased.
    pub fee_increases: u64,
    /// Numbers whose monthly fee decreased.
    pub fee_decreases: u64,
    /// Numbers whose trunk or application changed.
    pub assignment_changes: u64,
    /// Why the sums of the monthly fees changed. Every currency that was listed is present, or `other`.
    pub fees: FeeMovements,
}

impl Default for ChangeCounters {
    fn default() -> Self {
        let pairs = STATUSES.into_iter().flat_map(|from| STATUSES.map(|to| [from, to]));
        let statuses = pairs.filter(|[from, to]| from != to).map(|pair| (pair.map(Arc::from), 0)).collect();
        Self {
            added: 0,
            removed: 0,
            statuses,
            fee_increases: 0,
            fee_decreases: 0,
            assignment_changes: 0,
            fees: FeeMovements::default(),
        }
    }
}

impl ChangeCounters {
    /// Adds the changes between two listings, whose currencies have been added. At most `label_limit` pairs of statuses are
    /// counted separately; the rest is counted as `other`.
    pub fn add(&mut self, difference: &ListingDifference, label_limit: usize) {
        self.added += difference.added;
        self.removed += difference.removed;
        self.fee_increases += difference.fee_increases;
        self.fee_decreases += difference.fee_decreases;
        self.assignment_changes += difference.assignment_changes;
        self.fees.add_difference(&difference.fees);
        for (pair, count) in &difference.status_changes {
            let pair = self.limited(pair, label_limit);
            *self.statuses.entry(pair).or_default() += count;
        }
    }

    /// Makes every currency and status of a listing present, so that their series begin at 0, and decides which currencies
    /// have label values of their own.
    pub fn add_labels(&mut self, numbers: &NumberStates, label_limit: usize) {
        let mut statuses: BTreeSet<_> = self.statuses.keys().flatten().cloned().collect();
        let known = || numbers.classes().iter().filter(|state| state.is_known());
        if known().any(|state| self.fees.is_undecided(&state.currency)) {
            self.fees.add_currencies(&numbers.numbers_by_currency(), label_limit);
        }
        statuses.extend(known().map(|state| state.status.clone()));
        for from in &statuses {
            for to in statuses.iter().filter(|to| *to != from) {
                let pair = self.limited(&[from.clone(), to.clone()], label_limit);
                self.statuses.entry(pair).or_default();
            }
        }
    }

    /// Returns the label values for a pair of statuses: its own, or `other` beyond the limit.
    fn limited(&self, pair: &[Arc<str>; 2], limit: usize) -> [Arc<str>; 2] {
        let is_within = self.statuses.len() < limit.max(STATUSES.len() * 2);
        if is_within || self.statuses.contains_key(pair) { pair.clone() } else { [OTHER, OTHER].map(Arc::from) }
    }
}

impl AddAssign<&Self> for ChangeCounters {
    /// Adds what was counted by another run.
    fn add_assign(&mut self, other: &Self) {
        self.added += other.added;
        self.removed += other.removed;
        self.fee_increases += other.fee_increases;
        self.fee_decreases += other.fee_decreases;
        self.assignment_changes += other.assignment_changes;
        self.fees += &other.fees;
        for (pair, count) in &other.statuses {
            *self.statuses.entry(pair.clone()).or_default() += count;
        }
    }
}
