//! All options, and the groups that are not declared next to the one layer that uses them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::{OsStringValueParser, ValueParser};
use clap::{Arg, ArgAction, Args, ValueEnum};

use super::ListenAddress;
use super::list_options::ListOptions;
use super::route_prefix::{RoutePrefix, is_plain_path};
use super::shard::Shard;
use super::since::Since;
use crate::duration;
use crate::inventory::{ChangeKind, CollectorOptions};
use crate::options::{List, defaults, integer, list};
use crate::simulator::SimulatorOptions;
use crate::state::StateOptions;
use crate::tryvox::TryvoxOptions;

/// Every option of every command. An option that a command does not have is at its default.
#[derive(Debug, Clone, PartialEq, Args)]
#[expect(missing_docs, reason = "each group documents itself")]
pub struct Options {
    #[command(flatten)]
    pub config: ConfigOptions,
    #[command(flatten)]
    pub tryvox: TryvoxOptions,
    #[command(flatten)]
    pub poll: PollOptions,
    #[command(flatten)]
    pub collector: CollectorOptions,
    #[command(flatten)]
    pub state: StateOptions,
    #[command(flatten)]
    pub web: WebOptions,
    #[command(flatten)]
    pub shard: ShardOptions,
    #[command(flatten)]
    pub changes: ChangesOptions,
    #[command(flatten)]
    pub list: ListOptions,
    #[command(flatten)]
    pub output: OutputOptions,
    #[command(flatten)]
    pub simulator: SimulatorOptions,
    #[command(flatten)]
    pub log: LogOptions,
}

/// Where the configuration file is.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Configuration")]
pub struct ConfigOptions {
    /// YAML file with accounts and any option below
    #[arg(id = "config.file", long, value_name = "PATH")]
    pub file: Option<PathBuf>,
    /// Validate the configuration, report every problem and exit with 0 or 2
    #[arg(id = "config.check", long, value_name = "BOOL", default_value = "false", action = ArgAction::Set)]
    pub check: bool,
    /// Time between checks of the configuration file, which is reloaded if its content has changed; 0s disables them
    #[arg(
        id = "config.auto-reload-interval",
        long,
        value_name = "DURATION",
        default_value = "0s",
        value_parser = duration::parse
    )]
    pub auto_reload_interval: Duration,
}

/// When accounts are polled, and which listings are valid.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Polling")]
pub struct PollOptions {
    /// Time between the starts of two polls of an account
    #[arg(id = "poll.interval", long, value_name = "DURATION", default_value = "5m", value_parser = duration::parse_positive)]
    pub interval: Duration,
    /// Timeout for a whole poll; by default the interval
    #[arg(id = "poll.timeout", long, value_name = "DURATION", value_parser = duration::parse_positive)]
    pub explicit_timeout: Option<Duration>,
    /// How long the last valid inventory is served while polls fail; by default 3 intervals
    #[arg(id = "poll.stale-after", long, value_name = "DURATION", value_parser = duration::parse_positive)]
    pub explicit_stale_after: Option<Duration>,
    /// Maximum share of the reported numbers that may be missing or invalid in a listing, 0 to 1; 0 is strict
    #[arg(id = "poll.max-discrepancy", long, value_name = "SHARE", default_value = "0.01", value_parser = share)]
    pub max_discrepancy: f64,
}

impl PollOptions {
    /// Returns the timeout for a whole poll.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.explicit_timeout.unwrap_or(self.interval)
    }

    /// Returns how long the last valid inventory is served while polls fail.
    #[must_use]
    pub fn stale_after(&self) -> Duration {
        self.explicit_stale_after.unwrap_or(self.interval * 3)
    }
}

impl Default for PollOptions {
    fn default() -> Self {
        defaults()
    }
}

/// How metrics are served.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Web")]
pub struct WebOptions {
    /// Address to listen on: host:port, :port for all IPv4 and IPv6 addresses, or unix:PATH; repeatable
    #[arg(
        id = "web.listen-address",
        long,
        value_name = "ADDRESS",
        default_value = ":10869",
        action = ArgAction::Append,
        value_parser = ListenAddress::parse_list
    )]
    pub listen_addresses: List<ListenAddress>,
    /// Path under which metrics are served
    #[arg(id = "web.telemetry-path", long, value_name = "PATH", default_value = "/metrics", value_parser = telemetry_path)]
    pub telemetry_path: String,
    /// Prefix of every path, for a proxy that passes it on
    #[arg(id = "web.route-prefix", long, value_name = "PATH", default_value = "/")]
    pub route_prefix: RoutePrefix,
    /// Web configuration file of the Prometheus exporter-toolkit: TLS, users, headers, rate limit
    #[arg(id = "web.config.file", long, value_name = "PATH", value_parser = OsStringValueParser::new())]
    config_file: Option<OsString>,
    /// Use sockets passed by systemd instead of --web.listen-address
    #[arg(id = "web.systemd-socket", long, value_name = "BOOL", default_value = "false", action = ArgAction::Set)]
    pub systemd_socket: bool,
    /// Maximum open connections; a new one replaces an idle one or is refused
    #[arg(id = "web.max-connections", long, value_name = "N", default_value = "512", value_parser = integer(1..=100_000_usize))]
    pub max_connections: usize,
    /// Allow POST /-/reload, which reads the configuration again like SIGHUP
    #[arg(id = "web.enable-lifecycle", long, value_name = "BOOL", default_value = "false", action = ArgAction::Set)]
    pub enable_lifecycle: bool,
}

