//! The texts of options with their origins, and how they become values.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::fmt;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, FromArgMatches};
use secrecy::SecretString;

use crate::inventory::Money;
use crate::tryvox::ApiKey;
use crate::yaml::Position;

/// The texts of options, by their ID.
pub(super) type Values = BTreeMap<String, OptionText>;

/// A text and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OptionText {
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
    /// A key of the file, where the text is written like this: a relative path is not resolved.
    File { path: String, position: Position, key: String, written: String },
}

impl OptionText {
    /// Returns where the text is, without the text.
    pub(super) fn position(&self) -> String {
        match &self.origin {
            Origin::Flag(id) => format!("--{id}"),
            Origin::Variable(name) => name.clone(),
            Origin::File { path, position, key, .. } => format!("{path}:{position}: {}", key.escape_debug()),
        }
    }

    /// Returns the text as its author wrote it.
    pub(super) fn written(&self) -> &str {
        match &self.origin {
            Origin::File { written, .. } => written,
            Origin::Flag(_) | Origin::Variable(_) => &self.text,
        }
    }

    /// Returns whether the text beats the fields of accounts in the file.
    pub(super) fn beats_the_file(&self) -> bool {
        !matches!(self.origin, Origin::File { .. })
    }
}

impl fmt::Display for OptionText {
    /// Writes the text with its position.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = without_password(&self.text);
        let separator = if matches!(self.origin, Origin::File { .. }) { ": " } else { "=" };
        write!(f, "{}{separator}{}", self.position(), text.escape_debug())
    }
}

/// Replaces the user name and the password of a URL, which must not be shown.
fn without_password(text: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = text.split_once("://") else { return text.into() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    match authority.rfind('@') {
        Some(at) => format!("{scheme}://***{}", &rest[at..]).into(),
        None => text.into(),
    }
}

/// Parses options by their own value parsers. Every invalid value is added to `problems`, with its position, and
/// removed, so that its option has the default while the rest of the configuration is checked.
pub(super) fn parse<T: FromArgMatches>(
    parser: &mut Command,
    values: &mut Values,
    problems: &mut Vec<String>,
) -> Result<T, String> {
    let flag = |id: &str, value: &OptionText| format!("--{id}={}", value.text);
    let mut matches = |values: &Values| {
        let flags = values.iter().map(|(id, value)| flag(id, value));
        parser.try_get_matches_from_mut(std::iter::once("options".to_owned()).chain(flags))
    };
    let mut parsed = matches(values);
    if parsed.is_err() {
        // clap stops at the first invalid value.
        values.retain(|id, value| {
            let single = [(id.clone(), value.clone())].into();
            let error = matches(&single).err();
            problems.extend(error.as_ref().map(|error| format!("{value}: {}", invalid_value(error))));
            error.is_none()
        });
        parsed = matches(values);
    }
    parsed.and_then(|mut matches| T::from_arg_matches_mut(&mut matches)).map_err(|error| error.to_string())
}

/// Returns why clap refused the value of an option.
fn invalid_value(error: &clap::Error) -> String {
    match (error.source(), error.get(ContextKind::ValidValue)) {
        (Some(reason), _) => reason.to_string(),
        (None, Some(ContextValue::Strings(valid))) if error.kind() == ErrorKind::InvalidValue && !valid.is_empty() => {
            format!("must be one of {}", valid.join(", "))
        }
        _ if error.kind() == ErrorKind::InvalidValue => "must not be empty".to_owned(),
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

/// Checks a name, which is a label value.
pub(super) fn check_name(text: &str) -> Result<(), String> {
    if text.trim().is_empty() || text.len() > 256 || text.chars().any(char::is_control) {
        Err("must be 1 to 256 bytes without control characters".to_owned())
    } else {
        Ok(())
    }
}

/// Parses an amount of money in a currency (ISO 4217), at least 0.
pub(super) fn amount(currency: &str, text: &str) -> Result<Money, String> {
    if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err("the currency must be an ISO 4217 code, like USD".to_owned());
    }
    text.parse::<Money>()
        .ok()
        .filter(|money| *money >= Money::default())
        .ok_or_else(|| "must be an amount of at least 0, like 500 or 99.95".to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls_are_not_shown() {
        for (text, shown) in [
            ("https://user:secret@host/path@x", "https://***@host/path@x"),
            ("https://secret@host", "https://***@host"),
            ("https://host/a@b", "https://host/a@b"),
            ("a@b", "a@b"),
        ] {
            assert_eq!(without_password(text), shown);
        }
    }

    #[test]
    fn budgets_are_amounts_in_a_currency() {
        assert_eq!(amount("USD", "500"), Ok("500".parse().unwrap()));
        for (currency, text) in [("usd", "5"), ("DOLLAR", "5"), ("USD", "-1"), ("USD", "much"), ("USD", "")] {
            assert!(amount(currency, text).is_err(), "{currency} {text}");
        }
    }

    #[test]
    fn names_are_printable() {
        assert_eq!(check_name("production"), Ok(()));
        for invalid in ["", " ", "a\nb"] {
            assert!(check_name(invalid).is_err(), "{invalid:?}");
        }
    }
}
