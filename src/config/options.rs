//! Every option, once.

use std::path::PathBuf;

use super::option::CommandOptions::{self, Check, Demo, Once, Serve, Simulate};
use super::option::OptionSpec;
use super::settings::{LogFormat, LogLevel, OutputFormat};
use super::values::{
    account_id, base_url, countries, duration, duration_or_zero, integer, listen_addresses, number_statuses, rate,
    share, statuses, switch, telemetry_path, word,
};
use crate::simulator::Fault;

/// The commands that list the accounts of a configuration.
const LISTING: &[CommandOptions] = &[Serve, Check, Once];
/// The commands that list accounts, simulated ones too.
const POLLING: &[CommandOptions] = &[Serve, Demo, Check, Once];

/// What most options are like; the others say where they differ.
const OPTION: OptionSpec = OptionSpec {
    name: "",
    value: "",
    default: None,
    other_defaults: &[],
    commands: LISTING,
    repeatable: false,
    switch: false,
    help: "",
    set: |_, _| Ok(()),
};

/// All options, in the order of the help.
pub static OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "config.file",
        value: "PATH",
        help: "A file in YAML that holds accounts, and any option below",
        set: |settings, text| {
            settings.config_file = Some(PathBuf::from(text));
            Ok(())
        },
        ..OPTION
    },
    OptionSpec {
        name: "config.check",
        value: "BOOL",
        default: Some("false"),
        switch: true,
        help: "Check the configuration, name every problem, and end: with 0, or 2 where there is one",
        set: |settings, text| switch(text).map(|value| settings.config_check = value),
        commands: &[Serve],
        ..OPTION
    },
    OptionSpec {
        name: "tryvox.url",
        value: "URL",
        default: Some("https://api.tryvox.io"),
        help: "Where the TryVox API is",
        set: |settings, text| base_url(text).map(|value| settings.tryvox.url = value),
        ..OPTION
    },
    OptionSpec {
        name: "tryvox.account-id",
        value: "ID",
        help: "The account whose numbers are listed",
        set: |settings, text| account_id(text).map(|value| settings.tryvox.account_id = Some(value)),
        ..OPTION
    },
    OptionSpec {
        name: "tryvox.api-key-file",
        value: "PATH",
        help: "The file that holds the account's API key, read anew at each poll; without it the key is taken from \
               the environment variable TRYVOX_API_KEY",
        set: |settings, text| {
            settings.tryvox.api_key_file = Some(PathBuf::from(text));
            Ok(())
        },
        ..OPTION
    },
    OptionSpec {
        name: "tryvox.timeout",
        value: "DURATION",
        default: Some("10s"),
        commands: POLLING,
        help: "What one request may take",
        set: |settings, text| duration(text).map(|value| settings.tryvox.timeout = value),
        ..OPTION
    },
    OptionSpec {
        name: "tryvox.concurrency",
        value: "N",
        default: Some("4"),
        commands: POLLING,
        help: "Requests in flight per account, 1 to 1000",
        set: |settings, text| integer(text, 1..=1000).map(|value| settings.tryvox.concurrency = value),
        ..OPTION
    },
    OptionSpec {
        name: "tryvox.total-concurrency",
        value: "N",
        default: Some("64"),
        help: "Requests in flight over all accounts, shared fairly, 1 to 10000",
        set: |settings, text| integer(text, 1..=10_000).map(|value| settings.tryvox.total_concurrency = value),
        ..OPTION
    },
    OptionSpec {
        name: "tryvox.rate-limit",
        value: "RATE",
        default: Some("20"),
        // The embedded API is there to be asked.
        other_defaults: &[(Demo, "0")],
        commands: POLLING,
        help: "Requests a second per account, 0 for no limit",
        set: |settings, text| rate(text).map(|value| settings.tryvox.rate_limit = value),
        ..OPTION
    },
    OptionSpec {
        name: "tryvox.per-page",
        value: "N",
        default: Some("100"),
        commands: POLLING,
        help: "Numbers a page, 1 to 100",
        set: |settings, text| integer(text, 1..=100).map(|value| settings.tryvox.per_page = value),
        ..OPTION
    },
    OptionSpec {
        name: "tryvox.countries",
        value: "CODES",
        help: "List only numbers of these countries, as ISO 3166-1 alpha-2 codes separated by commas",
        set: |settings, text| countries(text).map(|value| settings.tryvox.countries = Some(value)),
        ..OPTION
    },
    OptionSpec {
        name: "tryvox.statuses",
        value: "STATUSES",
        help: "List only numbers in these statuses: active, pending, suspended, separated by commas",
        set: |settings, text| statuses(text).map(|value| settings.tryvox.statuses = Some(value)),
        ..OPTION
    },
    OptionSpec {
        name: "poll.interval",
        value: "DURATION",
        default: Some("5m"),
        other_defaults: &[(Demo, "5s")],
        commands: POLLING,
        help: "From the start of one poll of an account to the start of the next",
        set: |settings, text| duration(text).map(|value| settings.poll.interval = value),
        ..OPTION
    },
    OptionSpec {
        name: "poll.timeout",
        value: "DURATION",
        commands: POLLING,
        help: "What a whole poll may take; by default the interval",
        set: |settings, text| duration(text).map(|value| settings.poll.timeout = Some(value)),
        ..OPTION
    },
    OptionSpec {
        name: "poll.stale-after",
        value: "DURATION",
        commands: POLLING,
        help: "How long the last good inventory is still served while polls fail; by default 3 intervals",
        set: |settings, text| duration(text).map(|value| settings.poll.stale_after = Some(value)),
        ..OPTION
    },
    OptionSpec {
        name: "poll.max-discrepancy",
        value: "SHARE",
        default: Some("0.01"),
        commands: POLLING,
        help: "What share of the numbers that the API reports a listing may miss and still be served, after three \
               readings, 0 to 1; one number may always be missing",
        set: |settings, text| share(text).map(|value| settings.poll.max_discrepancy = value),
        ..OPTION
    },
    OptionSpec {
        name: "collector.capability",
        value: "BOOL",
        default: Some("true"),
        switch: true,
        commands: POLLING,
        help: "Count numbers by capability",
        set: |settings, text| switch(text).map(|value| settings.collector.capability = value),
        ..OPTION
    },
    OptionSpec {
        name: "collector.assignment",
        value: "BOOL",
        default: Some("true"),
        switch: true,
        commands: POLLING,
        help: "Count numbers and fees by whether they lead to a trunk, an application, both or none",
        set: |settings, text| switch(text).map(|value| settings.collector.assignment = value),
        ..OPTION
    },
    OptionSpec {
        name: "collector.lifecycle",
        value: "BOOL",
        default: Some("true"),
        switch: true,
        commands: POLLING,
        help: "The oldest update by status, and the newest creation",
        set: |settings, text| switch(text).map(|value| settings.collector.lifecycle = value),
        ..OPTION
    },
    OptionSpec {
        name: "collector.region",
        value: "BOOL",
        default: Some("false"),
        switch: true,
        commands: POLLING,
        help: "Count numbers by region",
        set: |settings, text| switch(text).map(|value| settings.collector.region = value),
        ..OPTION
    },
    OptionSpec {
        name: "collector.trunk",
        value: "BOOL",
        default: Some("false"),
        switch: true,
        commands: POLLING,
        help: "Count numbers by trunk",
        set: |settings, text| switch(text).map(|value| settings.collector.trunk = value),
        ..OPTION
    },
    OptionSpec {
        name: "collector.application",
        value: "BOOL",
        default: Some("false"),
        switch: true,
        commands: POLLING,
        help: "Count numbers by application",
        set: |settings, text| switch(text).map(|value| settings.collector.application = value),
        ..OPTION
    },
    OptionSpec {
        name: "collector.number.statuses",
        value: "STATUSES",
        default: Some("suspended"),
        commands: POLLING,
        help: "Numbers in these statuses have series of their own, separated by commas; none for no number",
        set: |settings, text| number_statuses(text).map(|value| settings.collector.number_statuses = value),
        ..OPTION
    },
    OptionSpec {
        name: "collector.number.limit",
        value: "N",
        default: Some("1000"),
        commands: POLLING,
        help: "So many numbers per account have series of their own: those updated longest ago",
        set: |settings, text| integer(text, 0..=1_000_000).map(|value| settings.collector.number_limit = value),
        ..OPTION
    },
    OptionSpec {
        name: "collector.label-limit",
        value: "N",
        default: Some("300"),
        commands: POLLING,
        help: "Distinct values of a label that comes from the API, per account: the most frequent stay, the rest is \
               `other`",
        set: |settings, text| integer(text, 1..=100_000).map(|value| settings.collector.label_limit = value),
        ..OPTION
    },
    OptionSpec {
        name: "web.listen-address",
        value: "ADDRESS",
        default: Some(":10869"),
        other_defaults: &[(Simulate, "127.0.0.1:10870")],
        commands: &[Serve, Demo, Simulate],
        repeatable: true,
        help: "Where to listen: host:port, :port for all addresses, v4 and v6, or unix:PATH; can be repeated",
        set: |settings, text| listen_addresses(text).map(|value| settings.listen_addresses = value),
        ..OPTION
    },
    OptionSpec {
        name: "web.telemetry-path",
        value: "PATH",
        default: Some("/metrics"),
        commands: &[Serve, Demo],
        help: "The path that metrics are served at",
        set: |settings, text| telemetry_path(text).map(|value| settings.telemetry_path = value),
        ..OPTION
    },
    OptionSpec {
        name: "web.config.file",
        value: "PATH",
        commands: &[Serve],
        help: "A web configuration file as Prometheus's exporter-toolkit has it: TLS, users, headers, a rate limit",
        // Without a path there is none, as for the exporters whose file it is.
        set: |settings, text| {
            settings.web_config_file = Some(PathBuf::from(text)).filter(|path| !path.as_os_str().is_empty());
            Ok(())
        },
        ..OPTION
    },
    OptionSpec {
        name: "web.systemd-socket",
        value: "BOOL",
        default: Some("false"),
        switch: true,
        commands: &[Serve],
        help: "Listen on the sockets that systemd passes, instead of --web.listen-address",
        set: |settings, text| switch(text).map(|value| settings.systemd_socket = value),
        ..OPTION
    },
    OptionSpec {
        name: "web.max-connections",
        value: "N",
        default: Some("512"),
        commands: &[Serve, Demo],
        help: "Connections at one time; a new one takes the place of one that does nothing, or is refused",
        set: |settings, text| integer(text, 1..=100_000).map(|value| settings.max_connections = value),
        ..OPTION
    },
    OptionSpec {
        name: "web.enable-lifecycle",
        value: "BOOL",
        default: Some("false"),
        switch: true,
        help: "Allow POST /-/reload, which reads the configuration again; SIGHUP always does",
        set: |settings, text| switch(text).map(|value| settings.enable_lifecycle = value),
        commands: &[Serve],
        ..OPTION
    },
    OptionSpec {
        name: "shard",
        value: "N",
        default: Some("0"),
        help: "Poll only the accounts of this shard, from 0; auto takes it from the end of the host name, as in \
               tryvox-exporter-2",
        set: |settings, text| text.parse().map(|value| settings.shard = value),
        ..OPTION
    },
    OptionSpec {
        name: "total-shards",
        value: "N",
        default: Some("1"),
        help: "How many processes share the accounts",
        set: |settings, text| integer(text, 1..=10_000).map(|value| settings.total_shards = value),
        ..OPTION
    },
    OptionSpec {
        name: "output",
        value: "FORMAT",
        default: Some("table"),
        commands: &[Check],
        help: "table or json",
        set: |settings, text| {
            word(text, &[("table", OutputFormat::Table), ("json", OutputFormat::Json)])
                .map(|value| settings.output = value)
        },
        ..OPTION
    },
    OptionSpec {
        name: "output.file",
        value: "PATH",
        commands: &[Once],
        help: "Write the metrics to this file, at once and whole, instead of stdout",
        set: |settings, text| {
            settings.output_file = Some(PathBuf::from(text));
            Ok(())
        },
        ..OPTION
    },
    OptionSpec {
        name: "account-id",
        value: "ID",
        default: Some("acc_demo"),
        commands: &[Demo, Simulate],
        help: "The simulated account",
        set: |settings, text| account_id(text).map(|value| settings.simulated_account_id = value),
        ..OPTION
    },
    OptionSpec {
        name: "accounts",
        value: "N",
        default: Some("1"),
        commands: &[Simulate],
        help: "How many simulated accounts; of several the ids are --account-id with _1, _2, … behind",
        set: |settings, text| integer(text, 1..=100_000).map(|value| settings.simulated_accounts = value),
        ..OPTION
    },
    OptionSpec {
        name: "numbers",
        value: "N",
        default: Some("5000"),
        commands: &[Demo, Simulate],
        help: "How many numbers a simulated account has at the start",
        set: |settings, text| integer(text, 0..=10_000_000).map(|value| settings.numbers = value),
        ..OPTION
    },
    OptionSpec {
        name: "seed",
        value: "N",
        default: Some("1"),
        commands: &[Demo, Simulate],
        help: "Another seed is another inventory, the same seed the same",
        set: |settings, text| integer(text, 0..=u64::MAX).map(|value| settings.seed = value),
        ..OPTION
    },
    OptionSpec {
        name: "latency",
        value: "DURATION",
        default: Some("0s"),
        other_defaults: &[(Demo, "20ms")],
        commands: &[Demo, Simulate],
        help: "What the simulated API takes for an answer",
        set: |settings, text| duration_or_zero(text).map(|value| settings.latency = value),
        ..OPTION
    },
    OptionSpec {
        name: "life",
        value: "DURATION",
        default: Some("0s"),
        other_defaults: &[(Demo, "3s")],
        commands: &[Demo, Simulate],
        help: "How often numbers are bought, released, suspended, reactivated and repriced; 0s for never",
        set: |settings, text| duration_or_zero(text).map(|value| settings.life = value),
        ..OPTION
    },
    OptionSpec {
        name: "fault",
        value: "FAULT",
        commands: &[Simulate],
        repeatable: true,
        help: "What the simulated API does wrong, like `429 retry-after=2 times=3` or `cut-body page=2 \
               probability=0.1`; the README lists the faults",
        set: |settings, text| Fault::parse_list(text).map(|value| settings.faults = value),
        ..OPTION
    },
    OptionSpec {
        name: "log.level",
        value: "LEVEL",
        default: Some("info"),
        // What went wrong is in what they print, and in their last line.
        other_defaults: &[(Check, "error"), (Once, "error")],
        commands: &[Serve, Demo, Simulate, Check, Once],
        help: "error, warn, info, debug or trace",
        set: |settings, text| {
            let levels = [
                ("error", LogLevel::Error),
                ("warn", LogLevel::Warn),
                ("info", LogLevel::Info),
                ("debug", LogLevel::Debug),
                ("trace", LogLevel::Trace),
            ];
            word(text, &levels).map(|value| settings.log_level = value)
        },
        ..OPTION
    },
    OptionSpec {
        name: "log.format",
        value: "FORMAT",
        default: Some("logfmt"),
        commands: &[Serve, Demo, Simulate, Check, Once],
        help: "logfmt or json, on stderr",
        set: |settings, text| {
            word(text, &[("logfmt", LogFormat::Logfmt), ("json", LogFormat::Json)])
                .map(|value| settings.log_format = value)
        },
        ..OPTION
    },
];
