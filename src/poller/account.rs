//! The published state of one account.
//!
//! An [`AccountSnapshot`] is immutable. Only the account's own poller publishes a new one, at the end of a poll;
//! readers load it whole, so they never see parts of two listings.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::history::History;
use super::suspension::SuspensionTimer;
use crate::inventory::{InventorySummary, ListingDifference, Money, OTHER};
use crate::tryvox::{Failure, FailureReason, ListingProgress, RequestStats, STATUSES, TryvoxClient};

/// Monthly budget of an account by currency, in units of the currency.
pub type Budget = BTreeMap<String, Money>;

/// Counts of the polls of an account since the start, and how the last one went.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PollStats {
    /// Successful polls.
    pub successes: u64,
    /// Failed polls by reason, in the order of [`FailureReason::ALL`].
    pub failures: [u64; FailureReason::ALL.len()],
    /// Why the last poll failed; `None` if it was successful or there was none.
    pub failure: Option<Failure>,
    /// The last poll that ended, successful or not.
    pub last: Option<LastPoll>,
    /// When the last successful poll ended.
    pub last_success_at: Option<SystemTime>,
}

/// The last poll that ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LastPoll {
    /// When it ended.
    pub ended_at: SystemTime,
    /// The time from its start to its end.
    pub duration: Duration,
    /// Pages read, over all attempts.
    pub pages: u32,
}

impl PollStats {
    /// Returns how many polls ended.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.successes + self.failures.iter().sum::<u64>()
    }

    /// Returns whether the last poll was successful.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.last.is_some() && self.failure.is_none()
    }

    fn after_success(&self, poll: LastPoll) -> Self {
        Self {
            successes: self.successes + 1,
            failures: self.failures,
            failure: None,
            last: Some(poll),
            last_success_at: Some(poll.ended_at),
        }
    }

    fn after_failure(&self, poll: LastPoll, failure: Failure) -> Self {
        let mut failures = self.failures;
        failures[failure.reason as usize] += 1;
        Self { failures, failure: Some(failure), last: Some(poll), ..*self }
    }
}

