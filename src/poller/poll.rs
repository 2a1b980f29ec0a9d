//! One poll: lists an account until the listing is valid, or returns why it is not.
//!
//! The pages of a listing are requested one after the other while numbers are purchased and released, so a listing
//! may be inconsistent. It is then listed again, up to [`MAX_ATTEMPTS`] times, and the attempt that differs least
//! from what the API reports is taken if the difference is within `--poll.max-discrepancy`. Too many invalid records
//! make a listing invalid at once, because listing again does not help. Nothing is published here.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::{Instant, timeout_at};
use tracing::{debug, warn};

use super::account::Account;
use crate::blocking::run_blocking;
use crate::config::AccountConfig;
use crate::duration;
use crate::inventory::{
    E164, FoldedListing, InvalidRecord, InvalidRecords, Inventory, Listing, ListingFold, NumberStates,
};
use crate::plural;
use crate::tryvox::{Failure, FailureReason, ListingPage, NumberRecord, PollKey};

/// Maximum number of times that an account is listed in one poll.
const MAX_ATTEMPTS: u32 = 3;

/// Maximum number of invalid records that are logged in one poll.
const MAX_LOGGED_RECORDS: u64 = 5;

/// Receives the records of one attempt to list an account.
pub trait RecordSink: Send {
    /// Adds the record of a number on a page. If several pages have the same number, the record on the page with the
    /// highest number is the one that the listing has, in whatever order they are added. A number that the listing does
    /// not have in the end may have been added, too.
    fn add(&mut self, page: u32, record: &NumberRecord<'_>);
}

/// Drops the records.
impl RecordSink for () {
    fn add(&mut self, _: u32, _: &NumberRecord<'_>) {}
}

/// A poll in progress, each of whose attempts has a sink for its records.
pub(super) struct Poll<'a, S = ()> {
    account: &'a Account,
    config: &'a AccountConfig,
    started_at: Instant,
    deadline: Instant,
    /// Pages read so far, over all attempts.
    pages: AtomicU32,
    /// Attempts started so far.
    attempts: AtomicU32,
    /// Invalid records found so far, over all attempts.
    invalid_records: AtomicU64,
    new_sink: fn() -> S,
}

/// A listing and the state of each of its numbers.
pub(super) struct ListedNumbers<S = ()> {
    pub(super) listing: Listing,
    pub(super) numbers: NumberStates,
    /// The sink of the attempt.
    pub(super) sink: S,
    /// The numbers that have only invalid records, in ascending order.
    pub(super) unreadable: Vec<E164>,
    /// Whether the API reports numbers, for the whole listing or one of its filters, but listed none.
    lacks_numbers: bool,
}

impl<S> ListedNumbers<S> {
    /// Returns a value that is lower the less the listing differs from what the API reports.
    fn inconsistency(&self) -> (bool, u64) {
        (self.lacks_numbers, self.listing.discrepancy())
    }
}

/// The result of listing an account once.
struct ListingAttempt<S> {
    listed: ListedNumbers<S>,
    /// The numbers that may have been purchased during the attempt, which are not in the listing.
    added_during_listing: HashSet<E164>,
}

impl<'a> Poll<'a> {
    /// Starts a poll that drops the records; its deadline is `--poll.timeout` from now.
    pub(super) fn new(account: &'a Account, config: &'a AccountConfig) -> Self {
        Self::with_sinks(account, config, || ())
    }
}

impl<'a, S: RecordSink> Poll<'a, S> {
    /// Starts a poll each of whose attempts adds its records to a new sink.
    pub(super) fn with_sinks(account: &'a Account, config: &'a AccountConfig, new_sink: fn() -> S) -> Self {
        let started_at = Instant::now();
        Self {
            account,
            config,
            started_at,
            deadline: started_at + config.poll.timeout(),
            pages: AtomicU32::new(0),
            attempts: AtomicU32::new(0),
            invalid_records: AtomicU64::new(0),
            new_sink,
        }
    }

    /// Returns how many pages have been read so far.
    pub(super) fn pages(&self) -> u32 {
        self.pages.load(Ordering::Relaxed)
    }

    /// Returns how many times the account has been listed so far, the attempt in progress included.
    pub(super) fn attempts(&self) -> u32 {
        self.attempts.load(Ordering::Relaxed)
    }

    /// Returns a valid listing of the account.
    ///
    /// # Errors
    /// If the key or a page cannot be read, the deadline passes, too many records are invalid, or no attempt is
    /// consistent enough.
    pub(super) async fn listing(&self) -> Result<ListedNumbers<S>, Failure> {
        let listing = timeout_at(self.deadline, self.list_until_consistent()).await;
        listing.unwrap_or_else(|_| Err(self.deadline_failure()))
    }

