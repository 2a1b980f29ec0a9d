//! The values of all options, as they were written.

use std::path::PathBuf;
use std::time::Duration;

use super::groups::PollOptions;
use super::shard::ShardOrdinal;
use super::values::ListenAddress;
use crate::inventory::CollectorOptions;
use crate::simulator::Fault;
use crate::tryvox::TryvoxOptions;

/// One field for each option. An option that has neither a value nor a default is `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// `--config.file`
    pub config_file: Option<PathBuf>,
    /// `--config.check`
    pub config_check: bool,
    /// `--tryvox.…`
    pub tryvox: TryvoxOptions,
    /// `--poll.…`
    pub poll: PollOptions,
    /// `--collector.…`
    pub collector: CollectorOptions,
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
