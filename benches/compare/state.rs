//! What a state file costs: CPU time of polls, time until an inventory is restored, memory and disk space.

use std::fmt::Write;
use std::path::Path;
use std::time::Instant;

use crate::measure::{ALL_COLLECTORS, LARGE_POLLS, Workload, median, poll_cost};
use crate::process::{ServerProcess, exporter_binary, successful_polls};
use crate::table::Row;

/// Measures the polls of a large account with and without a state file, and a restart.
pub(crate) fn measure_state(_: &Path, workload: &Workload) -> Vec<Row> {
    let numbers = workload.large_numbers;
    // A tick changes one number of a thousand, so 1% of them have changed at the next poll.
    let life = format!("--life={}ms", workload.large_interval.as_millis() / 10);
    let mut rows = vec![cpu_row(workload, "nothing changed", &[], 1.3), cpu_row(workload, "1% changed", &[&life], 1.6)];

    let folder = tempfile::tempdir().unwrap();
    let state = state_flag(folder.path());
    let api = ServerProcess::simulator(&[&format!("--numbers={numbers}"), &life]);
    let arguments = [&["--poll.interval=1s", &*state], &ALL_COLLECTORS[..]].concat();
    let exporter = ServerProcess::exporter(&api, &arguments);
    exporter.wait_for_polls(1.0 + workload.polls);
    let peak = exporter.memory_kib("VmHWM:") / 1024.0;
    let megabytes = disk_bytes(folder.path()) / 1e6;
    drop(exporter);
    let seconds = median(
        (0..workload.rounds).map(|_| restore_seconds(|| ServerProcess::exporter(&api, &arguments), 1)).collect(),
    );
    let subject = format!("{numbers} numbers");
    rows.extend([
        row(&subject, "start to the restored inventory", seconds, 2.0, "s"),
        row(&subject, "peak RSS", peak, 100.0, "MiB"),
        row(&subject, "disk space, side files included", megabytes, 40.0, "MB"),
    ]);
    rows.extend(many_accounts_rows(workload));
    rows
}

/// Measures a restart with many small accounts.
fn many_accounts_rows(workload: &Workload) -> [Row; 2] {
    let (accounts, numbers) = (workload.large_numbers / 100, 10);
    let folder = tempfile::tempdir().unwrap();
    let api = ServerProcess::simulator(&[&format!("--numbers={numbers}"), &format!("--accounts={accounts}")]);
    let mut text = format!(
        "tryvox: {{url: 'http://{}', rate_limit: 0}}\npoll: {{interval: 10m}}\nstate: {{file: state.db}}\naccounts:\n",
        api.address
    );
    (1..=accounts).for_each(|account| _ = writeln!(text, "- {{account_id: acc_demo_{account}}}"));
    let file = folder.path().join("config.yml");
    std::fs::write(&file, text).unwrap();
    let config = format!("--config.file={}", file.display());
    let start = || ServerProcess::start(exporter_binary(), &["--web.listen-address=127.0.0.1:0", &config]);
    let exporter = start();
    #[expect(clippy::cast_precision_loss, reason = "the accounts are few")]
    exporter.wait_for_polls(accounts as f64);
    drop(exporter);
    let seconds = median((0..workload.rounds).map(|_| restore_seconds(start, accounts)).collect());
    let subject = format!("{accounts} accounts of {numbers} numbers");
    [
        row(&subject, "start to the restored inventory", seconds, 2.0, "s"),
        row(&subject, "disk space, side files included", disk_bytes(folder.path()) / 1e6, 40.0, "MB"),
    ]
}

/// Starts an exporter and returns the time until it serves the inventories of all accounts, in seconds.
fn restore_seconds(start: impl Fn() -> ServerProcess, accounts: usize) -> f64 {
    let started_at = Instant::now();
    let exporter = start();
    let metrics = exporter.scrape();
    let seconds = started_at.elapsed().as_secs_f64();
    assert_eq!(metrics.matches("\ntryvox_listed_numbers{").count(), accounts, "the first scrape is complete");
    #[expect(clippy::cast_precision_loss, reason = "the accounts are few")]
    let is_restored = successful_polls(&metrics) < accounts as f64;
    assert!(is_restored, "the inventory is that of a poll");
    seconds
}

/// Compares a cost of the state file with a limit.
fn row(subject: &str, what: &str, value: f64, limit: f64, unit: &str) -> Row {
    Row::limited(format!("state file, {subject}: {what}"), value, limit, unit)
}

/// Compares the CPU time of polls with a state file to that without one.
fn cpu_row(workload: &Workload, what: &str, life: &[&str], max_ratio: f64) -> Row {
    let numbers = workload.large_numbers;
    let api = ServerProcess::simulator(&[&[&*format!("--numbers={numbers}")], life].concat());
    let interval = format!("--poll.interval={}s", workload.large_interval.as_secs());
    let arguments = [&[&*interval], &ALL_COLLECTORS[..]].concat();
    let cost = |exporter: &ServerProcess| poll_cost(exporter, LARGE_POLLS).cpu_seconds;
    let (mut with_state, mut without_state) = (Vec::new(), Vec::new());
    for _ in 0..workload.rounds {
        let folder = tempfile::tempdir().unwrap();
        let state = state_flag(folder.path());
        with_state.push(cost(&ServerProcess::exporter(&api, &[&arguments[..], &[&state]].concat())));
        without_state.push(cost(&ServerProcess::exporter(&api, &arguments)));
    }
    let [with_state, without_state] = [with_state, without_state].map(median);
    let measurement = format!("poll of {numbers} numbers, {what}: CPU time with a state file, reference without");
    Row::compared(measurement, with_state, without_state, "s", max_ratio)
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
