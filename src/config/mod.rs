//! How to run: flags, environment and configuration file in, one validated [`Config`] out.
//!
//! Each option is declared once, in an option group (see [`options`](crate::options)); its flag, environment variable,
//! key in the file, default and help derive from that declaration. [`ConfigSource`] reads all of them, as often as
//! needed: a flag beats the environment, which beats the file, which beats the default. Everything that is wrong is
//! reported together, each problem with its place and a remedy. Nothing here opens a port or calls the API.

mod accounts;
mod command;
mod file;
mod listen_address;
mod options;
mod route_prefix;
mod shard;
mod source;
mod values;

pub use accounts::AccountConfig;
pub use command::CommandSpec;
pub use file::{ACCOUNT_FIELDS, AccountField};
pub use listen_address::ListenAddress;
pub use options::{
    ConfigOptions, LogFormat, LogLevel, LogOptions, Options, OutputFormat, OutputOptions, PollOptions, ShardOptions,
    WebOptions, is_boolean, variable,
};
pub use route_prefix::RoutePrefix;
pub use shard::{Shard, shard_of, stable_hash};
pub use source::{ConfigSource, Flags};
pub use values::{Environment, ProcessEnvironment, key_from_environment};

use std::fmt;

use crate::tryvox::ApiKeySource;

/// A validated configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The options of the process.
    pub options: Options,
    /// The accounts to poll, with distinct names: those of this shard.
    pub accounts: Vec<AccountConfig>,
    /// The number of accounts over all shards.
    pub total_accounts: usize,
    /// The ordinal of this shard.
    pub shard: u32,
    /// What is valid, but should be known.
    pub warnings: Vec<String>,
}

impl Config {
    /// Keeps the accounts of this shard.
    fn assemble(options: Options, mut accounts: Vec<AccountConfig>, problems: &mut Vec<String>) -> Self {
        let total_shards = options.shard.total_shards;
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let shard = options.shard.shard.resolve(&host).unwrap_or_else(|error| {
            problems.push(format!("--shard: {error}"));
            0
        });
        if shard >= total_shards {
            problems.push(format!("--shard: is {shard}, but --total-shards is {total_shards}; the first shard is 0"));
        }
        let total_accounts = accounts.len();
        let warnings = accounts.iter().filter_map(|account| account.key.permission_warning()).collect();
        accounts.retain(|account| shard_of(&account.name, total_shards) == shard);
        Self { options, accounts, total_accounts, shard, warnings }
    }

    /// Returns the configuration of one account whose key is known.
    #[must_use]
    pub fn of_account(options: Options, account_id: String, key: ApiKeySource) -> Self {
        let account = AccountConfig::new(&options, account_id, key);
        Self::assemble(options, vec![account], &mut Vec::new())
    }
}

/// Everything that is wrong with a configuration, at least one problem. Each is one line that says what is wrong,
/// where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    first: String,
    others: Vec<String>,
}

impl ConfigError {
    /// Returns these problems as an error, if there are any.
    fn unless_empty(problems: Vec<String>) -> Option<Self> {
        let mut problems = problems.into_iter();
        Some(Self { first: problems.next()?, others: problems.collect() })
    }

    /// Returns each problem.
    pub fn problems(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.first).chain(&self.others).map(String::as_str)
    }
}

impl From<String> for ConfigError {
    fn from(problem: String) -> Self {
        Self { first: problem, others: Vec::new() }
    }
}

impl fmt::Display for ConfigError {
    /// Writes the first problem and the number of others.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.first)?;
        match self.others.len() {
            0 => Ok(()),
            others => write!(f, " (and {others} more; --config.check reports all)"),
        }
    }
}

impl std::error::Error for ConfigError {}

/// The environment variable that holds the API key; there is no flag for it.
pub const API_KEY_VARIABLE: &str = "TRYVOX_API_KEY";
