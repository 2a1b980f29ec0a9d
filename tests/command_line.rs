//! The command line: each error is one line that says what is wrong, where, and how to fix it.

use std::collections::BTreeSet;
use std::path::Path;

use rustix::process::Signal;
use tokio::time::timeout;
use tryvox_exporter::cli::commands;
use tryvox_exporter::config::variable;

use crate::common::accounts::{AccountBehavior, start_api};
use crate::common::{BINARY, KEY, ServerProcess, TEST_TIMEOUT, command, output, output_to_closed_pipe};

/// Asserts that a command fails with this status and prints one line to stderr that contains these words.
async fn assert_fails(status: i32, arguments: &[&str], environment: &[(&str, &str)], words: &[&str]) {
    let output = output(arguments, environment).await;
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{arguments:?}: {stderr}");
    for word in words {
        assert!(stderr.contains(word), "{arguments:?}: {word} is missing: {stderr}");
    }
    assert!(output.stdout.is_empty(), "{arguments:?}");
}

#[tokio::test]
async fn invalid_arguments_are_one_line_and_status_2() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("empty"), " \n").unwrap();
    std::fs::write(path("words"), "two words").unwrap();
    std::fs::write(path("binary"), [0xff, 0xfe]).unwrap();
    std::fs::write(path("large"), "k".repeat(70_000)).unwrap();
    let key_file = |name: &str| format!("--tryvox.api-key-file={}", path(name));
    let key: &[(&str, &str)] = &[("TRYVOX_API_KEY", KEY)];
    let id = "--tryvox.account-id=acc_demo";

    for (arguments, environment, words) in [
        (&["--bogus"][..], key, &["--bogus", "--help"][..]),
        (&["--poll.intervall=5m", id], key, &["--poll.intervall", "'--poll.interval'"]),
        (&["--tryvox.api-key=sk-1", id], key, &["--tryvox.api-key"]),
        (&["bogus"], key, &["bogus", "--help"]),
        (&[id, "extra"], key, &["extra"]),
        (&[id, "--poll.interval"], key, &["--poll.interval", "value"]),
        (&[], key, &["no account", "--tryvox.account-id", "demo"]),
        (&[id], &[], &["no API key", "TRYVOX_API_KEY", "--tryvox.api-key-file"]),
        (&[id], &[("TRYVOX_API_KEY", "")], &["no API key"]),
        (&[id], &[("TRYVOX_API_KEY", "two words")], &["TRYVOX_API_KEY", "white space"]),
        (
            &[id, &key_file("missing")],
            &[],
            &["--tryvox.api-key-file", "missing", "No such file", "create it or correct the path"],
        ),
        (&[id, &key_file("")], &[], &["--tryvox.api-key-file", "directory", "correct the path"]),
        (&[id, &key_file("empty")], &[], &["--tryvox.api-key-file", "empty", "write only the key to it"]),
        (&[id, &key_file("words")], &[], &["--tryvox.api-key-file", "white space"]),
        (&[id, &key_file("binary")], &[], &["--tryvox.api-key-file", "UTF-8"]),
        (&[id, &key_file("large")], &[], &["--tryvox.api-key-file", "larger than 64 KiB"]),
        (&[id, "--poll.interval=0s"], key, &["--poll.interval=0s", "longer than 0", "5m"]),
        (&[id, "--poll.interval=soon"], key, &["--poll.interval=soon", "duration", "5m"]),
        (
            &[id],
            &[("TRYVOX_API_KEY", KEY), ("TRYVOX_EXPORTER_POLL_INTERVAL", "soon")],
            &["TRYVOX_EXPORTER_POLL_INTERVAL=soon"],
        ),
        (&[id, "--tryvox.url=nowhere"], key, &["--tryvox.url=nowhere", "https://api.tryvox.io"]),
        (&[id, "--tryvox.url=ftp://a"], key, &["--tryvox.url=ftp://a", "https://"]),
        (&[id, "--tryvox.url=http://"], key, &["--tryvox.url=http://", "https://api.tryvox.io"]),
        (&["--tryvox.account-id="], key, &["--tryvox.account-id=", "acc_4XQ2"]),
        (&[id, "--tryvox.per-page=0"], key, &["--tryvox.per-page=0", "from 1 to 100"]),
        (&[id, "--tryvox.concurrency=0"], key, &["--tryvox.concurrency=0", "from 1"]),
        (&[id, "--tryvox.rate-limit=-1"], key, &["--tryvox.rate-limit=-1", "unlimited"]),
        (&[id, "--web.listen-address=10869"], key, &["--web.listen-address=10869", ":10869"]),
        (&[id, "--web.telemetry-path=metrics"], key, &["--web.telemetry-path=metrics", "/metrics"]),
        (&[id, "--log.level=loud"], key, &["--log.level=loud", "debug"]),
        (&["simulate", "--numbers=many"], key, &["--numbers=many", "whole number"]),
        (&["simulate", "--tryvox.url=http://a"], key, &["--tryvox.url"]),
    ] {
        assert_fails(2, arguments, environment, words).await;
    }
}

