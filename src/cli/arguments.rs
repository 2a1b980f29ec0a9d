//! Parses arguments into a command and the texts of its flags, which [`crate::config`] validates together with the
//! other sources. Help, man page and completions derive from the same definition.

use std::ffi::OsString;

use clap::builder::ValueParser;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches};
use clap_complete::Shell;

use super::{COMMANDS, CommandEntry, CommandError, commands, man};
use crate::config::{CommandSpec, Flags, is_boolean};

/// What the arguments request.
pub(super) enum Invocation {
    /// Run a command with these flags.
    Run(&'static CommandEntry, Flags),
    /// Print a text: help, version, completions or the man page.
    Print(String),
}

/// Commands that print something about the program itself.
const COMPLETIONS: &str = "completions";
const MAN: &str = "man";

const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (revision ",
    env!("TRYVOX_EXPORTER_REVISION"),
    ", rustc ",
    env!("TRYVOX_EXPORTER_RUSTC"),
    ")"
);

/// What applies to all options.
const NOTES: &str = "\
Every option has an environment variable: TRYVOX_EXPORTER_POLL_INTERVAL sets --poll.interval. A flag takes precedence \
over the environment, which takes precedence over the configuration file. Boolean flags have a negative form: \
--no-collector.capability. The API key is read from TRYVOX_API_KEY or the file of --tryvox.api-key-file, never from a flag.";

/// The note in the help of commands that accept the command line of an exporter.
const IGNORED: &str = "The other options of an exporter are accepted and have no effect.";

/// Returns the end of the help of a command: a note and examples.
fn epilogue(command: &CommandSpec) -> String {
    let note = if command.ignored.is_empty() { String::new() } else { format!("{IGNORED}\n\n") };
    command.examples.iter().fold(format!("{note}Examples:"), |text, line| format!("{text}\n  {line}"))
}

/// Parses the arguments; the first is the program's name.
pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, CommandError> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // Values are validated later, together with those of the other sources.
    match without_parsers(definition()).try_get_matches_from(&arguments) {
        Ok(matches) => {
            let [default, ..] = COMMANDS;
            let (name, matches) = matches.subcommand().unwrap_or((default.spec.name, &matches));
            match (name, matches.try_get_one::<Shell>("SHELL")) {
                (COMPLETIONS, Ok(Some(shell))) => return Ok(Invocation::Print(completions(*shell))),
                (MAN, _) => return Ok(Invocation::Print(man::render(&definition()))),
                _ => {}
            }
            let command = COMMANDS.into_iter().find(|command| command.spec.name == name).unwrap_or(default);
            Ok(Invocation::Run(command, flags(&command.spec, matches)?))
        }
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            // The help shows the values that the parsers accept.
            let typed = definition().try_get_matches_from(&arguments).err().unwrap_or(error);
            Ok(Invocation::Print(typed.render().to_string()))
        }
        Err(error) => Err(CommandError::Usage(one_line(&error))),
    }
}

/// Replaces the value parsers of all options by one that accepts any text.
fn without_parsers(definition: clap::Command) -> clap::Command {
    let untyped = |arg: Arg| {
        if arg.get_long().is_some() && arg.get_action().takes_values() {
            arg.value_parser(ValueParser::os_string())
        } else {
            arg
        }
    };
    definition.mut_args(untyped).mut_subcommands(|command| command.mut_args(untyped))
}

/// Returns the definition of the command line.
fn definition() -> clap::Command {
    let [default, ..] = COMMANDS;
    let root = clap::Command::new("tryvox-exporter")
        .version(VERSION)
        .about("Prometheus exporter for the phone numbers a company rents from TryVox")
        .after_help(format!("{NOTES}\n\n{}", epilogue(&default.spec)))
        .args_conflicts_with_subcommands(true)
        .disable_help_subcommand(true)
        .args(arguments(&default.spec));
    let shell = Arg::new("SHELL").required(true).value_parser(clap::value_parser!(Shell)).help("Shell to complete for");
    commands()
        .fold(root, |root, command| {
            let subcommand = clap::Command::new(command.name).about(command.about).after_help(epilogue(command));
            root.subcommand(subcommand.args(arguments(command)))
        })
        .subcommand(clap::Command::new(COMPLETIONS).about("Print shell completions").arg(shell))
        .subcommand(clap::Command::new(MAN).about("Print the man page"))
}

