//! Where values come from: a flag beats the environment, which beats the file, which beats the default.

use std::collections::BTreeMap;

use super::accounts::Accounts;
use super::command::CommandSpec;
use super::file::{self, ContentHash, Document};
use super::options::{Options, variable};
use super::owner_assignment::assign_owners;
use super::values::{Environment, OptionText, Origin, Values, parse, variable_text};
use super::{Config, ConfigError, proxy_problems};

/// The texts of the flags on the command line, by the ID of their option.
pub type Flags = BTreeMap<String, String>;

/// The sources of a configuration; they can be read again at any time.
#[derive(Debug, Clone)]
pub struct ConfigSource<E> {
    /// The command whose options are read.
    pub command: &'static CommandSpec,
    /// The flags on the command line.
    pub flags: Flags,
    /// The environment.
    pub environment: E,
    /// Returns what is wrong with files that the options name.
    pub check_files: fn(&Options) -> Vec<String>,
}

impl<E: Environment> ConfigSource<E> {
    /// Reads and validates options and accounts.
    ///
    /// # Errors
    /// Everything that is wrong, not only the first problem.
    pub fn read(&self) -> Result<Config, ConfigError> {
        let mut problems = Vec::new();
        let document = self.read_file(&mut problems);
        let mut values = self.values(&document.values, &mut problems);
        let options: Options = parse(&mut self.command.parser(), &mut values, &mut problems)?;
        let shard = options.shard.ordinal();
        let accounts = Accounts::new(
            self.command,
            &self.environment,
            &values,
            &options,
            shard.as_ref().ok().copied(),
            &mut problems,
        );
        let mut accounts = accounts.read(&document);
        let path = values.get("config.file").map_or("", |path| &*path.text);
        let owners = assign_owners(path, &document, &mut accounts, &mut problems);
        problems.extend((self.check_files)(&options));
        let shard = shard.unwrap_or_else(|problem| {
            problems.push(problem);
            0
        });
        let config = Config::assemble(options, shard, accounts, owners, document.content);
        problems.extend(proxy_problems(&config.accounts, &self.environment));
        ConfigError::unless_empty(problems, document.content).map_or(Ok(config), Err)
    }

    /// Returns the current content of the configuration file; `None` if there is no file.
    pub fn content(&self) -> Option<ContentHash> {
        ContentHash::of_file(self.file_path()?.as_ref())
    }

    /// Reads and validates only the options, those in the file included.
    ///
    /// # Errors
    /// Everything that is wrong with them, not only the first problem.
    pub fn options(&self) -> Result<Options, ConfigError> {
        let mut problems = Vec::new();
        let document = self.read_file(&mut problems);
        let mut values = self.values(&document.values, &mut problems);
        let options = parse(&mut self.command.parser(), &mut values, &mut problems)?;
        ConfigError::unless_empty(problems, document.content).map_or(Ok(options), Err)
    }

    /// Returns whether the configuration is only to be checked.
    #[must_use]
    pub fn is_check(&self) -> bool {
        let values = self.values(&Values::new(), &mut Vec::new());
        values.get("config.check").is_some_and(|value| value.text == "true")
    }

    fn read_file(&self, problems: &mut Vec<String>) -> Document {
        self.file_path().map_or_else(|| Document::empty(true), |path| file::read(path.as_ref(), problems))
    }

    fn file_path(&self) -> Option<String> {
        let values = self.values(&Values::new(), &mut Vec::new());
        values.get("config.file").map(|value| value.text.clone())
    }

    /// Returns the texts of the command's options. An environment variable that is empty counts as not set.
    fn values(&self, file: &Values, problems: &mut Vec<String>) -> Values {
        let mut values = Values::new();
        for option in self.command.options() {
            let id = option.get_id().to_string();
            let name = variable(&id);
            let value = if let Some(text) = self.flags.get(&id) {
                Some(OptionText { text: text.clone(), origin: Origin::Flag(id.clone()) })
            } else {
                let text = variable_text(&self.environment, &name).unwrap_or_else(|problem| {
                    problems.push(problem);
                    None
                });
                text.map(|text| OptionText { text, origin: Origin::Variable(name) }).or_else(|| file.get(&id).cloned())
            };
            values.extend(value.map(|value| (id, value)));
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static COMMAND: CommandSpec = CommandSpec {
        name: "test",
        about: "",
        examples: &[],
        options: &["poll.*"],
        ignored: &[],
        defaults: &[],
        formats: &[],
        requires_keys: true,
        exports_watched_numbers: false,
    };

    fn interval(flag: Option<&str>, variable: Option<&str>) -> Result<u64, ConfigError> {
        let environment: BTreeMap<String, String> =
            variable.map(|value| ("TRYVOX_EXPORTER_POLL_INTERVAL".to_owned(), value.to_owned())).into_iter().collect();
        let flags = flag.map(|value| ("poll.interval".to_owned(), value.to_owned())).into_iter().collect();
        let source = ConfigSource { command: &COMMAND, flags, environment, check_files: |_| Vec::new() };
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
