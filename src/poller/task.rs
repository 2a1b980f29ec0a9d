//! The task that polls one account.
//!
//! Each poll ends with a publication: the reactions run, then the account shows the new snapshot.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::account::{Account, LastListing, LastPoll, ListingContent, PollPhase, PollStats};
use super::log::{log_changes, log_failure, log_success};
use super::poll::{ListedNumbers, Poll, RecordSink};
use super::publication::{NewListing, PollReaction, PreviousListing, Publication};
use super::schedule::Schedule;
use super::suspension::SuspensionTimer;
use crate::blocking::run_blocking;
use crate::config::AccountConfig;
use crate::inventory::{ChangeCounters, FeeMovements, Listing, ListingDifference, NumberStates, WatchedStatus};
use crate::tryvox::{ApiKeySource, Failure, FailureReason, PollKey};

/// Time between two attempts to read a key after a poll that failed because it cannot be read.
const KEY_CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Polls one account.
#[derive(Debug, Clone)]
pub struct Poller {
    /// The account, which shows the result of each poll.
    pub account: Arc<Account>,
    /// The time from the start of the first poll to the start of the second, which spreads the polls of many
    /// accounts over the interval.
    pub first_interval: Duration,
    /// What happens at the end of each poll, in this order.
    pub reactions: Vec<Arc<dyn PollReaction>>,
    /// The wall clock, for timestamps.
    pub now: fn() -> SystemTime,
    /// The time for which the machine has been suspended since it booted.
    pub suspended: fn() -> Duration,
    /// Randomness for the jitter of the schedule.
    pub rng: fastrand::Rng,
}

/// The result of listing an account without publishing it.
#[derive(Debug)]
pub struct ListingOutcome {
    /// The listing and the counters of changes after it, or why there is no valid listing.
    pub result: Result<(Listing, ChangeCounters), Failure>,
    /// Pages read, with all filters and over all attempts.
    pub pages: u32,
    /// How many times the account was listed.
    pub attempts: u32,
}

/// A valid listing and its records.
#[derive(Debug)]
pub struct ListedRecords<S> {
    /// The listing.
    pub listing: Listing,
    /// The numbers in the listing.
    pub numbers: NumberStates,
    /// The sink of the attempt that the listing is from.
    pub sink: S,
}

/// The end of a poll, successful or not.
struct PollOutcome {
    result: Result<ValidListing, Failure>,
    /// Pages read, over all attempts.
    pages: u32,
}

/// A valid listing and what follows from it.
struct ValidListing {
    listing: Listing,
    numbers: Arc<NumberStates>,
    /// The previous valid listing and the changes since, if there is one.
    previous: Option<(Arc<NumberStates>, ListingDifference)>,
    /// The counters after the listing.
    changes: ChangeCounters,
}

impl Poller {
    /// Polls at once, again after the first interval, and then every interval, until `stop` is cancelled. After failed
    /// polls it polls more often, as the schedule says. If the API requested a pause, the next poll also waits for
    /// its end.
    pub async fn run(self, stop: CancellationToken) {
        let (mut changes, config) = (self.account.config_changes(), self.account.config());
        let first_tick = Instant::now() + self.first_interval;
        let mut schedule = Schedule::new(first_tick, config.poll.interval, self.rng.clone());
        let polls = async {
            let (mut config, mut numbers) = (config, self.account.take_restored_numbers());
            loop {
                schedule.poll_started(Instant::now());
                self.account.set_phase(PollPhase::Polling(Instant::now()));
                numbers = self.poll_and_publish(numbers, Arc::default()).await;
                self.wait_for_next_poll(&mut schedule, &mut config, &mut changes).await;
            }
        };
        // Cancelling drops the requests in flight: a poll publishes nothing before its end.
        stop.run_until_cancelled(polls).await;
    }

