//! The man page: one page for all commands, derived from the definition of the command line.

use std::fmt::Write;

use clap::{Arg, Args};
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use super::commands;
use crate::config::{CommandSpec, Options, is_boolean, variable};

/// The commands that poll accounts. An option that all of them have is listed without its commands.
const POLLING_COMMANDS: [&str; 5] = ["serve", "demo", "check", "once", "list"];

/// The environment variables that are not those of options.
const VARIABLES: [(&str, &str); 5] = [
    (
        "TRYVOX_API_KEY",
        "API key of the accounts that have neither a key file nor a variable of their own; simulate accepts this key.",
    ),
    (
        "HTTPS_PROXY",
        "Proxy for requests to an https URL of the API, like http://HOST:PORT or socks5h://HOST:PORT; requests to an http \
         URL are always direct.",
    ),
    ("NO_PROXY", "Hosts that are requested without a proxy, comma-separated."),
    ("SSL_CERT_FILE", "PEM file with the CA certificates to trust."),
    ("NO_COLOR", "If not empty, check prints no colors."),
];

const STATUSES: [(&str, &str); 3] = [
    ("0", "Success."),
    ("1", "The work failed: for example, an account could not be listed or a port is in use."),
    ("2", "The command line or the configuration is invalid."),
];

/// Renders the page for a definition of the command line that has all commands.
pub(super) fn render(definition: &clap::Command) -> String {
    let name = definition.get_name();
    let about = text_of(definition.get_about());
    let mut page = Roff::new();
    let source = concat!("tryvox-exporter ", env!("CARGO_PKG_VERSION"));
    page.control("TH", [&*name.to_uppercase(), "1", "\"\"", source, "User Commands"]);

    page.control("SH", ["NAME"]);
    page.text([roman(format!("{name} - {about}"))]);
    page.control("SH", ["SYNOPSIS"]);
    page.text([bold(name), roman(" ["), italic("COMMAND"), roman("] ["), italic("OPTION"), roman("]...")]);
    page.control("SH", ["DESCRIPTION"]);
    page.text([roman(
        "The exporter lists the phone numbers of each configured account at an interval and serves counts, fees and \
         changes as Prometheus metrics. The other commands check a configuration, write the metrics to a file, list \
         the numbers, print recorded changes, and run a simulated API.",
    )]);

    page.control("SH", ["COMMANDS"]);
    for command in definition.get_subcommands() {
        let mut tag = vec![bold(command.get_name())];
        tag.extend(command.get_positionals().flat_map(|argument| [roman(" "), italic(argument.get_id().as_str())]));
        entry(&mut page, tag, &format!("{}.", text_of(command.get_about())));
    }

    page.control("SH", ["OPTIONS"]);
    page.text([roman(
        "A flag takes precedence over the environment, which takes precedence over the configuration file. Options for \
         which no commands are named apply to serve, demo, check, once and list. check, once, list, changes and healthcheck \
         accept all options of a running exporter, so that they can be run with its command line; options that do not apply \
         to a command have no effect.",
    )]);
    let mut heading = None;
    for option in Options::augment_args(clap::Command::new("options")).get_arguments() {
        if option.get_help_heading() != heading {
            heading = option.get_help_heading();
            page.control("SS", heading);
        }
        entry(&mut page, option_tag(option), &describe(option));
    }
    page.control("SS", ["General"]);
    entry(&mut page, vec![bold("-h"), roman(", "), bold("--help")], "Print the help of the command.");
    entry(&mut page, vec![bold("-V"), roman(", "), bold("--version")], "Print the version.");

    page.control("SH", ["ENVIRONMENT"]);
    page.text([roman(format!(
        "Every option has an environment variable: {} sets --poll.interval.",
        variable("poll.interval"),
    ))]);
    for (name, text) in VARIABLES {
        entry(&mut page, vec![bold(name)], text);
    }
    page.control("SH", ["EXIT STATUS"]);
    for (status, text) in STATUSES {
        entry(&mut page, vec![bold(status)], text);
    }
    page.control("SH", ["EXAMPLES"]);
    page.control("nf", []);
    for example in commands().flat_map(|command| command.examples) {
        page.text([roman(*example)]);
    }
    page.control("fi", []);
    page.control("SH", ["SEE ALSO"]);
    page.text([roman(concat!("Documentation: ", env!("CARGO_PKG_REPOSITORY"), "/tree/main/docs"))]);
    page.render()
}

/// Adds a paragraph with a tag.
fn entry(page: &mut Roff, tag: Vec<Inline>, text: &str) {
    page.control("TP", []);
    page.text(tag);
    page.text([roman(text)]);
}

/// Returns the flags of an option with the name of its value.
fn option_tag(option: &Arg) -> Vec<Inline> {
    let id = option.get_id().as_str();
    if is_boolean(option) {
        return vec![bold(format!("--{id}")), roman("[=true|false], "), bold(format!("--no-{id}"))];
    }
    let value = option.get_value_names().unwrap_or_default().iter().map(|name| italic(name.as_str()));
    [bold(format!("--{id}")), roman("=")].into_iter().chain(value).collect()
}

/// Returns what an option means, its possible values, its defaults and the commands that have it.
fn describe(option: &Arg) -> String {
    let mut text = format!("{}.", text_of(option.get_help()));
    // What is different for a command follows in parentheses.
    let with_differences = |of: fn(&Arg) -> Option<String>| {
        let shared = of(option)?;
        let differing = commands().filter_map(|command| {
            let own = command.options().find(|other| other.get_id() == option.get_id())?;
            Some(format!("{}: {}", command.name, of(&own).filter(|own| *own != shared)?))
        });
        let differing = differing.collect::<Vec<_>>().join("; ");
        Some(if differing.is_empty() { shared } else { format!("{shared} ({differing})") })
    };
    // Writing to a string cannot fail.
    if let Some(values) = with_differences(values_of) {
        _ = write!(text, " Values: {values}.");
    }
    if let Some(default) = with_differences(default_of) {
        _ = write!(text, " Default: {default}.");
    }
    let has = |command: &&CommandSpec| command.options().any(|other| other.get_id() == option.get_id());
    let names: Vec<_> = commands().filter(has).map(|command| command.name).collect();
    if !POLLING_COMMANDS.iter().all(|name| names.contains(name)) {
        let noun = if names.len() == 1 { "Command" } else { "Commands" };
        _ = write!(text, " {noun}: {}.", names.join(", "));
    }
    text
}

/// Returns the values that an option accepts, if only some are.
fn values_of(option: &Arg) -> Option<String> {
    let values: Vec<_> = option.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    (!values.is_empty() && !is_boolean(option)).then(|| values.join(", "))
}

fn default_of(option: &Arg) -> Option<String> {
    option.get_default_values().first().map(|text| text.to_string_lossy().into_owned())
}

fn text_of(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default()
}
