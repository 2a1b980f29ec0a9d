//! The command line: each error is one line that says what is wrong, where, and how to fix it.

use crate::common::{BINARY, KEY, ServerProcess, output, output_to_closed_pipe};
use rustix::process::Signal;

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
