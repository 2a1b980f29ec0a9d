//! Short outages of the API: how long requests wait, and what is left of a listing that was in progress.
//!
//! All tests run on tokio's paused clock.

use std::time::Duration;

use crate::common::harness::{Harness, HarnessOptions};

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
        tokio::time::sleep(Duration::from_secs(5)).await;
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
        let (requests, start) = (harness.requests(), tokio::time::Instant::now());
        tokio::time::sleep(Duration::from_mins(30)).await;
        let rate = (harness.requests() - requests) as f64 / start.elapsed().as_secs_f64();
        assert!(rate > 0.0 && rate <= 1.2, "{fault}: {rate} requests per second");
        harness.set_faults("");
        let polls = harness.polls();
        harness.wait_for_polls(polls + 1).await;
        assert_eq!(harness.scrape().account_value("tryvox_up", ""), 1.0, "{fault}");
    }
}
