//! The texts of options with their origins, and how they become values.

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::fmt;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, FromArgMatches};
use secrecy::SecretString;

use crate::tryvox::ApiKey;
use crate::yaml::Place;

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
pub(super) fn variable_text(environment: &impl Environment, name: &str) -> Result<Option<String>, String> {
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
