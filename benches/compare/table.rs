//! The report: measurements and the latest results of criterion go in, Markdown tables come out.

use std::fmt::{self, Write};
use std::path::Path;

/// One measurement and its target.
pub(crate) struct Row {
    /// What was measured, including the workload.
    pub(crate) measurement: String,
    /// The result of this exporter, with its unit.
    pub(crate) exporter: String,
    /// The result of the reference exporter, or a limit, with its unit.
    pub(crate) reference: String,
    /// Relation between the two.
    pub(crate) ratio: String,
    /// The ratio that must be reached.
    pub(crate) target: String,
    pub(crate) is_met: bool,
}

impl Row {
    /// Compares a value with the limit that it must not exceed, both in the same unit.
    pub(crate) fn limited(measurement: String, value: f64, limit: f64, unit: &str) -> Self {
        Self {
            measurement,
            exporter: format!("{value:.2} {unit}"),
            reference: format!("{limit} {unit}"),
            ratio: format!("{:.2}", value / limit),
            target: "1".into(),
            is_met: value <= limit,
        }
    }

    /// Compares a value with a reference, of which it may be a multiple, both in the same unit.
    pub(crate) fn compared(measurement: String, value: f64, reference: f64, unit: &str, max_ratio: f64) -> Self {
        Self {
            measurement,
            exporter: format!("{value:.3} {unit}"),
            reference: format!("{reference:.3} {unit}"),
            ratio: format!("{:.2}", value / reference),
            target: max_ratio.to_string(),
            is_met: value <= reference * max_ratio,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { measurement, exporter, reference, ratio, target, is_met } = self;
        let met = if *is_met { "yes" } else { "**no**" };
        write!(f, "| {measurement} | {exporter} | {reference} | {ratio} | {target} | {met} |")
    }
}

/// Renders the machine, the measurements, and the stages if criterion has results for them.
pub(crate) fn render(rows: &[Row]) -> String {
    let mut text = format!("Measured on {}.\n\n", describe_machine());
    text.push_str("| measurement | tryvox-exporter | reference | ratio | target | met |\n|---|---|---|---|---|---|\n");
    for row in rows {
        _ = writeln!(text, "{row}");
    }
    let stages = stage_rows(&Path::new(env!("CARGO_MANIFEST_DIR")).join("target/criterion"));
    if !stages.is_empty() {
        text.push_str("\n| stage | time | size | throughput |\n|---|---|---|---|\n");
        text.push_str(&stages.concat());
    }
    text
}

/// Describes the processor, the kernel and the compilers.
fn describe_machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("an unknown processor");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let rustc = env!("TRYVOX_EXPORTER_RUSTC");
    let go = std::process::Command::new("go").arg("version").output().map(|output| output.stdout).unwrap_or_default();
    format!(
        "{} ({cores} cores, shared by all processes), Linux {}, rustc {rustc}, {}",
        model.trim_start_matches(['\t', ':', ' ']),
        read("/proc/sys/kernel/osrelease").trim(),
        String::from_utf8_lossy(&go).trim().trim_start_matches("go version "),
    )
}

/// Renders the latest result of each criterion benchmark below a folder as a table row.
fn stage_rows(root: &Path) -> Vec<String> {
    let mut rows = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let read = |file: &str| {
            let text = std::fs::read_to_string(folder.join("new").join(file)).ok()?;
            serde_json::from_str::<serde_json::Value>(&text).ok()
        };
        if let (Some(benchmark), Some(estimates)) = (read("benchmark.json"), read("estimates.json")) {
            let nanoseconds = estimates["median"]["point_estimate"].as_f64().unwrap_or(f64::NAN);
            let name = benchmark["full_id"].as_str().unwrap_or_default();
            let amount = |unit: &str| benchmark["throughput"][unit].as_f64();
            let (size, throughput) = match (amount("Bytes"), amount("Elements")) {
                (Some(bytes), _) => {
                    (format!("{:.2} MB", bytes / 1e6), format!("{:.0} MB/s", bytes * 1e3 / nanoseconds))
                }
                (_, Some(1.0)) => ("1".into(), format!("{:.0}/s", 1e9 / nanoseconds)),
                (_, Some(elements)) => {
                    (format!("{elements}"), format!("{:.2} million/s", elements * 1e3 / nanoseconds))
                }
                _ => Default::default(),
            };
            rows.push(format!("| {name} | {:.3} ms | {size} | {throughput} |\n", nanoseconds / 1e6));
        }
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
        folders.extend(entries.filter(|path| path.is_dir()));
    }
    rows.sort();
    rows
}
