//! What an option is, and which command has it.

use super::OPTIONS;
use super::settings::Settings;

/// The commands that have options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandOptions {
    /// Of `serve`.
    Serve,
    /// Of `demo`.
    Demo,
    /// Of `simulate`.
    Simulate,
    /// Of `check`.
    Check,
    /// Of `once`.
    Once,
    /// Of `healthcheck`.
    Healthcheck,
}

/// An option: its flag is `--name`, its environment variable is made from the name.
#[derive(Debug)]
pub struct OptionSpec {
    /// Its name, as in the flag.
    pub name: &'static str,
    /// What kind of value it takes, for the help.
    pub value: &'static str,
    /// The value it has when nobody gives one; none for an option that may stay without.
    pub default: Option<&'static str>,
    /// Commands that have another default.
    pub other_defaults: &'static [(CommandOptions, &'static str)],
    /// The commands that have it.
    pub commands: &'static [CommandOptions],
    /// Whether its flag may be given more than once; elsewhere its values are separated by commas.
    pub repeatable: bool,
    /// Whether it is on or off: its flag alone means on.
    pub switch: bool,
    /// What it does.
    pub help: &'static str,
    /// Reads a value; the error says what would be right.
    pub(super) set: fn(&mut Settings, &str) -> Result<(), String>,
}

impl OptionSpec {
    /// The environment variable: `--poll.interval` is `TRYVOX_EXPORTER_POLL_INTERVAL`.
    #[must_use]
    pub fn variable(&self) -> String {
        let name = self.name.replace(['.', '-'], "_").to_uppercase();
        format!("TRYVOX_EXPORTER_{name}")
    }

    /// The default that a command has.
    #[must_use]
    pub fn default_of(&self, command: CommandOptions) -> Option<&'static str> {
        let other = self.other_defaults.iter().find(|(other, _)| *other == command);
        other.map(|(_, default)| *default).or(self.default)
    }

    /// The options that a command has. `healthcheck` takes those of the `serve` that it asks.
    pub fn of(command: CommandOptions) -> impl Iterator<Item = &'static Self> {
        let like = if command == CommandOptions::Healthcheck { CommandOptions::Serve } else { command };
        OPTIONS.iter().filter(move |option| option.commands.contains(&like))
    }
}
