//! Long runs under random faults: seconds in `make test`, ten minutes in `make soak`.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use crate::common::harness::{Harness, HarnessOptions};
use crate::common::{KEY, ServerProcess, TEST_TIMEOUT, expected, seed};

/// Returns how long a run lasts at least, in real time.
fn run_time() -> Duration {
    let seconds = std::env::var("TRYVOX_SOAK_SECONDS").ok().map(|text| text.parse().unwrap());
    Duration::from_secs(seconds.unwrap_or(10))
}

/// Returns a random selection of all faults, each on a random page with a random probability.
fn random_faults(rng: &mut Rng) -> String {
    let all = [
        "408",
        "429",
        "429 retry-after=1",
        "429 retry-after-date=2",
        "500",
        "503 retry-after=1",
        "401",
        "404",
        "302",
        "418",
        "hang",
        "slow-body over=1m",
        "cut-connection",
        "cut-body",
        "html",
        "bad-json",
        "wrong-types",
        "nulls",
        "empty-body",
        "gzip-bomb",
        "endless-body",
        "redirect",
        "total by=3",
        "total by=-500",
        "empty-pages",
        "endless-pages",
        "shift",
        "bad-records",
        "reordered-pages",
        "short-pages",
    ];
    let selected: Vec<_> = all
        .iter()
        .filter_map(|fault| {
            let (page, probability) = (rng.u8(1..=8), rng.f64() * 0.2);
            (rng.u8(0..6) == 0).then(|| format!("{fault} page={page} probability={probability:.3}"))
        })
        .collect();
    selected.join(",")
}

/// Weeks of polls every five minutes in paused time. The account changes and the API fails; once a day
/// the faults stop for a while, and then everything must be exact.
#[tokio::test(start_paused = true)]
async fn inventory_and_counters_are_exact_after_each_day_of_random_faults() {
    const DAY: Duration = Duration::from_hours(24);
    let (start, simulated_start) = (std::time::Instant::now(), Instant::now());
    let mut rng = Rng::with_seed(seed());
    let harness = Harness::start(&HarnessOptions {
        numbers: 200,
        seed: rng.u64(..),
        latency: Duration::from_millis(200),
        ..HarnessOptions::default()
    });
    let (simulator, stop) = (harness.simulator.clone(), harness.stop.clone());
    tokio::spawn(async move { simulator.change_accounts(Duration::from_mins(7), stop).await });
    let mut days = 0;
    while days == 0 || start.elapsed() < run_time() {
        days += 1;
        let polls = harness.polls();
        for _ in 0..24 {
            harness.set_faults(&random_faults(&mut rng));
            tokio::time::sleep(DAY / 25).await;
        }
        // No poll takes longer than its interval, and none is skipped.
        assert!(harness.polls() - polls > 200, "day {days}: {} polls", harness.polls() - polls);

        harness.set_faults("");
        let polls = harness.polls();
        harness.wait_for_polls(polls + 2).await;
        let (scrape, requests) = (harness.scrape(), harness.requests());
        assert_eq!(scrape.account_value("tryvox_up", ""), 1.0, "day {days}");
        assert_eq!(scrape.inventory(), harness.expected_series(), "day {days}");
        assert_eq!(scrape.family("tryvox_api_requests_total").values().sum::<f64>(), requests as f64, "day {days}");
        let polls = scrape.family("tryvox_polls_total").values().sum::<f64>();
        assert_eq!(polls, harness.polls() as f64);
        let errors = scrape.family("tryvox_poll_errors_total").values().sum::<f64>();
        assert_eq!(errors, harness.failed_polls() as f64);
    }
    let up = harness.scrape().successful_polls();
    println!(
        "{days} days, {} requests, {} polls, {up} of them successful, {} simulated days",
        harness.requests(),
        harness.polls(),
        simulated_start.elapsed().as_secs() / 86_400
    );
}

