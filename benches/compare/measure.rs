//! The measurements: each starts the processes that it needs, loads them and returns rows for the report.

use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use tokio::runtime::Runtime;

use crate::process::{
    BUILT_EXPORTER, ServerProcess, count_series, exporter_binary, first_value, get, successful_polls,
};
use crate::table::Row;

/// How much is measured.
pub(crate) struct Workload {
    /// Size of the account whose polls are measured.
    pub(crate) numbers: usize,
    /// Size of the large account.
    pub(crate) large_numbers: usize,
    /// How often a measurement is repeated; the median is reported.
    pub(crate) rounds: usize,
    /// How many polls are measured in each round.
    pub(crate) polls: f64,
    /// How long the servers are loaded in each round.
    load_duration: Duration,
    /// How long scrapes are timed while the large account is polled.
    scrape_duration: Duration,
    /// After how many more polls memory is compared.
    soak_polls: f64,
    /// Time between polls of the large account while the costs of a state file and of owners are measured.
    pub(crate) large_interval: Duration,
}

impl Workload {
    pub(crate) const FULL: Self = Self {
        numbers: 100_000,
        large_numbers: 1_000_000,
        rounds: 3,
        polls: 6.0,
        load_duration: Duration::from_secs(4),
        scrape_duration: Duration::from_mins(1),
        soak_polls: 1000.0,
        large_interval: Duration::from_secs(10),
    };
    pub(crate) const TINY: Self = Self {
        numbers: 300,
        large_numbers: 11_000,
        rounds: 1,
        polls: 1.0,
        load_duration: Duration::from_millis(200),
        scrape_duration: Duration::from_secs(2),
        soak_polls: 3.0,
        large_interval: Duration::from_secs(1),
    };
}

/// Polls of the large account that are measured in each round.
pub(crate) const LARGE_POLLS: f64 = 2.0;

/// Enables the collectors that are disabled by default.
pub(crate) const ALL_COLLECTORS: [&str; 3] = ["--collector.region", "--collector.trunk", "--collector.application"];

/// The `Accept` header of Prometheus 2.
const ACCEPT: &str = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
    text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn start_reference(binary: &Path, api: &ServerProcess, arguments: &[&str]) -> ServerProcess {
    let url = format!("http://{}", api.address);
    ServerProcess::start(binary, &[&["-url", &url], arguments].concat())
}

/// Measures CPU time and duration of a poll if the API responds without latency.
pub(crate) fn measure_polls(binary: &Path, workload: &Workload) -> Vec<Row> {
    let numbers = workload.numbers;
    let api = ServerProcess::simulator(&[&format!("--numbers={numbers}")]);
    let (mut exporter_costs, mut reference_costs) = (Vec::new(), Vec::new());
    // The two take turns, so that other load on the machine affects both alike.
    for _ in 0..workload.rounds {
        let exporter = ServerProcess::exporter(&api, &[&["--poll.interval=1s"], &ALL_COLLECTORS[..]].concat());
        exporter_costs.push(poll_cost(&exporter, workload.polls));
        drop(exporter);
        let reference = start_reference(binary, &api, &["-interval", "1s"]);
        reference_costs.push(poll_cost(&reference, workload.polls));
    }
    let row = |what: &str, cost: fn(&PollCost) -> f64, target: &str, limit: f64| {
        let [exporter, reference] =
            [&exporter_costs, &reference_costs].map(|costs| median(costs.iter().map(cost).collect()));
        Row {
            measurement: format!("poll of {numbers} numbers, all collectors enabled: {what}"),
            exporter: format!("{exporter:.3} s"),
            reference: format!("{reference:.3} s"),
            ratio: format!("1/{:.1}", reference / exporter),
            target: target.into(),
            is_met: exporter <= reference * limit,
        }
    };
    vec![
        row("CPU time", |cost| cost.cpu_seconds, "1/5, goal 1/8", 0.2),
        row("duration, no latency", |cost| cost.seconds, "1/4", 0.25),
    ]
}

