//! The state of an account from an earlier run.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use super::account::{AccountSnapshot, LastListing, PollStats};
use super::history::History;
use super::suspension::SuspensionTimer;
use super::task::Poller;
use crate::inventory::{ChangeCounters, InventorySummary, NumberStates};

/// What is known of an account that has not been polled by this process.
#[derive(Debug)]
pub struct RestoredAccount {
    /// How the last poll went.
    pub polls: PollStats,
    /// What changed between listings.
    pub changes: ChangeCounters,
    /// Recent changes.
    pub history: History,
    /// The last valid listing, with which the first one of this process is compared.
    pub listing: Option<RestoredListing>,
}

/// A valid listing of an earlier run.
#[derive(Debug)]
pub struct RestoredListing {
    /// The numbers and fees that the status page shows.
    pub overview: Arc<InventorySummary>,
    /// When its poll ended.
    pub listed_at: SystemTime,
    /// The state of each number.
    pub numbers: Arc<NumberStates>,
}

impl Poller {
    /// Restores the state of the account, which has not been polled yet. Its listing is stale once it is older than
    /// `--poll.stale-after`, because nothing is known of polls since.
    pub fn restore(&self, restored: RestoredAccount) {
        let RestoredAccount { polls, changes, history, listing } = restored;
        let config = self.account.config();
        let last_listing = listing.as_ref().map(|RestoredListing { overview, listed_at, .. }| {
            // If the clock was set back, the listing is in the future; that must not keep it for ever.
            let age = (self.now)().duration_since(*listed_at).unwrap_or_else(|error| error.duration());
            let suspended = SuspensionTimer::start(self.suspended);
            let now = Instant::now();
            let restored = |listed_at| LastListing::new(overview.clone(), listed_at, suspended, &config.poll);
            // The clock may have begun after the listing.
            let stale_at = now.checked_sub(age).map_or(now, |listed_at| restored(listed_at).stale_at);
            restored(now.checked_sub(age).unwrap_or(now)).stale_since(stale_at)
        });
        let snapshot = AccountSnapshot { polls, changes, last_listing, history };
        self.account.restore(snapshot, listing.map(|listing| listing.numbers));
    }
}
