//! The families without the `account` label: the exporter's build, configuration and state file, and budgets of owners.

use std::sync::Arc;
use std::time::SystemTime;

use super::metric::Metric;
use super::polling_families::timestamp;
use crate::config::OwnerBudgets;
use crate::state::StateStatus;

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

/// The status of the exporter itself.
#[derive(Debug, Clone, PartialEq)]
pub struct ExporterStatus {
    /// The configuration.
    pub config: ConfigStatus,
    /// Maximum monthly fees of owners.
    pub owner_budgets: Arc<OwnerBudgets>,
    /// The state file.
    pub state: StateStatus,
}

type ExporterMetric = Metric<ExporterStatus>;

/// The families without the `account` label, in the order of the exposition.
pub static EXPORTER: &[ExporterMetric] = &[
    ExporterMetric::info(
        "tryvox_exporter_build_info",
        &["version", "revision", "rustc", "target"],
        "Version, source revision, Rust compiler version and target triple of the exporter's build, as labels of the \
         value 1.",
        |_, samples| {
            let version = env!("CARGO_PKG_VERSION");
            let revision = env!("TRYVOX_EXPORTER_REVISION");
            let build = [version, revision, env!("TRYVOX_EXPORTER_RUSTC"), env!("TRYVOX_EXPORTER_TARGET")];
            samples.push(build, 1_u64);
        },
    )
    .example("Exporters by version", "count by (version) (tryvox_exporter_build_info)"),
    ExporterMetric::gauge(
        "tryvox_exporter_config_last_reload_successful",
        &[],
        "Whether the configuration was valid when it was last loaded or reloaded (1) or not (0).",
        |status, samples| samples.push([], status.config.is_valid),
    )
    .example(
        "Exporters that rejected the configuration at the last reload",
        "tryvox_exporter_config_last_reload_successful == 0",
    ),
    ExporterMetric::gauge(
        "tryvox_exporter_config_last_reload_success_timestamp_seconds",
        &[],
        "Unix timestamp in seconds of the last load or reload of a valid configuration.",
        |status, samples| samples.push([], timestamp(status.config.loaded_at)),
    )
    .unit("Unix time in seconds")
    .example(
        "Age of the configuration, in seconds",
        "time() - tryvox_exporter_config_last_reload_success_timestamp_seconds",
    ),
    ExporterMetric::gauge(
        "tryvox_exporter_shard_ordinal",
        &[],
        "Ordinal of this shard, counted from 0 (--shard).",
        |status, samples| samples.push([], u64::from(status.config.shard)),
    )
    .example(
        "Jobs in which a shard is missing",
        "count by (job) (tryvox_exporter_shard_ordinal) < on (job) max by (job) (tryvox_exporter_total_shards)",
    ),
    ExporterMetric::gauge(
        "tryvox_exporter_total_shards",
        &[],
        "Number of shards that share the accounts (--total-shards).",
        |status, samples| samples.push([], u64::from(status.config.total_shards)),
    )
    .unit("shards")
    .example("Configured number of shards", "max(tryvox_exporter_total_shards)"),
    ExporterMetric::counter(
        "tryvox_exporter_state_errors_total",
        &[],
        "Total number of errors reading or writing the state file (--state.file).",
        |status, samples| samples.push([], status.state.errors),
    )
    .unit("errors")
    .example("Exporters whose state is not stored", "increase(tryvox_exporter_state_errors_total[15m]) > 0"),
    ExporterMetric::gauge(
        "tryvox_exporter_state_last_write_timestamp_seconds",
        &[],
        "Unix timestamp in seconds of the last write to the state file; absent until there is one.",
        |status, samples| {
            if let Some(at) = status.state.last_write_at {
                samples.push([], timestamp(at));
            }
        },
    )
    .unit("Unix time in seconds")
    .example(
        "Age of the state file's content, in seconds",
        "time() - tryvox_exporter_state_last_write_timestamp_seconds",
    ),
    ExporterMetric::gauge(
        "tryvox_owner_monthly_budget",
        &["owner", "currency"],
        "Configured monthly budget of the owner over all accounts, in units of the currency (different currencies must \
         not be added); absent if none is configured.",
        |status, samples| {
            for (owner, budget) in &*status.owner_budgets {
                for (currency, amount) in budget {
                    samples.push([&**owner, currency], amount.to_f64());
                }
            }
        },
    )
    .unit("units of the currency")
    .example(
        "Owners whose monthly fees exceed their budget, with the ratio of fees to budget",
        "sum by (owner, currency) (tryvox_owner_monthly_fees) \
         / max by (owner, currency) (tryvox_owner_monthly_budget) > 1",
    ),
];