    /// Waits until the next poll is due, also if that changes with the configuration. `config` is the one that the
    /// schedule follows, and `changes` is notified of all changes since.
    async fn wait_for_next_poll(
        &self,
        schedule: &mut Schedule,
        config: &mut Arc<AccountConfig>,
        changes: &mut watch::Receiver<u64>,
    ) {
        let polls = &self.account.snapshot().polls;
        let failure = polls.failure.as_ref().map(|failure| failure.reason);
        let mut next_poll_at = schedule.next_poll_at(Instant::now(), failure_pause(polls));
        loop {
            self.account.set_phase(PollPhase::Waiting(next_poll_at));
            let due = async {
                self.account.client().wait_while_paused().await;
                sleep_until(next_poll_at).await;
            };
            tokio::select! {
                () = due => return,
                () = key_is_readable(&config.key), if failure == Some(FailureReason::ApiKey) => return,
                // The sender belongs to the account, so it exists.
                Ok(()) = changes.changed() => {}
            }
            let (now, previous) = (Instant::now(), std::mem::replace(config, self.account.config()));
            if config.poll.interval != previous.poll.interval {
                schedule.set_interval(now, config.poll.interval);
            }
            if failure.is_none() {
                next_poll_at = schedule.next_poll_at(now, None);
            } else if (&config.key, &config.tryvox) != (&previous.key, &previous.tryvox) {
                next_poll_at = next_poll_at.min(schedule.retry_soon(now));
            } else {
                next_poll_at = next_poll_at.min(now + config.poll.interval);
            }
        }
    }

    /// Applies another configuration of the same account, which [lists the same
    /// numbers](AccountConfig::lists_same_numbers). What the account shows is up to date with it when this returns, as
    /// far as that needs no poll. A poll in progress may end with the configuration that it began with.
    pub fn reconfigure(&self, config: AccountConfig) {
        let account = &self.account;
        let publishing = account.start_publishing();
        let snapshot = Arc::new(account.snapshot().with_config(&config));
        account.set_config(Arc::new(config));
        for reaction in &self.reactions {
            survives_panic(|| reaction.config_changed(account, &snapshot));
        }
        account.publish(snapshot);
        drop(publishing);
        account.notify_config_change();
    }

    /// Polls once and publishes the result.
    pub async fn once(&self) {
        self.once_after(Arc::default()).await;
    }

    /// Polls once and publishes the result. `watched` are the watched numbers as of an earlier run.
    pub async fn once_after(&self, watched: Arc<[WatchedStatus]>) {
        self.poll_and_publish(None, watched).await;
    }

    /// Lists the account like a poll, without publishing anything.
    pub async fn listing(&self) -> ListingOutcome {
        let config = self.account.config();
        let poll = Poll::new(&self.account, &config);
        let result = match poll.listing().await {
            Ok(ListedNumbers { mut listing, numbers, .. }) => {
                let config = config.clone();
                let complete = move || {
                    let mut changes = ChangeCounters::default();
                    changes.add_labels(&numbers, config.collector.label_limit);
                    add_configured(&mut listing, &config, &numbers, &changes.fees, &[]);
                    (listing, changes)
                };
                Ok(run_blocking(complete).await)
            }
            Err(failure) => Err(failure),
        };
        ListingOutcome { result, pages: poll.pages(), attempts: poll.attempts() }
    }

    /// Lists the account like a poll, without publishing anything. Each attempt adds its records to a new sink.
    ///
    /// # Errors
    /// If there is no valid listing.
    pub async fn records<S: RecordSink>(&self, new_sink: fn() -> S) -> Result<ListedRecords<S>, Failure> {
        let config = self.account.config();
        let listed = Poll::with_sinks(&self.account, &config, new_sink).listing().await?;
        let ListedNumbers { listing, numbers, sink, .. } = listed;
        Ok(ListedRecords { listing, numbers, sink })
    }

    /// Polls once, compares the numbers with the `previous` valid listing and publishes the result. `watched` are the
    /// watched numbers before it if the account has no listing. Returns the numbers of the listing that is then the last
    /// valid one.
    async fn poll_and_publish(
        &self,
        previous: Option<Arc<NumberStates>>,
        watched: Arc<[WatchedStatus]>,
    ) -> Option<Arc<NumberStates>> {
        let started_at = Instant::now();
        let (poller, to_compare) = (self.clone(), previous.clone());
        // A task of its own, so that a bug that panics costs one poll and not the account.
        let poll = AbortOnDropHandle::new(tokio::spawn(async move { poller.poll(to_compare).await }));
        let PollOutcome { result, pages } =
            poll.await.unwrap_or_else(|_| PollOutcome { result: Err(internal_failure()), pages: 0 });
        let last_poll = LastPoll { ended_at: (self.now)(), duration: started_at.elapsed(), pages };
        let poller = self.clone();
        run_blocking(move || match result {
            Ok(valid) => poller.publish_success(last_poll, valid, &watched).or_else(|| {
                poller.publish_failure(last_poll, &internal_failure());
                previous
            }),
            Err(failure) => {
                poller.publish_failure(last_poll, &failure);
                previous
            }
        })
        .await
    }

