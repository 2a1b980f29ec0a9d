//! What owners cost: CPU time of the polls of a large account, and memory per number.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tryvox_exporter::simulator::DEFAULT_KEY;

use crate::measure::{ALL_COLLECTORS, LARGE_POLLS, Workload, growth_per_number, median, poll_cost};
use crate::process::{ServerProcess, exporter_binary};
use crate::table::Row;

const OWNERS: usize = 1_000;

/// Measures the polls of a large account with and without owners.
pub(crate) fn measure_owners(_: &Path, workload: &Workload) -> Vec<Row> {
    let numbers = workload.large_numbers;
    let folder = tempfile::tempdir().unwrap();
    let api = ServerProcess::simulator(&[&format!("--numbers={numbers}")]);
    let without_owners = write_config(folder.path(), &api, "");
    let owners = owners(&listed(&api, &without_owners));
    let with_owners = write_config(folder.path(), &api, &owners);
    let interval = format!("--poll.interval={}s", workload.large_interval.as_secs());
    let cost = |config: &Path| {
        let exporter = start(config, &[&[&*interval], &ALL_COLLECTORS[..]].concat());
        let cost = poll_cost(&exporter, LARGE_POLLS).cpu_seconds;
        (cost, exporter.scrape())
    };
    let (mut with_costs, mut without_costs) = (Vec::new(), Vec::new());
    let mut owner_count = 0;
    // The two take turns, so that other load on the machine affects both alike.
    for _ in 0..workload.rounds {
        without_costs.push(cost(&without_owners).0);
        let (cost, metrics) = cost(&with_owners);
        with_costs.push(cost);
        let names = metrics.lines().filter_map(|line| line.strip_prefix("tryvox_owner_numbers{")?.split('"').nth(3));
        owner_count = names.collect::<BTreeSet<_>>().len();
    }
    drop(api);
    assert!(owner_count > OWNERS / 2, "only {owner_count} owners have numbers");
    let [with, without] = [with_costs, without_costs].map(median);
    let bytes = bytes_per_number(folder.path(), &owners, numbers);
    vec![
        Row::compared(
            format!("poll of {numbers} numbers: CPU time with {OWNERS} owners of 10 matchers each, reference without"),
            with,
            without,
            "s",
            1.15,
        ),
        Row::limited(
            format!(
                "peak RSS at {numbers} numbers with these owners, all of them candidates for per-number series, per \
                 additional number"
            ),
            bytes,
            64.0,
            "bytes",
        ),
    ]
}

/// Returns the peak memory of an account, above that of one with 10,000 numbers, for each number.
fn bytes_per_number(folder: &Path, owners: &str, numbers: usize) -> f64 {
    let peak_kib = |numbers: usize| {
        let api = ServerProcess::simulator(&[&format!("--numbers={numbers}"), "--life=1s"]);
        let config = write_config(folder, &api, owners);
        let statuses = "--collector.number.statuses=active,pending,suspended";
        let exporter = start(&config, &[&["--poll.interval=1s", statuses], &ALL_COLLECTORS[..]].concat());
        exporter.wait_for_polls(1.0 + LARGE_POLLS);
        exporter.memory_kib("VmHWM:")
    };
    let sizes = [10_000, numbers];
    growth_per_number(sizes, sizes.map(peak_kib))
}

/// Writes a configuration file of one account.
fn write_config(folder: &Path, api: &ServerProcess, owners: &str) -> PathBuf {
    let path = folder.join(if owners.is_empty() { "without_owners.yml" } else { "with_owners.yml" });
    let url = format!("http://{}", api.address);
    let text = format!(
        "tryvox: {{url: '{url}', rate_limit: 0}}\npoll: {{timeout: 5m}}\naccounts: [{{account_id: acc_demo}}]\n{owners}"
    );
    std::fs::write(&path, text).unwrap();
    path
}

fn start(config: &Path, arguments: &[&str]) -> ServerProcess {
    let config = format!("--config.file={}", config.display());
    ServerProcess::start(
        exporter_binary(),
        &[&["serve", "--web.listen-address=127.0.0.1:0", &*config], arguments].concat(),
    )
}

/// Returns the numbers, trunks and applications of the API's account.
fn listed(api: &ServerProcess, config: &Path) -> [Vec<String>; 3] {
    let output = Command::new(exporter_binary())
        .args(["list", "--output=csv"])
        .arg(format!("--config.file={}", config.display()))
        .env("TRYVOX_API_KEY", DEFAULT_KEY)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "cannot list the numbers of {}", api.address);
    let mut values = [(); 3].map(|()| BTreeSet::new());
    let mut reader = csv::Reader::from_reader(&*output.stdout);
    let columns = reader.headers().unwrap().clone();
    let columns = ["e164", "trunk_id", "application_id"]
        .map(|name| columns.iter().position(|column| column == name).expect("the column exists"));
    for record in reader.records() {
        let record = record.unwrap();
        for (values, column) in values.iter_mut().zip(columns) {
            values.insert(record[column].to_owned());
        }
    }
    values.map(|values| values.into_iter().filter(|value| !value.is_empty()).collect())
}

/// Returns owners with four numbers, four nested prefixes, a trunk and an application each. Some of the trunks and
/// applications exist.
fn owners([numbers, trunks, applications]: &[Vec<String>; 3]) -> String {
    let mut text = String::from("owners:\n");
    for owner in 0..OWNERS {
        let number = |index: usize| &numbers[(owner * 10 + index) * numbers.len() / (OWNERS * 10)];
        let exact = (0..4).map(|index| format!("\"{}\"", number(index)));
        // Later owners have shorter prefixes, so that they also have numbers.
        let shortest = if owner < OWNERS - 50 { 8 } else { 4 };
        let nested = (shortest..).take(4).map(|length| {
            let prefix = number(7);
            format!("\"{}*\"", &prefix[..length.min(prefix.len())])
        });
        let id = |ids: &[String], kind: &str| {
            ids.get(owner / 40).filter(|_| owner % 40 == 39).cloned().unwrap_or(format!("{kind}_{owner}"))
        };
        let (trunk, application) = (id(trunks, "trk"), id(applications, "app"));
        let patterns: Vec<_> = exact.chain(nested).collect();
        writeln!(
            text,
            "- {{name: owner {owner}, numbers: [{}], trunks: [{trunk}], applications: [{application}]}}",
            patterns.join(", ")
        )
        .unwrap();
    }
    text
}
