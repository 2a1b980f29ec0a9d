//! What is stored of an account: plain data that goes into a [`StateStore`](super::StateStore) and comes out of it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::inventory::{ChangeCounters, ChangeRecord, Listing, NumberStates};

/// Identifies the state of an account.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AccountKey {
    /// The value of the `account` label.
    pub name: String,
    /// A text that identifies the numbers that the account lists. State of another source is not restored, and the next
    /// save replaces it.
    pub source: String,
}

/// The result of the last poll of an account.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredPoll {
    /// When it ended.
    pub ended_at: SystemTime,
    /// The time from its start to its end.
    pub duration: Duration,
    /// Pages read, over all attempts.
    pub pages: u32,
    /// Why it failed; `None` if it was successful.
    pub failure: Option<StoredFailure>,
    /// When the last successful poll ended.
    pub last_success_at: Option<SystemTime>,
}

/// Why a poll failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFailure {
    /// The value of the `reason` label.
    pub reason: String,
    /// The cause, for people.
    pub cause: String,
}

/// What a poll that has ended stores.
#[derive(Debug, Clone)]
pub struct Save {
    /// The account.
    pub account: AccountKey,
    /// The result of the poll.
    pub poll: StoredPoll,
    /// The counters after the poll.
    pub counters: ChangeCounters,
    /// The valid listing that the poll gave; `None` if it failed.
    pub listing: Option<SavedListing>,
}

/// A valid listing to store.
#[derive(Debug, Clone)]
pub struct SavedListing {
    /// The listing.
    pub listing: Arc<Listing>,
    /// The state of each number.
    pub numbers: Arc<NumberStates>,
    /// The state of each number in the previous valid listing, whose differences are recorded; `None` if there is none
    /// to compare with.
    pub previous: Option<Arc<NumberStates>>,
}

/// The state of an account that a store restores.
#[derive(Debug)]
pub struct StoredAccount {
    /// The result of the last poll.
    pub poll: StoredPoll,
    /// The counters.
    pub counters: ChangeCounters,
    /// The last valid listing, if it can be restored.
    pub listing: Option<StoredListing>,
    /// The changes that the latest polls found, the latest last.
    pub recent_changes: Vec<RecentChanges>,
}

/// A valid listing that a store restores.
#[derive(Debug)]
pub struct StoredListing {
    /// The listing.
    pub listing: Listing,
    /// The state of each number.
    pub numbers: NumberStates,
}

/// The changes that one poll found.
#[derive(Debug, Clone, PartialEq)]
pub struct RecentChanges {
    /// When the poll ended.
    pub at: SystemTime,
    /// Those with the lowest numbers.
    pub first: Vec<ChangeRecord>,
    /// How many there are.
    pub count: u64,
}

/// A change of a number, as recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedChange {
    /// When the poll that found it ended.
    pub at: SystemTime,
    /// The name of the account.
    pub account: String,
    /// The change.
    pub change: ChangeRecord,
}
