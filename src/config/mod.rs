//! How to run: flags, environment and configuration file in, one validated [`Config`] out.
//!
//! Each option is declared once, in an option group (see [`options`](crate::options)); its flag, environment variable,
//! key in the file, default and help derive from that declaration. [`ConfigSource`] reads all of them, as often as
//! needed: a flag beats the environment, which beats the file, which beats the default. Everything that is wrong is
//! reported together, each problem with its place and a remedy. Nothing here opens a port or calls the API.

mod accounts;
mod command;
mod file;
mod list_options;
mod listen_address;
mod options;
mod owner_assignment;
mod owner_coverage;
mod owners;
mod route_prefix;
mod shard;
mod since;
mod source;
mod values;

pub use accounts::AccountConfig;
pub use command::CommandSpec;
pub use file::{ACCOUNT_FIELDS, AccountField, ContentHash};
pub use list_options::ListOptions;
pub use listen_address::ListenAddress;
pub use options::{
    ChangesOptions, ConfigOptions, LogFormat, LogLevel, LogOptions, Options, OutputFormat, OutputOptions, PollOptions,
    ShardOptions, WebOptions, is_boolean, variable,
};
pub use owner_assignment::OwnerBudgets;
pub use owners::{FieldHelp, OWNER_FIELDS};
pub use route_prefix::RoutePrefix;
pub use shard::{Shard, shard_of, stable_hash};
pub use since::Since;
pub use source::{ConfigSource, Flags};
pub use values::{Environment, ProcessEnvironment, key_from_environment};

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use indexmap::IndexSet;
use reqwest::Url;
use url::{Host, Origin};

use self::owner_assignment::OwnerSettings;
use crate::tryvox::{ApiKeySource, check_proxy};

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
    /// The names of all owners, also of those that have no numbers in these accounts.
    pub owner_names: BTreeSet<Arc<str>>,
    /// Maximum monthly fees of owners.
    pub owner_budgets: Arc<OwnerBudgets>,
    /// What is valid, but should be known.
    pub warnings: Vec<String>,
    /// The content of the configuration file; `None` if there is no file.
    pub content: Option<ContentHash>,
}

impl Config {
    /// Keeps the accounts of this shard.
    fn assemble(
        options: Options,
        shard: u32,
        mut accounts: Vec<AccountConfig>,
        owners: OwnerSettings,
        content: Option<ContentHash>,
    ) -> Self {
        let total_accounts = accounts.len();
        accounts.retain(|account| shard_of(&account.name, options.shard.total_shards) == shard);
        let mut warnings = warnings(&accounts);
        let ConfigOptions { file, auto_reload_interval, .. } = &options.config;
        if file.is_none() && !auto_reload_interval.is_zero() {
            warnings.push(
                "--config.auto-reload-interval has no effect without --config.file, because there is no file to check; \
                 set --config.file or remove the option"
                    .to_owned(),
            );
        }
        warnings.extend(owners.warnings);
        Self {
            options,
            accounts,
            total_accounts,
            shard,
            owner_names: owners.names,
            owner_budgets: Arc::new(owners.budgets),
            warnings,
            content,
        }
    }

    /// Returns the configuration of one account whose key is known.
    #[must_use]
    pub fn of_account(options: Options, account_id: String, key: ApiKeySource) -> Self {
        let account = AccountConfig::new(&options, account_id, key);
        Self::assemble(options, 0, vec![account], OwnerSettings::default(), None)
    }
}

/// Returns what an operator should know of the accounts, each warning once.
fn warnings(accounts: &[AccountConfig]) -> Vec<String> {
    let readable = accounts.iter().filter_map(|account| account.key.permission_warning());
    let unencrypted = accounts.iter().filter_map(|account| {
        let url = &account.tryvox.url;
        (url.scheme() == "http" && !is_loopback(url)).then(|| {
            let host = url.host_str().unwrap_or_default();
            format!("API keys are sent to {host} unencrypted, because its URL begins with http://; use https://")
        })
    });
    let warnings: IndexSet<String> = readable.chain(unencrypted).collect();
    warnings.into_iter().collect()
}

/// Returns what is wrong with the proxies that the environment names for these accounts, each problem once.
fn proxy_problems(accounts: &[AccountConfig], environment: &impl Environment) -> IndexSet<String> {
    let variable = |name: &str| environment.get(name)?.into_string().ok();
    let urls: HashMap<Origin, &Url> =
        accounts.iter().map(|account| (account.tryvox.url.origin(), &account.tryvox.url)).collect();
    urls.into_values().filter_map(|url| check_proxy(url, variable).err()).collect()
}

/// Returns whether requests to a URL do not leave this machine.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        None => false,
    }
}

/// Everything that is wrong with a configuration, at least one problem. Each is one line that says what is wrong,
/// where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    first: String,
    others: Vec<String>,
    content: Option<ContentHash>,
}

impl ConfigError {
    /// Returns these problems of a configuration as an error, if there are any.
    fn unless_empty(problems: Vec<String>, content: Option<ContentHash>) -> Option<Self> {
        let mut problems = problems.into_iter();
        Some(Self { first: problems.next()?, others: problems.collect(), content })
    }

    /// Returns the content of the configuration file; `None` if there is no file.
    #[must_use]
    pub fn content(&self) -> Option<ContentHash> {
        self.content
    }

    /// Returns each problem.
    pub fn problems(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.first).chain(&self.others).map(String::as_str)
    }
}

impl From<String> for ConfigError {
    fn from(problem: String) -> Self {
        Self { first: problem, others: Vec::new(), content: None }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_urls_do_not_leave_this_machine() {
        for (url, expected) in [
            ("http://localhost:1", true),
            ("http://api.localhost", true),
            ("http://127.0.0.9", true),
            ("http://[::1]:8080/x", true),
            ("http://[::ffff:127.0.0.1]", true),
            ("http://localhost.example", false),
            ("http://10.0.0.1", false),
            ("http://[fe80::1]", false),
            ("http://api.tryvox.io", false),
        ] {
            assert_eq!(is_loopback(&url.parse().unwrap()), expected, "{url}");
        }
    }
}
