//! Compares the exporter with a plain `client_golang` exporter for the same API: the cost of a poll and of a scrape,
//! memory use and startup time. Both run on the same machine in the same run. Targets are ratios between the two, or
//! limits that depend little on the machine. The exporter is the static binary as it is shipped.
//!
//! `make bench` measures and writes `target/bench.md`; `cargo test --benches` runs every measurement once with a tiny
//! workload and ignores the results. `cargo bench --bench compare -- poll` runs a single measurement.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark that fails measures nothing")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the output is the purpose of the program")]

mod floor;
mod list;
mod measure;
mod owners;
mod process;
mod state;
mod table;

use std::path::Path;

use floor::measure_floor;
use list::measure_list;
use measure::{
    Workload, measure_binaries, measure_memory, measure_polls, measure_polls_with_latency, measure_scrape_latency,
    measure_scrape_rate, measure_startup,
};
use owners::measure_owners;
use process::build_go;
use state::measure_state;
use table::Row;

/// Takes the path of the reference exporter.
type Measurement = fn(&Path, &Workload) -> Vec<Row>;

/// All measurements by the names that select them on the command line.
const MEASUREMENTS: [(&str, Measurement); 11] = [
    ("poll", measure_polls),
    ("floor", measure_floor),
    ("binaries", measure_binaries),
    ("latency", measure_polls_with_latency),
    ("scrapes", measure_scrape_rate),
    ("lateness", measure_scrape_latency),
    ("memory", measure_memory),
    ("owners", measure_owners),
    ("state", measure_state),
    ("list", measure_list),
    ("start", measure_startup),
];

fn main() {
    // Fails only if a provider is already installed.
    _ = rustls::crypto::ring::default_provider().install_default();
    if let [command, url] = &std::env::args().skip(1).collect::<Vec<_>>()[..]
        && command == floor::LIST_FLOOR
    {
        return floor::run(url);
    }
    // `cargo bench` passes this flag, `cargo test --benches` does not.
    let is_full_run = std::env::args().any(|argument| argument == "--bench");
    let workload = if is_full_run { Workload::FULL } else { Workload::TINY };
    let selected: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if is_full_run {
        process::measure_shipped_exporter();
    }
    let reference = build_go("peer");
    let mut rows = Vec::new();
    let is_selected = |name: &str| selected.is_empty() || selected.iter().any(|selected| selected == name);
    for (_, measure) in MEASUREMENTS.iter().filter(|(name, _)| is_selected(name)) {
        for row in measure(&reference, &workload) {
            // The figures of a tiny workload mean nothing.
            if is_full_run {
                eprintln!("{row}");
            } else {
                eprintln!("completed: {}", row.measurement);
            }
            rows.push(row);
        }
    }
    if is_full_run {
        let text = table::render(&rows);
        println!("{text}");
        if selected.is_empty() {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench.md");
            std::fs::write(&path, text).unwrap();
            eprintln!("written to {}", path.display());
        }
    }
}