/// Compares the static binary, which is linked against musl, with one that is linked against glibc.
pub(crate) fn measure_binaries(_: &Path, workload: &Workload) -> Vec<Row> {
    let numbers = workload.large_numbers;
    let api = ServerProcess::simulator(&[&format!("--numbers={numbers}")]);
    let (mut shipped_costs, mut built_costs) = (Vec::new(), Vec::new());
    for _ in 0..workload.rounds {
        for (binary, costs) in [(exporter_binary(), &mut shipped_costs), (Path::new(BUILT_EXPORTER), &mut built_costs)]
        {
            let arguments = [&["--poll.interval=1s"], &ALL_COLLECTORS[..]].concat();
            let exporter = ServerProcess::exporter_from(binary, &api, &arguments);
            let cpu_seconds = poll_cost(&exporter, LARGE_POLLS).cpu_seconds;
            costs.push((cpu_seconds, exporter.memory_kib("VmHWM:") / 1024.0));
        }
    }
    let row = |what: &str, unit: &str, cost: fn(&(f64, f64)) -> f64| {
        let [shipped, built] = [&shipped_costs, &built_costs].map(|costs| median(costs.iter().map(cost).collect()));
        let measurement = format!("poll of {numbers} numbers, all collectors enabled, static binary and glibc: {what}");
        Row::compared(measurement, shipped, built, unit, 1.1)
    };
    vec![row("CPU time", "s", |cost| cost.0), row("peak RSS", "MiB", |cost| cost.1)]
}

/// What one poll costs.
pub(crate) struct PollCost {
    /// CPU time of the process, in seconds.
    pub(crate) cpu_seconds: f64,
    /// Duration of the poll, in seconds.
    seconds: f64,
}

/// Measures the polls after the first one, which has no earlier listing to compare with.
pub(crate) fn poll_cost(exporter: &ServerProcess, polls: f64) -> PollCost {
    let first_poll = successful_polls(&exporter.wait_for_polls(1.0));
    let (mut last_poll, cpu_before) = (first_poll, exporter.cpu_seconds());
    let mut durations = Vec::new();
    while last_poll < first_poll + polls {
        let metrics = exporter.wait_for_polls(last_poll + 1.0);
        last_poll = successful_polls(&metrics);
        durations.push(first_value(&metrics, "tryvox_last_poll_duration_seconds").unwrap());
    }
    let cpu_seconds = (exporter.cpu_seconds() - cpu_before) / (last_poll - first_poll);
    PollCost { cpu_seconds, seconds: median(durations) }
}

/// Compares the duration of a poll with the minimum that the latency of the API allows.
pub(crate) fn measure_polls_with_latency(_: &Path, workload: &Workload) -> Vec<Row> {
    let (latency, pages, in_flight) = (0.04, 200, 8);
    let api = ServerProcess::simulator(&[&format!("--numbers={}", pages * 100), "--latency=40ms"]);
    let exporter = ServerProcess::exporter(&api, &["--poll.interval=2s", &format!("--tryvox.concurrency={in_flight}")]);
    let seconds = poll_cost(&exporter, workload.polls).seconds;
    let minimum = f64::from((pages + in_flight - 1) / in_flight) * latency;
    let measurement =
        format!("poll of {pages} pages, 40 ms latency, {in_flight} requests in flight, reference is the minimum");
    vec![Row::compared(measurement, seconds, minimum, "s", 1.15)]
}

/// Measures the rate of scrapes while no poll is in progress.
pub(crate) fn measure_scrape_rate(binary: &Path, workload: &Workload) -> Vec<Row> {
    let mut rows = Vec::new();
    for (numbers, limit, min_ratio, target) in [("17", "0", 12.0, "12"), ("20000", "3180", 20.0, "20")] {
        let api = ServerProcess::simulator(&["--numbers", numbers]);
        let statuses = if limit == "0" { "none" } else { "active" };
        let exporter = ServerProcess::exporter(
            &api,
            &[
                &["--poll.interval=1h", "--collector.number.statuses", statuses, "--collector.number.limit", limit],
                &ALL_COLLECTORS[..],
            ]
            .concat(),
        );
        let reference = start_reference(binary, &api, &["-interval", "1h", "-status", statuses, "-limit", limit]);
        let [exporter_series, reference_series] =
            [&exporter, &reference].map(|server| count_series(&server.wait_for_polls(1.0)));
        for encoding in ["identity", "gzip"] {
            let (mut exporter_rates, mut reference_rates) = (Vec::new(), Vec::new());
            for _ in 0..workload.rounds {
                exporter_rates.push(requests_per_second(&exporter, encoding, workload.load_duration));
                reference_rates.push(requests_per_second(&reference, encoding, workload.load_duration));
            }
            let (exporter_rate, reference_rate) = (median(exporter_rates), median(reference_rates));
            rows.push(Row {
                measurement: format!(
                    "scrapes per second, {encoding}, {exporter_series} series (reference: {reference_series})"
                ),
                exporter: format!("{exporter_rate:.0}"),
                reference: format!("{reference_rate:.0}"),
                ratio: format!("{:.1}", exporter_rate / reference_rate),
                target: target.into(),
                is_met: exporter_rate >= reference_rate * min_ratio,
            });
        }
    }
    rows
}

