//! Where values come from: a flag beats the environment, that beats the file, that beats the
//! default.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;

use super::ConfigError;
use super::file::Written;
use super::option::{CommandOptions, OptionSpec};
use super::options::OPTIONS;
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

/// The values of the flags that were used, by the option's name.
pub type Flags = HashMap<&'static str, String>;

/// Reads all options of a command that has no file. A variable that is set but empty counts as not
/// set.
///
/// # Errors
/// Every value that is wrong, with the flag or the variable that it came from.
pub fn settings(
    command: CommandOptions,
    flags: &Flags,
    environment: &impl Environment,
) -> Result<Settings, ConfigError> {
    let mut problems = Vec::new();
    let (settings, _) = merge(command, flags, environment, &BTreeMap::new(), "", &mut problems);
    ConfigError::unless_empty(problems).map_or(Ok(settings), Err)
}

/// Reads all options, and tells which of them a flag or a variable has set. What is wrong is added
/// to `problems`.
pub(super) fn merge(
    command: CommandOptions,
    flags: &Flags,
    environment: &impl Environment,
    file: &BTreeMap<&'static str, Written>,
    path: &str,
    problems: &mut Vec<String>,
) -> (Settings, HashSet<&'static str>) {
    let (mut settings, mut given) = (Settings::default(), HashSet::new());
    // Also of options that this command does not have: what it shares with others may ask for them.
    for option in OPTIONS {
        if let Some(Err(error)) = option.default_of(command).map(|text| (option.set)(&mut settings, text)) {
            problems.push(format!("the default of {}: {error}", option.name));
        }
    }
    for option in OptionSpec::of(command) {
        let from_environment = match flags.get(option.name) {
            Some(_) => None,
            None => variable(environment, &option.variable()).unwrap_or_else(|error| {
                problems.push(error);
                None
            }),
        };
        let (place, text) = match (flags.get(option.name), &from_environment, file.get(option.name)) {
            (Some(text), ..) => (format!("--{}={}", option.name, text.escape_debug()), text),
            (_, Some(text), _) => (format!("{}={}", option.variable(), text.escape_debug()), text),
            (_, _, Some(written)) => (in_file(path, option.name, written), &written.text),
            (None, None, None) => continue,
        };
        if flags.contains_key(option.name) || from_environment.is_some() {
            given.insert(option.name);
        }
        if let Err(error) = (option.set)(&mut settings, text) {
            problems.push(format!("{place}: {error}"));
        }
    }
    (settings, given)
}

/// How a value of a file is named in an error.
pub(super) fn in_file(path: &str, name: &str, written: &Written) -> String {
    format!("{path}:{}: {}: {}", written.place, name.replace('-', "_"), written.text.escape_debug())
}

/// The value of a variable, if it is set and not empty.
pub(super) fn variable(environment: &impl Environment, name: &str) -> Result<Option<String>, String> {
    let Some(value) = environment.get(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    let text = value.into_string().map_err(|_| format!("{name} is not UTF-8; set it anew"))?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(flag: Option<&str>, variable: Option<&str>) -> Result<u64, ConfigError> {
        let environment: BTreeMap<String, String> =
            variable.map(|value| ("TRYVOX_EXPORTER_POLL_INTERVAL".to_owned(), value.to_owned())).into_iter().collect();
        let flags: Flags = flag.map(|value| ("poll.interval", value.to_owned())).into_iter().collect();
        settings(CommandOptions::Serve, &flags, &environment).map(|settings| settings.poll.interval.as_secs())
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
            settings(command, &Flags::new(), &BTreeMap::new()).unwrap();
        }
    }
}
