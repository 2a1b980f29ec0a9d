//! The families of the exporter itself: its build and its configuration.

use std::time::SystemTime;

use super::metric::Metric;
use super::polling_families::timestamp;

/// The status of the configuration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConfigStatus {
    /// Whether it was valid when it was last read.
    pub is_valid: bool,
    /// When the configuration in force was read.
    pub loaded_at: SystemTime,
    /// The ordinal of this process among those that share the accounts, from 0.
    pub shard: u32,
    /// The number of processes that share the accounts.
    pub total_shards: u32,
}

type ExporterMetric = Metric<ConfigStatus>;

/// The families of the exporter itself, which have no `account` label, in the order of the exposition.
pub static EXPORTER: &[ExporterMetric] = &[
    ExporterMetric::gauge(
        "tryvox_exporter_build_info",
        &["version", "revision", "rustc"],
        "1, labelled by what this exporter was built from.",
        |_, samples| {
            let build = [env!("CARGO_PKG_VERSION"), env!("TRYVOX_EXPORTER_REVISION"), env!("TRYVOX_EXPORTER_RUSTC")];
            samples.push(build, 1_u64);
        },
    )
    .about("", "count by (version) (tryvox_exporter_build_info)"),
    ExporterMetric::gauge(
        "tryvox_exporter_config_last_reload_successful",
        &[],
        "1 if the configuration was good when it was last read, else 0.",
        |status, samples| samples.push([], status.is_valid),
    )
    .about("", "tryvox_exporter_config_last_reload_successful == 0"),
    ExporterMetric::gauge(
        "tryvox_exporter_config_last_reload_success_timestamp_seconds",
        &[],
        "When the configuration was last read and good, in seconds since the epoch.",
        |status, samples| samples.push([], timestamp(status.loaded_at)),
    )
    .about("seconds since the epoch", "time() - tryvox_exporter_config_last_reload_success_timestamp_seconds"),
    ExporterMetric::gauge(
        "tryvox_exporter_shard_ordinal",
        &[],
        "The number of this process among those that share the accounts, from 0.",
        |status, samples| samples.push([], u64::from(status.shard)),
    )
    .about("", "count by (job) (tryvox_exporter_shard_ordinal) < on (job) max by (job) (tryvox_exporter_total_shards)"),
    ExporterMetric::gauge(
        "tryvox_exporter_total_shards",
        &[],
        "How many processes share the accounts.",
        |status, samples| samples.push([], u64::from(status.total_shards)),
    )
    .about("processes", "max(tryvox_exporter_total_shards)"),
];
