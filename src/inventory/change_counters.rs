//! Counts of all changes of an account.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::serialized::entries;
use super::{ListingDifference, OTHER};
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
}

impl Default for ChangeCounters {
    fn default() -> Self {
        let pairs = STATUSES.into_iter().flat_map(|from| STATUSES.map(|to| [from, to]));
        let statuses = pairs.filter(|[from, to]| from != to).map(|pair| (pair.map(Arc::from), 0)).collect();
        Self { added: 0, removed: 0, statuses, fee_increases: 0, fee_decreases: 0, assignment_changes: 0 }
    }
}

impl ChangeCounters {
    /// Adds the changes between two listings. At most `label_limit` pairs of statuses are counted separately; the
    /// rest is counted as `other`.
    pub fn add(&mut self, difference: &ListingDifference, label_limit: usize) {
        self.added += difference.added;
        self.removed += difference.removed;
        self.fee_increases += difference.fee_increases;
        self.fee_decreases += difference.fee_decreases;
        self.assignment_changes += difference.assignment_changes;
        for (pair, count) in &difference.status_changes {
            let pair = if self.statuses.contains_key(pair) || self.statuses.len() < label_limit.max(STATUSES.len() * 2)
            {
                pair.clone()
            } else {
                [OTHER, OTHER].map(Arc::from)
            };
            *self.statuses.entry(pair).or_default() += count;
        }
    }
}