fn completions(shell: Shell) -> String {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut definition(), "tryvox-exporter", &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Returns the flags of a command; a boolean one takes no value unless it is given with `=`, and has a `--no-` form. Those
/// that have no effect are not in the help.
fn arguments(command: &CommandSpec) -> impl Iterator<Item = Arg> {
    command.options().chain(command.ignored_options().map(|option| option.hide(true))).flat_map(|option| {
        if !is_boolean(&option) {
            return vec![option];
        }
        let negation = negation(option.get_id().as_str());
        let negated = Arg::new(negation.clone())
            .long(negation.clone())
            .action(ArgAction::SetTrue)
            .overrides_with(option.get_id())
            .hide(true);
        let option =
            option.num_args(0..=1).require_equals(true).default_missing_value("true").hide_possible_values(true);
        vec![option.overrides_with(negation), negated]
    })
}

fn negation(id: &str) -> String {
    format!("no-{id}")
}

/// Returns the texts of the flags that were used, also of those that have no effect, those of a repeated flag separated by
/// commas.
fn flags(command: &CommandSpec, matches: &ArgMatches) -> Result<Flags, CommandError> {
    let is_used = |id: &str| matches!(matches.value_source(id), Some(ValueSource::CommandLine));
    let mut flags = Flags::new();
    for option in command.options().chain(command.ignored_options()) {
        let id = option.get_id().as_str();
        if is_boolean(&option) && is_used(&negation(id)) {
            flags.insert(id.to_owned(), "false".to_owned());
        } else if is_used(id) {
            let texts: Option<Vec<_>> = matches.get_raw(id).into_iter().flatten().map(|text| text.to_str()).collect();
            let texts = texts.ok_or_else(|| CommandError::Usage(format!("--{id}: its value is not UTF-8")))?;
            flags.insert(id.to_owned(), texts.join(","));
        }
    }
    Ok(flags)
}

/// Returns clap's message in one line, without the usage.
fn one_line(error: &clap::Error) -> String {
    let rendered = error.render().to_string();
    let lines = rendered.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let message: Vec<_> = lines.filter(|line| !line.is_empty() && !line.starts_with("For more information")).collect();
    let message = message.join(" ").replace(" tip: ", "; ");
    format!("{}; see tryvox-exporter --help", message.trim_start_matches("error: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<(&'static str, Flags), String> {
        let arguments = std::iter::once("tryvox-exporter").chain(arguments.iter().copied()).map(OsString::from);
        match parse(arguments) {
            Ok(Invocation::Run(command, flags)) => Ok((command.spec.name, flags)),
            Ok(Invocation::Print(text)) => Err(text),
            Err(CommandError::Usage(message)) => Err(message),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn definition_is_consistent() {
        definition().debug_assert();
    }

    #[test]
    fn serve_is_the_default() {
        for arguments in [&["--poll.interval=1m"][..], &["serve", "--poll.interval", "1m"]] {
            let (command, flags) = parsed(arguments).unwrap();
            assert_eq!(command, "serve");
            assert_eq!(flags, Flags::from([("poll.interval".to_owned(), "1m".to_owned())]));
        }
    }

    #[test]
    fn a_repeated_flag_is_a_list() {
        let (_, flags) = parsed(&["--web.listen-address=:1", "--web.listen-address=:2"]).unwrap();
        assert_eq!(flags["web.listen-address"], ":1,:2");
    }

    #[test]
    fn a_boolean_flag_has_a_negative_form_and_the_last_one_wins() {
        for (arguments, expected) in [
            (&["--collector.region"][..], "true"),
            (&["--collector.region=false"], "false"),
            (&["--no-collector.region"], "false"),
            (&["--collector.region", "--no-collector.region"], "false"),
            (&["--no-collector.region", "--collector.region"], "true"),
        ] {
            let (_, flags) = parsed(arguments).unwrap();
            assert_eq!(flags["collector.region"], expected, "{arguments:?}");
        }
    }

    #[test]
    fn an_invalid_flag_is_one_line_with_a_hint() {
        let error = parsed(&["--poll.intervall=1m"]).unwrap_err();
        assert!(error.contains("--poll.intervall") && error.contains("'--poll.interval'"), "{error}");
        for invalid in [
            &["bogus"][..],
            &["serve", "x"],
            &["--seed=1"],
            &["--log.level"],
            &["--log.level=info", "--log.level=info"],
        ] {
            let error = parsed(invalid).unwrap_err();
            assert!(!error.contains('\n') && error.ends_with("--help"), "{error}");
        }
    }
}