impl WebOptions {
    /// Returns the path of the web configuration file, if one is set. As with other exporters, an empty path is none.
    #[must_use]
    pub fn config_file(&self) -> Option<&Path> {
        self.config_file.as_ref().filter(|path| !path.is_empty()).map(Path::new)
    }

    /// Returns the path under which metrics are served, with the route prefix.
    #[must_use]
    pub fn metrics_path(&self) -> String {
        self.route_prefix.join(&self.telemetry_path)
    }
}

/// Which accounts this process polls.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Sharding")]
pub struct ShardOptions {
    /// Poll only the accounts of this shard, from 0; auto takes the ordinal from the host name, as in tryvox-exporter-2
    #[arg(id = "shard", long, value_name = "N", default_value = "0")]
    pub shard: Shard,
    /// Number of processes that share the accounts
    #[arg(id = "total-shards", long, value_name = "N", default_value = "1", value_parser = integer(1..=10_000_u32))]
    pub total_shards: u32,
}

impl ShardOptions {
    /// Returns the ordinal of this process's shard.
    ///
    /// # Errors
    /// If the host name does not contain it, or there is no such shard.
    pub(super) fn ordinal(&self) -> Result<u32, String> {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let shard = self.shard.resolve(&host).map_err(|error| format!("--shard: {error}"))?;
        let total_shards = self.total_shards;
        if shard >= total_shards {
            return Err(format!("--shard: is {shard}, but --total-shards is {total_shards}; the first shard is 0"));
        }
        Ok(shard)
    }
}

/// Which recorded changes `changes` prints.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Changes")]
pub struct ChangesOptions {
    /// Print changes since this time: a duration before now, a date in UTC, or a time like 2026-11-24T08:00:00Z
    #[arg(id = "since", long, value_name = "TIME", default_value = "7d")]
    pub since: Since,
    /// Print only changes of these accounts, comma-separated or repeated, a name with a comma in double quotes; by default
    /// of all
    #[arg(id = "account", long, value_name = "NAMES", action = ArgAction::Append, value_parser = account_names)]
    pub accounts: Option<List<String>>,
    /// Print only changes of these kinds: added, removed, status, fee or assignment, comma-separated or repeated
    #[arg(id = "kind", long, value_name = "KINDS", action = ArgAction::Append, value_parser = change_kinds)]
    pub kinds: Option<List<ChangeKind>>,
}

/// What commands that print or write something write.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputOptions {
    /// Output format
    #[arg(id = "output", long, value_name = "FORMAT", default_value = "table", value_enum)]
    pub format: OutputFormat,
    /// Write the output to this file atomically instead of printing it
    #[arg(id = "output.file", long, value_name = "PATH")]
    pub file: Option<PathBuf>,
}

/// What is logged to stderr, and how.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Logging")]
pub struct LogOptions {
    /// Minimum severity of log lines
    #[arg(id = "log.level", long, value_name = "LEVEL", default_value = "info", value_enum)]
    pub level: LogLevel,
    /// Format of log lines on stderr
    #[arg(id = "log.format", long, value_name = "FORMAT", default_value = "logfmt", value_enum)]
    pub format: LogFormat,
}

/// The minimum severity of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names are their meaning")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names are their meaning")]
pub enum LogFormat {
    Logfmt,
    Json,
}

/// An output format; each command has some of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names are their meaning")]
pub enum OutputFormat {
    Table,
    Csv,
    Json,
}

/// Parses a number from 0 to 1.
fn share(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "must be a number from 0 to 1, like 0.01 for one in a hundred".to_owned())
}

/// Parses names of accounts.
fn account_names(text: &str) -> Result<List<String>, String> {
    list(text, |name| !name.is_empty(), "not the name of an account; write it like production or production,staging")
}

/// Parses kinds of changes.
fn change_kinds(text: &str) -> Result<List<ChangeKind>, String> {
    let known = ChangeKind::ALL.map(ChangeKind::as_str);
    let kind = |name: &str| {
        let kind = ChangeKind::ALL.into_iter().find(|kind| kind.as_str() == name);
        kind.ok_or_else(|| format!("{name:?} is not one of {}", known.join(", ")))
    };
    text.split(',').map(str::trim).map(kind).collect()
}

/// Parses the path of the metrics, which must not be one of the exporter's other paths.
fn telemetry_path(text: &str) -> Result<String, String> {
    if !is_plain_path(text) {
        Err("must be a path of letters, digits and -._~ like /metrics".to_owned())
    } else if text == "/" || text == "/-" || text.starts_with("/-/") {
        Err("is a path of the exporter itself; choose another like /metrics".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

/// Returns the environment variable of an option: `--poll.interval` is `TRYVOX_EXPORTER_POLL_INTERVAL`.
#[must_use]
pub fn variable(id: &str) -> String {
    format!("TRYVOX_EXPORTER_{}", id.replace(['.', '-'], "_").to_uppercase())
}

/// Returns whether an option is true or false, so that its flag alone means true.
#[must_use]
pub fn is_boolean(arg: &Arg) -> bool {
    arg.get_value_parser().type_id() == ValueParser::bool().type_id()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn telemetry_paths_are_not_the_exporters_own() {
        assert!(telemetry_path("/metrics").is_ok());
        for invalid in ["", "metrics", "/", "/-/healthy", "/a b", "/{x}", "/*a", "//", "/?", "/a/../b"] {
            assert!(telemetry_path(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn shares_are_from_0_to_1() {
        assert_eq!(share("0.01"), Ok(0.01));
        for invalid in ["-0.1", "1.1", "NaN", "1%", ""] {
            assert!(share(invalid).is_err(), "{invalid}");
        }
    }
}
