//! The account changes during a listing, so numbers move between pages while they are requested.
//!
//! A published inventory either equals the account at one moment, or misses at most as many numbers as
//! the metrics report as missing.

use std::time::Duration;

use fastrand::Rng;

use crate::common::expected::Series;
use crate::common::harness::{Harness, HarnessOptions};
use crate::common::seed;

/// How many polls had each outcome.
#[derive(Debug, Default)]
struct Outcomes {
    /// Published exactly as the account was at one moment.
    exact: u32,
    /// Published with numbers missing, within the tolerance.
    incomplete: u32,
    /// Failed as inconsistent.
    failed: u32,
}

fn reported(inventory: &Series) -> f64 {
    inventory[r#"tryvox_reported_numbers{account="acc_demo"}"#]
}

fn listed(inventory: &Series) -> f64 {
    inventory[r#"tryvox_listed_numbers{account="acc_demo"}"#]
}

/// Returns whether a published inventory is a state of the account with some numbers missing, and reports
/// the total of that state.
fn is_subset(published: &Series, state: &Series) -> bool {
    reported(published) == reported(state)
        && published.iter().all(|(series, value)| {
            let maximum = state.get(series).copied().unwrap_or(0.0);
            // Sums of fees are exact, but the doubles may be rounded.
            *value <= maximum + 1e-6
        })
}

/// Polls an account of random size that changes at random, and counts the outcome.
async fn poll_changing_account(rng: &mut Rng, outcomes: &mut Outcomes) {
    let options = HarnessOptions {
        numbers: rng.usize(0..150),
        seed: rng.u64(..),
        concurrency: rng.usize(1..=4),
        latency: Duration::from_millis(rng.u64(0..800)),
        ..HarnessOptions::default()
    };
    let harness = Harness::start(&options);
    harness.wait_for_polls(1).await;
    let before = harness.scrape().inventory();
    assert_eq!(before, harness.expected_series());

    let page = rng.usize(1..=3);
    let times = [" times=1", " times=2", ""][rng.usize(..3)];
    let probability = rng.f64();
    harness.set_faults(&format!("shift page={page}{times} probability={probability}"));
    harness.recorder.start();
    harness.wait_for_polls(2).await;
    let states = harness.recorder.finish();
    let scrape = harness.scrape();
    let published = scrape.inventory();
    if scrape.account_value("tryvox_up", "") == 0.0 {
        assert_eq!(scrape.account_value("tryvox_poll_errors_total", r#"reason="inconsistent""#), 1.0, "{options:?}");
        assert_eq!(published, before);
        outcomes.failed += 1;
    } else if states.contains(&published) {
        outcomes.exact += 1;
    } else {
        let (reported, listed) = (reported(&published), listed(&published));
        assert!(listed < reported && reported - listed <= (reported * 0.01).floor().max(1.0), "{options:?}");
        assert!(states.iter().any(|state| is_subset(&published, state)), "{options:?}\n{}", scrape.0);
        outcomes.incomplete += 1;
    }
    harness.set_faults("");
    harness.wait_for_polls(3).await;
    assert_eq!(harness.scrape().inventory(), harness.expected_series(), "{options:?}");
}

#[tokio::test(start_paused = true)]
async fn listing_of_a_changing_account_is_exact_or_reports_missing_numbers() {
    let mut rng = Rng::with_seed(seed());
    let mut outcomes = Outcomes::default();
    for _ in 0..300 {
        poll_changing_account(&mut rng, &mut outcomes).await;
    }
    println!("{outcomes:?}");
    // Every outcome occurs; otherwise the test would prove little.
    assert!(outcomes.exact > 50 && outcomes.incomplete > 0 && outcomes.failed > 0, "{outcomes:?}");
}
