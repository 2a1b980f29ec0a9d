//! The published state of one account.
//!
//! An [`AccountSnapshot`] is immutable. The account's own poller publishes a new one at the end of a poll, and a reload
//! when the configuration changes; readers load it whole, so they never see parts of two listings.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::time::Instant;

use super::history::History;
use super::suspension::SuspensionTimer;
use crate::config::{AccountConfig, PollOptions};
use crate::inventory::{ChangeCounters, InventorySummary, Listing, ListingDifference, NumberStates, WatchedStatus};
use crate::tryvox::{Failure, FailureReason, ListingProgress, RequestStats, TryvoxClient};

/// Counts of the polls of an account since the start, and how the last one went, maybe before the start.
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

/// What an account keeps of its last valid listing.
///
/// The tables and the per-number rows of a listing would take more memory than everything else in an account, so only
/// [`NewListing`](super::NewListing) has them.
#[derive(Debug, Clone)]
pub struct LastListing {
    /// What it contains.
    pub content: Arc<ListingContent>,
    /// When its poll ended.
    pub listed_at: Instant,
    /// When it becomes stale if polls fail.
    pub stale_at: Instant,
    /// When it becomes stale even if no poll has failed, because the next one is overdue. Never before `stale_at`.
    pub overdue_at: Instant,
    /// By how much the times above come earlier, because the clock that they are on stops while the machine is suspended.
    pub suspended: SuspensionTimer,
}

/// What an account keeps of the content of its last valid listing.
#[derive(Debug, Clone, Default)]
pub struct ListingContent {
    /// The numbers and fees that the status page shows.
    pub overview: Arc<InventorySummary>,
    /// The state of each number.
    pub numbers: Arc<NumberStates>,
    /// Whether a number that is not in the listing does not exist.
    pub is_exact: bool,
    /// The watched numbers.
    pub watched: Arc<[WatchedStatus]>,
}

impl ListingContent {
    /// Returns what an account keeps of a listing.
    pub(super) fn new(listing: &Listing, numbers: &Arc<NumberStates>) -> Self {
        Self {
            overview: Arc::new(InventorySummary::new(&listing.inventory)),
            numbers: numbers.clone(),
            is_exact: listing.is_exact(),
            watched: listing.watched.clone(),
        }
    }
}

impl LastListing {
    /// Creates the state of a listing whose poll ended at `listed_at`, when `suspended` was started.
    pub(super) fn new(
        content: Arc<ListingContent>,
        listed_at: Instant,
        suspended: SuspensionTimer,
        options: &PollOptions,
    ) -> Self {
        let stale_after = options.stale_after();
        // However short that is, a listing is shown until the next poll has ended.
        let overdue_after = stale_after.max(options.interval + options.timeout());
        Self { content, listed_at, stale_at: listed_at + stale_after, overdue_at: listed_at + overdue_after, suspended }
    }

    /// Returns the same listing, stale from `stale_at` on, whether polls fail or not.
    pub(super) fn stale_since(self, stale_at: Instant) -> Self {
        Self { stale_at, overdue_at: stale_at, ..self }
    }
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

    /// Returns the snapshot that follows this one after a successful poll, after which the counters are `changes`.
    pub(super) fn after_success(
        &self,
        poll: LastPoll,
        listing: LastListing,
        changes: ChangeCounters,
        difference: Option<&ListingDifference>,
    ) -> Self {
        let mut history = self.history.clone();
        if let Some(difference) = difference {
            history.add_difference(poll.ended_at, difference);
        }
        Self { polls: self.polls.after_success(poll), changes, last_listing: Some(listing), history }
    }

    /// Returns the snapshot that follows this one when the configuration changes: it becomes stale at another time, and
    /// other numbers may be watched.
    pub(super) fn with_config(&self, config: &AccountConfig) -> Self {
        let last_listing = self.last_listing.as_ref().map(|last| {
            let ListingContent { numbers, is_exact, watched, .. } = &*last.content;
            let watched = WatchedStatus::of_listing(&config.watch, numbers, *is_exact, watched);
            let content = ListingContent { watched, ..ListingContent::clone(&last.content) };
            let listing = LastListing::new(Arc::new(content), last.listed_at, last.suspended, &config.poll);
            match self.polls.successes {
                // It was restored, and may have been stale from the start.
                0 if last.stale_at <= last.listed_at => listing.stale_since(last.stale_at),
                0 => {
                    let stale_at = listing.stale_at;
                    listing.stale_since(stale_at)
                }
                _ => listing,
            }
        });
        Self { last_listing, ..self.clone() }
    }

