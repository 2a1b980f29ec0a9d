//! What `list` costs: its duration compared with the minimum that the API allows, and its memory.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tryvox_exporter::simulator::DEFAULT_KEY;

use crate::measure::Workload;
use crate::process::{ServerProcess, exporter_binary, memory_kib};
use crate::table::Row;

/// Requests in flight.
const CONCURRENCY: usize = 8;

/// Latency of the API.
const LATENCY: Duration = Duration::from_millis(40);

/// Numbers on a page.
const PER_PAGE: usize = 100;

/// Maximum memory of `list` with a million numbers, in MiB.
const MAX_MEMORY: f64 = 150.0;

/// Time between two looks at the memory of a process.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Measures `list` of a large account to a CSV file, and compares its duration with the minimum that the latency of the API
/// allows.
pub(crate) fn measure_list(_: &Path, workload: &Workload) -> Vec<Row> {
    let numbers = workload.large_numbers;
    let api =
        ServerProcess::simulator(&[&format!("--numbers={numbers}"), &format!("--latency={}ms", LATENCY.as_millis())]);
    let (seconds, peak) = list(&api, numbers);
    let rounds_of_requests = u32::try_from(numbers.div_ceil(PER_PAGE * CONCURRENCY)).unwrap();
    let minimum = (LATENCY * rounds_of_requests).as_secs_f64();
    let subject = format!("list of {numbers} numbers to CSV");
    vec![
        Row::compared(
            format!("{subject}, 40 ms latency, {CONCURRENCY} requests in flight: duration, reference is the minimum"),
            seconds,
            minimum,
            "s",
            1.5,
        ),
        Row::limited(format!("{subject}: peak RSS"), peak, MAX_MEMORY, "MiB"),
    ]
}

/// Lists all numbers to a file. Returns the time in seconds and the peak memory in MiB.
fn list(api: &ServerProcess, numbers: usize) -> (f64, f64) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("numbers.csv");
    let start = Instant::now();
    let mut child = Command::new(exporter_binary())
        .args(["list", "--tryvox.account-id=acc_demo", "--tryvox.rate-limit=0", "--poll.timeout=5m", "--output=csv"])
        .args([format!("--tryvox.url=http://{}", api.address), format!("--output.file={}", path.display())])
        .arg(format!("--tryvox.concurrency={CONCURRENCY}"))
        .env("TRYVOX_API_KEY", DEFAULT_KEY)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let mut peak = 0.0;
    let status = loop {
        peak = memory_kib(child.id(), "VmHWM:").unwrap_or(peak);
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
