//! Faults of the network: aborted connections, endless bodies, redirects, and a killed process. The
//! exporter and the simulator are real processes that talk over real sockets.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use rustix::process::Signal;

use crate::common::api::{MockApi, one_number};
use crate::common::{ServerProcess, expected, seed};

/// Each fault, the reason that a failed poll has because of it, and whether the request is retried.
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

/// The first page, one in the middle and the last of 6.
const FAULTY_PAGES: [usize; 3] = [1, 4, 6];
/// How often a fault occurs; none is always.
const TIMES: [Option<usize>; 3] = [Some(1), Some(2), None];

/// Asserts that a fault on a page is retried or fails the poll, and that the exporter recovers.
async fn assert_recovers(
    (fault, reason, is_retried): (&str, &str, bool),
    faulty_page: usize,
    times: Option<usize>,
    other_host: &str,
) {
    let case = format!("{fault}, page {faulty_page}, {times:?} times");
    let simulator = ServerProcess::simulator(60, seed(), &[]).await;
    let arguments = [
        "--tryvox.per-page=10",
        "--tryvox.rate-limit=0",
        "--tryvox.concurrency=3",
        // Enough for a busy machine: a valid response that is late would use up the fault.
        "--tryvox.timeout=2s",
        "--tryvox.retry-for=7s",
        "--poll.interval=600ms",
        "--poll.timeout=30s",
        "--poll.stale-after=1h",
    ];
    let mut exporter = ServerProcess::exporter(&simulator.url(), &arguments).await;
    exporter.wait_for_polls(1).await;
    let inventory = exporter.scrape().await.inventory();
    assert_eq!(inventory, expected::from_simulator(&simulator).await, "{case}");

    let times_option = times.map(|times| format!(" times={times}")).unwrap_or_default();
    let target = if fault == "redirect" { format!(" to={other_host}") } else { String::new() };
    let polls = exporter.polls();
    simulator.set_faults(&format!("{fault}{target} page={faulty_page}{times_option}")).await;
    if is_retried && times.is_some() {
        // Retries hide the fault. The second poll from here began after the fault was set.
        exporter.wait_for_polls(polls + 2).await;
        assert!(!exporter.output_so_far().contains("poll failed"), "{case}: {}", exporter.output_so_far());
        let retries =
            exporter.scrape().await.account_value("tryvox_api_retries_total", &format!("reason=\"{reason}\""));
        assert_eq!(Some(retries), times.map(|times| times as f64), "{case}");
    } else {
        let line = exporter.wait_for_log("poll failed", 1).await;
        assert!(line.contains(&format!("reason={reason} ")) && line.contains("inventory=served"), "{case}: {line}");
        let scrape = exporter.scrape().await;
        assert!(scrape.account_value("tryvox_poll_errors_total", &format!("reason=\"{reason}\"")) >= 1.0, "{case}");
        assert_eq!(scrape.inventory(), inventory, "{case}");
    }

    simulator.set_faults("").await;
    let polls = exporter.polls();
    // The second poll from here began after the fault was removed.
    exporter.wait_for_polls(polls + 2).await;
    let scrape = exporter.scrape().await;
    assert_eq!(scrape.account_value("tryvox_up", ""), 1.0, "{case}: {}", exporter.output_so_far());
    assert_eq!(scrape.inventory(), inventory, "{case}");
    let peak = exporter.memory("VmHWM") >> 20;
    assert!(peak < 100, "{case}: {peak} MiB");
}

#[tokio::test]
async fn exporter_reports_each_network_fault_and_recovers() {
    let other_host = MockApi::start(|_| async { one_number() }).await;
    let other_url = other_host.url();
    let mut cases = Vec::new();
    for fault in FAULTS {
        for faulty_page in FAULTY_PAGES {
            for times in TIMES {
                cases.push(assert_recovers(fault, faulty_page, times, &other_url));
            }
        }
    }
    // They mostly wait, so many run concurrently.
    stream::iter(cases).buffer_unordered(12).collect::<Vec<()>>().await;
    assert!(other_host.requests().is_empty(), "a redirect was followed");
}

#[tokio::test]
async fn gzip_bombs_and_endless_bodies_do_not_exhaust_memory() {
    let simulator = ServerProcess::simulator(6_400, seed(), &[]).await;
    let arguments = ["--tryvox.rate-limit=0", "--tryvox.concurrency=16", "--poll.interval=300ms", "--poll.timeout=2s"];
    let mut exporter = ServerProcess::exporter(&simulator.url(), &arguments).await;
    exporter.wait_for_polls(1).await;
    for fault in ["gzip-bomb", "endless-body", "gzip-bomb page=2", "endless-body page=2", "slow-body over=5s page=2"] {
        simulator.set_faults(fault).await;
        let polls = exporter.polls();
        exporter.wait_for_polls(polls + 4).await;
    }
    let scrape = exporter.scrape().await;
    assert!(scrape.account_value("tryvox_poll_errors_total", r#"reason="too_large""#) >= 8.0);
    let peak = exporter.memory("VmHWM");
    println!("peak: {} MiB", peak >> 20);
    assert!(peak < 100 << 20, "{peak} bytes");
}

#[tokio::test]
async fn first_poll_after_kill_9_is_exact() {
    let simulator = ServerProcess::simulator(2_000, seed(), &["--latency=5ms"]).await;
    let expected_series = expected::from_simulator(&simulator).await;
    let arguments = ["--tryvox.rate-limit=0", "--poll.interval=50ms", "--poll.timeout=30s"];
    for _ in 0..10 {
        let exporter = ServerProcess::exporter(&simulator.url(), &arguments).await;
        // A random moment during a poll or between two.
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..200))).await;
        assert_eq!(exporter.stop(Signal::KILL).await, None);
        let mut restarted = ServerProcess::exporter(&simulator.url(), &arguments).await;
        restarted.wait_for_polls(1).await;
        let scrape = restarted.scrape().await;
        assert_eq!((scrape.account_value("tryvox_up", ""), scrape.inventory()), (1.0, expected_series.clone()));
    }
}

#[tokio::test]
async fn faults_endpoint_lists_replaces_and_validates_faults() {
    let simulator = ServerProcess::simulator(1, seed(), &["--fault=503 times=1", "--fault=hang page=9"]).await;
    let url = format!("{}/-/faults", simulator.url());
    let state = async || simulator.get("/-/faults").await.text().await.unwrap();
    assert_eq!(state().await, r#"{"faults":["503 times=1","hang page=9"],"requests":0}"#);
    let rejected = crate::common::http().post(&url).body("bogus").send().await.unwrap();
    assert_eq!(rejected.status(), 400);
    assert!(rejected.text().await.unwrap().contains("cut-body"));
    assert_eq!(simulator.get("/v1/account/acc_demo/numbers").await.status(), 503);
    assert_eq!(state().await, r#"{"faults":["hang page=9"],"requests":1}"#);
    let cleared = crate::common::http().delete(&url).send().await.unwrap();
    assert_eq!(cleared.text().await.unwrap(), r#"{"faults":[],"requests":1}"#);
}
