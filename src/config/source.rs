//! Where values come from: a flag beats the environment, which beats the file, which beats the default.

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::fmt;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, FromArgMatches};
use secrecy::SecretString;

use super::accounts::Accounts;
use super::file::{self, Document};
use super::options::{Options, Subcommand, variable};
use super::shard::shard_of;
use super::{Config, ConfigError};
use crate::tryvox::{ApiKey, ApiKeySource};
use crate::yaml::Place;

/// The environment variables; a map in tests.
pub trait Environment {
    /// Returns the value of a variable that is set.
    fn get(&self, name: &str) -> Option<OsString>;
}

/// The environment of this process.
#[derive(Debug, Clone, Copy)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn get(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }
}

impl Environment for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<OsString> {
        self.get(name).map(OsString::from)
    }
}

/// The texts of the flags on the command line, by the ID of their option.
pub type Flags = BTreeMap<String, String>;

/// The texts of options, by their ID.
pub(super) type Values = BTreeMap<String, Sourced>;

/// A text and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sourced {
    pub(super) text: String,
    pub(super) origin: Origin,
}

/// Where a text comes from.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Origin {
    /// The flag of this name.
    Flag(String),
    /// The environment variable of this name.
    Variable(String),
    /// A key of the file.
    File { path: String, place: Place, key: String },
}

impl Sourced {
    /// Returns whether the text beats the fields of accounts in the file.
    pub(super) fn beats_the_file(&self) -> bool {
        !matches!(self.origin, Origin::File { .. })
    }
}

impl fmt::Display for Sourced {
    /// Writes the text as its author wrote it, with its place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text.escape_debug();
        match &self.origin {
            Origin::Flag(id) => write!(f, "--{id}={text}"),
            Origin::Variable(name) => write!(f, "{name}={text}"),
            Origin::File { path, place, key } => write!(f, "{path}:{place}: {key}: {text}"),
        }
    }
}

/// The sources of a configuration; they can be read again at any time.
#[derive(Debug, Clone)]
pub struct Source<E> {
    /// The command whose options are read.
    pub command: Subcommand,
    /// The flags on the command line.
    pub flags: Flags,
    /// The environment.
    pub environment: E,
    /// Returns what is wrong with files that the options name.
    pub check_files: fn(&Options) -> Vec<String>,
}

impl<E: Environment> Source<E> {
    /// Reads and validates options and accounts.
    ///
    /// # Errors
    /// Everything that is wrong, not only the first problem.
    pub fn read(&self) -> Result<Config, ConfigError> {
        let mut problems = Vec::new();
        let document = self.read_file(&mut problems);
        let values = self.values(&document.values, &mut problems);
        let options: Option<Options> = parse(&mut self.command.parser(), &values, &mut problems);
        let accounts = Accounts::new(&self.environment, &values, options.as_ref(), &mut problems)
            .read(document.accounts.as_deref());
        let config = options.map(|options| {
            problems.extend((self.check_files)(&options));
            Config::assemble(options, accounts, &mut problems)
        });
        match (ConfigError::from_problems(problems), config) {
            (None, Some(config)) => Ok(config),
            (error, _) => Err(error.unwrap_or_else(|| "the options cannot be read".to_owned().into())),
        }
    }

    /// Reads and validates the options alone, those in the file included.
    ///
    /// # Errors
    /// Everything that is wrong with them, not only the first problem.
    pub fn options(&self) -> Result<Options, ConfigError> {
        let mut problems = Vec::new();
        let document = self.read_file(&mut problems);
        let values = self.values(&document.values, &mut problems);
        let options = parse(&mut self.command.parser(), &values, &mut problems);
        match (ConfigError::from_problems(problems), options) {
            (None, Some(options)) => Ok(options),
            (error, _) => Err(error.unwrap_or_else(|| "the options cannot be read".to_owned().into())),
        }
    }

    /// Returns whether the configuration is only to be checked.
    #[must_use]
    pub fn is_check(&self) -> bool {
        let values = self.values(&Values::new(), &mut Vec::new());
        values.get("config.check").is_some_and(|value| value.text == "true")
    }

    fn read_file(&self, problems: &mut Vec<String>) -> Document {
        let values = self.values(&Values::new(), &mut Vec::new());
        let path = values.get("config.file").map(|value| value.text.clone());
        path.map_or_else(Document::default, |path| file::read(path.as_ref(), problems))
    }

