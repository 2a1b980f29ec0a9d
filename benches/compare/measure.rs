//! What is measured, and how.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use tokio::runtime::Runtime;

use crate::process::{EXPORTER, Running, get, polls, sample, series};
use crate::table::Row;

/// How much is done.
pub(crate) struct Scale {
    numbers: usize,
    many_numbers: usize,
    rounds: usize,
    polls: f64,
    /// How long the servers are loaded, each time.
    load: Duration,
    /// How long scrapes are timed while polls come and go.
    watch: Duration,
    many_polls: f64,
}

impl Scale {
    pub(crate) const FULL: Self = Self {
        numbers: 100_000,
        many_numbers: 1_000_000,
        rounds: 3,
        polls: 6.0,
        load: Duration::from_secs(4),
        watch: Duration::from_mins(1),
        many_polls: 1000.0,
    };
    pub(crate) const BRIEF: Self = Self {
        numbers: 300,
        many_numbers: 11_000,
        rounds: 1,
        polls: 1.0,
        load: Duration::from_millis(200),
        watch: Duration::from_secs(2),
        many_polls: 3.0,
    };
}

type Measure = fn(&Path, &Scale) -> Vec<Row>;

/// All that is measured, each by its name.
pub(crate) const ALL: [(&str, Measure); 6] = [
    ("poll", poll),
    ("latency", latency),
    ("scrapes", scrapes),
    ("lateness", lateness),
    ("memory", memory),
    ("start", start),
];

/// Every collector there is.
const EVERYTHING: [&str; 3] = ["--collector.region", "--collector.trunk", "--collector.application"];

/// What Prometheus 2 asks for.
const ACCEPT: &str = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
    text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn peer(binary: &Path, api: &Running, arguments: &[&str]) -> Running {
    let url = format!("http://{}", api.address);
    Running::start(binary, &[&["-url", &url], arguments].concat())
}

/// What a poll costs, of processors and of time, where the API answers at once.
fn poll(binary: &Path, scale: &Scale) -> Vec<Row> {
    let numbers = scale.numbers;
    let api = Running::simulator(&[&format!("--numbers={numbers}")]);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    // In turns, so that what else goes on here is the same for both.
    for _ in 0..scale.rounds {
        let exporter = Running::exporter(&api, &[&["--poll.interval=1s"], &EVERYTHING[..]].concat());
        ours.push(cost(&exporter, scale));
        drop(exporter);
        theirs.push(cost(&peer(binary, &api, &["-interval", "1s"]), scale));
    }
    let [(our_cpu, our_time), (their_cpu, their_time)] = [ours, theirs]
        .map(|costs: Vec<(f64, f64)>| costs.into_iter().unzip::<f64, f64, Vec<_>, Vec<_>>())
        .map(|(cpu, time)| (median(cpu), median(time)));
    let row = |what: &str, ours: f64, theirs: f64, target, limit: f64| Row {
        what: format!("poll of {numbers} numbers, all collectors on: {what}"),
        ours: format!("{ours:.3} s"),
        beside: format!("{theirs:.3} s"),
        ratio: format!("1/{:.1}", theirs / ours),
        target,
        met: ours <= theirs * limit,
    };
    vec![
        row("CPU", our_cpu, their_cpu, "1/5, aim 1/8", 0.2),
        row("time, no latency", our_time, their_time, "1/4", 0.25),
    ]
}

/// CPU and time of a poll in seconds, once the first is done: that one has nothing to compare with.
fn cost(exporter: &Running, scale: &Scale) -> (f64, f64) {
    let mut done = polls(&exporter.polls(1.0));
    let (first, before) = (done, exporter.cpu());
    let mut times = Vec::new();
    while done < first + scale.polls {
        let text = exporter.polls(done + 1.0);
        done = polls(&text);
        times.push(sample(&text, "tryvox_last_poll_duration_seconds").unwrap());
    }
    ((exporter.cpu() - before) / (done - first), median(times))
}

/// How near a poll comes to the limit that the API's latency sets.
fn latency(_: &Path, scale: &Scale) -> Vec<Row> {
    let (latency, pages, in_flight) = (0.04, 200, 8);
    let api = Running::simulator(&[&format!("--numbers={}", pages * 100), "--latency=40ms"]);
    let exporter = Running::exporter(&api, &["--poll.interval=2s", &format!("--tryvox.concurrency={in_flight}")]);
    let (_, time) = cost(&exporter, scale);
    let least = f64::from((pages + in_flight - 1) / in_flight) * latency;
    vec![Row {
        what: format!("poll of {pages} pages, 40 ms each, {in_flight} in flight"),
        ours: format!("{time:.3} s"),
        beside: format!("{least:.3} s at least"),
        ratio: format!("{:.2}", time / least),
        target: "1.15",
        met: time <= least * 1.15,
    }]
}

