//! A list that shifts while it is read: what is published was there at one moment, or lacks just
//! what the metrics admit.

use std::time::Duration;

use fastrand::Rng;

use crate::common::lab::{Lab, Setup};
use crate::common::seed;
use crate::common::truth::Series;

/// How a poll of a shifting list went.
#[derive(Debug, Default)]
struct Seen {
    exact: u32,
    short: u32,
    refused: u32,
}

fn reported(inventory: &Series) -> f64 {
    inventory[r#"tryvox_reported_numbers{account="acc_demo"}"#]
}

fn listed(inventory: &Series) -> f64 {
    inventory[r#"tryvox_listed_numbers{account="acc_demo"}"#]
}

/// Whether a listing is one of the moment, but for numbers that it lacks, and says how many.
fn lacks(published: &Series, moment: &Series) -> bool {
    reported(published) == reported(moment)
        && published.iter().all(|(series, value)| {
            let there = moment.get(series).copied().unwrap_or(0.0);
            // Fees are in thousandths and each is added exactly; a double may round.
            *value <= there + 1e-6
        })
}

async fn run(rng: &mut Rng, seen: &mut Seen) {
    let setup = Setup {
        numbers: rng.usize(0..150),
        seed: rng.u64(..),
        concurrency: rng.usize(1..=4),
        latency: Duration::from_millis(rng.u64(0..800)),
        ..Setup::default()
    };
    let lab = Lab::start(&setup);
    lab.polled(1).await;
    let before = lab.scrape().inventory();
    assert_eq!(before, lab.truth());

    let page = rng.usize(1..=3);
    let times = [" times=1", " times=2", ""][rng.usize(..3)];
    let probability = rng.f64();
    lab.set_faults(&format!("shift page={page}{times} probability={probability}"));
    lab.history.begin();
    lab.polled(2).await;
    let moments = lab.history.end();
    let scrape = lab.scrape();
    let published = scrape.inventory();
    if scrape.of("tryvox_up", "") == 0.0 {
        assert_eq!(scrape.of("tryvox_poll_errors_total", r#"reason="inconsistent""#), 1.0, "{setup:?}");
        assert_eq!(published, before);
        seen.refused += 1;
    } else if moments.contains(&published) {
        seen.exact += 1;
    } else {
        let (reported, listed) = (reported(&published), listed(&published));
        assert!(listed < reported && reported - listed <= (reported * 0.01).floor().max(1.0), "{setup:?}");
        assert!(moments.iter().any(|moment| lacks(&published, moment)), "{setup:?}\n{}", scrape.0);
        seen.short += 1;
    }
    lab.set_faults("");
    lab.polled(3).await;
    assert_eq!(lab.scrape().inventory(), lab.truth(), "{setup:?}");
}

#[tokio::test(start_paused = true)]
async fn a_shifting_list_is_published_as_it_was_or_admits_what_it_lacks() {
    let mut rng = Rng::with_seed(seed());
    let mut seen = Seen::default();
    for _ in 0..300 {
        run(&mut rng, &mut seen).await;
    }
    println!("{seen:?}");
    // All three happen, or this shows nothing.
    assert!(seen.exact > 50 && seen.short > 0 && seen.refused > 0, "{seen:?}");
}