/// Counts of the changes between successive valid listings since the start.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeCounters {
    /// Numbers that were not in the previous listing.
    pub added: u64,
    /// Numbers that were only in the previous listing.
    pub removed: u64,
    /// Numbers whose status changed, by old and new status. Every pair of documented statuses is present from the
    /// start, so that its series begins at 0.
    pub statuses: BTreeMap<[Arc<str>; 2], u64>,
    /// Numbers whose monthly fee increased.
    pub fee_increases: u64,
    /// Numbers whose monthly fee decreased.
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
    /// Adds the changes between two listings. At most `label_limit` pairs of statuses are counted separately; the
    /// rest is counted as `other`.
    fn add(&mut self, difference: &ListingDifference, label_limit: usize) {
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

/// What an account keeps of its last valid listing.
///
/// The tables and the per-number rows of a listing would take more memory than everything else in an account, so only
/// [`NewListing`](super::NewListing) has them.
#[derive(Debug, Clone)]
pub struct LastListing {
    /// The numbers and fees that the status page shows.
    pub overview: Arc<InventorySummary>,
    /// When it becomes stale if polls fail.
    pub stale_at: Instant,
    /// When it becomes stale even if no poll has failed, because the next one is overdue. Never before `stale_at`.
    pub overdue_at: Instant,
    /// By how much the times above come earlier, because the clock that they are on stops while the machine is suspended.
    pub suspended: SuspensionTimer,
}

/// The state of an account at the end of a poll.
#[derive(Debug, Clone, Default)]
pub struct AccountSnapshot {
    /// How the polls went.
    pub polls: PollStats,
    /// What changed between listings.
    pub changes: ChangeCounters,
    /// The last valid listing, stale or not; `None` before the first one.
    pub last_listing: Option<LastListing>,
    /// Recent changes and failures.
    pub history: History,
}

impl AccountSnapshot {
    /// Returns the last valid listing unless it is stale at `now`.
    #[must_use]
    pub fn listing_at(&self, now: Instant) -> Option<&LastListing> {
        let has_failed = self.polls.failure.is_some();
        self.last_listing.as_ref().filter(|listing| {
            now + listing.suspended.elapsed() < if has_failed { listing.stale_at } else { listing.overdue_at }
        })
    }

    /// Returns the snapshot that follows this one after a successful poll.
    pub(super) fn after_success(
        &self,
        poll: LastPoll,
        listing: LastListing,
        difference: Option<&ListingDifference>,
        label_limit: usize,
    ) -> Self {
        let (mut changes, mut history) = (self.changes.clone(), self.history.clone());
        if let Some(difference) = difference {
            changes.add(difference, label_limit);
            history.add_changes(poll.ended_at, difference);
        }
        Self { polls: self.polls.after_success(poll), changes, last_listing: Some(listing), history }
    }

    /// Returns the snapshot that follows this one after a failed poll, which keeps the last valid listing.
    pub(super) fn after_failure(&self, poll: LastPoll, failure: Failure) -> Self {
        let mut history = self.history.clone();
        history.add_failure(poll.ended_at, &failure, self.polls.failure.is_some());
        Self { polls: self.polls.after_failure(poll, failure), history, ..self.clone() }
    }
}

/// One account: its identity, its API client and its current snapshot.
#[derive(Debug)]
pub struct Account {
    serial: u64,
    name: Arc<str>,
    interval: Duration,
    budget: Budget,
    client: TryvoxClient,
    snapshot: ArcSwap<AccountSnapshot>,
    phase: Mutex<PollPhase>,
}

/// What an account's poller is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PollPhase {
    /// It has been polling since then.
    Polling(Instant),
    /// It is waiting until then.
    Waiting(Instant),
}

impl Account {
    /// Creates an account that has not been polled.
    #[must_use]
    pub fn new(name: &str, interval: Duration, budget: Budget, client: TryvoxClient) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);

        let serial = NEXT.fetch_add(1, Ordering::Relaxed);
        let phase = Mutex::new(PollPhase::Waiting(Instant::now()));
        Self { serial, name: name.into(), interval, budget, client, snapshot: ArcSwap::default(), phase }
    }

    /// Returns a number that no other account of this process has or had, not even one of the same name.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// Returns the value of the `account` label.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the time between the starts of two polls.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Returns the configured budget; empty if there is none.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Returns the counts of the API requests sent so far.
    #[must_use]
    pub fn requests(&self) -> RequestStats {
        self.client.request_stats()
    }

    /// Returns a number that changes whenever [`Account::requests`] does.
    #[must_use]
    pub fn requests_version(&self) -> u64 {
        self.client.request_stats_version()
    }

    /// Returns the progress of the current listing, or of the last one if there is none.
    #[must_use]
    pub fn progress(&self) -> ListingProgress {
        self.client.progress()
    }

    /// Returns the current snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Arc<AccountSnapshot> {
        self.snapshot.load_full()
    }

    /// Returns whether the account is being polled, or else when it will be.
    #[must_use]
    pub fn phase(&self) -> PollPhase {
        match *self.phase.lock().unwrap_or_else(PoisonError::into_inner) {
            // The API may have requested a longer pause.
            PollPhase::Waiting(until) => PollPhase::Waiting(until.max(self.client.paused_until())),
            polling @ PollPhase::Polling(_) => polling,
        }
    }

    /// Sets what the account's poller, which is the only caller, is doing.
    pub(super) fn set_phase(&self, phase: PollPhase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    pub(super) fn client(&self) -> &TryvoxClient {
        &self.client
    }

    /// Replaces the snapshot; the account's poller is the only caller.
    pub(super) fn publish(&self, snapshot: Arc<AccountSnapshot>) {
        self.snapshot.store(snapshot);
    }
}
