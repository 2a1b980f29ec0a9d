//! From arguments to a command and its flags. What the flags mean is [`crate::config`]'s.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command};
use clap_complete::Shell;

use super::CommandError;
use crate::config::{CommandOptions, Flags, OptionSpec};

/// What the arguments ask for.
pub(super) enum Parsed {
    /// A command and the values of its flags, by the option's name.
    Command(CommandOptions, Flags),
    /// Help or version.
    Text(String),
}

const COMMANDS: [(&str, CommandOptions, &str); 6] = [
    ("serve", CommandOptions::Serve, "Poll every account and serve metrics (the default)"),
    ("demo", CommandOptions::Demo, "Serve against an embedded simulated TryVox: no account, key or network needed"),
    ("simulate", CommandOptions::Simulate, "Run the simulated TryVox API alone"),
    ("check", CommandOptions::Check, "List every account once and say what is there and what is wrong"),
    ("once", CommandOptions::Once, "List every account once and print the metrics, or write them to a file"),
    ("healthcheck", CommandOptions::Healthcheck, "Ask a running exporter whether it works"),
];

/// Commands that print something about this one.
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

/// Reads the arguments; the first is the program's name.
pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Parsed, CommandError> {
    match command().try_get_matches_from(arguments) {
        Ok(matches) => {
            let (name, matches) = matches.subcommand().unwrap_or(("serve", &matches));
            match (name, matches.try_get_one::<Shell>("SHELL")) {
                (COMPLETIONS, Ok(Some(shell))) => return Ok(Parsed::Text(completions(*shell))),
                (MAN, _) => return man().map(Parsed::Text),
                _ => {}
            }
            let command =
                COMMANDS.iter().find(|(other, ..)| *other == name).map_or(CommandOptions::Serve, |found| found.1);
            Ok(Parsed::Command(command, flags(command, matches)))
        }
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            Ok(Parsed::Text(error.render().to_string()))
        }
        Err(error) => Err(CommandError::Usage(one_line(&error.render().to_string()))),
    }
}

fn command() -> Command {
    let root = Command::new("tryvox-exporter")
        .version(VERSION)
        .about("A Prometheus exporter for the phone numbers that a company rents from TryVox")
        .after_help(
            "Every option is also read from an environment variable: --poll.interval from \
             TRYVOX_EXPORTER_POLL_INTERVAL. The API key is read from TRYVOX_API_KEY or from the file of \
             --tryvox.api-key-file, never from a flag.",
        )
        .args_conflicts_with_subcommands(true)
        .disable_help_subcommand(true)
        .args(arguments(CommandOptions::Serve));
    let shell = Arg::new("SHELL").required(true).value_parser(clap::value_parser!(Shell)).help("The shell");
    COMMANDS
        .iter()
        .fold(root, |root, (name, command, about)| {
            root.subcommand(Command::new(*name).about(*about).args(arguments(*command)))
        })
        .subcommand(Command::new(COMPLETIONS).about("Print completions for a shell").arg(shell))
        .subcommand(Command::new(MAN).about("Print the manual page"))
}

fn completions(shell: Shell) -> String {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut command(), "tryvox-exporter", &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// One page: what all commands share, and each with its options.
fn man() -> Result<String, CommandError> {
    let mut out = Vec::new();
    let mut command = command();
    command.build();
    let page = clap_mangen::Man::new(command.clone());
    let mut write = || -> std::io::Result<()> {
        page.render(&mut out)?;
        for command in command.get_subcommands() {
            let page = clap_mangen::Man::new(command.clone());
            page.render_name_section(&mut out)?;
            page.render_options_section(&mut out)?;
        }
        Ok(())
    };
    write().map_err(anyhow::Error::new)?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

fn arguments(command: CommandOptions) -> impl Iterator<Item = Arg> {
    OptionSpec::of(command).map(move |option| {
        let default = option.default_of(command).map(|default| format!(" [default: {default}]")).unwrap_or_default();
        let arg = Arg::new(option.name)
            .long(option.name)
            .value_name(option.value)
            .action(if option.repeatable { ArgAction::Append } else { ArgAction::Set })
            .help(format!("{}{default}", option.help));
        if option.switch { arg.num_args(0..=1).require_equals(true).default_missing_value("true") } else { arg }
    })
}

fn flags(command: CommandOptions, matches: &ArgMatches) -> Flags {
    OptionSpec::of(command)
        .filter_map(|option| {
            let values = matches.get_many::<String>(option.name)?;
            Some((option.name, values.map(String::as_str).collect::<Vec<_>>().join(",")))
        })
        .collect()
}

/// What clap says over several lines, but not how all of the command is used.
fn one_line(rendered: &str) -> String {
    let lines = rendered.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let said: Vec<_> = lines.filter(|line| !line.is_empty() && !line.starts_with("For more information")).collect();
    let said = said.join(" ").replace(" tip: ", "; ");
    format!("{}; see tryvox-exporter --help", said.trim_start_matches("error: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<(CommandOptions, Flags), String> {
        let arguments = std::iter::once("tryvox-exporter").chain(arguments.iter().copied()).map(OsString::from);
        match parse(arguments) {
            Ok(Parsed::Command(command, flags)) => Ok((command, flags)),
            Ok(Parsed::Text(text)) => Err(text),
            Err(CommandError::Usage(message)) => Err(message),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn serve_is_the_default() {
        for arguments in [&["--poll.interval=1m"][..], &["serve", "--poll.interval", "1m"]] {
            let (command, flags) = parsed(arguments).unwrap();
            assert_eq!(command, CommandOptions::Serve);
            assert_eq!(flags, Flags::from([("poll.interval", "1m".to_owned())]));
        }
    }

    #[test]
    fn a_repeated_flag_is_a_list() {
        let (_, flags) = parsed(&["--web.listen-address=:1", "--web.listen-address=:2"]).unwrap();
        assert_eq!(flags["web.listen-address"], ":1,:2");
    }

    #[test]
    fn a_wrong_flag_is_one_line_with_a_hint() {
        let error = parsed(&["--poll.intervall=1m"]).unwrap_err();
        assert!(error.contains("--poll.intervall") && error.contains("'--poll.interval'"), "{error}");
        for wrong in [
            &["bogus"][..],
            &["serve", "x"],
            &["--seed=1"],
            &["--log.level"],
            &["--log.level=info", "--log.level=info"],
        ] {
            let error = parsed(wrong).unwrap_err();
            assert!(!error.contains('\n') && error.ends_with("--help"), "{error}");
        }
    }
}