/// Loads a server with wrk, which itself takes little CPU time.
fn requests_per_second(server: &ServerProcess, encoding: &str, duration: Duration) -> f64 {
    let duration = format!("{}s", duration.as_secs().max(1));
    let output = Command::new("wrk")
        .args(["--threads=1", "--connections=8", "--duration", &duration])
        .args(["--header", &format!("Accept: {ACCEPT}"), "--header", &format!("Accept-Encoding: {encoding}")])
        .arg(format!("http://{}/metrics", server.address))
        .output()
        .expect("cannot run wrk; `scripts/setup bench` installs it");
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(!report.contains("Non-2xx") && !report.contains("Socket errors"), "{report}");
    let rate = report.lines().find_map(|line| line.strip_prefix("Requests/sec:")).unwrap_or_else(|| panic!("{report}"));
    rate.trim().parse().unwrap()
}

/// Compares the latency of scrapes during polls with that between polls.
pub(crate) fn measure_scrape_latency(_: &Path, workload: &Workload) -> Vec<Row> {
    let numbers = workload.large_numbers;
    let api = ServerProcess::simulator(&[&format!("--numbers={numbers}")]);
    let exporter = ServerProcess::exporter(&api, &["--poll.interval=6s"]);
    exporter.wait_for_polls(1.0);
    let url = format!("http://{}/metrics", exporter.address);
    let mut scrapes = Runtime::new().unwrap().block_on(scrape_steadily(&url, workload.scrape_duration));

    let polls: Vec<Range<f64>> = scrapes.iter().filter_map(|scrape| scrape.last_poll.clone()).collect();
    // No scrape reports the poll that is in progress at the end, so scrapes during that poll would count as idle.
    let last_poll_end = polls.iter().map(|poll| poll.end).fold(0.0, f64::max);
    scrapes.retain(|scrape| scrape.due_at < last_poll_end);
    let is_during_poll = |scrape: &&TimedScrape| polls.iter().any(|poll| poll.contains(&scrape.due_at));
    let (during_polls, between_polls): (Vec<&TimedScrape>, Vec<&TimedScrape>) =
        scrapes.iter().partition(is_during_poll);
    let p99_milliseconds = |scrapes: &[&TimedScrape]| {
        let mut latencies: Vec<f64> = scrapes.iter().map(|scrape| scrape.latency * 1e3).collect();
        latencies.sort_by(f64::total_cmp);
        latencies.get(latencies.len() * 99 / 100).copied().unwrap_or(f64::NAN)
    };
    let (p99_during, p99_between) = (p99_milliseconds(&during_polls), p99_milliseconds(&between_polls));
    vec![Row {
        measurement: format!("p99 latency at 200 scrapes per second during polls of {numbers} numbers"),
        exporter: format!("{p99_during:.2} ms ({} scrapes)", during_polls.len()),
        reference: format!("{p99_between:.2} ms between polls ({} scrapes)", between_polls.len()),
        ratio: format!("{:.1}", p99_during / p99_between),
        target: "3".into(),
        is_met: p99_during <= p99_between * 3.0,
    }]
}

/// The result of one scrape. All times are in seconds, points in time as Unix timestamps.
struct TimedScrape {
    due_at: f64,
    /// Time from `due_at` to the end of the response.
    latency: f64,
    /// Start and end of the last poll that the scrape reports.
    last_poll: Option<Range<f64>>,
}