    async fn poll(&self, previous: Option<Arc<NumberStates>>) -> PollOutcome {
        let (started_at, config) = (Instant::now(), self.account.config());
        let poll = Poll::new(&self.account, &config);
        let listing = poll.listing().await;
        let pages = poll.pages();
        match listing {
            Ok(listed) => {
                let label_limit = self.account.config().collector.label_limit;
                let changes = self.account.snapshot().changes.clone();
                let valid = run_blocking(move || ValidListing::new(listed, previous, changes, label_limit)).await;
                PollOutcome { result: Ok(valid), pages }
            }
            Err(failure) => {
                if failure.reason.may_be_due_to_connections() {
                    self.account.client().discard_connections(started_at);
                }
                PollOutcome { result: Err(failure), pages }
            }
        }
    }

    /// Publishes a successful poll and returns its numbers. Returns `None`, and publishes nothing, if a reaction panics.
    fn publish_success(
        &self,
        poll: LastPoll,
        valid: ValidListing,
        watched: &[WatchedStatus],
    ) -> Option<Arc<NumberStates>> {
        let ValidListing { mut listing, numbers, previous, changes } = valid;
        let previous = previous.as_ref().map(|(numbers, difference)| PreviousListing { numbers, difference });
        let difference = previous.map(|previous| previous.difference);
        let publishing = self.account.start_publishing();
        let (before, config) = (self.account.snapshot(), self.account.config());
        let watched_before = before.last_listing.as_ref().map_or(watched, |last| &last.content.watched);
        add_configured(&mut listing, &config, &numbers, &changes.fees, watched_before);
        let content = Arc::new(ListingContent::new(&listing, &numbers));
        let suspended = SuspensionTimer::start(self.suspended);
        let last_listing = LastListing::new(content, Instant::now(), suspended, &config.poll);
        let snapshot = Arc::new(before.after_success(poll, last_listing, changes, difference));
        let listing = Arc::new(listing);
        let new_listing = Some(NewListing { listing: &listing, numbers: &numbers, previous });
        let publication = Publication { account: &self.account, snapshot: &snapshot, new_listing };
        if !self.reactions.iter().all(|reaction| survives_panic(|| reaction.poll_ended(&publication))) {
            return None;
        }
        self.account.publish(snapshot);
        drop(publishing);
        if let Some(difference) = difference {
            log_changes(self.account.name(), difference);
        }
        log_success(self.account.name(), before.polls.is_up(), &listing, poll);
        Some(numbers)
    }

    /// Publishes a failed poll, also to the reactions after one that panics.
    fn publish_failure(&self, poll: LastPoll, failure: &Failure) {
        let publishing = self.account.start_publishing();
        let snapshot = Arc::new(self.account.snapshot().after_failure(poll, failure.clone()));
        let publication = Publication { account: &self.account, snapshot: &snapshot, new_listing: None };
        for reaction in &self.reactions {
            survives_panic(|| reaction.poll_ended(&publication));
        }
        let inventory = match (&snapshot.last_listing, snapshot.listing_at(Instant::now())) {
            (None, _) => "none",
            (Some(_), None) => "stale",
            (Some(_), Some(_)) => "served",
        };
        self.account.publish(snapshot);
        drop(publishing);
        log_failure(self.account.name(), failure, inventory, poll);
    }
}

/// Completes a listing by what depends on the configuration: which numbers have per-number series, owners and watched numbers.
pub(super) fn add_configured(
    listing: &mut Listing,
    config: &AccountConfig,
    numbers: &NumberStates,
    fees: &FeeMovements,
    watched_before: &[WatchedStatus],
) {
    listing.inventory = std::mem::take(&mut listing.inventory).with_number_limit(&config.collector, &config.watch);
    listing.owners = config.owners.totals(numbers, config.collector.label_limit, fees);
    listing.watched = WatchedStatus::of_listing(&config.watch, numbers, listing.is_exact(), watched_before);
}

