//! How to run: flags, environment and file in, one validated configuration out.
//!
//! An option is one entry of [`OPTIONS`]: from it come its flag, its environment variable, its place
//! in the file and its help. [`Settings`] is what was written, [`ServeConfig`] and
//! [`SimulatorConfig`] are what it means; [`Source`] reads it all, as often as asked. Nothing here
//! opens a port or asks the API.

mod file;
mod groups;
mod option;
mod options;
mod serve;
mod settings;
mod shard;
mod simulator;
mod source;
mod values;

pub use file::{ACCOUNT_FIELDS, AccountField};
pub use groups::PollOptions;
pub use option::{CommandOptions, OptionSpec};
pub use options::OPTIONS;
pub use serve::{AccountConfig, Fixed, ServeConfig, Source};
pub use settings::{LogFormat, LogLevel, OutputFormat, Settings};
pub use shard::{ShardOrdinal, shard_of, stable_hash};
pub use simulator::SimulatorConfig;
pub use source::{Environment, Flags, ProcessEnvironment, settings};
pub use values::ListenAddress;

use std::fmt;

/// Everything that is wrong with the configuration, at least one thing: each is a line that says
/// what, where and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    first: String,
    more: Vec<String>,
}

impl ConfigError {
    /// These problems, if there are any.
    pub(self) fn unless_empty(problems: Vec<String>) -> Option<Self> {
        let mut problems = problems.into_iter();
        Some(Self { first: problems.next()?, more: problems.collect() })
    }

    /// Each of them.
    pub fn problems(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.first).chain(&self.more).map(String::as_str)
    }
}

impl From<String> for ConfigError {
    fn from(problem: String) -> Self {
        Self { first: problem, more: Vec::new() }
    }
}

impl fmt::Display for ConfigError {
    /// The first, and how many more there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.first)?;
        match self.more.len() {
            0 => Ok(()),
            more => write!(f, " (and {more} more; --config.check names them all)"),
        }
    }
}

impl std::error::Error for ConfigError {}

/// The variable that holds the API key; there is no flag for it.
pub const API_KEY_VARIABLE: &str = "TRYVOX_API_KEY";