/// Sends 200 scrapes per second over persistent connections, whether or not earlier ones were answered. Each is timed
/// from when it was due, so that a stalled server cannot hide its latency by delaying the requests.
async fn scrape_steadily(url: &str, duration: Duration) -> Vec<TimedScrape> {
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let (start, mut scrapes) = (Instant::now(), tokio::task::JoinSet::new());
    while start.elapsed() < duration {
        let due_at = ticks.tick().await.into_std();
        let request = http.get(url).header("Accept", ACCEPT).header("Accept-Encoding", "gzip");
        scrapes.spawn(async move {
            let metrics = request.send().await.unwrap().text().await.unwrap();
            let latency = due_at.elapsed().as_secs_f64();
            let value = |family: &str| first_value(&metrics, family);
            let last_poll = value("tryvox_last_poll_timestamp_seconds").zip(value("tryvox_last_poll_duration_seconds"));
            let last_poll = last_poll.map(|(end, duration)| end - duration..end);
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
            TimedScrape { due_at: now - latency, latency, last_poll }
        });
    }
    scrapes.join_all().await
}

/// Returns the additional memory per number of a large account over a small one, in bytes.
pub(crate) fn growth_per_number([small, large]: [usize; 2], [small_kib, large_kib]: [f64; 2]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
    let more_numbers = (large - small) as f64;
    (large_kib - small_kib) * 1024.0 / more_numbers
}

/// Measures peak memory by the size of the account, and whether memory grows with the number of polls.
pub(crate) fn measure_memory(_: &Path, workload: &Workload) -> Vec<Row> {
    let peak_kib = |numbers: usize| {
        let api = ServerProcess::simulator(&[&format!("--numbers={numbers}"), "--life=1s"]);
        let exporter = ServerProcess::exporter(&api, &[&["--poll.interval=1s"], &ALL_COLLECTORS[..]].concat());
        exporter.wait_for_polls(1.0 + workload.polls);
        exporter.memory_kib("VmHWM:")
    };
    let (small, large) = (10_000, workload.large_numbers);
    let [small_peak, large_peak] = [small, large].map(peak_kib);
    let bytes_per_number = growth_per_number([small, large], [small_peak, large_peak]);

    let api = ServerProcess::simulator(&["--numbers=2000", "--life=100ms"]);
    let exporter = ServerProcess::exporter(&api, &[&["--poll.interval=10ms"], &ALL_COLLECTORS[..]].concat());
    let warmup_polls = workload.soak_polls / 10.0;
    exporter.wait_for_polls(warmup_polls);
    let before = exporter.memory_kib("VmRSS:");
    exporter.wait_for_polls(warmup_polls + workload.soak_polls);
    let after = exporter.memory_kib("VmRSS:");
    vec![
        Row::limited(format!("peak RSS at {small} numbers"), small_peak / 1024.0, 20.0, "MiB"),
        Row::limited(
            format!("peak RSS at {large} numbers ({:.1} MiB), per additional number", large_peak / 1024.0),
            bytes_per_number,
            64.0,
            "bytes",
        ),
        Row::compared(
            format!("RSS after {} more polls of 2000 changing numbers", workload.soak_polls),
            after / 1024.0,
            before / 1024.0,
            "MiB",
            1.05,
        ),
    ]
}

/// Measures the time from start to the first response, and the size of the binary.
pub(crate) fn measure_startup(_: &Path, workload: &Workload) -> Vec<Row> {
    let startup_milliseconds = |_| {
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let started_at = Instant::now();
        let child = Command::new(exporter_binary())
            .args(["serve", "--tryvox.account-id=acc_demo", "--tryvox.url=http://127.0.0.1:9", "--web.listen-address"])
            .arg(&address)
            .env("TRYVOX_API_KEY", "key")
            .stderr(std::process::Stdio::null())
            .spawn();
        let mut child = child.unwrap();
        while get(&address, "/-/healthy").is_none() {
            std::thread::sleep(Duration::from_micros(200));
        }
        let milliseconds = started_at.elapsed().as_secs_f64() * 1e3;
        child.kill().unwrap();
        child.wait().unwrap();
        milliseconds
    };
    let milliseconds = median((0..workload.rounds * 7).map(startup_milliseconds).collect());
    #[expect(clippy::cast_precision_loss, reason = "the binary is small")]
    let size = std::fs::metadata(exporter_binary()).unwrap().len() as f64 / 1e6;
    vec![
        Row::limited("start to the first response of /-/healthy".into(), milliseconds, 30.0, "ms"),
        Row::limited("size of the stripped binary".into(), size, 12.0, "MB"),
    ]
}
