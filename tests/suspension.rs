//! Staleness while the machine is suspended, and while its wall clock is set.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::common::harness::{Harness, HarnessOptions, now};

#[tokio::test(start_paused = true)]
async fn inventory_becomes_stale_while_the_machine_is_suspended() {
    static SUSPENDED_SECONDS: AtomicU64 = AtomicU64::new(1_000_000);
    let suspend = |minutes: u64| _ = SUSPENDED_SECONDS.fetch_add(minutes * 60, Ordering::Relaxed);
    let harness = Harness::start(&HarnessOptions {
        suspended: || Duration::from_secs(SUSPENDED_SECONDS.load(Ordering::Relaxed)),
        ..HarnessOptions::default()
    });
    harness.wait_for_polls(1).await;
    let inventory = harness.scrape().inventory();
    assert_ne!(inventory, [].into(), "time suspended before the listing does not count");
    suspend(10);
    assert_eq!(harness.scrape().inventory(), inventory);
    suspend(10);
    assert_eq!(harness.scrape().inventory(), [].into(), "no poll has failed, but the next one is overdue");
    harness.wait_for_polls(2).await;
    assert_eq!(harness.scrape().inventory(), inventory);

    // Time awake and time suspended add up: the next poll is 5 minutes later.
    harness.set_faults("401");
    harness.wait_for_polls(3).await;
    suspend(9);
    assert_eq!(harness.scrape().inventory(), inventory);
    suspend(2);
    assert_eq!(harness.scrape().inventory(), [].into());
}

#[tokio::test(start_paused = true)]
async fn steps_of_the_wall_clock_do_not_affect_staleness() {
    const DAY: u64 = 86_400;
    static STEP_SECONDS: AtomicU64 = AtomicU64::new(DAY);
    /// Returns the time of day, which can be set back and forth by a day.
    fn stepping() -> SystemTime {
        now() - Duration::from_secs(DAY) + Duration::from_secs(STEP_SECONDS.load(Ordering::Relaxed))
    }
    let harness = Harness::start(&HarnessOptions { now: stepping, ..HarnessOptions::default() });
    harness.wait_for_polls(1).await;
    let inventory = harness.scrape().inventory();
    harness.set_faults("401");
    harness.wait_for_polls(2).await;
    for step in [2 * DAY, 0] {
        STEP_SECONDS.store(step, Ordering::Relaxed);
        assert_eq!(harness.scrape().inventory(), inventory);
        harness.wait_for_polls(harness.polls() + 1).await;
        assert_eq!(harness.scrape().inventory(), inventory);
    }
    tokio::time::sleep(Duration::from_mins(16)).await;
    assert_eq!(harness.scrape().inventory(), [].into());
}