    /// Returns the snapshot that follows this one after a failed poll, which keeps the last valid listing.
    pub(super) fn after_failure(&self, poll: LastPoll, failure: Failure) -> Self {
        let mut history = self.history.clone();
        history.add_failure(poll.ended_at, &failure, self.polls.failure.is_some());
        Self { polls: self.polls.after_failure(poll, failure), history, ..self.clone() }
    }
}

/// One account: its identity, its configuration, its API client and its current snapshot.
#[derive(Debug)]
pub struct Account {
    serial: u64,
    name: Arc<str>,
    config: ArcSwap<AccountConfig>,
    /// Counts the configurations, for those that wait for the next one.
    config_version: watch::Sender<u64>,
    client: TryvoxClient,
    snapshot: ArcSwap<AccountSnapshot>,
    /// Held while a snapshot is made and published, by the account's poller or by a reload.
    publishing: Mutex<()>,
    phase: Mutex<PollPhase>,
    /// The numbers of the last valid listing of an earlier run, until the first poll starts.
    restored_numbers: Mutex<Option<Arc<NumberStates>>>,
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
    /// Creates an account that has not been polled. The client is made of the same configuration.
    #[must_use]
    pub fn new(config: AccountConfig, client: TryvoxClient) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);

        let serial = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            serial,
            name: config.name.as_str().into(),
            config: ArcSwap::from_pointee(config),
            config_version: watch::Sender::new(0),
            client,
            snapshot: ArcSwap::default(),
            publishing: Mutex::default(),
            phase: Mutex::new(PollPhase::Waiting(Instant::now())),
            restored_numbers: Mutex::default(),
        }
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

    /// Returns the current configuration.
    #[must_use]
    pub fn config(&self) -> Arc<AccountConfig> {
        self.config.load_full()
    }

    /// Returns a number that changes after each change of the configuration.
    #[must_use]
    pub fn config_version(&self) -> u64 {
        *self.config_version.borrow()
    }

    /// Returns a receiver that is notified after each change of the configuration.
    pub(super) fn config_changes(&self) -> watch::Receiver<u64> {
        self.config_version.subscribe()
    }

    /// Returns the time between the starts of two polls.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.config.load().poll.interval
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

    /// Replaces the configuration by another one of the same account. A poll in progress may end with the one that it
    /// began with. The caller is publishing, and calls [`Account::notify_config_change`] when it has.
    pub(super) fn set_config(&self, config: Arc<AccountConfig>) {
        self.client.set_options(config.tryvox.clone());
        self.config.store(config);
    }

    /// Notifies those that wait for a change of the configuration.
    pub(super) fn notify_config_change(&self) {
        self.config_version.send_modify(|version| *version += 1);
    }

    /// Waits until no other thread makes and publishes a snapshot. Until the guard is dropped, the snapshot and the
    /// configuration change only by what its owner does.
    pub(super) fn start_publishing(&self) -> MutexGuard<'_, ()> {
        self.publishing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn client(&self) -> &TryvoxClient {
        &self.client
    }

    /// Sets the state of an earlier run, and the numbers with which the first listing is compared.
    pub(super) fn restore(&self, snapshot: AccountSnapshot, numbers: Option<Arc<NumberStates>>) {
        let publishing = self.start_publishing();
        self.publish(Arc::new(snapshot));
        drop(publishing);
        *self.restored_numbers.lock().unwrap_or_else(PoisonError::into_inner) = numbers;
    }

    /// Takes the numbers with which the first listing is compared.
    pub(super) fn take_restored_numbers(&self) -> Option<Arc<NumberStates>> {
        self.restored_numbers.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Replaces the snapshot; the caller is publishing.
    pub(super) fn publish(&self, snapshot: Arc<AccountSnapshot>) {
        self.snapshot.store(snapshot);
    }
}
