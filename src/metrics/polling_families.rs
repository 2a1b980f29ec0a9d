//! The families of changes and polling, which a scrape reads from an account's snapshot.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::exposition::Samples;
use super::metric::Metric;
use crate::inventory::{FeeMovement, Money};
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

/// The name of the family with the end of the last successful poll.
pub(super) const LAST_SUCCESS: &str = "tryvox_last_success_timestamp_seconds";

/// The families of changes and polling, in the order of the exposition.
pub static POLLING: &[PollingMetric] = &[
    PollingMetric::counter(
        "tryvox_numbers_added_total",
        &["account"],
        "Total number of phone numbers added between successive valid listings.",
        |status, samples| samples.push([], status.snapshot.changes.added),
    )
    .unit("numbers")
    .example("Numbers added per account in a day", "sum by (account) (increase(tryvox_numbers_added_total[1d]))"),
    PollingMetric::counter(
        "tryvox_numbers_removed_total",
        &["account"],
        "Total number of phone numbers removed between successive valid listings.",
        |status, samples| samples.push([], status.snapshot.changes.removed),
    )
    .unit("numbers")
    .example(
        "Accounts from which more than ten numbers were removed in an hour",
        "increase(tryvox_numbers_removed_total[1h]) > 10",
    ),
    PollingMetric::counter(
        "tryvox_number_status_changes_total",
        &["account", "from", "to"],
        "Total number of status changes of phone numbers between successive valid listings; pairs of documented \
         statuses and of those seen so far are present.",
        |status, samples| {
            for ([from, to], count) in &status.snapshot.changes.statuses {
                samples.push([from, to], *count);
            }
        },
    )
    .unit("changes")
    .example(
        "Status changes in a day by old and new status",
        "sum by (from, to) (increase(tryvox_number_status_changes_total[1d]))",
    ),
    PollingMetric::counter(
        "tryvox_number_fee_changes_total",
        &["account", "direction"],
        "Total number of monthly fee changes of phone numbers between successive valid listings, within one currency.",
        |status, samples| {
            samples.push(["increase"], status.snapshot.changes.fee_increases);
            samples.push(["decrease"], status.snapshot.changes.fee_decreases);
        },
    )
    .unit("changes")
    .example(
        "Accounts with fee increases in a day",
        "increase(tryvox_number_fee_changes_total{direction=\"increase\"}[1d]) > 0",
    ),
    PollingMetric::counter(
        "tryvox_number_assignment_changes_total",
        &["account"],
        "Total number of changes of the trunk or application of phone numbers between successive valid listings.",
        |status, samples| samples.push([], status.snapshot.changes.assignment_changes),
    )
    .unit("changes")
    .example(
        "Accounts whose numbers were reassigned in a day",
        "increase(tryvox_number_assignment_changes_total[1d]) > 0",
    ),
    PollingMetric::counter(
        "tryvox_monthly_fees_added_total",
        &["account", "currency", "cause"],
        "Total amount by which the monthly fees increased between successive valid listings, by cause, in units of the \
         currency (different currencies must not be added); added minus removed is the change of the sum of \
         tryvox_monthly_fees.",
        |status, samples| push_fee_movements(status, samples, |movement| &movement.added),
    )
    .unit("units of the currency")
    .example(
        "Why monthly fees increased in a week, by currency",
        "sum by (currency, cause) (increase(tryvox_monthly_fees_added_total[1w])) > 0",
    ),
    PollingMetric::counter(
        "tryvox_monthly_fees_removed_total",
        &["account", "currency", "cause"],
        "Total amount by which the monthly fees decreased between successive valid listings, by cause, in units of the \
         currency (different currencies must not be added).",
        |status, samples| push_fee_movements(status, samples, |movement| &movement.removed),
    )
    .unit("units of the currency")
    .example(
        "Monthly fees of numbers released in a week, by currency",
        "sum by (currency) (increase(tryvox_monthly_fees_removed_total{cause=\"release\"}[1w]))",
    ),
    PollingMetric::gauge(
        "tryvox_up",
        &["account"],
        "Whether the last poll was successful (1) or not (0); 0 until the first poll ends.",
        |status, samples| samples.push([], status.snapshot.polls.is_up()),
    )
    .example("Accounts whose last poll failed", "tryvox_up == 0"),
    PollingMetric::counter(
        "tryvox_polls_total",
        &["account"],
        "Total number of polls that ended, successful or not.",
        |status, samples| samples.push([], status.snapshot.polls.count()),
    )
    .unit("polls")
    .example(
        "Share of successful polls in an hour",
        "1 - sum by (account) (rate(tryvox_poll_errors_total[1h])) \
         / sum by (account) (rate(tryvox_polls_total[1h]))",
    ),
    PollingMetric::counter(
        "tryvox_poll_errors_total",
        &["account", "reason"],
        "Total number of polls that failed, by reason.",
        |status, samples| {
            for (reason, count) in FailureReason::ALL.into_iter().zip(status.snapshot.polls.failures) {
                samples.push([reason.as_str()], count);
            }
        },
    )
    .unit("polls")
    .example(
        "Reasons for failed polls in an hour",
        "sum by (account, reason) (increase(tryvox_poll_errors_total[1h])) > 0",
    ),
    PollingMetric::gauge(
        "tryvox_last_poll_timestamp_seconds",
        &["account"],
        "Unix timestamp in seconds of the end of the last poll, successful or not; absent until the first poll ends.",
        |status, samples| {
            if let Some(last) = status.snapshot.polls.last {
                samples.push([], timestamp(last.ended_at));
            }
        },
    )
    .unit("Unix time in seconds")
    .example(
        "Accounts that have not been polled for two intervals",
        "time() - tryvox_last_poll_timestamp_seconds > 2 * tryvox_poll_interval_seconds",
    ),
    PollingMetric::gauge(
        LAST_SUCCESS,
        &["account"],
        "Unix timestamp in seconds of the end of the last successful poll; absent until there is one.",
        |status, samples| {
            if let Some(at) = status.snapshot.polls.last_success_at {
                samples.push([], timestamp(at));
            }
        },
    )
    .unit("Unix time in seconds")
    .example("Data age, in seconds", "time() - tryvox_last_success_timestamp_seconds"),
    PollingMetric::gauge(
        "tryvox_last_poll_duration_seconds",
        &["account"],
        "Duration in seconds of the last poll; absent until the first poll ends.",
        |status, samples| {
            if let Some(last) = status.snapshot.polls.last {
                samples.push([], last.duration.as_secs_f64());
            }
        },
    )
    .unit("seconds")
    .example(
        "Accounts whose poll takes more than 80% of the interval",
        "tryvox_last_poll_duration_seconds / tryvox_poll_interval_seconds > 0.8",
    ),
    PollingMetric::gauge(
        "tryvox_last_poll_pages",
        &["account"],
        "Number of pages that the last poll read, over all attempts at a listing; absent until the first poll ends.",
        |status, samples| {
            if let Some(last) = status.snapshot.polls.last {
                samples.push([], u64::from(last.pages));
            }
        },
    )
    .unit("pages")
    .example("Pages per poll", "tryvox_last_poll_pages"),
    PollingMetric::gauge(
        "tryvox_poll_interval_seconds",
        &["account"],
        "Configured time in seconds between the starts of two polls (--poll.interval).",
        |status, samples| samples.push([], status.account.interval().as_secs_f64()),
    )
    .unit("seconds")
    .example("Accounts by poll interval", "count_values(\"interval\", tryvox_poll_interval_seconds)"),
    PollingMetric::gauge(
        "tryvox_monthly_budget",
        &["account", "currency"],
        "Configured monthly budget of the account, in units of the currency (different currencies must not be added); \
         absent if none is configured.",
        |status, samples| {
            for (currency, amount) in &status.account.config().budget {
                samples.push([currency], amount.to_f64());
            }
        },
    )
    .unit("units of the currency")
    .example(
        "Accounts whose monthly fees exceed the budget",
        "sum by (account, currency) (tryvox_monthly_fees) > on (account, currency) tryvox_monthly_budget",
    ),
    PollingMetric::counter(
        "tryvox_api_requests_total",
        &["account", "code"],
        "Total number of requests to the TryVox API, retries included, by HTTP status code, or error if there was no \
         complete response; codes other than 200 and error are absent until the first such response.",
        |status, samples| {
            for (code, count) in &status.requests.by_status {
                let code = code.map_or_else(|| "error".to_owned(), |code| code.to_string());
                samples.push([&code], *count);
            }
        },
    )
    .unit("requests")
    .example("Requests per second by status code", "sum by (code) (rate(tryvox_api_requests_total[5m]))"),
    PollingMetric::histogram(
        "tryvox_api_request_duration_seconds",
        &["account"],
        "Duration in seconds of requests to the TryVox API, until the end of the response or the failure.",
        |status, samples| {
            let requests = &status.requests;
            let buckets: Vec<_> = DURATION_BUCKETS.into_iter().zip(requests.by_duration).collect();
            samples.push_histogram([], &buckets, requests.seconds, requests.count);
        },
    )
    .unit("seconds")
    .example(
        "90th percentile of the request duration, in seconds",
        "histogram_quantile(0.9, sum by (account, le) (rate(tryvox_api_request_duration_seconds_bucket[15m])))",
    ),
    PollingMetric::counter(
        "tryvox_api_retries_total",
        &["account", "reason"],
        "Total number of retried requests to the TryVox API, by the reason why the previous attempt failed.",
        |status, samples| {
            for reason in FailureReason::RETRIED {
                samples.push([reason.as_str()], status.requests.retries[reason as usize]);
            }
        },
    )
    .unit("requests")
    .example("Retries per second by reason", "sum by (reason) (rate(tryvox_api_retries_total[5m]))"),
];

/// Pushes one of the amounts of each currency and cause.
fn push_fee_movements(status: &PollingStatus, samples: &mut Samples<'_>, amount: fn(&FeeMovement) -> &Money) {
    for (currency, cause, movement) in status.snapshot.changes.fees.iter() {
        samples.push([currency, cause.as_str()], amount(movement).to_f64());
    }
}

/// Returns the seconds since the epoch, 0 for a time before it.
pub(super) fn timestamp(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
