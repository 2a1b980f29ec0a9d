//! The state of an account from an earlier run.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use super::account::{AccountSnapshot, LastListing, ListingContent, PollStats};
use super::history::History;
use super::suspension::SuspensionTimer;
use super::task::{Poller, add_configured};
use crate::inventory::{ChangeCounters, Listing, NumberStates};

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
    /// Restores the state of the account, which has not been polled yet. Its listing is stale once it is older than
    /// `--poll.stale-after`, because nothing is known of polls since. Returns the listing as the current configuration
    /// shows it.
    #[must_use]
    pub fn restore(&self, restored: RestoredAccount) -> Option<Arc<Listing>> {
        let RestoredAccount { polls, mut changes, history, listing } = restored;
        let config = self.account.config();
        let restored = listing.map(|RestoredListing { mut listing, listed_at, numbers }| {
            // The limits may be lower than those of the earlier run.
            let label_limit = config.collector.label_limit;
            changes.add_labels(&numbers, label_limit);
            listing.inventory = listing.inventory.with_label_limit(label_limit, &changes.fees);
            let watched = std::mem::take(&mut listing.watched);
            add_configured(&mut listing, &config, &numbers, &changes.fees, &watched);
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
        let suspended = SuspensionTimer::start(self.suspended);
        // The clock may have begun after the listing.
        let (listed_at, is_known) = now.checked_sub(age).map_or((now, false), |listed_at| (listed_at, true));
        let listing = LastListing::new(content, listed_at, suspended, options);
        let stale_at = if is_known { listing.stale_at } else { now };
        listing.stale_since(stale_at)
    }
}