/// The same with real processes: no task is lost, memory does not grow, and the requests that the
/// simulator received are those that the exporter counted.
#[tokio::test]
async fn processes_leak_nothing_and_recover_from_random_faults() {
    let mut rng = Rng::with_seed(seed());
    let simulator = ServerProcess::simulator(2_000, rng.u64(..), &["--life=200ms"]).await;
    let url = format!("--tryvox.url={}", simulator.url());
    let arguments = [
        &*url,
        "--tryvox.account-id=acc_demo",
        "--poll.interval=50ms",
        "--poll.timeout=1m",
        "--tryvox.timeout=250ms",
        "--tryvox.rate-limit=0",
        "--tryvox.concurrency=8",
    ];
    let mut exporter = ServerProcess::start(&arguments, &[("TRYVOX_API_KEY", KEY)]).await;
    exporter.wait_for_log("poll succeeded", 1).await;
    let (start, mut rounds, mut early_memory) = (std::time::Instant::now(), 0, 0);
    // However long a round takes, there are some after the one that memory is compared with.
    while rounds < 4 || start.elapsed() < run_time() {
        rounds += 1;
        // The allocator keeps the memory of a huge body, which has a test of its own.
        let is_huge = |fault: &str| fault.starts_with("gzip-bomb") || fault.starts_with("endless-body");
        let random_faults = random_faults(&mut rng);
        let mut faults: Vec<_> =
            random_faults.split(',').filter(|fault| !fault.is_empty() && !is_huge(fault)).collect();
        // One poll fails in any case.
        faults.push("401 page=1 times=1");
        simulator.set_faults(&faults.join(",")).await;
        tokio::time::sleep(run_time().min(Duration::from_secs(5)) / 5).await;
        exporter.wait_for_log("poll failed", rounds).await;
        simulator.set_faults("").await;
        until_counts_agree(&exporter, &simulator).await;
        if rounds == 1 || start.elapsed() < run_time() / 3 {
            early_memory = exporter.memory("VmRSS");
        }
    }
    let late_memory = exporter.memory("VmRSS");
    let scrape = exporter.scrape().await;
    let polls = scrape.successful_polls();
    let failures = scrape.failed_polls();
    println!(
        "{rounds} rounds, {polls} successful polls, {failures} failed, {} requests, memory {} to {} KiB",
        simulator.requests().await,
        early_memory >> 10,
        late_memory >> 10,
    );
    assert!(polls >= rounds as f64 && failures >= rounds as f64, "{polls} {failures}");
    // The memory that the allocator keeps varies by a few MiB.
    assert!(late_memory < early_memory + (8 << 20), "{early_memory} to {late_memory} bytes");
    scrape.lint();
}

/// Waits until no request is in flight, so that the API has received exactly the requests that were
/// counted, and until the last poll is successful.
async fn until_counts_agree(exporter: &ServerProcess, simulator: &ServerProcess) {
    let start = Instant::now();
    loop {
        let (received, scrape) = (simulator.requests().await, exporter.scrape().await);
        let received_after = simulator.requests().await;
        let counted = scrape.family("tryvox_api_requests_total").values().sum::<f64>();
        assert!(counted <= received_after as f64, "{counted} requests counted, {received_after} received");
        if received == received_after && counted == received as f64 && scrape.account_value("tryvox_up", "") == 1.0 {
            return;
        }
        assert!(
            start.elapsed() < TEST_TIMEOUT,
            "{counted} requests counted, {received} received\n{}",
            exporter.output_so_far()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn inventory_of_a_changing_account_is_exact_once_faults_stop() {
    let mut rng = Rng::with_seed(seed());
    let simulator = ServerProcess::simulator(1_000, rng.u64(..), &[]).await;
    let arguments = ["--poll.interval=100ms", "--poll.timeout=1m", "--tryvox.timeout=1s", "--tryvox.rate-limit=0"];
    let mut exporter = ServerProcess::exporter(&simulator.url(), &arguments).await;
    exporter.wait_for_polls(1).await;
    for _ in 0..3 {
        simulator.set_faults(&format!("shift,{}", random_faults(&mut rng))).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        simulator.set_faults("").await;
        let polls = exporter.polls();
        exporter.wait_for_polls(polls + 2).await;
        assert_eq!(exporter.scrape().await.inventory(), expected::from_simulator(&simulator).await);
    }
}
