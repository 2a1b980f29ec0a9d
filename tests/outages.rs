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
async fn hung_connection_costs_at_most_one_poll() {
    for page in [1, 4, 6] {
        let harness = Harness::start(&HarnessOptions::default());
        harness.wait_for_polls(1).await;
        harness.set_faults(&format!("hung-connection page={page} times=1"));
        harness.wait_for_polls(2).await;
        let during = harness.scrape();
        assert_eq!(during.inventory(), harness.expected_series(), "page {page}");
        if during.account_value("tryvox_up", "") == 0.0 {
            assert_eq!(during.account_value("tryvox_poll_errors_total", r#"reason="timeout""#), 1.0, "page {page}");
        }
        harness.wait_for_polls(3).await;
        let after = harness.scrape();
        assert_eq!(after.account_value("tryvox_up", ""), 1.0, "page {page}");
        assert_eq!(after.inventory(), harness.expected_series(), "page {page}");
    }
}
