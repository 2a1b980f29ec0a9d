//! The values of all options, as they were written.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::shard::ShardOrdinal;
use super::values::ListenAddress;
use crate::inventory::Collect;
use crate::simulator::Fault;

/// One field for each option. An option that has neither a value nor a default is `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// `--config.file`
    pub config_file: Option<PathBuf>,
    /// `--config.check`
    pub config_check: bool,
    /// `--tryvox.url`
    pub url: Option<Url>,
    /// `--tryvox.account-id`
    pub account_id: Option<String>,
    /// `--tryvox.api-key-file`
    pub api_key_file: Option<PathBuf>,
    /// `--tryvox.timeout`
    pub timeout: Duration,
    /// `--tryvox.concurrency`
    pub concurrency: usize,
    /// `--tryvox.total-concurrency`
    pub total_concurrency: usize,
    /// `--tryvox.rate-limit`
    pub rate_limit: f64,
    /// `--tryvox.per-page`
    pub per_page: u8,
    /// `--tryvox.countries`
    pub countries: Vec<String>,
    /// `--tryvox.statuses`
    pub statuses: Vec<String>,
    /// `--poll.interval`
    pub poll_interval: Duration,
    /// `--poll.timeout`
    pub poll_timeout: Option<Duration>,
    /// `--poll.stale-after`
    pub stale_after: Option<Duration>,
    /// `--poll.max-discrepancy`
    pub max_discrepancy: f64,
    /// `--collector.…`
    pub collect: Collect,
    /// `--web.listen-address`
    pub listen_addresses: Vec<ListenAddress>,
    /// `--web.telemetry-path`
    pub telemetry_path: String,
    /// `--web.config.file`
    pub web_config_file: Option<PathBuf>,
    /// `--web.systemd-socket`
    pub systemd_socket: bool,
    /// `--web.max-connections`
    pub max_connections: usize,
    /// `--web.enable-lifecycle`
    pub enable_lifecycle: bool,
    /// `--shard`
    pub shard: ShardOrdinal,
    /// `--total-shards`
    pub total_shards: u32,
    /// `--log.level`
    pub log_level: LogLevel,
    /// `--log.format`
    pub log_format: LogFormat,
    /// `--output`
    pub output: OutputFormat,
    /// `--output.file`
    pub output_file: Option<PathBuf>,
    /// `--account-id`
    pub simulated_account_id: String,
    /// `--accounts`
    pub simulated_accounts: usize,
    /// `--numbers`
    pub numbers: usize,
    /// `--seed`
    pub seed: u64,
    /// `--latency`
    pub latency: Duration,
    /// `--life`
    pub life: Duration,
    /// `--fault`
    pub faults: Vec<Fault>,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are their meaning")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are their meaning")]
pub enum LogFormat {
    #[default]
    Logfmt,
    Json,
}

/// How `check` writes what it found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are their meaning")]
pub enum OutputFormat {
    #[default]
    Table,
    Json,
}
