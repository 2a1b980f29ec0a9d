//! Long runs under random faults. In `make test` they are short; `make soak` gives them ten minutes.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use crate::common::harness::{Harness, HarnessOptions};
use crate::common::{KEY, Running, expected, seed};

/// What a run may take, in real time.
fn budget() -> Duration {
    let seconds = std::env::var("TRYVOX_SOAK_SECONDS").ok().map(|text| text.parse().unwrap());
    Duration::from_secs(seconds.unwrap_or(10))
}

/// Every fault there is, each with a chance of its own.
fn weather(rng: &mut Rng) -> String {
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
    let some: Vec<_> = all
        .iter()
        .filter_map(|fault| {
            let (page, probability) = (rng.u8(1..=8), rng.f64() * 0.2);
            (rng.u8(0..6) == 0).then(|| format!("{fault} page={page} probability={probability:.3}"))
        })
        .collect();
    some.join(",")
}

/// Weeks of polls every five minutes, in paused time: the account lives, the API is in trouble, and
/// once a day all is well for a while and must be right.
#[tokio::test(start_paused = true)]
async fn weeks_under_random_faults() {
    const DAY: Duration = Duration::from_hours(24);
    let (start, born) = (std::time::Instant::now(), Instant::now());
    let mut rng = Rng::with_seed(seed());
    let lab = Harness::start(&HarnessOptions {
        numbers: 200,
        seed: rng.u64(..),
        latency: Duration::from_millis(200),
        ..HarnessOptions::default()
    });
    let (simulator, stop) = (lab.simulator.clone(), lab.stop.clone());
    tokio::spawn(async move { simulator.live(Duration::from_mins(7), stop).await });
    let mut days = 0;
    while start.elapsed() < budget() {
        days += 1;
        let polls = lab.polls();
        for _ in 0..24 {
            lab.set_faults(&weather(&mut rng));
            tokio::time::sleep(DAY / 25).await;
        }
        // No poll takes longer than its interval, and none is left out.
        assert!(lab.polls() - polls > 200, "day {days}: {} polls", lab.polls() - polls);

        lab.set_faults("");
        let polls = lab.polls();
        lab.wait_for_polls(polls + 2).await;
        let (scrape, requests) = (lab.scrape(), lab.requests());
        assert_eq!(scrape.of("tryvox_up", ""), 1.0, "day {days}");
        assert_eq!(scrape.inventory(), lab.expected_series(), "day {days}");
        assert_eq!(scrape.family("tryvox_api_requests_total").values().sum::<f64>(), requests as f64, "day {days}");
        let polls = scrape.family("tryvox_polls_total").values().sum::<f64>();
        assert_eq!(polls, lab.polls() as f64);
        let errors = scrape.family("tryvox_poll_errors_total").values().sum::<f64>();
        assert_eq!(errors, scrape.of("tryvox_polls_total", r#"result="failure""#));
    }
    let up = lab.scrape().of("tryvox_polls_total", r#"result="success""#);
    println!(
        "{days} days, {} requests, {} polls, {up} of them good, {} days by the clock",
        lab.requests(),
        lab.polls(),
        born.elapsed().as_secs() / 86_400
    );
    assert!(days > 0);
}

/// The same of real processes: no task is lost, memory stays, requests seen are requests counted.
#[tokio::test]
async fn real_processes_under_random_faults() {
    let mut rng = Rng::with_seed(seed());
    let simulator = Running::simulator(2_000, rng.u64(..), &["--life=200ms"]).await;
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
    let mut exporter = Running::start(&arguments, &[("TRYVOX_API_KEY", KEY)]).await;
    exporter.logged("account listed", 1).await;
    let (start, mut rounds, mut early) = (std::time::Instant::now(), 0, 0);
    while start.elapsed() < budget() {
        rounds += 1;
        // An allocator keeps what a huge body took; what that may come to has a test of its own.
        let huge = |fault: &str| fault.starts_with("gzip-bomb") || fault.starts_with("endless-body");
        let weather: Vec<_> = weather(&mut rng).split(',').filter(|fault| !huge(fault)).map(str::to_owned).collect();
        simulator.set_faults(&weather.join(",")).await;
        tokio::time::sleep(budget().min(Duration::from_secs(5)) / 5).await;
        simulator.set_faults("").await;
        until_counts_agree(&exporter, &simulator).await;
        if start.elapsed() < budget() / 3 {
            early = exporter.memory("VmRSS");
        }
    }
    let late = exporter.memory("VmRSS");
    let scrape = exporter.scrape().await;
    let polls = scrape.of("tryvox_polls_total", r#"result="success""#);
    let failures = scrape.of("tryvox_polls_total", r#"result="failure""#);
    println!(
        "{rounds} rounds, {polls} good polls, {failures} failed, {} requests, memory {} to {} KiB",
        simulator.requests().await,
        early >> 10,
        late >> 10,
    );
    assert!(rounds > 1 && polls > 0.0 && failures > 0.0);
    // What an allocator keeps differs by a few MiB from moment to moment.
    assert!(late < early + (8 << 20), "{early} to {late} bytes");
    scrape.lint();
}

/// Waits for a moment in which no request is in flight: then the API has seen what was counted. A
/// poll that is good must be there by then, too.
async fn until_counts_agree(exporter: &Running, simulator: &Running) {
    let start = Instant::now();
    loop {
        let (seen, scrape, still) = (simulator.requests().await, exporter.scrape().await, simulator.requests().await);
        let counted = scrape.family("tryvox_api_requests_total").values().sum::<f64>();
        assert!(counted <= still as f64, "{counted} requests counted, {still} seen");
        if seen == still && counted == seen as f64 && scrape.of("tryvox_up", "") == 1.0 {
            return;
        }
        assert!(
            start.elapsed() < Duration::from_mins(1),
            "{counted} requests counted, {seen} seen\n{}",
            exporter.said()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A listing that lives is exact at each moment that it can be compared.
#[tokio::test]
async fn when_the_trouble_is_over_it_is_exact() {
    let mut rng = Rng::with_seed(seed());
    let simulator = Running::simulator(1_000, rng.u64(..), &[]).await;
    let arguments = ["--poll.interval=100ms", "--poll.timeout=1m", "--tryvox.timeout=1s", "--tryvox.rate-limit=0"];
    let mut exporter = Running::exporter(&simulator.url(), &arguments).await;
    exporter.polled(1).await;
    for _ in 0..3 {
        simulator.set_faults(&format!("shift,{}", weather(&mut rng))).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        simulator.set_faults("").await;
        let polls = exporter.polls();
        exporter.polled(polls + 2).await;
        assert_eq!(exporter.scrape().await.inventory(), expected::from_simulator(&simulator).await);
    }
}
