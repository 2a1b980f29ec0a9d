//! What this process says of itself, at each scrape.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;

use super::exposition::{Format, push_unit};
use super::family::Metric;
use super::live::Memory;
use super::polling::timestamp;

/// The build, the configuration, and the process as the operating system sees it.
pub struct Exporter {
    process: ProcessCollector,
    configured: ArcSwap<ConfigStatus>,
    pub(super) memory: Memory,
}

/// What is to be known of the configuration in force.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConfigStatus {
    /// Whether it was good when it was last read.
    pub successful: bool,
    /// When it was last read and good.
    pub since: SystemTime,
    /// This process's number among all that share the accounts, from 0.
    pub shard: u32,
    /// How many those are.
    pub total_shards: u32,
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").field("configured", &self.configured).finish_non_exhaustive()
    }
}

type OfExporter = Metric<ConfigStatus>;

/// The families that have no account.
pub static EXPORTER: &[Metric<ConfigStatus>] = &[
    OfExporter::gauge(
        "tryvox_exporter_build_info",
        &["version", "revision", "rustc"],
        "1, labelled by what this exporter was built from.",
        |_, samples| {
            let built = [env!("CARGO_PKG_VERSION"), env!("TRYVOX_EXPORTER_REVISION"), env!("TRYVOX_EXPORTER_RUSTC")];
            samples.push(built, 1_u64);
        },
    )
    .about("", "count by (version) (tryvox_exporter_build_info)"),
    OfExporter::gauge(
        "tryvox_exporter_config_last_reload_successful",
        &[],
        "1 if the configuration was good when it was last read, else 0.",
        |configured, samples| samples.push([], configured.successful),
    )
    .about("", "tryvox_exporter_config_last_reload_successful == 0"),
    OfExporter::gauge(
        "tryvox_exporter_config_last_reload_success_timestamp_seconds",
        &[],
        "When the configuration was last read and good, in seconds since the epoch.",
        |configured, samples| samples.push([], timestamp(configured.since)),
    )
    .about("seconds since the epoch", "time() - tryvox_exporter_config_last_reload_success_timestamp_seconds"),
    OfExporter::gauge(
        "tryvox_exporter_shard_ordinal",
        &[],
        "The number of this process among those that share the accounts, from 0.",
        |configured, samples| samples.push([], u64::from(configured.shard)),
    )
    .about("", "count by (job) (tryvox_exporter_shard_ordinal) < on (job) max by (job) (tryvox_exporter_total_shards)"),
    OfExporter::gauge(
        "tryvox_exporter_total_shards",
        &[],
        "How many processes share the accounts.",
        |configured, samples| samples.push([], u64::from(configured.total_shards)),
    )
    .about("processes", "max(tryvox_exporter_total_shards)"),
];

impl Exporter {
    /// An exporter whose configuration is as it says.
    #[must_use]
    pub fn new(configured: ConfigStatus) -> Self {
        Self {
            process: ProcessCollector::for_self(),
            configured: ArcSwap::from_pointee(configured),
            memory: Memory::default(),
        }
    }

    /// What is known of the configuration in force.
    #[must_use]
    pub fn configured(&self) -> ConfigStatus {
        **self.configured.load()
    }

    /// Says how reading the configuration went.
    pub fn configure(&self, configured: ConfigStatus) {
        self.configured.store(Arc::new(configured));
    }

    /// Writes the `process_*` families to the end of `out`.
    pub(super) fn push_process(&self, out: &mut String, format: Format) {
        let mut text = String::new();
        // It fails only for families without a name or samples, which this collector has not.
        _ = prometheus::TextEncoder::new().encode_utf8(&self.process.collect(), &mut text);
        for line in text.lines() {
            let Some(header) = line.strip_prefix("# ").filter(|_| format == Format::OpenMetrics) else {
                _ = writeln!(out, "{line}");
                continue;
            };
            // In OpenMetrics a counter's family is named without the ending of its samples.
            let header = header.replacen("_total ", " ", 1);
            _ = writeln!(out, "# {header}");
            if let Some((name, _)) = header.strip_prefix("TYPE ").and_then(|rest| rest.split_once(' ')) {
                push_unit(out, name, format);
            }
        }
    }
}
