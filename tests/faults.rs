//! Crosses every fault of the simulated API with the pages it affects and how often it occurs.
//!
//! Each case checks the result of the poll, what is served meanwhile, the number of requests, and that the
//! next poll without the fault succeeds. All tests run on tokio's paused clock.

use std::time::Duration;

use crate::common::harness::{Harness, HarnessOptions};
use crate::common::{KEY, Scrape, seed};

/// Pages of the listing, by the default [`HarnessOptions`].
const PAGES: u64 = 6;
/// Maximum number of requests in flight, by the default [`HarnessOptions`].
const IN_FLIGHT: u64 = 3;
/// Maximum number of requests in 30 s, the default of `--tryvox.retry-for`, that probe whether an outage has ended.
const PROBES: u64 = 18;

/// Where a fault begins: it affects this page and all after it.
const FIRST_FAULTY_PAGES: [u64; 3] = [1, 4, 6];

/// How often a fault occurs: once, twice, or until it is removed.
const OCCURRENCES: [Option<u64>; 3] = [Some(1), Some(2), None];

/// The result of a poll.
#[derive(Debug, Clone, Copy, PartialEq)]
enum PollResult {
    /// Successful and exact.
    Exact,
    /// Successful, with this many invalid records.
    Invalid(u64),
    /// Failed for this reason; the previous listing stays.
    Failed(&'static str),
}

use PollResult::{Exact, Failed, Invalid};

/// What a poll with a fault must lead to.
struct Expectation {
    result: PollResult,
    max_requests: u64,
}

/// Faults that are retried, for `--tryvox.retry-for`, and the reason if all attempts fail.
const TRANSIENT: &[(&str, &str)] = &[
    ("408", "http_status"),
    ("425", "http_status"),
    ("429", "rate_limited"),
    ("429 retry-after=2", "rate_limited"),
    ("429 retry-after=2.5", "rate_limited"),
    ("429 retry-after-date=3", "rate_limited"),
    ("reset-header", "rate_limited"),
    ("reset-header header=RateLimit-Reset after=2.5", "rate_limited"),
    ("reset-header format=epoch", "rate_limited"),
    ("reset-header status=503", "server_error"),
    ("500", "server_error"),
    ("502", "server_error"),
    ("503 retry-after=1", "server_error"),
    ("hang", "timeout"),
    ("slow-body over=1m", "timeout"),
    ("cut-connection", "connect"),
    ("reset-connection", "connect"),
    ("hung-connection", "timeout"),
    ("cut-body", "decode"),
    ("html", "decode"),
    ("bad-json", "decode"),
    ("wrong-types", "decode"),
    ("nulls", "decode"),
    // The total is not 0, so this is not an empty listing.
    ("null-data", "decode"),
    ("empty-body", "decode"),
];

/// Faults that a retry cannot fix, so the poll fails at once, and the reason.
const PERMANENT: &[(&str, &str)] = &[
    ("400", "http_status"),
    ("401", "unauthorized"),
    ("403", "forbidden"),
    ("404", "not_found"),
    ("410", "http_status"),
    ("204", "http_status"),
    ("301", "redirect"),
    ("302", "redirect"),
    ("redirect to=http://127.0.0.1:1/", "redirect"),
    ("endless-body", "too_large"),
    ("many-records", "too_large"),
    ("429 retry-after=3600", "rate_limited"),
    ("503 retry-after-date=3600", "server_error"),
    ("reset-header after=3600", "rate_limited"),
    ("reset-header after=3600 header=RateLimit-Reset format=epoch", "rate_limited"),
    ("reset-header after=3600 status=503", "server_error"),
    ("message text=account+closed", "forbidden"),
    ("message text=account+closed status=410 field=none", "http_status"),
];

/// Faults in the form of a page, not in its meaning: it is read as if it had been written as documented.
const OTHER_FORMS: &[&str] =
    &["string-numbers", "string-numbers style=float", "odd-timestamps", "unreadable-fields", "bom"];

/// Faults in the content of a page, with the result for each of [`FIRST_FAULTY_PAGES`] (rows) and
/// [`OCCURRENCES`] (columns).
#[rustfmt::skip]
const INCORRECT_CONTENT: &[(&str, [[PollResult; 3]; 3])] = &[
    ("total by=1000", [
        [Exact, Exact, Failed("inconsistent")],
        // The total of the first page is correct, and the listing matches it.
        [Exact, Exact, Exact],
        [Exact, Exact, Exact],
    ]),
    ("total by=-7", [
        [Exact, Exact, Failed("inconsistent")],
        [Exact, Exact, Exact],
        [Exact, Exact, Exact],
    ]),
    ("empty-pages", [[Exact, Exact, Failed("inconsistent")]; 3]),
    ("endless-pages", [
        [Exact, Exact, Failed("inconsistent")],
        // The first page has the correct number of pages.
        [Exact, Exact, Exact],
        [Exact, Exact, Exact],
    ]),
    // One invalid record of a listing of this size is allowed.
    ("bad-records", ONE_INVALID_RECORD_PER_PAGE),
    ("invalid-utf8", ONE_INVALID_RECORD_PER_PAGE),
    ("type-change", [[Failed("invalid_records"); 3]; 3]),
    ("reordered-pages", [
        // If all pages are reordered, the listing is still complete.
        [Exact, Exact, Exact],
        [Exact, Exact, Failed("inconsistent")],
        [Exact, Exact, Failed("inconsistent")],
    ]),
    ("short-pages", [
        // If all pages are short, there are more of them, and the listing is still complete.
        [Exact, Exact, Exact],
        [Exact, Exact, Failed("inconsistent")],
        [Exact, Exact, Failed("inconsistent")],
    ]),
];

/// The results if each page that is affected has one invalid record.
const ONE_INVALID_RECORD_PER_PAGE: [[PollResult; 3]; 3] = [
    [Invalid(1), Failed("invalid_records"), Failed("invalid_records")],
    [Invalid(1), Failed("invalid_records"), Failed("invalid_records")],
    [Invalid(1), Invalid(1), Invalid(1)],
];

/// Returns the result of the only poll between two scrapes.
fn poll_result(before: &Scrape, after: &Scrape) -> PollResult {
    let up = after.account_value("tryvox_up", "");
    let failures = |scrape: &Scrape| scrape.family("tryvox_poll_errors_total");
    let (previous, current) = (failures(before), failures(after));
    let changed: Vec<_> = current.iter().filter(|(series, count)| previous[*series] != **count).collect();
    if up == 1.0 {
        assert_eq!(changed, []);
        return match after.account_value("tryvox_invalid_records", "") {
            0.0 => {
                assert_eq!(after.inventory(), before.inventory());
                Exact
            }
            invalid => {
                let listed = after.account_value("tryvox_listed_numbers", "");
                assert_eq!(listed + invalid, before.account_value("tryvox_listed_numbers", ""));
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a count")]
                Invalid(invalid as u64)
            }
        };
    }
    assert_eq!(after.inventory(), before.inventory(), "a failed poll changes no inventory");
    let [(series, count)] = changed[..] else { panic!("{changed:?}") };
    assert_eq!(*count, previous[series] + 1.0);
    let reasons =
        TRANSIENT.iter().chain(PERMANENT).map(|(_, reason)| *reason).chain(["inconsistent", "invalid_records"]);
    Failed(reasons.into_iter().find(|reason| series.contains(&format!("\"{reason}\""))).expect(series))
}

/// Tests one case: a successful poll, a poll with the fault, and the polls until one succeeds again.
async fn assert_fault_handled(fault: &str, page: u64, times: Option<u64>, expected: Expectation) {
    let case = format!("{fault}, page {page}, {times:?} times");
    let harness = Harness::start(&HarnessOptions::default());
    harness.wait_for_polls(1).await;
    let before = harness.scrape();
    assert_eq!(before.inventory(), harness.expected_series(), "{case}");
    assert_eq!(harness.requests(), PAGES);

    let times_parameter = times.map(|times| format!(" times={times}")).unwrap_or_default();
    harness.set_faults(&format!("{fault} page={page}{times_parameter}"));
    harness.wait_for_polls(2).await;
    let after = harness.scrape();
    assert_eq!(poll_result(&before, &after), expected.result, "{case}\n{}", after.0);
    let requests = harness.requests() - PAGES;
    assert!(requests <= expected.max_requests, "{case}: {requests} requests");
    if PERMANENT.iter().any(|(other, _)| *other == fault) {
        let retries = after.family("tryvox_api_retries_total");
        assert!(retries.values().all(|count| *count == 0.0), "{case}: {retries:?}");
    }

    // A fault that occurs a limited number of times ends on its own; any other is removed.
    let polls = harness.polls();
    if times.is_none() {
        harness.set_faults("");
    }
    harness.wait_for_polls(polls + times.unwrap_or(1)).await;
    let recovered = harness.scrape();
    assert_eq!(recovered.account_value("tryvox_up", ""), 1.0, "{case}");
    assert_eq!(recovered.inventory(), harness.expected_series(), "{case}");
    assert_eq!(recovered.account_value("tryvox_invalid_records", ""), 0.0, "{case}");
    // Each request is counted exactly once.
    assert_eq!(
        recovered.family("tryvox_api_requests_total").values().sum::<f64>(),
        harness.requests() as f64,
        "{case}"
    );
    assert_eq!(
        recovered.account_value("tryvox_api_request_duration_seconds_count", ""),
        harness.requests() as f64,
        "{case}"
    );
}

#[tokio::test(start_paused = true)]
async fn transient_faults_are_retried() {
    for (fault, reason) in TRANSIENT {
        for page in FIRST_FAULTY_PAGES {
            // The pages before, those in flight when the first one fails, then one probe at a time. No other
            // page is requested before the first one has arrived.
            let in_flight = if page == 1 { 1 } else { IN_FLIGHT.min(PAGES - page + 1) };
            for times in OCCURRENCES {
                let expected = match times {
                    // Requests that are in flight on a connection that hangs are repeated, too.
                    Some(times) => Expectation {
                        result: Exact,
                        max_requests: PAGES + times * if *fault == "hung-connection" { in_flight } else { 1 },
                    },
                    None => Expectation { result: Failed(reason), max_requests: page - 1 + in_flight + PROBES },
                };
                assert_fault_handled(fault, page, times, expected).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn permanent_faults_fail_the_poll_without_a_retry() {
    for (fault, reason) in PERMANENT {
        for page in FIRST_FAULTY_PAGES {
            let max_requests = if page == 1 { 1 } else { PAGES.min(page + IN_FLIGHT - 1) };
            for times in OCCURRENCES {
                assert_fault_handled(fault, page, times, Expectation { result: Failed(reason), max_requests }).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn pages_in_another_form_are_read_without_a_retry() {
    for fault in OTHER_FORMS {
        for page in FIRST_FAULTY_PAGES {
            for times in OCCURRENCES {
                assert_fault_handled(fault, page, times, Expectation { result: Exact, max_requests: PAGES }).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn pages_with_incorrect_content_are_checked_against_the_others() {
    for (fault, results) in INCORRECT_CONTENT {
        for (page, results) in FIRST_FAULTY_PAGES.into_iter().zip(results) {
            for (times, result) in OCCURRENCES.into_iter().zip(*results) {
                // At most three attempts at a listing, and short pages double the number of pages.
                let max_requests = if matches!(result, Invalid(_)) { PAGES } else { 3 * 2 * PAGES };
                assert_fault_handled(fault, page, times, Expectation { result, max_requests }).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn random_faults_never_lead_to_an_incorrect_listing() {
    // About 40% of the requests fail, but rarely four in a row.
    let probability = 1.0 - 0.6_f64.powf(1.0 / TRANSIENT.len() as f64);
    let faults = TRANSIENT.iter().map(|(fault, _)| fault).chain(OTHER_FORMS);
    let all: Vec<_> = faults.map(|fault| format!("{fault} probability={probability}")).collect();
    let harness = Harness::start(&HarnessOptions { interval: Duration::from_mins(10), ..HarnessOptions::default() });
    harness.set_faults(&all.join(","));
    for polls in 1..=100 {
        harness.wait_for_polls(polls).await;
        let scrape = harness.scrape();
        if scrape.account_value("tryvox_up", "") == 1.0 {
            assert_eq!(scrape.inventory(), harness.expected_series());
        }
        assert_eq!(scrape.account_value("tryvox_polls_total", ""), polls as f64);
    }
    assert!(harness.scrape().successful_polls() > 50.0);
}

#[tokio::test(start_paused = true)]
async fn retry_after_pauses_the_whole_account_and_delays_the_next_poll() {
    let options = HarnessOptions { numbers: 200, seed: seed(), ..HarnessOptions::default() };
    let harness = Harness::start(&options);
    harness.wait_for_polls(1).await;
    // One response requests a pause of 30 s: no page of the account is requested meanwhile.
    harness.set_faults("429 retry-after=30 page=5 times=1");
    tokio::time::sleep(Duration::from_secs(290)).await;
    let before_poll = harness.requests();
    while harness.requests() < before_poll + 5 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let paused = harness.requests();
    assert!(paused <= before_poll + 5 + 2, "{} requests before the pause", paused - before_poll);
    tokio::time::sleep(Duration::from_secs(25)).await;
    assert_eq!(harness.requests(), paused);
    harness.wait_for_polls(2).await;
    assert_eq!(harness.scrape().account_value("tryvox_up", ""), 1.0);

    // An hour is longer than the poll timeout: the poll fails at once, and the next one starts after the hour.
    harness.set_faults("503 retry-after=3600 times=1");
    harness.wait_for_polls(3).await;
    let start = tokio::time::Instant::now();
    assert_eq!(harness.scrape().account_value("tryvox_poll_errors_total", r#"reason="server_error""#), 1.0);
    let message = harness.last_failure();
    let expected = r#"HTTP 503 "Simulated fault.": server error, Retry-After 1h exceeds the poll's deadline; if it persists, contact TryVox"#;
    assert!(message.ends_with(expected), "{message}");
    let requests = harness.requests();
    tokio::time::sleep(Duration::from_mins(59)).await;
    assert_eq!((harness.requests(), harness.polls()), (requests, 3));
    harness.wait_for_polls(4).await;
    assert!(start.elapsed() < Duration::from_mins(61));
    assert_eq!(harness.scrape().account_value("tryvox_up", ""), 1.0);
}

#[tokio::test(start_paused = true)]
async fn poll_that_cannot_finish_in_time_fails_with_a_remedy() {
    // At one request per 20 s, 20 pages take 380 s after the first, but the poll timeout is 300 s.
    let harness = Harness::start(&HarnessOptions { numbers: 200, rate_limit: 0.05, ..HarnessOptions::default() });
    harness.wait_for_polls(1).await;
    assert_eq!(harness.requests(), 1);
    assert_eq!(harness.scrape().account_value("tryvox_poll_errors_total", r#"reason="timeout""#), 1.0);
    let message = harness.last_failure();
    for word in ["20 pages", "0.05 requests per second", "6m 20s", "--tryvox.rate-limit", "--poll.interval"] {
        assert!(message.contains(word), "{word} is not in: {message}");
    }
}

#[tokio::test(start_paused = true)]
async fn poll_longer_than_its_interval_delays_the_next() {
    let harness = Harness::start(&HarnessOptions {
        latency: Duration::from_secs(3),
        concurrency: 1,
        interval: Duration::from_secs(10),
        timeout: Duration::from_mins(1),
        ..HarnessOptions::default()
    });
    let start = tokio::time::Instant::now();
    // 6 pages take 3 s each, 18 s in all.
    for (second, requests) in [(2, 1), (17, 6), (19, 7), (35, 12), (37, 13)] {
        tokio::time::sleep_until(start + Duration::from_secs(second)).await;
        assert_eq!(harness.requests(), requests, "after {second} s");
    }
    assert_eq!(harness.scrape().successful_polls(), 2.0);
}

#[tokio::test(start_paused = true)]
async fn stale_inventory_is_removed_until_a_poll_succeeds() {
    let options = HarnessOptions::default();
    let harness = Harness::start(&options);
    harness.wait_for_polls(1).await;
    let inventory = harness.scrape().inventory();
    harness.set_faults("500");
    let start = tokio::time::Instant::now();
    let mut polls = 1;
    loop {
        polls += 1;
        harness.wait_for_polls(polls).await;
        let (scrape, age) = (harness.scrape(), start.elapsed());
        assert_eq!(scrape.account_value("tryvox_up", ""), 0.0);
        if age + Duration::from_secs(1) < options.stale_after {
            assert_eq!(scrape.inventory(), inventory, "{age:?}");
            assert_eq!(scrape.account_value("tryvox_invalid_records", ""), 0.0);
        } else if age > options.stale_after + Duration::from_secs(1) {
            assert_eq!(scrape.inventory(), [].into(), "{age:?}");
            assert!(!scrape.0.contains("tryvox_invalid_records"));
            // The time of the last successful poll is still served.
            assert!(scrape.account_value("tryvox_last_success_timestamp_seconds", "") > 0.0);
        }
        if age > 2 * options.stale_after {
            break;
        }
    }
    harness.set_faults("");
    harness.wait_for_polls(polls + 1).await;
    assert_eq!(harness.scrape().inventory(), inventory);
    assert_eq!(harness.scrape().account_value("tryvox_up", ""), 1.0);
}

#[tokio::test(start_paused = true)]
async fn inventory_becomes_stale_while_the_next_poll_is_delayed() {
    let harness = Harness::start(&HarnessOptions::default());
    harness.wait_for_polls(1).await;
    harness.set_faults("429 retry-after=7200 times=1");
    harness.wait_for_polls(2).await;
    assert_ne!(harness.scrape().inventory(), [].into());
    tokio::time::sleep(Duration::from_mins(16)).await;
    assert_eq!(harness.polls(), 2);
    assert_eq!(harness.scrape().inventory(), [].into());
}

#[tokio::test(start_paused = true)]
async fn inventory_is_not_stale_between_successful_polls() {
    let harness = Harness::start(&HarnessOptions { stale_after: Duration::from_secs(30), ..HarnessOptions::default() });
    harness.wait_for_polls(1).await;
    let inventory = harness.scrape().inventory();
    let start = tokio::time::Instant::now();
    while start.elapsed() < Duration::from_mins(12) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(harness.scrape().inventory(), inventory);
    }
    harness.set_faults("401");
    harness.wait_for_polls(harness.polls() + 1).await;
    assert_eq!(harness.scrape().inventory(), [].into());
}

#[tokio::test(start_paused = true)]
async fn failure_shows_the_message_of_the_api() {
    for field in ["error.message", "message", "error", "detail", "title", "none"] {
        let harness = Harness::start(&HarnessOptions::default());
        harness.set_faults(&format!("message text=account+closed+by+owner status=403 field={field}"));
        harness.wait_for_polls(1).await;
        let message = harness.last_failure();
        assert!(message.contains("account closed by owner"), "{field}: {message}");
    }
}

#[tokio::test(start_paused = true)]
async fn message_of_the_api_is_sanitized_redacted_and_short() {
    let harness = Harness::start(&HarnessOptions::default());
    harness.set_faults("message text=%1B[31mdenied%00+for+{authorization}%0D%0A repeat=100");
    harness.wait_for_polls(1).await;
    let message = harness.last_failure();
    assert!(message.contains("denied"), "{message}");
    assert!(!message.contains(KEY), "{message}");
    assert!(!message.contains(char::is_control), "{message:?}");
    // The status and the remedy come in addition to the 200 characters.
    assert!(message.chars().count() <= 400, "{message}");
}
