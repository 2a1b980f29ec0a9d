//! What waits to be written for an account: its last save, and what earlier ones that were not written leave.

use std::sync::Arc;
use std::time::SystemTime;

use super::{AccountKey, Save, StoredPoll};
use crate::inventory::{ChangeCounters, Listing, NumberStates};

/// Saves of an account that are not written yet.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) account: AccountKey,
    /// The result of the last poll.
    pub(super) poll: StoredPoll,
    /// The counters after it.
    pub(super) counters: ChangeCounters,
    /// The last valid listing; `None` if all polls failed.
    pub(super) listing: Option<PendingListing>,
    /// The numbers before the first of the listings; `None` if there are none.
    pub(super) baseline: Option<Arc<NumberStates>>,
}

/// A valid listing that is not written yet.
#[derive(Debug)]
pub(super) struct PendingListing {
    pub(super) listing: Arc<Listing>,
    pub(super) numbers: Arc<NumberStates>,
    /// When the poll that gave it ended.
    pub(super) ended_at: SystemTime,
}

impl From<Save> for Pending {
    fn from(save: Save) -> Self {
        let Save { account, poll, counters, listing } = save;
        let ended_at = poll.ended_at;
        let (listing, baseline) = match listing {
            Some(saved) => {
                let listing = PendingListing { listing: saved.listing, numbers: saved.numbers, ended_at };
                (Some(listing), saved.previous)
            }
            None => (None, None),
        };
        Self { account, poll, counters, listing, baseline }
    }
}

impl Pending {
    /// Combines saves of an account: what the later one replaces is forgotten, but not the changes since the earlier
    /// one.
    pub(super) fn followed_by(self, later: Self) -> Self {
        if self.account.source != later.account.source {
            return later;
        }
        let listing = later.listing.or(self.listing);
        let baseline = self.baseline.or(later.baseline);
        Self { listing, baseline, ..later }
    }
}
