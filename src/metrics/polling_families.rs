//! The families of changes and polling, which a scrape reads from an account's snapshot.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::family::{Family, MetricType};
use super::metric::Metric;
use crate::poller::{Account, AccountSnapshot};
use crate::tryvox::{DURATION_BUCKETS, FailureReason, RequestStats};

/// How the polling of an account goes, at the moment of a scrape.
#[derive(Debug)]
pub struct PollingStatus {
    /// The account.
    pub account: Arc<Account>,
    /// The snapshot that the scrape shows.
    pub snapshot: Arc<AccountSnapshot>,
    /// The counts of its API requests.
    pub requests: RequestStats,
    /// The moment of the scrape, which decides whether the listing is stale.
    pub now: Instant,
}

type PollingMetric = Metric<PollingStatus>;

/// The families of changes and polling, in the order of the exposition.
pub static POLLING: &[PollingMetric] = &[
    PollingMetric::counter(
        "tryvox_numbers_added_total",
        &["account"],
        "Phone numbers that were in a good listing and not in the one before.",
        |status, samples| samples.push([], status.snapshot.changes.added),
    )
    .about("numbers", "sum by (account) (increase(tryvox_numbers_added_total[1d]))"),
    PollingMetric::counter(
        "tryvox_numbers_removed_total",
        &["account"],
        "Phone numbers that were not in a good listing but in the one before.",
        |status, samples| samples.push([], status.snapshot.changes.removed),
    )
    .about("numbers", "increase(tryvox_numbers_removed_total[1h]) > 10"),
    PollingMetric::counter(
        "tryvox_number_status_changes_total",
        &["account", "from", "to"],
        "Phone numbers whose status differed between two successive good listings.",
        |status, samples| {
            for ([from, to], count) in &status.snapshot.changes.statuses {
                samples.push([from, to], *count);
            }
        },
    )
    .about("numbers", "sum by (from, to) (increase(tryvox_number_status_changes_total[1d]))"),
    PollingMetric::counter(
        "tryvox_number_fee_changes_total",
        &["account", "direction"],
        "Phone numbers whose monthly fee differed between two successive good listings, in the same currency.",
        |status, samples| {
            samples.push(["increase"], status.snapshot.changes.fee_increases);
            samples.push(["decrease"], status.snapshot.changes.fee_decreases);
        },
    )
    .about("numbers", "increase(tryvox_number_fee_changes_total{direction=\"increase\"}[1d]) > 0"),
    PollingMetric::gauge(
        "tryvox_up",
        &["account"],
        "1 if the last poll gave a listing that can be trusted, else 0.",
        |status, samples| samples.push([], status.snapshot.polls.is_up()),
    )
    .about("", "tryvox_up == 0"),
    PollingMetric::counter(
        "tryvox_polls_total",
        &["account", "result"],
        "Polls that ended, by result: success or failure.",
        |status, samples| {
            samples.push(["success"], status.snapshot.polls.successes);
            samples.push(["failure"], status.snapshot.polls.failures.iter().sum::<u64>());
        },
    )
    .about("polls", "rate(tryvox_polls_total{result=\"failure\"}[1h]) > 0"),
    PollingMetric::counter(
        "tryvox_poll_errors_total",
        &["account", "reason"],
        "Polls that failed, by reason.",
        |status, samples| {
            for (reason, count) in FailureReason::ALL.into_iter().zip(status.snapshot.polls.failures) {
                samples.push([reason.as_str()], count);
            }
        },
    )
    .about("polls", "sum by (account, reason) (increase(tryvox_poll_errors_total[1h])) > 0"),
    PollingMetric::gauge(
        "tryvox_last_poll_timestamp_seconds",
        &["account"],
        "When the last poll ended, however it did, in seconds since the epoch; absent before the first.",
        |status, samples| {
            if let Some(last) = status.snapshot.polls.last {
                samples.push([], timestamp(last.ended_at));
            }
        },
    )
    .about("seconds since the epoch", "time() - tryvox_last_poll_timestamp_seconds > 2 * tryvox_poll_interval_seconds"),
    PollingMetric::gauge(
        "tryvox_last_success_timestamp_seconds",
        &["account"],
        "When a poll last gave a listing that can be trusted, in seconds since the epoch; absent before the first.",
        |status, samples| {
            if let Some(at) = status.snapshot.polls.last_success_at {
                samples.push([], timestamp(at));
            }
        },
    )
    .about("seconds since the epoch", "time() - tryvox_last_success_timestamp_seconds"),
    PollingMetric::gauge(
        "tryvox_last_poll_duration_seconds",
        &["account"],
        "How long the last poll took; absent before the first.",
        |status, samples| {
            if let Some(last) = status.snapshot.polls.last {
                samples.push([], last.duration.as_secs_f64());
            }
        },
    )
    .about("seconds", "tryvox_last_poll_duration_seconds / tryvox_poll_interval_seconds > 0.8"),
    PollingMetric::gauge(
        "tryvox_last_poll_pages",
        &["account"],
        "Pages that the last poll read; absent before the first.",
        |status, samples| {
            if let Some(last) = status.snapshot.polls.last {
                samples.push([], u64::from(last.pages));
            }
        },
    )
    .about("pages", "tryvox_last_poll_pages"),
    PollingMetric::gauge(
        "tryvox_poll_interval_seconds",
        &["account"],
        "Time from the start of one poll to the start of the next, as configured.",
        |status, samples| samples.push([], status.account.interval().as_secs_f64()),
    )
    .about("seconds", "tryvox_poll_interval_seconds"),
    PollingMetric::gauge(
        "tryvox_monthly_budget",
        &["account", "currency"],
        "What the account may cost a month as configured, in units of the currency; absent where that is not.",
        |status, samples| {
            for (currency, amount) in status.account.budget() {
                samples.push([currency], amount.to_f64());
            }
        },
    )
    .about(
        "units of the currency",
        "sum by (account, currency) (tryvox_monthly_fees) > on (account, currency) tryvox_monthly_budget",
    ),
    PollingMetric::gauge(
        "tryvox_invalid_records",
        &["account"],
        "Records of the last good listing that could not be read and are in no other metric.",
        |status, samples| match (&status.snapshot.last_listing, status.snapshot.listing_at(status.now)) {
            (None, _) => samples.push([], 0_u64),
            (_, Some(listing)) => samples.push([], listing.invalid),
            (Some(_), None) => {}
        },
    )
    .about("records", "tryvox_invalid_records > 0"),
    PollingMetric::counter(
        "tryvox_api_requests_total",
        &["account", "code"],
        "Requests to the API, each attempt once, by HTTP status code, or error when there was no whole answer.",
        |status, samples| {
            for (code, count) in &status.requests.by_status {
                let code = code.map_or_else(|| "error".to_owned(), |code| code.to_string());
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
        fill: |status, samples| {
            let requests = &status.requests;
            let buckets: Vec<_> = DURATION_BUCKETS.into_iter().zip(requests.by_duration).collect();
            samples.push_histogram([], &buckets, requests.seconds, requests.count);
        },
    },
    PollingMetric::counter(
        "tryvox_api_retries_total",
        &["account", "reason"],
        "Requests to the API that were made because the one before had failed, by why that one had.",
        |status, samples| {
            for reason in FailureReason::RETRIED {
                samples.push([reason.as_str()], status.requests.retries[reason as usize]);
            }
        },
    )
    .about("requests", "sum by (reason) (rate(tryvox_api_retries_total[5m]))"),
];

/// Returns the seconds since the epoch, 0 for a time before it.
pub(super) fn timestamp(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
