//! The published state of one account.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::history::History;
use super::text::Text;

use crate::inventory::{Inventory, InventorySummary, ListingDifference, Money, OTHER};
use crate::tryvox::{Failure, FailureReason, RequestStats, STATUSES, TryvoxClient};

/// An inventory written down, one text for each metric family; what is in them is not read here.
pub type Encoded = Vec<Arc<Text>>;

/// How to write an account's inventory down: done once for each listing, not for each scrape. The
/// listing before, where there is one, may have texts that serve once more.
pub type Encode = fn(account: &str, listing: &Listing, before: Option<&Encoded>) -> Encoded;

/// What an account may cost a month, by currency, in units of it.
pub type Budget = BTreeMap<String, Money>;

/// A listing of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// What was listed.
    pub inventory: Inventory,
    /// How many numbers the API says there are.
    pub reported: u64,
}

/// How the polls of an account went so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PollStats {
    /// PollStats that gave a listing.
    pub successes: u64,
    /// PollStats that failed, by [`FailureReason::ALL`].
    pub failures: [u64; FailureReason::ALL.len()],
    /// Why the last poll failed, if it did.
    pub failure: Option<Failure>,
    /// The last poll that ended, however it did.
    pub last: Option<LastPoll>,
    /// When a poll last gave a listing.
    pub last_success: Option<SystemTime>,
}

/// The last poll that ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LastPoll {
    /// When it ended.
    pub at: SystemTime,
    /// From its first request to its end.
    pub took: Duration,
    /// Pages that were read.
    pub pages: u32,
}

impl PollStats {
    /// How many polls ended.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.successes + self.failures.iter().sum::<u64>()
    }

    /// Whether the last poll gave a listing that can be trusted.
    #[must_use]
    pub fn up(&self) -> bool {
        self.last.is_some() && self.failure.is_none()
    }
}

/// What changed between good listings, since the start.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeCounters {
    /// Numbers that came.
    pub added: u64,
    /// Numbers that went.
    pub removed: u64,
    /// Numbers whose status changed, by what it was and what it became; all changes between
    /// documented statuses are here from the start.
    pub statuses: BTreeMap<[Arc<str>; 2], u64>,
    /// Numbers whose monthly fee went up.
    pub fee_increases: u64,
    /// Numbers whose monthly fee went down.
    pub fee_decreases: u64,
}

impl Default for ChangeCounters {
    fn default() -> Self {
        let pairs = STATUSES.into_iter().flat_map(|from| STATUSES.map(|to| [from, to]));
        let statuses = pairs.filter(|[from, to]| from != to).map(|pair| (pair.map(Arc::from), 0)).collect();
        Self { added: 0, removed: 0, statuses, fee_increases: 0, fee_decreases: 0 }
    }
}

impl ChangeCounters {
    /// Adds what happened between two listings. So many statuses are told apart, then the rest is
    /// `other`.
    pub(super) fn add(&mut self, difference: &ListingDifference, label_limit: usize) {
        self.added += difference.added;
        self.removed += difference.removed;
        self.fee_increases += difference.fee_increases;
        self.fee_decreases += difference.fee_decreases;
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

/// The last good listing, as long as it may be shown.
#[derive(Debug, Clone)]
pub struct LastListing {
    /// It, written down.
    pub encoded: Arc<Encoded>,
    /// It, in few words.
    pub overview: Arc<InventorySummary>,
    /// Records of it that could not be read.
    pub invalid: u64,
    /// From then on it is too old to be shown while polls fail.
    pub stale_at: Instant,
    /// From then on it is too old even though none has failed: the next one is overdue.
    pub overdue_at: Instant,
}

/// All that a reader may know of an account at one moment.
#[derive(Debug, Clone, Default)]
pub struct AccountSnapshot {
    /// How the polls went.
    pub polls: PollStats,
    /// What changed from listing to listing.
    pub changes: ChangeCounters,
    /// The last good listing; none before the first.
    pub last_listing: Option<LastListing>,
    /// What happened of late.
    pub history: History,
}

impl AccountSnapshot {
    /// The last good listing, if there is one that is not stale at `now`.
    #[must_use]
    pub fn current(&self, now: Instant) -> Option<&LastListing> {
        let failing = self.polls.failure.is_some();
        self.last_listing.as_ref().filter(|kept| now < if failing { kept.stale_at } else { kept.overdue_at })
    }
}

/// One account, as its readers see it.
#[derive(Debug)]
pub struct Account {
    serial: u64,
    name: Arc<str>,
    interval: Duration,
    budget: Budget,
    client: TryvoxClient,
    snapshot: ArcSwap<AccountSnapshot>,
    activity: Mutex<PollPhase>,
}

/// What an account's task is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PollPhase {
    /// A poll goes on since then.
    Polling(Instant),
    /// Nothing until then.
    Waiting(Instant),
}

impl Account {
    /// An account that was never polled.
    #[must_use]
    pub fn new(name: &str, interval: Duration, budget: Budget, client: TryvoxClient) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);

        let serial = NEXT.fetch_add(1, Ordering::Relaxed);
        let activity = Mutex::new(PollPhase::Waiting(Instant::now()));
        Self { serial, name: name.into(), interval, budget, client, snapshot: ArcSwap::default(), activity }
    }

    /// No other account of this process has or had the same, not even one of that name.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// The value of the `account` label.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// From the start of one poll to the start of the next.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// What the account may cost a month, if that is configured.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// What the requests came to, up to now.
    #[must_use]
    pub fn requests(&self) -> RequestStats {
        self.client.request_stats()
    }

    /// Another number whenever that is something else.
    #[must_use]
    pub fn requests_version(&self) -> u64 {
        self.client.request_stats_version()
    }

    /// How many pages of the poll that goes on were read, and of how many.
    #[must_use]
    pub fn progress(&self) -> (u32, u32) {
        self.client.progress()
    }

    /// The state as of now: a poll that ends meanwhile does not change what was returned.
    #[must_use]
    pub fn snapshot(&self) -> Arc<AccountSnapshot> {
        self.snapshot.load_full()
    }

    /// Whether it is polled at this moment, or else when it will be.
    #[must_use]
    pub fn activity(&self) -> PollPhase {
        match *self.activity.lock().unwrap_or_else(PoisonError::into_inner) {
            // The API may have asked for patience.
            PollPhase::Waiting(until) => PollPhase::Waiting(until.max(self.client.paused_until())),
            polling @ PollPhase::Polling(_) => polling,
        }
    }

    /// Only the account's own task says what it does.
    pub(super) fn does(&self, activity: PollPhase) {
        *self.activity.lock().unwrap_or_else(PoisonError::into_inner) = activity;
    }

    pub(super) fn client(&self) -> &TryvoxClient {
        &self.client
    }

    /// Only the account's own task publishes.
    pub(super) fn publish(&self, published: AccountSnapshot) {
        self.snapshot.store(Arc::new(published));
    }
}
