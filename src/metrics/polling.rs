//! How polling goes: filled from an account's state at each scrape.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::family::{Family, Metric, MetricType};
use tokio::time::Instant;

use crate::poller::{Account, AccountSnapshot, LastListing};
use crate::tryvox::{DURATION_BUCKETS, FailureReason, RequestStats};

/// An account as one scrape sees it.
#[derive(Debug)]
pub struct Polled {
    /// What does not change.
    pub account: Arc<Account>,
    /// How its polls went, and its last good listing.
    pub published: Arc<AccountSnapshot>,
    /// What its requests came to.
    pub requests: RequestStats,
    /// The moment of the scrape.
    pub now: Instant,
}

impl Polled {
    /// The listing to show.
    pub(super) fn current(&self) -> Option<&LastListing> {
        self.published.current(self.now)
    }
}

type OfPolling = Metric<Polled>;

/// The families of changes and polling, in the order of the exposition.
pub static POLLING: &[Metric<Polled>] = &[
    OfPolling::counter(
        "tryvox_numbers_added_total",
        &["account"],
        "Phone numbers that were in a good listing and not in the one before.",
        |polled, samples| samples.push([], polled.published.changes.added),
    )
    .about("numbers", "sum by (account) (increase(tryvox_numbers_added_total[1d]))"),
    OfPolling::counter(
        "tryvox_numbers_removed_total",
        &["account"],
        "Phone numbers that were not in a good listing but in the one before.",
        |polled, samples| samples.push([], polled.published.changes.removed),
    )
    .about("numbers", "increase(tryvox_numbers_removed_total[1h]) > 10"),
    OfPolling::counter(
        "tryvox_number_status_changes_total",
        &["account", "from", "to"],
        "Phone numbers whose status differed between two successive good listings.",
        |polled, samples| {
            for ([from, to], count) in &polled.published.changes.statuses {
                samples.push([from, to], *count);
            }
        },
    )
    .about("numbers", "sum by (from, to) (increase(tryvox_number_status_changes_total[1d]))"),
    OfPolling::counter(
        "tryvox_number_fee_changes_total",
        &["account", "direction"],
        "Phone numbers whose monthly fee differed between two successive good listings, in the same currency.",
        |polled, samples| {
            samples.push(["increase"], polled.published.changes.fee_increases);
            samples.push(["decrease"], polled.published.changes.fee_decreases);
        },
    )
    .about("numbers", "increase(tryvox_number_fee_changes_total{direction=\"increase\"}[1d]) > 0"),
    OfPolling::gauge(
        "tryvox_up",
        &["account"],
        "1 if the last poll gave a listing that can be trusted, else 0.",
        |polled, samples| samples.push([], polled.published.polls.up()),
    )
    .about("", "tryvox_up == 0"),
    OfPolling::counter(
        "tryvox_polls_total",
        &["account", "result"],
        "PollStats that ended, by result: success or failure.",
        |polled, samples| {
            samples.push(["success"], polled.published.polls.successes);
            samples.push(["failure"], polled.published.polls.failures.iter().sum::<u64>());
        },
    )
    .about("polls", "rate(tryvox_polls_total{result=\"failure\"}[1h]) > 0"),
    OfPolling::counter(
        "tryvox_poll_errors_total",
        &["account", "reason"],
        "PollStats that failed, by reason.",
        |polled, samples| {
            for (reason, count) in FailureReason::ALL.into_iter().zip(polled.published.polls.failures) {
                samples.push([reason.as_str()], count);
            }
        },
    )
    .about("polls", "sum by (account, reason) (increase(tryvox_poll_errors_total[1h])) > 0"),
    OfPolling::gauge(
        "tryvox_last_poll_timestamp_seconds",
        &["account"],
        "When the last poll ended, however it did, in seconds since the epoch; absent before the first.",
        |polled, samples| {
            if let Some(last) = polled.published.polls.last {
                samples.push([], timestamp(last.at));
            }
        },
    )
    .about("seconds since the epoch", "time() - tryvox_last_poll_timestamp_seconds > 2 * tryvox_poll_interval_seconds"),
    OfPolling::gauge(
        "tryvox_last_success_timestamp_seconds",
        &["account"],
        "When a poll last gave a listing that can be trusted, in seconds since the epoch; absent before the first.",
        |polled, samples| {
            if let Some(at) = polled.published.polls.last_success {
                samples.push([], timestamp(at));
            }
        },
    )
    .about("seconds since the epoch", "time() - tryvox_last_success_timestamp_seconds"),
    OfPolling::gauge(
        "tryvox_last_poll_duration_seconds",
        &["account"],
        "How long the last poll took; absent before the first.",
        |polled, samples| {
            if let Some(last) = polled.published.polls.last {
                samples.push([], last.took.as_secs_f64());
            }
        },
    )
    .about("seconds", "tryvox_last_poll_duration_seconds / tryvox_poll_interval_seconds > 0.8"),
    OfPolling::gauge(
        "tryvox_last_poll_pages",
        &["account"],
        "Pages that the last poll read; absent before the first.",
        |polled, samples| {
            if let Some(last) = polled.published.polls.last {
                samples.push([], u64::from(last.pages));
            }
        },
    )
    .about("pages", "tryvox_last_poll_pages"),
    OfPolling::gauge(
        "tryvox_poll_interval_seconds",
        &["account"],
        "Time from the start of one poll to the start of the next, as configured.",
        |polled, samples| samples.push([], polled.account.interval().as_secs_f64()),
    )
    .about("seconds", "tryvox_poll_interval_seconds"),
    OfPolling::gauge(
        "tryvox_monthly_budget",
        &["account", "currency"],
        "What the account may cost a month as configured, in units of the currency; absent where that is not.",
        |polled, samples| {
            for (currency, amount) in polled.account.budget() {
                samples.push([currency], amount.to_f64());
            }
        },
    )
    .about(
        "units of the currency",
        "sum by (account, currency) (tryvox_monthly_fees) > on (account, currency) tryvox_monthly_budget",
    ),
    OfPolling::gauge(
        "tryvox_invalid_records",
        &["account"],
        "Records of the last good listing that could not be read and are in no other metric.",
        |polled, samples| match (&polled.published.last_listing, polled.current()) {
            (None, _) => samples.push([], 0_u64),
            (_, Some(kept)) => samples.push([], kept.invalid),
            (Some(_), None) => {}
        },
    )
    .about("records", "tryvox_invalid_records > 0"),
    OfPolling::counter(
        "tryvox_api_requests_total",
        &["account", "code"],
        "RequestStats to the API, each attempt once, by HTTP status code, or error when there was no whole answer.",
        |polled, samples| {
            for (status, count) in &polled.requests.by_status {
                let code = status.map_or_else(|| "error".to_owned(), |status| status.to_string());
                samples.push([&code], *count);
            }
        },
    )
    .about("requests", "sum by (code) (rate(tryvox_api_requests_total[5m]))"),
    Metric {
        family: Family {
            name: "tryvox_api_request_duration_seconds",
            help: "How long requests to the API took, until the end of the body or the failure.",
            kind: MetricType::Histogram,
            labels: &["account"],
            unit: "seconds",
            query: "histogram_quantile(0.9, sum by (account, le) (rate(tryvox_api_request_duration_seconds_bucket[15m])))",
        },
        fill: |polled, samples| {
            let requests = &polled.requests;
            let buckets: Vec<_> = DURATION_BUCKETS.into_iter().zip(requests.by_duration).collect();
            samples.push_histogram([], &buckets, requests.seconds, requests.count);
        },
    },
    OfPolling::counter(
        "tryvox_api_retries_total",
        &["account", "reason"],
        "RequestStats to the API that were made because the one before had failed, by why that one had.",
        |polled, samples| {
            for reason in FailureReason::RETRIED {
                samples.push([reason.as_str()], polled.requests.retries[reason as usize]);
            }
        },
    )
    .about("requests", "sum by (reason) (rate(tryvox_api_retries_total[5m]))"),
];

/// Seconds since the epoch; a time before it is 0.
pub(super) fn timestamp(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