    /// Returns the failure of a poll that reached its deadline: that of the last request if it failed.
    fn deadline_failure(&self) -> Failure {
        let timeout = duration::format(self.config.poll.timeout());
        let cause = format!("the poll did not finish within {timeout}");
        if let Some(failure) = self.account.client().last_failure_since(self.started_at) {
            return Failure { cause: format!("{cause}: {}", failure.cause), ..failure };
        }
        let remedy = "raise --poll.timeout, --tryvox.concurrency or --tryvox.rate-limit";
        Failure::new(FailureReason::Timeout, format!("{cause}; {remedy}"))
    }

    async fn list_until_consistent(&self) -> Result<ListedNumbers<S>, Failure> {
        // Read again at each poll, so that a new key file needs no restart.
        let key = PollKey::read(&self.config.key).await?;
        let mut best: Result<ListedNumbers<S>, _> =
            Err(Failure::new(FailureReason::Internal, "no listing was attempted; please report this bug"));
        let mut added_during_previous_listing = HashSet::new();
        for attempt in 1..=MAX_ATTEMPTS {
            let started_at = Instant::now();
            self.attempts.store(attempt, Ordering::Relaxed);
            match self.list(&key, std::mem::take(&mut added_during_previous_listing)).await {
                Ok(ListingAttempt { listed, added_during_listing }) => {
                    let discrepancy = listed.listing.discrepancy();
                    if discrepancy == 0 && !listed.listing.has_unstable_total && !listed.lacks_numbers {
                        // Listing again would not change the records.
                        self.check_invalid_records(&listed.listing)?;
                        return Ok(listed);
                    }
                    self.log_inconsistency(attempt, &listed.listing, added_during_listing.len());
                    added_during_previous_listing = added_during_listing;
                    let least = best.as_ref().map_or((true, u64::MAX), ListedNumbers::inconsistency);
                    if listed.inconsistency() <= least {
                        best = Ok(listed);
                    }
                }
                Err(failure) if failure.reason == FailureReason::Inconsistent => best = best.or(Err(failure)),
                Err(failure) => return Err(failure),
            }
            // An attempt that cannot end before the deadline is not worth its requests.
            if Instant::now() + started_at.elapsed() > self.deadline {
                break;
            }
        }
        let listed = best?;
        self.check_invalid_records(&listed.listing)?;
        self.check_consistency(&listed)?;
        Ok(listed)
    }

    /// Lists the account once, with all filters.
    async fn list(
        &self,
        key: &PollKey,
        added_during_previous_listing: HashSet<E164>,
    ) -> Result<ListingAttempt<S>, Failure> {
        let (options, statuses) = (self.config.collector.clone(), self.config.listed_statuses());
        let watched = Arc::new(self.config.watch.iter().map(|number| number.e164).collect());
        let fold = ListingFold::new(options, watched, statuses, added_during_previous_listing);
        let attempt = Mutex::new((fold, (self.new_sink)()));
        let (mut pages_before, mut reported, mut has_unstable_total, mut lacks_numbers) = (0_u32, 0_u64, false, false);
        for filter in &self.config.filters() {
            let add_page = |number: u32, page: ListingPage<'_>| {
                self.pages.fetch_add(1, Ordering::Relaxed);
                let (fold, sink) = &mut *attempt.lock().unwrap_or_else(PoisonError::into_inner);
                let page_number = number.saturating_add(pages_before);
                let on_invalid = |error| self.log_invalid(number, &error);
                fold.add_page_with(page_number, &page, on_invalid, |record| sink.add(page_number, record));
            };
            attempt.lock().unwrap_or_else(PoisonError::into_inner).0.start_query();
            let summary = self.account.client().list(key, filter, self.deadline, add_page).await?;
            pages_before = summary.pages.saturating_add(pages_before);
            reported = summary.reported_total.saturating_add(reported);
            has_unstable_total |= !summary.is_total_stable;
            let has_records = attempt.lock().unwrap_or_else(PoisonError::into_inner).0.query_has_records();
            lacks_numbers |= summary.highest_total > 0 && !has_records;
        }
        let (fold, sink) = attempt.into_inner().unwrap_or_else(PoisonError::into_inner);
        let FoldedListing { inventory, number_states: numbers, added_during_listing, unreadable_numbers: unreadable } =
            run_blocking(move || fold.finish()).await;
        lacks_numbers |= reported > 0 && inventory.listed == 0;
        let listing = Listing { inventory, reported, has_unstable_total, ..Listing::default() };
        let listed = ListedNumbers { listing, numbers, sink, unreadable, lacks_numbers };
        Ok(ListingAttempt { listed, added_during_listing })
    }