/// How many scrapes a second are answered, while no poll goes on.
fn scrapes(binary: &Path, scale: &Scale) -> Vec<Row> {
    let mut rows = Vec::new();
    for (numbers, limit, least, target) in [("17", "0", 12.0, "12"), ("20000", "3180", 20.0, "20")] {
        let api = Running::simulator(&["--numbers", numbers]);
        let statuses = if limit == "0" { "none" } else { "active" };
        let exporter = Running::exporter(
            &api,
            &[
                &["--poll.interval=1h", "--collector.number.statuses", statuses, "--collector.number.limit", limit],
                &EVERYTHING[..],
            ]
            .concat(),
        );
        let peer = peer(binary, &api, &["-interval", "1h", "-status", statuses, "-limit", limit]);
        let [ours, theirs] = [&exporter, &peer].map(|running| series(&running.polls(1.0)));
        for coding in ["identity", "gzip"] {
            let (mut our_rate, mut their_rate) = (Vec::new(), Vec::new());
            for _ in 0..scale.rounds {
                our_rate.push(requests_a_second(&exporter, coding, scale.load));
                their_rate.push(requests_a_second(&peer, coding, scale.load));
            }
            let (our_rate, their_rate) = (median(our_rate), median(their_rate));
            rows.push(Row {
                what: format!("scrapes a second, {}, {ours} series (beside {theirs})", plain(coding)),
                ours: format!("{our_rate:.0}"),
                beside: format!("{their_rate:.0}"),
                ratio: format!("{:.1}", our_rate / their_rate),
                target,
                met: our_rate >= their_rate * least,
            });
        }
    }
    rows
}

fn plain(coding: &str) -> &str {
    if coding == "identity" { "plain" } else { coding }
}

/// By wrk, which costs little itself.
fn requests_a_second(running: &Running, coding: &str, load: Duration) -> f64 {
    let duration = format!("{}s", load.as_secs().max(1));
    let said = Command::new("wrk")
        .args(["--threads=1", "--connections=8", "--duration", &duration])
        .args(["--header", &format!("Accept: {ACCEPT}"), "--header", &format!("Accept-Encoding: {coding}")])
        .arg(format!("http://{}/metrics", running.address))
        .output()
        .expect("wrk; `scripts/setup bench` installs it");
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(!said.contains("Non-2xx") && !said.contains("Socket errors"), "{said}");
    let rate = said.lines().find_map(|line| line.strip_prefix("Requests/sec:")).unwrap_or_else(|| panic!("{said}"));
    rate.trim().parse().unwrap()
}

/// Scrapes at a steady pace, each timed from the moment that it was due, while polls come and go.
fn lateness(_: &Path, scale: &Scale) -> Vec<Row> {
    let numbers = scale.many_numbers;
    let api = Running::simulator(&[&format!("--numbers={numbers}")]);
    let exporter = Running::exporter(&api, &["--poll.interval=6s"]);
    exporter.polls(1.0);
    let url = format!("http://{}/metrics", exporter.address);
    let mut timed = Runtime::new().unwrap().block_on(load(&url, scale.watch));

    let polls: Vec<(f64, f64)> = timed.iter().filter_map(|scrape| scrape.poll).collect();
    // Later ones may have met a poll that nothing tells of, and would pass for idle.
    let known = polls.iter().map(|(_, end)| *end).fold(0.0, f64::max);
    timed.retain(|scrape| scrape.due < known);
    let during = |scrape: &&Timed| polls.iter().any(|(begin, end)| (*begin..*end).contains(&scrape.due));
    let (busy, idle): (Vec<&Timed>, Vec<&Timed>) = timed.iter().partition(during);
    let [busy, idle] = [busy, idle].map(|scrapes| {
        let mut took: Vec<f64> = scrapes.iter().map(|scrape| scrape.took * 1e3).collect();
        took.sort_by(f64::total_cmp);
        (took.get(took.len() * 99 / 100).copied().unwrap_or(f64::NAN), took.len())
    });
    vec![Row {
        what: format!("p99 of 200 scrapes a second during polls of {numbers} numbers"),
        ours: format!("{:.2} ms ({} scrapes)", busy.0, busy.1),
        beside: format!("{:.2} ms between them ({})", idle.0, idle.1),
        ratio: format!("{:.1}", busy.0 / idle.0),
        target: "3",
        met: busy.0 <= idle.0 * 3.0,
    }]
}

