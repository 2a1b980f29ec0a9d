//! The task that keeps one account current.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

use super::account::{Account, AccountSnapshot, Encode, Encoded, LastListing, LastPoll, Listing, PollPhase, PollStats};
use super::poll::{Poll, aside};
use crate::config::AccountConfig;
use crate::inventory::{InventorySummary, ListingDifference, NumberChange, NumberStates};
use crate::tryvox::{Failure, FailureReason};

/// What a poll needs beside the account.
#[derive(Debug, Clone)]
pub struct Poller {
    /// The account that is kept current.
    pub account: Arc<Account>,
    /// What the configuration says about it.
    pub config: Arc<AccountConfig>,
    /// Time from the first poll to the second, which spreads the polls of many accounts.
    pub first_interval: Duration,
    /// How a good listing is written down.
    pub encode: Encode,
    /// The time of day, for timestamps.
    pub now: fn() -> SystemTime,
}

/// What one poll gave.
struct Outcome {
    good: Result<Good, Failure>,
    pages: u32,
    /// The last good listing, number by number: this one or the one before.
    snapshot: Option<NumberStates>,
}

/// A good listing, written down.
struct Good {
    encoded: Encoded,
    overview: InventorySummary,
    counts: Counts,
    /// What happened since the one before, if there was one.
    difference: Option<ListingDifference>,
}

/// Its counts, for the log.
#[derive(Clone, Copy)]
struct Counts {
    numbers: u64,
    invalid: u64,
    reported: u64,
}

impl Poller {
    /// PollStats at once, after the first gap, and then every interval, until `stop`.
    ///
    /// A poll that outlives its interval delays the next, which then begins at once; those in between
    /// are left out, and the beat goes on. Where the API asked for patience, the next one waits.
    pub async fn run(self, stop: CancellationToken) {
        let mut next = Instant::now() + self.first_interval;
        let polls = async {
            let mut snapshot = None;
            loop {
                self.account.does(PollPhase::Polling(Instant::now()));
                snapshot = self.poll_and_publish(snapshot).await;
                self.account.does(PollPhase::Waiting(next));
                self.account.client().wait_while_paused().await;
                sleep_until(next).await;
                next = beat_after(Instant::now(), next, self.account.interval());
            }
        };
        // Whatever is in flight at the stop is dropped: a poll publishes nothing before its end.
        stop.run_until_cancelled(polls).await;
    }

    /// PollStats once and publishes what comes of it.
    pub async fn once(&self) {
        self.poll_and_publish(None).await;
    }

    /// Lists the account once, for those who want to know more of it than the metrics say.
    ///
    /// # Errors
    /// Why there is no listing that can be trusted.
    pub async fn listing(&self) -> Result<Listing, Failure> {
        let poll = Poll::new(self);
        poll.listing().await.map(|(listed, _)| listed)
    }

    async fn poll_and_publish(&self, before: Option<NumberStates>) -> Option<NumberStates> {
        let start = Instant::now();
        let poller = self.clone();
        // A task of its own, so that a fault of this program costs one poll and not the account.
        let poll = AbortOnDropHandle::new(tokio::spawn(async move { poller.poll(before).await }));
        let Outcome { good, pages, snapshot } = poll.await.unwrap_or_else(|_| Outcome {
            good: Err(Failure::new(
                FailureReason::Internal,
                "the poll ended in a fault of this program; please report it",
            )),
            pages: 0,
            snapshot: None,
        });
        let last = LastPoll { at: (self.now)(), took: start.elapsed(), pages };

        let before = self.account.snapshot();
        let AccountSnapshot { polls, mut changes, last_listing, mut history } = (*before).clone();
        let (published, counts, difference) = match good {
            Ok(Good { encoded, overview, counts, difference }) => {
                if let Some(difference) = &difference {
                    changes.add(difference, self.config.collector.label_limit);
                    history.changed(last.at, difference);
                }
                let now = Instant::now();
                let last_listing = Some(LastListing {
                    encoded: Arc::new(encoded),
                    overview: Arc::new(overview),
                    invalid: counts.invalid,
                    stale_at: now + self.config.poll.stale_after(),
                    // However short that is, a listing stays until the next poll has ended.
                    overdue_at: now
                        + self.config.poll.stale_after().max(self.account.interval() + self.config.poll.timeout()),
                });
                (
                    AccountSnapshot { polls: polls.succeeded(last), changes, last_listing, history },
                    Some(counts),
                    difference,
                )
            }
            Err(failure) => {
                history.failed(last.at, &failure, polls.failure.is_some());
                (AccountSnapshot { polls: polls.failed(last, failure), changes, last_listing, history }, None, None)
            }
        };
        self.account.publish(published.clone());
        if let Some(difference) = difference {
            self.log_changes(&difference);
        }
        self.log(before.polls.up(), &published, counts, last);
        snapshot
    }

