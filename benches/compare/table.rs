//! What was measured, as a table.

use std::fmt::{self, Write};
use std::path::Path;

/// A thing that was measured, and what was to be reached.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) ours: String,
    /// The other exporter's, or the limit.
    pub(crate) beside: String,
    pub(crate) ratio: String,
    pub(crate) target: &'static str,
    pub(crate) met: bool,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, ours, beside, ratio, target, met } = self;
        let met = if *met { "yes" } else { "**no**" };
        write!(f, "| {what} | {ours} | {beside} | {ratio} | {target} | {met} |")
    }
}

/// The rows, the stages if they were measured, and the machine.
pub(crate) fn write(rows: &[Row]) -> String {
    let mut text = format!("Measured on {}.\n\n", machine());
    text.push_str("| what | tryvox-exporter | beside | ratio | to reach | met |\n|---|---|---|---|---|---|\n");
    for row in rows {
        _ = writeln!(text, "{row}");
    }
    let stages = stages(&Path::new(env!("CARGO_MANIFEST_DIR")).join("target/criterion"));
    if !stages.is_empty() {
        text.push_str("\n| stage | time | of | throughput |\n|---|---|---|---|\n");
        text.push_str(&stages.concat());
    }
    text
}

fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("an unknown processor");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let rustc = env!("TRYVOX_EXPORTER_RUSTC");
    let go = std::process::Command::new("go").arg("version").output().map(|said| said.stdout).unwrap_or_default();
    format!(
        "{} ({cores} cores that all of it shares), Linux {}, rustc {rustc}, {}",
        model.trim_start_matches(['\t', ':', ' ']),
        read("/proc/sys/kernel/osrelease").trim(),
        String::from_utf8_lossy(&go).trim().trim_start_matches("go version "),
    )
}

/// What criterion has measured last, a row each.
fn stages(folder: &Path) -> Vec<String> {
    let mut rows = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let read = |file: &str| {
            let text = std::fs::read_to_string(folder.join("new").join(file)).ok()?;
            serde_json::from_str::<serde_json::Value>(&text).ok()
        };
        if let (Some(benchmark), Some(estimates)) = (read("benchmark.json"), read("estimates.json")) {
            let nanoseconds = estimates["median"]["point_estimate"].as_f64().unwrap_or(f64::NAN);
            let name = benchmark["full_id"].as_str().unwrap_or_default();
            let of = |unit: &str| benchmark["throughput"][unit].as_f64();
            let (of, throughput) = match (of("Bytes"), of("Elements")) {
                (Some(bytes), _) => {
                    (format!("{:.2} MB", bytes / 1e6), format!("{:.0} MB/s", bytes * 1e3 / nanoseconds))
                }
                (_, Some(1.0)) => ("1".into(), format!("{:.0}/s", 1e9 / nanoseconds)),
                (_, Some(many)) => (format!("{many}"), format!("{:.2} million/s", many * 1e3 / nanoseconds)),
                _ => Default::default(),
            };
            rows.push(format!("| {name} | {:.3} ms | {of} | {throughput} |\n", nanoseconds / 1e6));
        }
        let below = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
        folders.extend(below.filter(|path| path.is_dir()));
    }
    rows.sort();
    rows
}