    /// Returns the texts of the command's options. An environment variable that is empty counts as not set.
    fn values(&self, file: &Values, problems: &mut Vec<String>) -> Values {
        let mut values = Values::new();
        for option in self.command.options() {
            let id = option.get_id().to_string();
            let name = variable(&id);
            let value = if let Some(text) = self.flags.get(&id) {
                Some(Sourced { text: text.clone(), origin: Origin::Flag(id.clone()) })
            } else {
                let text = variable_text(&self.environment, &name).unwrap_or_else(|problem| {
                    problems.push(problem);
                    None
                });
                text.map(|text| Sourced { text, origin: Origin::Variable(name) }).or_else(|| file.get(&id).cloned())
            };
            values.extend(value.map(|value| (id, value)));
        }
        values
    }
}

impl Config {
    /// Keeps the accounts of this shard.
    fn assemble(options: Options, mut accounts: Vec<super::AccountConfig>, problems: &mut Vec<String>) -> Self {
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
        let account = super::AccountConfig::new(&options, account_id, key);
        Self::assemble(options, vec![account], &mut Vec::new())
    }
}

/// Parses options by their own value parsers and adds every invalid value, with its place, to `problems`.
pub(super) fn parse<T: FromArgMatches>(parser: &mut Command, values: &Values, problems: &mut Vec<String>) -> Option<T> {
    let flag = |(id, value): (&String, &Sourced)| format!("--{id}={}", value.text);
    let flags = std::iter::once("options".to_owned()).chain(values.iter().map(flag));
    if let Ok(mut matches) = parser.try_get_matches_from_mut(flags) {
        return T::from_arg_matches_mut(&mut matches).map_err(|error| problems.push(error.to_string())).ok();
    }
    // clap stops at the first invalid value.
    for value in values {
        if let Err(error) = parser.try_get_matches_from_mut(["options".to_owned(), flag(value)]) {
            problems.push(format!("{}: {}", value.1, invalid_value(&error)));
        }
    }
    None
}

/// Returns why clap refused the value of an option.
#[must_use]
pub fn invalid_value(error: &clap::Error) -> String {
    match (error.source(), error.get(ContextKind::ValidValue)) {
        (Some(reason), _) => reason.to_string(),
        (None, Some(ContextValue::Strings(valid))) if error.kind() == ErrorKind::InvalidValue && !valid.is_empty() => {
            format!("must be one of {}", valid.join(", "))
        }
        _ => "is not a valid value".to_owned(),
    }
}

/// Returns the text of a variable that is set and not empty.
fn variable_text(environment: &impl Environment, name: &str) -> Result<Option<String>, String> {
    let Some(value) = environment.get(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    value.into_string().map(Some).map_err(|_| format!("{name} is not UTF-8; set it to plain text"))
}

/// Returns the API key in an environment variable, if that is set.
///
/// # Errors
/// If the text cannot be a key.
pub fn key_from_environment(environment: &impl Environment, name: &str) -> Result<Option<ApiKey>, String> {
    let key = |text| {
        ApiKey::new(&SecretString::from(text))
            .map_err(|error| format!("{name}: {error}; set it to the account's API key"))
    };
    variable_text(environment, name)?.map(key).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(flag: Option<&str>, variable: Option<&str>) -> Result<u64, ConfigError> {
        let environment: BTreeMap<String, String> =
            variable.map(|value| ("TRYVOX_EXPORTER_POLL_INTERVAL".to_owned(), value.to_owned())).into_iter().collect();
        let flags = flag.map(|value| ("poll.interval".to_owned(), value.to_owned())).into_iter().collect();
        let source = Source { command: Subcommand::Serve, flags, environment, check_files: |_| Vec::new() };
        source.options().map(|options| options.poll.interval.as_secs())
    }

    #[test]
    fn flag_beats_environment_beats_default() {
        assert_eq!(interval(Some("1s"), Some("2s")), Ok(1));
        assert_eq!(interval(None, Some("2s")), Ok(2));
        assert_eq!(interval(None, Some("")), Ok(300));
        assert_eq!(interval(None, None), Ok(300));
    }

    #[test]
    fn error_names_the_source_of_the_value() {
        let error = interval(Some("soon"), Some("2s")).unwrap_err().to_string();
        assert_eq!(error, "--poll.interval=soon: is not a duration; write it like 30s or 5m");
        let error = interval(None, Some("0s")).unwrap_err().to_string();
        assert_eq!(error, "TRYVOX_EXPORTER_POLL_INTERVAL=0s: must be longer than 0; write it like 30s or 5m");
    }
}
