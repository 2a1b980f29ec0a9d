//! The state of an account from an earlier run.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use super::account::{AccountSnapshot, LastListing, ListingContent, PollStats};
use super::history::History;
use super::suspension::SuspensionTimer;
use super::task::Poller;
use crate::inventory::{ChangeCounters, Listing, NumberStates, WatchedStatus};

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
    /// The listing.
    pub listing: Listing,
    /// When its poll ended.
    pub listed_at: SystemTime,
    /// The state of each number.
    pub numbers: Arc<NumberStates>,
}

impl Poller {
    /// Restores the state of the account, which has not been polled yet. Its listing is stale if it would be had the
    /// process kept running. Returns the listing as the current configuration shows it.
    pub fn restore(&self, restored: RestoredAccount) -> Option<Arc<Listing>> {
        let RestoredAccount { polls, changes, history, listing } = restored;
        let config = self.account.config();
        let restored = listing.map(|RestoredListing { mut listing, listed_at, numbers }| {
            listing.owners = config.owners.totals(&numbers, config.collector.label_limit);
            listing.watched = WatchedStatus::of_listing(&config.watch, &numbers, listing.is_exact(), &[]);
            let content = Arc::new(ListingContent::new(&listing, &numbers));
            (Arc::new(listing), self.last_listing(content, listed_at))
        });
        let (listing, last_listing) = restored.unzip();
        let numbers = last_listing.as_ref().map(|last| last.content.numbers.clone());
        self.account.restore(AccountSnapshot { polls, changes, last_listing, history }, numbers);
        listing
    }

    /// Returns a listing whose poll ended at `listed_at`.
    fn last_listing(&self, content: Arc<ListingContent>, listed_at: SystemTime) -> LastListing {
        // If the clock was set back, the listing is in the future; that must not keep it for ever.
        let age = (self.now)().duration_since(listed_at).unwrap_or_else(|error| error.duration());
        let (now, options) = (Instant::now(), &self.account.config().poll);
        let listing = |at| LastListing::new(content, at, SuspensionTimer::start(self.suspended), options);
        match now.checked_sub(age) {
            Some(listed_at) => listing(listed_at),
            // The clock began after the listing.
            None => listing(now).stale_since(now),
        }
    }
}