/// Returns the options of a running exporter with their values; its files are in `folder`.
fn exporter_options(folder: &Path, url: &str) -> Vec<(&'static str, String)> {
    let path = |name: &str| folder.join(name).display().to_string();
    vec![
        ("config.file", path("config.yml")),
        ("config.auto-reload-interval", "1h".into()),
        ("tryvox.url", url.into()),
        ("tryvox.account-id", "acc_0".into()),
        ("tryvox.api-key-file", path("key")),
        ("tryvox.timeout", "9s".into()),
        ("tryvox.retry-for", "1s".into()),
        ("tryvox.concurrency", "2".into()),
        ("tryvox.total-concurrency", "8".into()),
        ("tryvox.rate-limit", "0".into()),
        ("tryvox.per-page", "50".into()),
        ("tryvox.countries", "US,CA".into()),
        ("tryvox.statuses", "active,suspended".into()),
        ("poll.interval", "1h".into()),
        ("poll.timeout", "1m".into()),
        ("poll.stale-after", "2h".into()),
        ("poll.max-discrepancy", "1".into()),
        ("collector.capability", "false".into()),
        ("collector.assignment", "false".into()),
        ("collector.lifecycle", "false".into()),
        ("collector.region", "true".into()),
        ("collector.trunk", "true".into()),
        ("collector.application", "true".into()),
        ("collector.number.statuses", "active,suspended".into()),
        ("collector.number.limit", "10".into()),
        ("collector.label-limit", "10".into()),
        ("state.file", path("state.db")),
        ("state.retention", "10d".into()),
        ("web.listen-address", format!("unix:{}", path("socket"))),
        ("web.telemetry-path", "/m".into()),
        ("web.route-prefix", "/tryvox".into()),
        ("web.config.file", path("web.yml")),
        ("web.systemd-socket", "false".into()),
        ("web.max-connections", "50".into()),
        ("web.enable-lifecycle", "true".into()),
        ("shard", "0".into()),
        ("total-shards", "1".into()),
        ("log.level", "info".into()),
        ("log.format", "json".into()),
    ]
}

/// Where the options are set.
#[derive(Debug, Clone, Copy)]
enum Source {
    Flags,
    Environment,
    File,
}

/// Returns a command with these options; `config.file` is also where options are written if they are set in a file.
fn command_with(name: &str, options: &[(&str, String)], source: Source) -> tokio::process::Command {
    let flag = |(id, value): &(&str, String)| format!("--{id}={value}");
    let (config, others): (Vec<_>, Vec<_>) = options.iter().cloned().partition(|(id, _)| id.starts_with("config."));
    let mut file = serde_json::Map::new();
    let (mut flags, mut variables) = (config.iter().map(flag).collect::<Vec<_>>(), Vec::new());
    match source {
        Source::Flags => flags.extend(others.iter().map(flag)),
        Source::Environment => {
            flags.clear();
            variables.extend(options.iter().map(|(id, value)| (variable(id), value.clone())));
        }
        Source::File => {
            for (id, value) in &others {
                let mut keys: Vec<_> = id.split('.').map(|key| key.replace('-', "_")).collect();
                let (last, mut group) = (keys.pop().unwrap(), &mut file);
                for key in keys {
                    group = group.entry(key).or_insert_with(|| serde_json::json!({})).as_object_mut().unwrap();
                }
                group.insert(last, value.clone().into());
            }
        }
    }
    // YAML is a superset of JSON.
    std::fs::write(&config[0].1, serde_json::to_string(&file).unwrap()).unwrap();
    let arguments: Vec<&str> = std::iter::once(name).chain(flags.iter().map(String::as_str)).collect();
    let mut command = command(&arguments);
    command.envs(variables);
    command
}

