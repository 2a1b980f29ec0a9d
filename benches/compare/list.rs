//! What `list` costs: its time compared with that of the API alone, and its memory.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tryvox_exporter::simulator::DEFAULT_KEY;

use crate::measure::{Workload, median};
use crate::process::{EXPORTER, ServerProcess};
use crate::table::Row;

/// Requests in flight, of both.
const CONCURRENCY: usize = 4;

/// Numbers on a page.
const PER_PAGE: usize = 100;

/// Maximum memory of `list` with a million numbers, in MiB.
const MAX_MEMORY: f64 = 150.0;

/// Time between two looks at the memory of a process.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Measures `list` of a large account to a CSV file.
pub(crate) fn measure_list(_: &Path, workload: &Workload) -> Vec<Row> {
    let numbers = workload.large_numbers;
    let api = ServerProcess::simulator(&[&format!("--numbers={numbers}")]);
    let (mut seconds, mut api_seconds, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
    // The two take turns, so that other load on the machine affects both alike.
    for _ in 0..workload.rounds {
        let (elapsed, peak) = list(&api, numbers);
        seconds.push(elapsed);
        peaks.push(peak);
        api_seconds.push(read_pages(&api, numbers));
    }
    let [seconds, api_seconds, peak] = [seconds, api_seconds, peaks].map(median);
    vec![
        Row {
            measurement: format!("list of {numbers} numbers to CSV: time, reference reads the pages only"),
            exporter: format!("{seconds:.2} s"),
            reference: format!("{api_seconds:.2} s"),
            ratio: format!("{:.2}", seconds / api_seconds),
            target: "2",
            is_met: seconds <= api_seconds * 2.0,
        },
        Row {
            measurement: format!("list of {numbers} numbers to CSV: peak RSS"),
            exporter: format!("{peak:.1} MiB"),
            reference: format!("{MAX_MEMORY} MiB"),
            ratio: format!("{:.2}", peak / MAX_MEMORY),
            target: "1",
            is_met: peak <= MAX_MEMORY,
        },
    ]
}

/// Lists all numbers to a file. Returns the time in seconds and the peak memory in MiB.
fn list(api: &ServerProcess, numbers: usize) -> (f64, f64) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("numbers.csv");
    let start = Instant::now();
    let mut child = Command::new(EXPORTER)
        .args(["list", "--tryvox.account-id=acc_demo", "--tryvox.rate-limit=0", "--poll.timeout=5m", "--output=csv"])
        .args([format!("--tryvox.url=http://{}", api.address), format!("--output.file={}", path.display())])
        .arg(format!("--tryvox.concurrency={CONCURRENCY}"))
        .env("TRYVOX_API_KEY", DEFAULT_KEY)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let status_file = format!("/proc/{}/status", child.id());
    let mut peak = 0.0;
    let status = loop {
        // A process that has exited has no memory.
        let text = std::fs::read_to_string(&status_file).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(peak);
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(LOOK_INTERVAL);
    };
    let seconds = start.elapsed().as_secs_f64();
    assert!(status.success(), "{status}");
    let rows = BufReader::new(File::open(&path).unwrap()).lines().count();
    assert_eq!(rows, numbers + 1, "the header and all numbers");
    (seconds, peak / 1024.0)
}

/// Requests all pages and drops them. Returns the time in seconds.
fn read_pages(api: &ServerProcess, numbers: usize) -> f64 {
    let (next_page, pages) = (AtomicUsize::new(1), numbers.div_ceil(PER_PAGE));
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let read = async || {
        loop {
            let page = next_page.fetch_add(1, Ordering::Relaxed);
            if page > pages {
                return;
            }
            let url = format!("http://{}/v1/account/acc_demo/numbers?page={page}&per_page={PER_PAGE}", api.address);
            let response = http.get(url).bearer_auth(DEFAULT_KEY).send().await.unwrap();
            assert!(response.status().is_success(), "{}", response.status());
            response.bytes().await.unwrap();
        }
    };
    let start = Instant::now();
    Runtime::new().unwrap().block_on(futures_util::future::join_all((0..CONCURRENCY).map(|_| read())));
    start.elapsed().as_secs_f64()
}
