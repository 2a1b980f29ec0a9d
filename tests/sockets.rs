//! Faults where the network is the point: connections that are cut, bodies without end, redirects,
//! and a process that is killed. Two real processes and a real socket between them.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use rustix::process::Signal;

use crate::common::api::{Api, one_number};
use crate::common::{Running, expected, seed};

/// What a poll with the fault comes to while it strikes each time, by whether it is worth asking
/// again.
const FAULTS: [(&str, &str, bool); 11] = [
    ("503 retry-after=1", "server_error", true),
    ("hang", "timeout", true),
    ("slow-body over=1m", "timeout", true),
    ("cut-connection", "connect", true),
    ("cut-body", "decode", true),
    ("empty-body", "decode", true),
    ("html", "decode", true),
    ("gzip-bomb", "too_large", false),
    ("endless-body", "too_large", false),
    ("404", "not_found", false),
    ("redirect", "redirect", false),
];

/// Pages: 6. The first, a middle and the last; once, twice, for good.
const PLACES: [usize; 3] = [1, 4, 6];
const LASTING: [Option<usize>; 3] = [Some(1), Some(2), None];

async fn strikes(fault: &str, reason: &str, passes: bool, place: usize, lasts: Option<usize>, elsewhere: &str) {
    let case = format!("{fault}, page {place}, {lasts:?} times");
    let simulator = Running::simulator(60, seed(), &[]).await;
    let arguments = [
        "--tryvox.per-page=10",
        "--tryvox.rate-limit=0",
        "--tryvox.concurrency=3",
        "--tryvox.timeout=1s",
        "--poll.interval=600ms",
        "--poll.timeout=30s",
        "--poll.stale-after=1h",
    ];
    let mut exporter = Running::exporter(&simulator.url(), &arguments).await;
    exporter.polled(1).await;
    let good = exporter.scrape().await.inventory();
    assert_eq!(good, expected::from_simulator(&simulator).await, "{case}");

    let times = lasts.map(|times| format!(" times={times}")).unwrap_or_default();
    let target = if fault == "redirect" { format!(" to={elsewhere}") } else { String::new() };
    let polls = exporter.polls();
    simulator.set_faults(&format!("{fault}{target} page={place}{times}")).await;
    if passes && lasts.is_some() {
        // Asked again, and nobody outside notices: the poll after the next began with the fault.
        exporter.polled(polls + 2).await;
        assert!(!exporter.said().contains("poll failed"), "{case}: {}", exporter.said());
        let retries = exporter.scrape().await.of("tryvox_api_retries_total", &format!("reason=\"{reason}\""));
        assert_eq!(Some(retries), lasts.map(|times| times as f64), "{case}");
    } else {
        let line = exporter.logged("poll failed", 1).await;
        assert!(line.contains(&format!("reason={reason} ")) && line.contains("inventory=kept"), "{case}: {line}");
        let scrape = exporter.scrape().await;
        assert!(scrape.of("tryvox_poll_errors_total", &format!("reason=\"{reason}\"")) >= 1.0, "{case}");
        assert_eq!(scrape.inventory(), good, "{case}");
    }

    simulator.set_faults("").await;
    let polls = exporter.polls();
    // The poll after the next began after the fault was gone.
    exporter.polled(polls + 2).await;
    let scrape = exporter.scrape().await;
    assert_eq!(scrape.of("tryvox_up", ""), 1.0, "{case}: {}", exporter.said());
    assert_eq!(scrape.inventory(), good, "{case}");
    let peak = exporter.memory("VmHWM") >> 20;
    assert!(peak < 100, "{case}: {peak} MiB");
}

#[tokio::test]
async fn each_fault_on_the_network_is_told_and_heals() {
    let other = Api::start(|_| async { one_number() }).await;
    let elsewhere = other.url();
    let mut cases = Vec::new();
    for (fault, reason, passes) in FAULTS {
        for place in PLACES {
            for lasts in LASTING {
                cases.push(strikes(fault, reason, passes, place, lasts, &elsewhere));
            }
        }
    }
    // They wait most of the time.
    stream::iter(cases).buffer_unordered(12).collect::<Vec<()>>().await;
    assert!(other.asked().is_empty(), "a redirect was followed");
}

/// Many bodies without end at one time, and memory stays where it is.
#[tokio::test]
async fn bombs_and_endless_bodies_cost_no_memory() {
    let simulator = Running::simulator(6_400, seed(), &[]).await;
    let arguments = ["--tryvox.rate-limit=0", "--tryvox.concurrency=16", "--poll.interval=300ms", "--poll.timeout=2s"];
    let mut exporter = Running::exporter(&simulator.url(), &arguments).await;
    exporter.polled(1).await;
    for fault in ["gzip-bomb", "endless-body", "gzip-bomb page=2", "endless-body page=2", "slow-body over=5s page=2"] {
        simulator.set_faults(fault).await;
        let polls = exporter.polls();
        exporter.polled(polls + 4).await;
    }
    let scrape = exporter.scrape().await;
    assert!(scrape.of("tryvox_poll_errors_total", r#"reason="too_large""#) >= 8.0);
    let peak = exporter.memory("VmHWM");
    println!("peak: {} MiB", peak >> 20);
    assert!(peak < 100 << 20, "{peak} bytes");
}

#[tokio::test]
async fn after_kill_9_one_poll_makes_it_right() {
    let simulator = Running::simulator(2_000, seed(), &["--latency=5ms"]).await;
    let truth = expected::from_simulator(&simulator).await;
    let arguments = ["--tryvox.rate-limit=0", "--poll.interval=50ms", "--poll.timeout=30s"];
    for _ in 0..10 {
        let exporter = Running::exporter(&simulator.url(), &arguments).await;
        // A moment in a poll, or between two.
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..200))).await;
        assert_eq!(exporter.end(Signal::KILL).await, None);
        let mut again = Running::exporter(&simulator.url(), &arguments).await;
        again.polled(1).await;
        let scrape = again.scrape().await;
        assert_eq!((scrape.of("tryvox_up", ""), scrape.inventory()), (1.0, truth.clone()));
    }
}

#[tokio::test]
async fn the_control_endpoint_says_what_is_in_force_and_what_is_wrong() {
    let simulator = Running::simulator(1, seed(), &["--fault=503 times=1", "--fault=hang page=9"]).await;
    let url = format!("{}/-/faults", simulator.url());
    let state = async || simulator.get("/-/faults").await.text().await.unwrap();
    assert_eq!(state().await, r#"{"faults":["503 times=1","hang page=9"],"requests":0}"#);
    let bad = crate::common::http().post(&url).body("bogus").send().await.unwrap();
    assert_eq!(bad.status(), 400);
    assert!(bad.text().await.unwrap().contains("cut-body"));
    assert_eq!(simulator.get("/v1/account/acc_demo/numbers").await.status(), 503);
    assert_eq!(state().await, r#"{"faults":["hang page=9"],"requests":1}"#);
    let gone = crate::common::http().delete(&url).send().await.unwrap();
    assert_eq!(gone.text().await.unwrap(), r#"{"faults":[],"requests":1}"#);
}