    fn log_inconsistency(&self, attempt: u32, listing: &Listing, added_during_listing: usize) {
        debug!(
            account = self.account.name(),
            attempt,
            numbers = listing.inventory.listed,
            invalid_records = listing.inventory.invalid,
            reported = listing.reported,
            added_during_listing,
            "listing is inconsistent"
        );
    }

    /// Logs an invalid record unless [`MAX_LOGGED_RECORDS`] have been logged already.
    fn log_invalid(&self, page: u32, error: &InvalidRecord) {
        if self.invalid_records.fetch_add(1, Ordering::Relaxed) < MAX_LOGGED_RECORDS {
            warn!(account = self.account.name(), page, %error, "invalid record");
        }
    }

    /// Returns how many of the numbers that the API reports may be missing or invalid.
    fn allowed(&self, listing: &Listing) -> u64 {
        allowed_discrepancy(self.config.poll.max_discrepancy, listing.reported)
    }

    /// Checks that few enough records are invalid. Listing again would not change them.
    fn check_invalid_records(&self, listing: &Listing) -> Result<(), Failure> {
        let Inventory { listed, invalid, invalid_by_kind, .. } = &listing.inventory;
        // Numbers that are all invalid must not look like an empty account.
        let allowed = if *listed == 0 && listing.reported > 0 { 0 } else { self.allowed(listing) };
        let Some((_, most_frequent)) = invalid_by_kind.iter().max_by_key(|(_, records)| records.count) else {
            return Ok(());
        };
        if *invalid <= allowed {
            return Ok(());
        }
        let InvalidRecords { count, example } = most_frequent;
        let limit = match listed {
            0 => "and no number is valid".to_owned(),
            _ => format!("at most {allowed} allowed"),
        };
        let (records, times) =
            (counted(*invalid, "invalid record", "invalid records"), counted(*count, "time", "times"));
        let cause = format!(
            "{records}, {limit}; most frequent, {times}: {example}; look for a newer release of tryvox-exporter, and \
             report it to TryVox"
        );
        Err(Failure::new(FailureReason::InvalidRecords, cause))
    }

    /// Checks that an inconsistent listing is near enough to what the API reports.
    fn check_consistency(&self, listed: &ListedNumbers<S>) -> Result<(), Failure> {
        let ListedNumbers { listing, lacks_numbers, .. } = listed;
        let (discrepancy, allowed, reported) = (listing.discrepancy(), self.allowed(listing), listing.reported);
        let Inventory { listed, invalid, .. } = listing.inventory;
        let cause = if *lacks_numbers {
            format!(
                "the API reports numbers but listed none with {}; check the account in the TryVox console, or contact \
                 TryVox",
                if listed == 0 { "any filter" } else { "one of the filters" }
            )
        } else if listing.has_unstable_total && self.config.poll.max_discrepancy == 0.0 {
            "pages of the listing report different totals, which --poll.max-discrepancy=0 does not allow; raise it, or \
             contact TryVox if the account does not change all the time"
                .to_owned()
        } else if discrepancy > allowed {
            format!(
                "the API reports {} but listed {} ({invalid} invalid): a difference of {discrepancy}, at most {allowed} \
                 allowed; raise --poll.max-discrepancy or contact TryVox",
                counted(reported, "number", "numbers"),
                listed + invalid,
            )
        } else {
            return Ok(());
        };
        Err(Failure::new(FailureReason::Inconsistent, cause))
    }
}

/// Formats a count of things.
fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", plural::choose(count, one, many))
}

/// Returns the share of the total, rounded down, but at least 1; a share of 0 is strict and allows none.
fn allowed_discrepancy(share: f64, total: u64) -> u64 {
    if share == 0.0 {
        return 0;
    }
    #[expect(clippy::cast_precision_loss, reason = "no account has a total that a double cannot hold")]
    let allowed = share * total as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates, as intended")]
    let allowed = allowed as u64;
    allowed.max(1)
}

#[cfg(test)]
mod tests {
    use super::allowed_discrepancy;

    #[test]
    fn allowed_discrepancy_is_a_share_of_the_total_and_at_least_one_unless_strict() {
        assert_eq!(allowed_discrepancy(0.01, 0), 1);
        assert_eq!(allowed_discrepancy(0.01, 199), 1);
        assert_eq!(allowed_discrepancy(0.01, 250), 2);
        assert_eq!(allowed_discrepancy(0.000_000_1, 1_000_000), 1);
        assert_eq!(allowed_discrepancy(0.0, 1_000_000), 0);
        assert_eq!(allowed_discrepancy(1.0, u64::MAX), u64::MAX);
    }
}
