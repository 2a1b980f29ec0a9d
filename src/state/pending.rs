//! Saves of an account that wait to be written.

use std::sync::Arc;
use std::time::SystemTime;

use super::{AccountKey, RecentChanges, Save, StoredPoll};
use crate::inventory::{ChangeCounters, ChangeRecord, Listing, NumberStates, changes, is_same};

/// Saves of an account that are not written yet.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) account: AccountKey,
    /// The result of the last poll.
    pub(super) poll: StoredPoll,
    /// The counters after it.
    pub(super) counters: ChangeCounters,
    /// The last valid listing; `None` if all polls failed.
    pub(super) listing: Option<PendingListing>,
    /// What the first of the listings was compared with; `None` if there are none.
    pub(super) start: Option<Start>,
    /// The changes between the listings before the last one, the earliest poll first.
    pub(super) records: Vec<PollChanges>,
}

/// A valid listing that is not written yet.
#[derive(Debug, Clone)]
pub(super) struct PendingListing {
    pub(super) listing: Arc<Listing>,
    pub(super) numbers: Arc<NumberStates>,
    /// The numbers whose differences to this listing are not recorded yet.
    pub(super) previous: Option<Arc<NumberStates>>,
    /// When the poll that gave it ended.
    pub(super) ended_at: SystemTime,
}

/// What the first of the listings that wait was compared with.
#[derive(Debug, Clone)]
pub(super) enum Start {
    /// The numbers of the listing before it.
    Previous(Arc<NumberStates>),
    /// Nothing: these are its own numbers, and when its poll ended.
    Nothing(Arc<NumberStates>, SystemTime),
}

/// The changes that one poll found.
#[derive(Debug, Clone)]
pub(super) struct PollChanges {
    /// When the poll ended.
    pub(super) at: SystemTime,
    pub(super) changes: Vec<ChangeRecord>,
}

impl From<Save> for Pending {
    fn from(save: Save) -> Self {
        let Save { account, poll, counters, listing } = save;
        let ended_at = poll.ended_at;
        let listing = listing.map(|saved| PendingListing {
            listing: saved.listing,
            numbers: saved.numbers,
            previous: saved.previous,
            ended_at,
        });
        let start = listing.as_ref().map(|listing| match &listing.previous {
            Some(previous) => Start::Previous(previous.clone()),
            None => Start::Nothing(listing.numbers.clone(), ended_at),
        });
        Self { account, poll, counters, listing, start, records: Vec::new() }
    }
}

/// Combined saves of an account.
#[derive(Debug)]
pub(super) struct Combined {
    pub(super) pending: Pending,
    /// Whether the changes of several polls are recorded as their net difference.
    pub(super) is_net: bool,
}

impl Pending {
    /// Returns how many changes are kept as records.
    pub(super) fn record_count(&self) -> usize {
        self.records.iter().map(|poll| poll.changes.len()).sum()
    }

    /// Combines saves of an account. The changes of each poll are kept as records; if these are more than `limit` further
    /// ones, the net difference replaces them.
    pub(super) fn followed_by(self, later: Self, limit: usize) -> Combined {
        if self.account.source != later.account.source {
            return Combined { pending: later, is_net: false };
        }
        let start = self.start.or(later.start);
        let mut records = self.records;
        let mut is_net = false;
        let listing = match (self.listing, later.listing) {
            (earlier, None) => earlier,
            (None, Some(listing)) => {
                records.extend(later.records);
                Some(listing)
            }
            (Some(earlier), Some(listing)) => {
                if let Some(found) = earlier.changes(limit) {
                    records.extend((!found.changes.is_empty()).then_some(found));
                    records.extend(later.records);
                    Some(listing)
                } else {
                    is_net = true;
                    Some(PendingListing { previous: earlier.previous, ..listing })
                }
            }
        };
        Combined { pending: Self { listing, start, records, ..later }, is_net }
    }

    /// Returns the changes that are not written yet, with at most `limit` records of each poll.
    pub(super) fn recent_changes(&self, limit: usize) -> Vec<RecentChanges> {
        let recorded = self.records.iter().map(|poll| RecentChanges {
            at: poll.at,
            first: poll.changes.iter().take(limit).cloned().collect(),
            count: poll.changes.len() as u64,
        });
        let last = self.listing.as_ref().and_then(|listing| {
            let before = listing.previous.as_ref()?;
            let mut recent = RecentChanges { at: listing.ended_at, first: Vec::new(), count: 0 };
            for change in changes(before, &listing.numbers) {
                if recent.first.len() < limit {
                    recent.first.push(ChangeRecord::from(&change));
                }
                recent.count += 1;
            }
            (recent.count > 0).then_some(recent)
        });
        recorded.chain(last).collect()
    }
}

impl PendingListing {
    /// Returns the changes since the previous listing; `None` if there are more than `limit`.
    fn changes(&self, limit: usize) -> Option<PollChanges> {
        let before = self.previous.as_ref().filter(|before| !is_equal(before, &self.numbers));
        let found = before.into_iter().flat_map(|before| changes(before, &self.numbers));
        let found: Vec<_> = found.take(limit.saturating_add(1)).map(|change| ChangeRecord::from(&change)).collect();
        (found.len() <= limit).then_some(PollChanges { at: self.ended_at, changes: found })
    }
}

/// Returns whether two listings have the same numbers in the same state.
pub(super) fn is_equal(before: &Arc<NumberStates>, after: &Arc<NumberStates>) -> bool {
    Arc::ptr_eq(before, after) || is_same(before, after)
}
