//! One poll: a listing that can be trusted, or why there is none.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::task::JoinError;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, warn};

use super::account::Listing;
use super::run::Poller;
use crate::inventory::{E164, FoldedListing, InvalidRecord, ListingFold, NumberStates};
use crate::tryvox::{ApiKey, Failure, FailureReason, ListingPage};

/// How often a listing is read, at most, until its pages add up.
const READINGS: u32 = 3;

/// Of invalid records this many are logged in a poll.
const MAX_LOGGED: u64 = 5;

/// A poll that goes on, and what it has seen so far.
pub(super) struct Poll<'a> {
    poller: &'a Poller,
    deadline: Instant,
    /// Pages read, over all readings.
    pub(super) pages: AtomicU32,
    /// Invalid records met, over all readings.
    invalid: AtomicU64,
}

/// A listing, read once.
struct Reading {
    listed: Listing,
    snapshot: NumberStates,
    /// Whether every page reported the same total.
    steady: bool,
    /// Numbers that may have been bought while it was read.
    newcomers: HashSet<E164>,
}

impl<'a> Poll<'a> {
    /// A poll that has to be done within the poller's timeout, from now on.
    pub(super) fn new(poller: &'a Poller) -> Self {
        let deadline = Instant::now() + poller.config.poll.timeout();
        Self { poller, deadline, pages: AtomicU32::new(0), invalid: AtomicU64::new(0) }
    }

    /// Reads the listing until it adds up, and gives the best reading if what it lacks is little.
    pub(super) async fn listing(&self) -> Result<(Listing, NumberStates), Failure> {
        timeout_at(self.deadline, self.readings()).await.unwrap_or_else(|_| {
            let after = humantime::format_duration(self.poller.config.poll.timeout());
            Err(Failure::new(FailureReason::Timeout, format!("the poll was not done within {after} (--poll.timeout)")))
        })
    }

    async fn readings(&self) -> Result<(Listing, NumberStates), Failure> {
        let key = self.key().await?;
        let (mut best, mut known) = (Err(Failure::new(FailureReason::Internal, "nothing was read")), HashSet::new());
        for reading in 1..=READINGS {
            let start = Instant::now();
            match self.read(&key, std::mem::take(&mut known)).await {
                Ok(Reading { listed, snapshot, steady: true, .. }) if listed.discrepancy() == 0 => {
                    return Ok((listed, snapshot));
                }
                Ok(Reading { listed, snapshot, newcomers, .. }) => {
                    self.log_change(reading, &listed, newcomers.len());
                    known = newcomers;
                    if best.as_ref().map_or(u64::MAX, |(best, _): &(Listing, _)| best.discrepancy())
                        >= listed.discrepancy()
                    {
                        best = Ok((listed, snapshot));
                    }
                }
                Err(failure) if failure.reason == FailureReason::Inconsistent => best = best.or(Err(failure)),
                Err(failure) => return Err(failure),
            }
            // Half a reading would be of no use.
            if Instant::now() + start.elapsed() > self.deadline {
                break;
            }
        }
        best.and_then(|(best, snapshot)| Ok((self.judge(best)?, snapshot)))
    }

    /// One reading, of all series.
    async fn read(&self, key: &ApiKey, known: HashSet<E164>) -> Result<Reading, Failure> {
        let config = &self.poller.config;
        let fold = Mutex::new(ListingFold::new(config.collector.clone(), config.listed_statuses(), known));
        let (mut before, mut reported, mut steady) = (0_u32, 0_u64, true);
        for filter in &config.filters() {
            let take = |number: u32, page: ListingPage<'_>| {
                self.pages.fetch_add(1, Ordering::Relaxed);
                let mut fold = fold.lock().unwrap_or_else(PoisonError::into_inner);
                fold.add_page(number.saturating_add(before), &page, |error| self.complain(number, &error));
            };
            fold.lock().unwrap_or_else(PoisonError::into_inner).start_query();
            let listing = self.poller.account.client().list(key, filter, self.deadline, take).await?;
            before = listing.pages.saturating_add(before);
            reported = listing.reported_total.saturating_add(reported);
            steady &= listing.is_total_stable;
        }
        let fold = fold.into_inner().unwrap_or_else(PoisonError::into_inner);
        let FoldedListing { inventory, number_states: snapshot, added_during_listing: newcomers } =
            aside(move || fold.finish()).await;
        Ok(Reading { listed: Listing { inventory, reported }, snapshot, steady, newcomers })
    }

    fn log_change(&self, reading: u32, listed: &Listing, newcomers: usize) {
        debug!(
            account = self.poller.account.name(),
            reading,
            numbers = listed.inventory.listed,
            invalid = listed.inventory.invalid,
            reported = listed.reported,
            newcomers,
            "the list changed while it was read"
        );
    }

    /// Logs an invalid record, if not too many were logged already.
    fn complain(&self, page: u32, error: &InvalidRecord) {
        if self.invalid.fetch_add(1, Ordering::Relaxed) < MAX_LOGGED {
            warn!(account = self.poller.account.name(), page, %error, "invalid record");
        }
    }

    /// Whether a reading that does not add up is near enough.
    fn judge(&self, listed: Listing) -> Result<Listing, Failure> {
        let (discrepancy, allowed) =
            (listed.discrepancy(), allowed(self.poller.config.poll.max_discrepancy, listed.reported));
        if discrepancy <= allowed {
            return Ok(listed);
        }
        let cause = format!(
            "the API reports {} numbers and lists {}, {} of them invalid: {discrepancy} apart, where \
             --poll.max-discrepancy allows {allowed}",
            listed.reported,
            listed.inventory.listed + listed.inventory.invalid,
            listed.inventory.invalid,
        );
        Err(Failure::new(FailureReason::Inconsistent, cause))
    }

    async fn key(&self) -> Result<ApiKey, Failure> {
        let source = self.poller.config.key.clone();
        aside(move || source.read()).await.map_err(|error| Failure::new(FailureReason::ApiKey, error.to_string()))
    }
}

/// Does what takes long, or waits for a disk, where it holds up nobody. A fault in there is one of the
/// caller; at the end of this program it has no end.
pub(super) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await.map_err(JoinError::try_into_panic) {
        Ok(done) => done,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(_)) => std::future::pending().await,
    }
}

impl Listing {
    /// By how much the records listed, invalid ones included, miss what the API reports.
    #[must_use]
    pub fn discrepancy(&self) -> u64 {
        (self.inventory.listed + self.inventory.invalid).abs_diff(self.reported)
    }
}

/// `max(1, share of the total)`, in whole numbers.
fn allowed(share: f64, total: u64) -> u64 {
    #[expect(clippy::cast_precision_loss, reason = "a total that a double cannot hold is a lie")]
    let allowed = share * total as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates, which is meant")]
    let allowed = allowed as u64;
    allowed.max(1)
}

#[cfg(test)]
mod tests {
    use super::allowed;

    #[test]
    fn one_number_may_always_be_missing() {
        assert_eq!(allowed(0.01, 0), 1);
        assert_eq!(allowed(0.01, 199), 1);
        assert_eq!(allowed(0.01, 250), 2);
        assert_eq!(allowed(0.0, 1_000_000), 1);
        assert_eq!(allowed(1.0, u64::MAX), u64::MAX);
    }
}