/// `check`, `once`, `list`, `changes` and `healthcheck` accept the configuration of a running exporter.
#[tokio::test]
async fn command_line_of_an_exporter_works_with_another_command() {
    let api = start_api(60, |_| AccountBehavior::Valid).await;
    let folder = tempfile::tempdir().unwrap();
    let options = exporter_options(folder.path(), &api.url());
    std::fs::write(folder.path().join("key"), KEY).unwrap();
    std::fs::write(folder.path().join("web.yml"), "{}").unwrap();
    let serve = commands().find(|command| command.name == "serve").unwrap();
    let ids: BTreeSet<String> = serve.options().map(|option| option.get_id().to_string()).collect();
    let tested = options.iter().map(|(id, _)| (*id).to_owned()).chain(["config.check".to_owned()]).collect();
    assert_eq!(ids, tested, "every option of an exporter has a value here");

    for source in [Source::Flags, Source::Environment, Source::File] {
        let exporter = ServerProcess::spawn(command_with("serve", &options, source)).await;
        for (name, words) in [
            ("check", "acc_0  listed"),
            ("once", "tryvox_up{account=\"acc_0\"} 1"),
            ("list", "acc_0"),
            ("changes", ""),
            ("healthcheck", "healthy"),
        ] {
            let run = command_with(name, &options, source).output();
            let output = timeout(TEST_TIMEOUT, run).await.unwrap().unwrap();
            let (printed, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert_eq!(output.status.code(), Some(0), "{name}, {source:?}: {stderr}");
            assert!(printed.contains(words), "{name}, {source:?}: {printed}");
        }
        assert_eq!(exporter.stop(Signal::TERM).await, Some(0));
        // What a command does not have is not read: the files of a service may not even exist for the user.
        let missing = |(id, value): &(&'static str, String)| match *id {
            "state.file" | "web.config.file" => (*id, "/missing/file".to_owned()),
            "web.listen-address" => (*id, "nowhere".to_owned()),
            _ => (*id, value.clone()),
        };
        let broken: Vec<_> = options.iter().map(missing).collect();
        for (name, status) in [("serve", 2), ("healthcheck", 2), ("check", 0), ("once", 0), ("list", 0)] {
            let output = timeout(TEST_TIMEOUT, command_with(name, &broken, source).output()).await.unwrap().unwrap();
            assert_eq!(output.status.code(), Some(status), "{name}, {source:?}: {output:?}");
        }
    }
    // This is no option of a running exporter, and would not have an effect.
    for name in ["check", "once", "list", "changes", "healthcheck"] {
        assert_fails(2, &[name, "--config.check"], &[], &["--config.check"]).await;
        let help = String::from_utf8(output(&[name, "--help"], &[]).await.stdout).unwrap();
        assert!(help.contains("other options of an exporter are accepted and have no effect"), "{help}");
    }
    let help = String::from_utf8(output(&["list", "--help"], &[]).await.stdout).unwrap();
    assert!(!help.contains("--web.listen-address") && help.contains("--owner"), "{help}");
}

#[tokio::test]
async fn arguments_that_are_not_utf8_are_rejected() {
    use std::os::unix::ffi::OsStrExt;
    let argument = std::ffi::OsStr::from_bytes(b"--log.level=\xff");
    let output = std::process::Command::new(BINARY).arg(argument).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(2), 1), "{stderr}");
}

#[tokio::test]
async fn address_in_use_is_status_1() {
    for address in ["127.0.0.1:0", "[::]:0"] {
        let listener = std::net::TcpListener::bind(address).unwrap();
        let address = format!("--web.listen-address=:{}", listener.local_addr().unwrap().port());
        let words = ["--web.listen-address", "in use"];
        assert_fails(1, &["--tryvox.account-id=a", &address], &[("TRYVOX_API_KEY", KEY)], &words).await;
        assert_fails(1, &["demo", &address], &[], &words).await;
        assert_fails(1, &["simulate", &address], &[], &words).await;
    }
}

#[tokio::test]
async fn sigint_and_sigterm_stop_servers_with_status_0() {
    for signal in [Signal::INT, Signal::TERM] {
        for command in ["demo", "simulate"] {
            assert_eq!(
                ServerProcess::start(&[command, "--numbers=10"], &[]).await.stop(signal).await,
                Some(0),
                "{command}"
            );
        }
        // A hanging poll does not delay the exit.
        let api = crate::common::api::MockApi::start(|_| std::future::pending()).await;
        let exporter = ServerProcess::exporter(&api.url(), &[]).await;
        assert_eq!(exporter.stop(signal).await, Some(0));
    }
}

#[tokio::test]
async fn help_and_version_are_printed_to_stdout() {
    for arguments in [&["--help"][..], &["-h"], &["serve", "--help"], &["demo", "--help"], &["simulate", "--help"]] {
        let output = output(arguments, &[]).await;
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}");
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(help.contains("--web.listen-address") && help.contains("[default: "), "{help}");
    }
    let output = output(&["--version"], &[]).await;
    assert!(output.status.success() && output.stderr.is_empty());
    let version = String::from_utf8(output.stdout).unwrap();
    assert!(version.starts_with(concat!("tryvox-exporter ", env!("CARGO_PKG_VERSION"), " (revision ")), "{version}");
}

/// As in `tryvox-exporter man | head -1`.
#[tokio::test]
async fn closed_stdout_is_not_an_error() {
    for arguments in [&["--help"][..], &["--version"], &["man"], &["completions", "bash"]] {
        let output = output_to_closed_pipe(arguments, &[]).await;
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), &*stderr), (Some(0), ""), "{arguments:?}");
    }
}
