//! Thirty days of random outages: how soon an account is up again, and how many requests an API that is down gets.
//!
//! Poller and simulator run in one process on tokio's paused clock.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::{Instant, sleep, sleep_until};

use crate::common::harness::{Harness, HarnessOptions};
use crate::common::seed;

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
        let limit = if duration <= SHORT_OUTAGE { SOON + POLL } else { options.interval + POLL };
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