impl ValidListing {
    /// Compares the listing with the `previous` one, counts the changes, and limits the label values. What could not be read
    /// of a number is as in the previous listing. `changes` are the counters before.
    fn new(
        listed: ListedNumbers,
        previous: Option<Arc<NumberStates>>,
        mut changes: ChangeCounters,
        label_limit: usize,
    ) -> Self {
        let ListedNumbers { mut listing, mut numbers, unreadable, .. } = listed;
        numbers.carry_over(previous.as_deref(), &unreadable);
        let previous = previous.map(|previous| {
            let difference = ListingDifference::between(&previous, &numbers);
            (previous, difference)
        });
        changes.add_labels(&numbers, label_limit);
        if let Some((_, difference)) = &previous {
            changes.add(difference, label_limit);
        }
        listing.inventory = listing.inventory.with_label_limit(label_limit, &changes.fees);
        Self { listing, numbers: Arc::new(numbers), previous, changes }
    }
}

/// Runs a reaction. Returns false if it panics; the panic hook has printed the message by then.
fn survives_panic(react: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(react)).is_ok()
}

/// Returns when the key can be read, after at least [`KEY_CHECK_INTERVAL`].
async fn key_is_readable(key: &ApiKeySource) {
    loop {
        sleep(KEY_CHECK_INTERVAL).await;
        if PollKey::read(key).await.is_ok() {
            return;
        }
    }
}

/// Returns the minimum pause after the last poll if it failed: none, or a second for each of its pages if the API answered
/// all of them in vain. Otherwise a listing of many pages would be requested repeatedly at full speed.
fn failure_pause(polls: &PollStats) -> Option<Duration> {
    let reason = polls.failure.as_ref()?.reason;
    let read_in_vain = matches!(reason, FailureReason::Inconsistent | FailureReason::InvalidRecords);
    let pages = polls.last.filter(|_| read_in_vain).map_or(0, |last| last.pages);
    Some(Duration::from_secs(pages.into()))
}

