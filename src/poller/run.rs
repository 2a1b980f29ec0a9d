//! The task that keeps one account current.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

use super::account::{Account, Encode, Encoded, LastPoll, Listed, Polls, Published};
use crate::inventory::Fold;
use crate::tryvox::{Failure, KeySource, Page, Reason};

/// What a poll needs beside the account.
#[derive(Debug, Clone)]
pub struct Poller {
    /// The account that is kept current.
    pub account: Arc<Account>,
    /// Asked anew at each poll.
    pub key: KeySource,
    /// What a whole poll may take.
    pub timeout: Duration,
    /// How a good listing is written down.
    pub encode: Encode,
    /// The time of day, for timestamps.
    pub now: fn() -> SystemTime,
}

/// What one poll gave.
struct Outcome {
    listed: Result<Encoded, Failure>,
    numbers: u64,
    pages: u32,
}

impl Poller {
    /// Polls at once and then every interval, until `stop`.
    ///
    /// A poll that outlives its interval takes the place of those it overlaps; the next one keeps
    /// to the account's beat.
    pub async fn run(self, stop: CancellationToken) {
        let mut beat = interval(self.account.interval());
        beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let polls = async {
            loop {
                beat.tick().await;
                self.poll_and_publish().await;
            }
        };
        // Whatever is in flight at the stop is dropped: a poll publishes nothing before its end.
        stop.run_until_cancelled(polls).await;
    }

    async fn poll_and_publish(&self) {
        let start = Instant::now();
        let poller = self.clone();
        // A task of its own, so that a fault of this program costs one poll and not the account.
        let poll = AbortOnDropHandle::new(tokio::spawn(async move { poller.poll().await }));
        let outcome = poll.await.unwrap_or_else(|_| Outcome {
            listed: Err(Failure::new(Reason::Internal, "the poll ended in a fault of this program; please report it")),
            numbers: 0,
            pages: 0,
        });
        let last = LastPoll { at: (self.now)(), took: start.elapsed(), pages: outcome.pages };

        let before = self.account.published();
        let (polls, encoded) = match outcome.listed {
            Ok(encoded) => (before.polls.clone().succeeded(last), Some(Arc::new(encoded))),
            Err(failure) => (before.polls.clone().failed(last, failure), before.encoded.clone()),
        };
        self.account.publish(Published { polls: polls.clone(), encoded });
        self.log(before.polls.up(), outcome.numbers, last, &polls);
    }

    async fn poll(&self) -> Outcome {
        let fold = Mutex::new(Fold::new());
        let pages = AtomicU32::new(0);
        let listing = timeout(self.timeout, self.list(&fold, &pages)).await.unwrap_or_else(|_| {
            let after = humantime::format_duration(self.timeout);
            Err(Failure::new(Reason::Timeout, format!("the poll was not done within {after} (--poll.timeout)")))
        });
        let pages = pages.into_inner();
        match listing {
            Ok(reported) => {
                let inventory = fold.into_inner().unwrap_or_else(PoisonError::into_inner).finish();
                let numbers = inventory.listed;
                let listed = Ok((self.encode)(self.account.name(), &Listed { inventory, reported }));
                Outcome { listed, numbers, pages }
            }
            Err(failure) => Outcome { listed: Err(failure), numbers: 0, pages },
        }
    }

    /// Lists the account into `fold` and gives the total that the API reports.
    async fn list(&self, fold: &Mutex<Fold>, pages: &AtomicU32) -> Result<u64, Failure> {
        let source = self.key.clone();
        let key = tokio::task::spawn_blocking(move || source.read())
            .await
            .map_err(|error| Failure::new(Reason::Internal, error.to_string()))?
            .map_err(|error| Failure::new(Reason::ApiKey, error.to_string()))?;
        let take = |number, page: Page<'_>| {
            pages.fetch_add(1, Ordering::Relaxed);
            let mut fold = fold.lock().unwrap_or_else(PoisonError::into_inner);
            fold_page(&mut fold, number, &page);
        };
        self.account.client().list(&key, take).await.map(|listing| listing.reported)
    }

    /// One line a poll: at debug level when all goes on as it was.
    fn log(&self, was_up: bool, numbers: u64, last: LastPoll, polls: &Polls) {
        let account = self.account.name();
        let pages = last.pages;
        let took = tracing::field::display(seconds(last.took));
        match &polls.failure {
            Some(failure) => {
                warn!(account, reason = failure.reason.as_str(), error = %failure, pages, took, "poll failed");
            }
            None if was_up => debug!(account, numbers, pages, took, "account listed"),
            None => info!(account, numbers, pages, took, "account listed"),
        }
    }
}

/// To the millisecond, for people.
fn seconds(duration: Duration) -> String {
    format!("{:.3}s", duration.as_secs_f64())
}

fn fold_page(fold: &mut Fold, number: u32, page: &Page<'_>) {
    for error in &page.unreadable {
        fold.invalid_record();
        debug!(page = number, %error, "invalid record");
    }
    for record in &page.records {
        if let Err(error) = fold.record(number, record) {
            debug!(page = number, %error, "invalid record");
        }
    }
}

impl Polls {
    fn succeeded(self, last: LastPoll) -> Self {
        Self { successes: self.successes + 1, failure: None, last: Some(last), last_success: Some(last.at), ..self }
    }

    fn failed(self, last: LastPoll, failure: Failure) -> Self {
        let mut failures = self.failures;
        failures[failure.reason as usize] += 1;
        Self { failures, failure: Some(failure), last: Some(last), ..self }
    }
}