    async fn poll(&self, before: Option<NumberStates>) -> Outcome {
        let poll = Poll::new(self);
        let listing = poll.listing().await;
        let pages = poll.pages.into_inner();
        match listing {
            Ok((listed, snapshot)) => {
                let poller = self.clone();
                let (good, snapshot) = aside(move || poller.write_down(listed, before, snapshot)).await;
                Outcome { good: Ok(good), pages, snapshot: Some(snapshot) }
            }
            Err(failure) => Outcome { good: Err(failure), pages, snapshot: before },
        }
    }

    /// All that follows from a good listing; it is no longer compared with what was `before`.
    fn write_down(
        &self,
        mut listed: Listing,
        before: Option<NumberStates>,
        snapshot: NumberStates,
    ) -> (Good, NumberStates) {
        let difference = before.map(|before| ListingDifference::between(&before, &snapshot));
        listed.inventory = listed.inventory.with_label_limit(self.config.collector.label_limit);
        let counts =
            Counts { numbers: listed.inventory.listed, invalid: listed.inventory.invalid, reported: listed.reported };
        let shown = self.account.snapshot();
        let shown = shown.last_listing.as_ref().map(|kept| &*kept.encoded);
        let encoded = (self.encode)(self.account.name(), &listed, shown);
        let overview = InventorySummary::new(&listed.inventory);
        (Good { encoded, overview, counts, difference }, snapshot)
    }

    /// Which numbers, for those who ask the log, and one line that counts them.
    fn log_changes(&self, difference: &ListingDifference) {
        if difference.count() == 0 {
            return;
        }
        let account = self.account.name();
        for change in &difference.changes {
            match change {
                NumberChange::Added(e164) => debug!(account, %e164, "number added"),
                NumberChange::Removed(e164) => debug!(account, %e164, "number removed"),
                NumberChange::Status(e164, from, to) => {
                    debug!(account, %e164, from = &**from, to = &**to, "number status changed");
                }
                NumberChange::Fee(e164, from, to) => debug!(account, %e164, %from, %to, "number fee changed"),
            }
        }
        let untold = difference.count() - difference.changes.len() as u64;
        if untold > 0 {
            debug!(account, untold, "more numbers changed");
        }
        let became = |status: &str| -> u64 {
            difference.status_changes.iter().filter(|([_, to], _)| **to == *status).map(|(_, count)| count).sum()
        };
        info!(
            account,
            added = difference.added,
            removed = difference.removed,
            suspended = became("suspended"),
            activated = became("active"),
            fee_increases = difference.fee_increases,
            fee_decreases = difference.fee_decreases,
            "numbers changed"
        );
    }

    /// One line a poll: at debug level when all goes on as it was.
    fn log(&self, was_up: bool, published: &AccountSnapshot, counts: Option<Counts>, last: LastPoll) {
        let account = self.account.name();
        let pages = last.pages;
        let took = tracing::field::display(seconds(last.took));
        if let Some(failure) = &published.polls.failure {
            let inventory = match (&published.last_listing, published.current(Instant::now())) {
                (None, _) => "none",
                (Some(_), None) => "stale",
                (Some(_), Some(_)) => "kept",
            };
            warn!(
                account,
                reason = failure.reason.as_str(),
                error = %failure,
                inventory,
                pages,
                took,
                "poll failed"
            );
        } else if let Some(Counts { numbers, invalid, reported }) = counts {
            if was_up && numbers + invalid == reported {
                debug!(account, numbers, invalid, reported, pages, took, "account listed");
            } else {
                info!(account, numbers, invalid, reported, pages, took, "account listed");
            }
        }
    }
}

/// The first beat after `now`, of those that are an interval apart from each other and from `beat`.
fn beat_after(now: Instant, beat: Instant, interval: Duration) -> Instant {
    let late = now.saturating_duration_since(beat).as_nanos();
    let since_last = late.checked_rem(interval.as_nanos()).and_then(|rest| u64::try_from(rest).ok());
    now.max(beat) + interval.saturating_sub(Duration::from_nanos(since_last.unwrap_or(0)))
}

/// To the millisecond, for people.
fn seconds(duration: Duration) -> String {
    format!("{:.3}s", duration.as_secs_f64())
}

impl PollStats {
    fn succeeded(self, last: LastPoll) -> Self {
        Self { successes: self.successes + 1, failure: None, last: Some(last), last_success: Some(last.at), ..self }
    }

    fn failed(self, last: LastPoll, failure: Failure) -> Self {
        let mut failures = self.failures;
        failures[failure.reason as usize] += 1;
        Self { failures, failure: Some(failure), last: Some(last), ..self }
    }
}
