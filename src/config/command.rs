//! Which options a command has, and with which defaults.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgAction, Args, Command, ValueEnum};

use super::options::{Options, OutputFormat};

/// A command as the configuration sees it.
#[derive(Debug)]
pub struct CommandSpec {
    /// The name on the command line.
    pub name: &'static str,
    /// What the command does, for the help.
    pub about: &'static str,
    /// Command lines that end the help.
    pub examples: &'static [&'static str],
    /// The IDs of its options; `poll.*` stands for all of a group.
    pub options: &'static [&'static str],
    /// The IDs of further options that are accepted on the command line and have no effect, so that the command line of an
    /// exporter works with another command. Their values are not read.
    pub ignored: &'static [&'static str],
    /// The defaults that differ from those that the options declare, by the ID of the option.
    pub defaults: &'static [(&'static str, &'static str)],
    /// The formats of `--output`; empty if the command does not have it.
    pub formats: &'static [OutputFormat],
    /// Whether the configuration of a single account is invalid if its key cannot be read; if not, its poll fails. An
    /// account of a configuration file never makes the others fail.
    pub requires_keys: bool,
    /// Whether it exports watched numbers, which an account has only if it lists all statuses.
    pub exports_watched_numbers: bool,
}

impl CommandSpec {
    /// Returns the options of the command, with its defaults.
    pub fn options(&self) -> impl Iterator<Item = Arg> {
        self.all_options().filter(|option| selects(self.options, option.get_id().as_str()))
    }

    /// Returns the options that the command accepts, but does not have.
    pub fn ignored_options(&self) -> impl Iterator<Item = Arg> {
        let is_ignored = |id: &str| selects(self.ignored, id) && !selects(self.options, id);
        self.all_options().filter(move |option| is_ignored(option.get_id().as_str()))
    }

    /// Returns the options of the command that a list of IDs and groups contains.
    pub fn options_of(&self, list: &[&str]) -> impl Iterator<Item = Arg> {
        self.options().filter(|option| selects(list, option.get_id().as_str()))
    }

    /// Returns a parser of all options, also of those that the command does not have, with its defaults.
    pub(super) fn parser(&self) -> Command {
        Command::new("options").args(self.all_options().map(|option| option.action(ArgAction::Set)))
    }

    fn all_options(&self) -> impl Iterator<Item = Arg> {
        declared_options().map(|option| {
            let has_formats = option.get_id() == "output" && !self.formats.is_empty();
            let option = if has_formats { option.value_parser(format_parser(self.formats)) } else { option };
            let default = self.defaults.iter().find(|(id, _)| option.get_id() == *id);
            match default {
                Some((_, default)) => option.default_value(*default),
                None => option,
            }
        })
    }
}

/// Returns a parser that accepts only these formats.
fn format_parser(formats: &'static [OutputFormat]) -> impl TypedValueParser<Value = OutputFormat> {
    let values = formats.iter().filter_map(ValueEnum::to_possible_value);
    PossibleValuesParser::new(values).try_map(|name| OutputFormat::from_str(&name, false))
}

/// Returns every option as declared.
pub(super) fn declared_options() -> impl Iterator<Item = Arg> {
    let options: Vec<Arg> = Options::augment_args(Command::new("options")).get_arguments().cloned().collect();
    options.into_iter()
}

/// Returns whether a list of IDs and groups contains an option.
pub(super) fn selects(list: &[&str], id: &str) -> bool {
    list.iter().any(|entry| match entry.strip_suffix('*') {
        Some(group) => id.starts_with(group),
        None => *entry == id,
    })
}