/// A scrape: when it was due and what it took from then on, in seconds, and the last poll that it tells of.
struct Timed {
    due: f64,
    took: f64,
    poll: Option<(f64, f64)>,
}

/// 200 scrapes a second, over connections that are kept.
async fn load(url: &str, watch: Duration) -> Vec<Timed> {
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let mut beat = tokio::time::interval(Duration::from_millis(5));
    let (start, mut scrapes) = (Instant::now(), tokio::task::JoinSet::new());
    while start.elapsed() < watch {
        let due = beat.tick().await.into_std();
        let request = http.get(url).header("Accept", ACCEPT).header("Accept-Encoding", "gzip");
        scrapes.spawn(async move {
            let text = request.send().await.unwrap().text().await.unwrap();
            let took = due.elapsed().as_secs_f64();
            let of = |family: &str| sample(&text, family);
            let poll = of("tryvox_last_poll_timestamp_seconds").zip(of("tryvox_last_poll_duration_seconds"));
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
            Timed { due: now - took, took, poll: poll.map(|(end, took)| (end - took, end)) }
        });
    }
    scrapes.join_all().await
}

/// What it takes at most, and whether that grows.
fn memory(_: &Path, scale: &Scale) -> Vec<Row> {
    let most = |numbers: usize| {
        let api = Running::simulator(&[&format!("--numbers={numbers}"), "--life=1s"]);
        let exporter = Running::exporter(&api, &[&["--poll.interval=1s"], &EVERYTHING[..]].concat());
        exporter.polls(1.0 + scale.polls);
        exporter.kib("VmHWM:")
    };
    let (few, many) = (10_000, scale.many_numbers);
    let [least, most] = [few, many].map(most);
    #[expect(clippy::cast_precision_loss, reason = "these are small")]
    let each = (most - least) * 1024.0 / (many - few) as f64;

    let api = Running::simulator(&["--numbers=2000", "--life=100ms"]);
    let exporter = Running::exporter(&api, &[&["--poll.interval=10ms"], &EVERYTHING[..]].concat());
    let warm = scale.many_polls / 10.0;
    exporter.polls(warm);
    let before = exporter.kib("VmRSS:");
    exporter.polls(warm + scale.many_polls);
    let after = exporter.kib("VmRSS:");
    vec![
        Row {
            what: format!("peak RSS at {few} numbers"),
            ours: format!("{:.1} MiB", least / 1024.0),
            beside: "20 MiB".into(),
            ratio: format!("{:.2}", least / 1024.0 / 20.0),
            target: "1",
            met: least < 20.0 * 1024.0,
        },
        Row {
            what: format!("peak RSS at {many} numbers, {:.1} MiB: for each more", most / 1024.0),
            ours: format!("{each:.1} bytes"),
            beside: "64 bytes".into(),
            ratio: format!("{:.2}", each / 64.0),
            target: "1",
            met: each <= 64.0,
        },
        Row {
            what: format!("RSS after {} polls more of 2000 numbers that change", scale.many_polls),
            ours: format!("{:.1} MiB", after / 1024.0),
            beside: format!("{:.1} MiB before", before / 1024.0),
            ratio: format!("{:.2}", after / before),
            target: "1, flat",
            met: after <= before * 1.05,
        },
    ]
}

/// How soon it answers, and how large it is.
fn start(_: &Path, scale: &Scale) -> Vec<Row> {
    let took = |_| {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let begin = Instant::now();
        let child = Command::new(EXPORTER)
            .args(["serve", "--tryvox.account-id=acc_demo", "--tryvox.url=http://127.0.0.1:9", "--web.listen-address"])
            .arg(&free)
            .env("TRYVOX_API_KEY", "key")
            .stderr(std::process::Stdio::null())
            .spawn();
        let mut child = child.unwrap();
        while get(&free, "/-/healthy").is_none() {
            std::thread::sleep(Duration::from_micros(200));
        }
        let took = begin.elapsed().as_secs_f64() * 1e3;
        child.kill().unwrap();
        child.wait().unwrap();
        took
    };
    let took = median((0..scale.rounds * 7).map(took).collect());
    #[expect(clippy::cast_precision_loss, reason = "it is small")]
    let size = std::fs::metadata(EXPORTER).unwrap().len() as f64 / 1e6;
    let row = |what: &str, unit: &str, ours: f64, limit: f64| Row {
        what: what.into(),
        ours: format!("{ours:.1} {unit}"),
        beside: format!("{limit} {unit}"),
        ratio: format!("{:.2}", ours / limit),
        target: "1",
        met: ours < limit,
    };
    vec![row("start to the first answer of /-/healthy", "ms", took, 30.0), row("binary, stripped", "MB", size, 12.0)]
}
