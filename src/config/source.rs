//! Where values come from: a flag beats the environment, that beats the default.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::ConfigError;
use super::options::{CommandOptions, OptionSpec};
use super::settings::Settings;

/// The variables of the environment; a value in tests.
pub trait Environment {
    /// The value of a variable that is set.
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

/// Reads all options of a command. `flags` gives the value of an option's flag, if it was used; a
/// variable that is set but empty counts as not set.
///
/// # Errors
/// The first value that is wrong, with the flag or the variable that it came from.
pub fn settings(
    command: CommandOptions,
    flags: impl Fn(&OptionSpec) -> Option<String>,
    environment: &impl Environment,
) -> Result<Settings, ConfigError> {
    let mut settings = Settings::default();
    for option in OptionSpec::of(command) {
        if let Some(text) = flags(option) {
            let flag = format!("--{}", option.name);
            (option.set)(&mut settings, &text).map_err(|error| wrong(&flag, &text, &error))?;
        } else if let Some(text) = variable(environment, &option.variable())? {
            (option.set)(&mut settings, &text).map_err(|error| wrong(&option.variable(), &text, &error))?;
        } else if let Some(text) = option.default_of(command) {
            (option.set)(&mut settings, text).map_err(|error| wrong(option.name, text, &error))?;
        }
    }
    Ok(settings)
}

/// The value of a variable, if it is set and not empty.
pub(super) fn variable(environment: &impl Environment, name: &str) -> Result<Option<String>, ConfigError> {
    let Some(value) = environment.get(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    let text = value.into_string().map_err(|_| ConfigError(format!("{name} is not UTF-8; set it anew")))?;
    Ok(Some(text))
}

fn wrong(place: &str, text: &str, error: &str) -> ConfigError {
    ConfigError(format!("{place}={}: {error}", text.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(flag: Option<&str>, variable: Option<&str>) -> Result<u64, ConfigError> {
        let environment: BTreeMap<String, String> =
            variable.map(|value| ("TRYVOX_EXPORTER_POLL_INTERVAL".to_owned(), value.to_owned())).into_iter().collect();
        let flags = |option: &OptionSpec| flag.filter(|_| option.name == "poll.interval").map(str::to_owned);
        settings(CommandOptions::Serve, flags, &environment).map(|settings| settings.poll_interval.as_secs())
    }

    #[test]
    fn a_flag_beats_the_environment_and_that_the_default() {
        assert_eq!(interval(Some("1s"), Some("2s")), Ok(1));
        assert_eq!(interval(None, Some("2s")), Ok(2));
        assert_eq!(interval(None, Some("")), Ok(300));
        assert_eq!(interval(None, None), Ok(300));
    }

    #[test]
    fn an_error_names_its_source() {
        let error = interval(Some("soon"), Some("2s")).unwrap_err().to_string();
        assert_eq!(error, "--poll.interval=soon: is not a duration; write it like 30s or 5m");
        let error = interval(None, Some("0s")).unwrap_err().to_string();
        assert_eq!(error, "TRYVOX_EXPORTER_POLL_INTERVAL=0s: must be longer than 0; write it like 30s or 5m");
    }

    #[test]
    fn every_default_is_a_value() {
        for command in [CommandOptions::Serve, CommandOptions::Demo, CommandOptions::Simulate] {
            settings(command, |_| None, &BTreeMap::new()).unwrap();
        }
    }
}