fn internal_failure() -> Failure {
    Failure::new(FailureReason::Internal, "the poll panicked; please report this bug together with the log")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    use bytes::Bytes;
    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;
    use reqwest::header::{HeaderMap, HeaderValue};
    use reqwest::{StatusCode, Url};

    use super::*;
    use crate::config::PollOptions;
    use crate::poller::AccountSnapshot;
    use crate::tryvox::{ApiKey, ApiResponse, ClientContext, FairLimit, Transport, TryvoxClient, TryvoxOptions};

    /// An API with one number, or with an error.
    #[derive(Debug, Default)]
    struct Api {
        is_down: AtomicBool,
    }

    impl Transport for Api {
        fn get(&self, _: Url, _: HeaderValue) -> BoxFuture<'_, Result<ApiResponse, Failure>> {
            let body = r#"{"data":[{"e164":"+14155550123","country":"US","type":"local","region":"CA","status":"active",
                "capabilities":["voice"],"trunk_id":null,"application_id":null,"monthly_fee":1.15,"setup_fee":0,
                "currency":"USD","created_at":"2025-03-11T09:24:00Z","updated_at":"2025-03-11T09:24:00Z"}],
                "pagination":{"total":1,"count":1,"per_page":100,"current_page":1,"total_pages":1}}"#;
            let is_down = self.is_down.load(Ordering::Relaxed);
            let status = if is_down { StatusCode::FORBIDDEN } else { StatusCode::OK };
            async move { Ok(ApiResponse { status, headers: HeaderMap::new(), body: Bytes::from(body).into() }) }.boxed()
        }
    }

    /// Records what is published to it.
    #[derive(Debug, Default)]
    struct Recorder {
        publications: Mutex<Vec<Recorded>>,
        panics: AtomicBool,
    }

    #[derive(Debug)]
    struct Recorded {
        snapshot: Arc<AccountSnapshot>,
        /// The numbers of the new listing and of its differences from the previous one.
        new_listing: Option<(u64, Option<u64>)>,
        /// Whether the account already shows the snapshot.
        is_shown: bool,
    }

    impl PollReaction for Recorder {
        fn poll_ended(&self, publication: &Publication<'_>) {
            let Publication { account, snapshot, new_listing } = publication;
            let is_shown = Arc::ptr_eq(&account.snapshot(), snapshot);
            let new_listing =
                new_listing.map(|new| (new.listing.inventory.listed, new.previous.map(|old| old.difference.count())));
            self.publications.lock().unwrap().push(Recorded { snapshot: (*snapshot).clone(), new_listing, is_shown });
            assert!(!self.panics.load(Ordering::Relaxed), "a bug in a reaction");
        }
    }

    fn poller(api: &Arc<Api>, reactions: &[&Arc<Recorder>]) -> Poller {
        let context = ClientContext {
            transport: api.clone(),
            fair_limit: Arc::new(FairLimit::new(1)),
            now: SystemTime::now,
            rng: fastrand::Rng::with_seed(7),
        };
        let tryvox = TryvoxOptions::default();
        let client = TryvoxClient::new("a", "acc", tryvox.clone(), context);
        let config = AccountConfig {
            name: "a".into(),
            account_id: "acc".into(),
            key: ApiKeySource::Value(ApiKey::new(&"key".into()).unwrap()),
            tryvox,
            poll: PollOptions::default(),
            collector: Arc::default(),
            budget: BTreeMap::new(),
            owners: Arc::default(),
            watch: Arc::default(),
        };
        Poller {
            first_interval: config.poll.interval,
            account: Arc::new(Account::new(config, client)),
            reactions: reactions.iter().map(|reaction| (*reaction).clone() as Arc<dyn PollReaction>).collect(),
            now: SystemTime::now,
            suspended: || Duration::ZERO,
            rng: fastrand::Rng::with_seed(7),
        }
    }

    #[tokio::test]
    async fn reactions_run_before_the_account_shows_the_snapshot() {
        let (api, reaction) = (Arc::new(Api::default()), Arc::new(Recorder::default()));
        let poller = poller(&api, &[&reaction]);
        let numbers = poller.poll_and_publish(None, Arc::default()).await;
        let numbers = poller.poll_and_publish(numbers, Arc::default()).await;
        api.is_down.store(true, Ordering::Relaxed);
        assert!(
            poller.poll_and_publish(numbers, Arc::default()).await.is_some(),
            "a failed poll keeps the numbers to compare with"
        );

        let publications = reaction.publications.lock().unwrap();
        let listings: Vec<_> = publications.iter().map(|publication| publication.new_listing).collect();
        assert_eq!(listings, [Some((1, None)), Some((1, Some(0))), None]);
        assert!(publications.iter().all(|publication| !publication.is_shown));
        let [.., last] = &publications[..] else { panic!("no publications") };
        assert!(Arc::ptr_eq(&last.snapshot, &poller.account.snapshot()));
        assert_eq!(last.snapshot.polls.failure.as_ref().unwrap().reason, FailureReason::Forbidden);
        assert!(last.snapshot.listing_at(Instant::now()).is_some(), "a failed poll keeps the listing");
    }

    #[tokio::test]
    async fn a_reaction_that_panics_costs_one_poll() {
        let api = Arc::new(Api::default());
        let [first, second] = [(); 2].map(|()| Arc::new(Recorder::default()));
        let poller = poller(&api, &[&first, &second]);
        first.panics.store(true, Ordering::Relaxed);
        poller.once().await;

        let snapshot = poller.account.snapshot();
        assert_eq!(snapshot.polls.failure.as_ref().unwrap().reason, FailureReason::Internal);
        assert_eq!((snapshot.polls.count(), snapshot.polls.successes), (1, 0));
        assert!(snapshot.last_listing.is_none());
        assert_eq!(second.publications.lock().unwrap().len(), 1, "later reactions see only the failed poll");
        assert!(second.publications.lock().unwrap()[0].new_listing.is_none());

        first.panics.store(false, Ordering::Relaxed);
        poller.once().await;
        assert!(poller.account.snapshot().polls.is_up());
    }
}
