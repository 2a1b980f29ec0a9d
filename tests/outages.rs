//! Outages of the API: how long requests wait, what is left of a listing that was in progress, how soon an account is up
//! again, and how many requests an API that is down receives.
//!
//! All tests run on tokio's paused clock.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::{Instant, sleep, sleep_until};

use crate::common::harness::{Harness, HarnessOptions};
use crate::common::seed;

#[tokio::test(start_paused = true)]
async fn requests_wait_as_long_as_the_response_asks_for() {
    for fault in [
        "429 retry-after=20.5",
        "503 retry-after=20.5",
        "reset-header after=20.5",
        "reset-header after=20.5 header=RateLimit-Reset",
        "reset-header after=20.5 format=epoch",
        "reset-header after=20.5 header=RateLimit-Reset format=epoch status=503",
    ] {
        let harness = Harness::start(&HarnessOptions::default());
        harness.set_faults(&format!("{fault} times=1"));
        harness.wait_for_polls(1).await;
        let scrape = harness.scrape();
        assert_eq!(scrape.account_value("tryvox_up", ""), 1.0, "{fault}");
        // An epoch is in whole seconds, and the backoff may add a few seconds.
        let duration = scrape.account_value("tryvox_last_poll_duration_seconds", "");
        assert!((20.5..26.0).contains(&duration), "{fault}: {duration} s");
        // By default the listing has 6 pages, one of which is requested twice.
        assert_eq!(harness.requests(), 6 + 1, "{fault}");
    }
}

#[tokio::test(start_paused = true)]
async fn short_outage_does_not_discard_a_listing() {
    // 20 pages take 500 ms each, 10 s in all.
    let options = HarnessOptions {
        numbers: 200,
        concurrency: 1,
        latency: Duration::from_millis(500),
        ..HarnessOptions::default()
    };
    for fault in ["503", "reset-connection", "html"] {
        let harness = Harness::start(&options);
        sleep(Duration::from_secs(5)).await;
        harness.set_faults(&format!("{fault} for=3s"));
        harness.wait_for_polls(1).await;
        let scrape = harness.scrape();
        assert_eq!(scrape.account_value("tryvox_up", ""), 1.0, "{fault}");
        assert_eq!(scrape.inventory(), harness.expected_series(), "{fault}");
        // Each page is requested once, except the one that failed.
        assert!(harness.requests() <= 20 + 10, "{fault}: {} requests", harness.requests());
    }
}

#[tokio::test(start_paused = true)]
async fn hung_connection_costs_one_request_timeout() {
    for page in [1, 4, 6] {
        let harness = Harness::start(&HarnessOptions::default());
        harness.wait_for_polls(1).await;
        harness.set_faults(&format!("hung-connection page={page} times=1"));
        harness.wait_for_polls(2).await;
        let scrape = harness.scrape();
        assert_eq!(scrape.account_value("tryvox_up", ""), 1.0, "page {page}");
        assert_eq!(scrape.inventory(), harness.expected_series(), "page {page}");
        // `--tryvox.timeout`, which the requests on the connection wait for at the same time, and a backoff.
        let duration = scrape.account_value("tryvox_last_poll_duration_seconds", "");
        assert!((10.0..11.0).contains(&duration), "page {page}: {duration} s");
    }
}

/// An outage in which the API answers all pages, but with records that cannot be used.
#[tokio::test(start_paused = true)]
async fn long_listing_that_is_read_in_vain_is_not_repeated_at_full_speed() {
    let harness = Harness::start(&HarnessOptions { numbers: 1_000, ..HarnessOptions::default() });
    harness.wait_for_polls(1).await;
    for fault in ["type-change page=90", "total by=-500"] {
        harness.set_faults(fault);
        let polls = harness.polls();
        harness.wait_for_polls(polls + 1).await;
        let (requests, start) = (harness.requests(), Instant::now());
        sleep(Duration::from_mins(30)).await;
        let rate = (harness.requests() - requests) as f64 / start.elapsed().as_secs_f64();
        assert!(rate > 0.0 && rate <= 1.2, "{fault}: {rate} requests per second");
        harness.set_faults("");
        let polls = harness.polls();
        harness.wait_for_polls(polls + 1).await;
        assert_eq!(harness.scrape().account_value("tryvox_up", ""), 1.0, "{fault}");
    }
}

/// How long outages are simulated.
const DAYS: u64 = 30;

/// The faults of an outage.
const FAULTS: [&str; 13] = [
    "500",
    "503 retry-after=1",
    "429",
    "408",
    "hang",
    "hung-connection",
    "cut-connection",
    "reset-connection",
    "cut-body",
    "html",
    "401",
    "type-change",
    "null-data",
];

/// The longest outage after which an account is polled again soon.
const SHORT_OUTAGE: Duration = Duration::from_mins(10);

/// The longest time from the end of a short outage to the next poll, and after it the time of a poll.
const SOON: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_secs(2);

/// The longest time from the beginning of an outage until the requests in flight have failed: `--tryvox.timeout`.
const IN_FLIGHT: Duration = Duration::from_secs(10);

/// Returns a duration from one second to half an hour; short ones are as frequent as long ones.
fn outage_duration(rng: &mut Rng) -> Duration {
    Duration::from_secs_f64(1800_f64.powf(rng.f64()))
}

#[tokio::test(start_paused = true)]
async fn account_is_up_soon_after_any_outage_and_the_api_is_not_flooded_meanwhile() {
    let seed = seed();
    let mut rng = Rng::with_seed(seed);
    let options = HarnessOptions { seed, ..HarnessOptions::default() };
    let harness = Harness::start(&options);
    harness.wait_for_polls(1).await;
    let end = Instant::now() + Duration::from_hours(24 * DAYS);
    let (mut outages, mut requests, mut seconds) = (0, 0, 0.0);
    while Instant::now() < end {
        sleep(Duration::from_secs(rng.u64(60..4 * 3600))).await;
        let expected = harness.expected_series();
        let duration = outage_duration(&mut rng);
        // Also outages that affect only some of the pages.
        let (fault, page) = (FAULTS[rng.usize(..FAULTS.len())], if rng.bool() { 1 } else { rng.usize(2..=6) });
        let case = format!("seed {seed}, {fault} from page {page} on for {duration:?}");
        let start = Instant::now();
        harness.set_faults(&format!("{fault} page={page}"));
        sleep_until(start + IN_FLIGHT.min(duration)).await;
        let requests_before = harness.requests();
        sleep_until(start + duration).await;
        if let Some(rest) = duration.checked_sub(IN_FLIGHT) {
            requests += harness.requests() - requests_before;
            seconds += rest.as_secs_f64();
        }
        harness.set_faults("");
        // A poll whose requests are in flight at the end of the outage may still fail.
        let limit = if duration <= SHORT_OUTAGE { SOON + POLL } else { IN_FLIGHT + options.interval + POLL };
        sleep_until(start + duration + limit).await;
        let scrape = harness.scrape();
        assert_eq!(scrape.account_value("tryvox_up", ""), 1.0, "{case}: {}", scrape.0);
        assert_eq!(scrape.inventory(), expected, "{case}");
        assert_eq!(scrape.account_value("tryvox_numbers_removed_total", ""), 0.0, "{case}");
        outages += 1;
    }
    let rate = requests as f64 / seconds;
    println!("{outages} outages, {rate:.2} requests per second");
    assert!(outages > 100 && rate <= 1.0, "{outages} outages, {rate} requests per second");
}
