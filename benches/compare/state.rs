//! What a state file costs: CPU time of polls, time until an inventory is restored, memory and disk space.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::measure::{ALL_COLLECTORS, Workload, median, poll_cost};
use crate::process::{ServerProcess, successful_polls};
use crate::table::Row;

/// Time between polls of the large account.
const INTERVAL: Duration = Duration::from_secs(10);

/// Polls that are measured in each round.
const POLLS: f64 = 2.0;

/// Measures the polls of a large account with and without a state file, and a restart.
pub(crate) fn measure_state(_: &Path, workload: &Workload) -> Vec<Row> {
    let numbers = workload.large_numbers;
    // One change per tick, so that 1% of the numbers have changed at the next poll.
    let tick = INTERVAL * 100 / u32::try_from(numbers).unwrap();
    let mut rows = vec![
        cpu_row(workload, "nothing changed", &[], 1.3, "1.3"),
        cpu_row(workload, "1% changed", &[&format!("--life={}us", tick.as_micros())], 1.6, "1.6"),
    ];

    let folder = tempfile::tempdir().unwrap();
    let state = state_flag(folder.path());
    let api = ServerProcess::simulator(&[&format!("--numbers={numbers}"), "--life=1ms"]);
    let arguments = [&["--poll.interval=1s", &*state], &ALL_COLLECTORS[..]].concat();
    let exporter = ServerProcess::exporter(&api, &arguments);
    exporter.wait_for_polls(1.0 + workload.polls);
    let peak = exporter.memory_kib("VmHWM:") / 1024.0;
    let megabytes = disk_bytes(folder.path()) / 1e6;
    drop(exporter);

    let restore = |_| {
        let started_at = Instant::now();
        let exporter = ServerProcess::exporter(&api, &arguments);
        let metrics = loop {
            let metrics = exporter.scrape();
            if metrics.contains("tryvox_listed_numbers{") {
                break metrics;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        assert!(successful_polls(&metrics) < 1.0, "the inventory is that of a poll");
        started_at.elapsed().as_secs_f64()
    };
    let seconds = median((0..workload.rounds).map(restore).collect());
    let row = |what: &str, value: f64, limit: f64, unit: &str, target| Row {
        measurement: format!("state file, {numbers} numbers: {what}"),
        exporter: format!("{value:.2} {unit}"),
        reference: format!("{limit} {unit}"),
        ratio: format!("{:.2}", value / limit),
        target,
        is_met: value <= limit,
    };
    rows.extend([
        row("start to the restored inventory", seconds, 2.0, "s", "1"),
        row("peak RSS", peak, 100.0, "MiB", "1"),
        row("disk space, side files included", megabytes, 40.0, "MB", "1"),
    ]);
    rows
}

/// Compares the CPU time of polls with a state file to that without one.
fn cpu_row(workload: &Workload, what: &str, life: &[&str], limit: f64, target: &'static str) -> Row {
    let numbers = workload.large_numbers;
    let api = ServerProcess::simulator(&[&[&*format!("--numbers={numbers}")], life].concat());
    let interval = format!("--poll.interval={}s", INTERVAL.as_secs());
    let arguments = [&[&*interval], &ALL_COLLECTORS[..]].concat();
    let cost = |exporter: &ServerProcess| poll_cost(exporter, POLLS).cpu_seconds;
    let (mut with_state, mut without_state) = (Vec::new(), Vec::new());
    for _ in 0..workload.rounds {
        let folder = tempfile::tempdir().unwrap();
        let state = state_flag(folder.path());
        with_state.push(cost(&ServerProcess::exporter(&api, &[&arguments[..], &[&state]].concat())));
        without_state.push(cost(&ServerProcess::exporter(&api, &arguments)));
    }
    let [with_state, without_state] = [with_state, without_state].map(median);
    Row {
        measurement: format!("poll of {numbers} numbers, {what}: CPU time with a state file, reference without"),
        exporter: format!("{with_state:.3} s"),
        reference: format!("{without_state:.3} s"),
        ratio: format!("{:.2}", with_state / without_state),
        target,
        is_met: with_state <= without_state * limit,
    }
}

fn state_flag(folder: &Path) -> String {
    format!("--state.file={}", folder.join("state.db").display())
}

fn disk_bytes(folder: &Path) -> f64 {
    let sizes = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
    #[expect(clippy::cast_precision_loss, reason = "the sizes are small")]
    let bytes = sizes.sum::<u64>() as f64;
    bytes
}
