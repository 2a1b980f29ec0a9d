//! The API key appears in no output: log lines at any level, metrics, pages, errors, the process list.
//! It is never sent to another host.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::api::{MockApi, one_number, page, record};
use crate::common::{KEY, ServerProcess, output};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use rustix::process::Signal;

/// Asserts that a text contains the key neither as it is nor in a form that debug output may give it.
fn assert_no_key(place: &str, text: &str) {
    use std::fmt::Write;
    let hex = KEY.bytes().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    });
    for form in [KEY, &KEY[3..], &hex, &format!("{:?}", KEY.as_bytes())] {
        assert!(!text.contains(form), "the key is in {place}: {text}");
    }
}

/// Each kind of response there is, in turn: a valid page, errors with and without a retry, redirects to
/// another host, invalid pages and records. The API even sends the key back.
async fn api_that_reveals_the_key(other_host: String) -> MockApi {
    let responses = Arc::new(AtomicUsize::new(0));
    MockApi::start(move |request| {
        let response = match responses.fetch_add(1, Ordering::SeqCst) % 8 {
            0 => one_number(),
            1 => (StatusCode::UNAUTHORIZED, format!("the key {KEY} is wrong")).into_response(),
            2 => (StatusCode::FOUND, [("location", format!("{other_host}{}", request.uri))]).into_response(),
            3 => format!("not JSON: {KEY}").into_response(),
            4 => format!(r#"{{"data":"{KEY}","pagination":null}}"#).into_response(),
            5 => format!(r#"{{"data":["{KEY}",{{"e164":["{KEY}"]}}],"pagination":{{"total":2,"total_pages":1}}}}"#)
                .into_response(),
            6 => (StatusCode::SERVICE_UNAVAILABLE, "later").into_response(),
            _ => (StatusCode::FOUND, [("location", format!("{other_host}/?key={KEY}"))]).into_response(),
        };
        async move { response }
    })
    .await
}

#[tokio::test]
async fn running_exporter_never_reveals_the_key() {
    let other_host = MockApi::start(|_| async { one_number() }).await;
    let api = api_that_reveals_the_key(other_host.url()).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), KEY).unwrap();
    let (url, key_file) =
        (format!("--tryvox.url={}", api.url()), format!("--tryvox.api-key-file={}", file.path().display()));
    let from_environment = (&[("TRYVOX_API_KEY", KEY)][..], None);
    let from_file = (&[("RUST_LOG", "trace"), ("RUST_BACKTRACE", "full")][..], Some(&*key_file));
    for (format, (environment, source)) in [
        ("--log.format=logfmt", from_environment),
        ("--log.format=json", from_environment),
        ("--log.format=logfmt", from_file),
        ("--log.format=json", from_file),
    ] {
        let mut arguments = vec![&*url, "--tryvox.account-id=acc_demo", "--log.level=trace", format];
        arguments.extend(["--poll.interval=50ms", "--poll.timeout=30s", "--tryvox.rate-limit=0"]);
        arguments.extend(source);
        let mut exporter = ServerProcess::start(&arguments, environment).await;
        // Failures of all kinds, retries and invalid records are in the log before it is searched.
        for message in ["unauthorized", "redirect", "retrying", "invalid record", "poll failed", "poll succeeded"] {
            exporter.wait_for_log(message, 2).await;
        }
        for path in ["/metrics", "/", "/-/healthy", "/-/ready", "/bogus"] {
            let response = exporter.get(path).await;
            assert_no_key(path, &format!("{:?}", response.headers()));
            assert_no_key(path, &response.text().await.unwrap());
        }
        assert_no_key("the command line", &exporter.command_line());
        let (status, output) = exporter.stop_with_output(Signal::TERM).await;
        assert_no_key(format, &output);
        assert!(status == Some(0) && output.contains("poll failed"), "{output}");
    }
    assert!(other_host.requests().is_empty(), "a request went to another host");
}

#[tokio::test]
async fn failed_poll_is_a_json_line_without_the_key() {
    // The error of the JSON decoder quotes such a value.
    let api = MockApi::start(|_| async { format!(r#"{{"data":"{KEY}","pagination":null}}"#).into_response() }).await;
    let url = format!("--tryvox.url={}", api.url());
    let arguments = [&*url, "--tryvox.account-id=a", "--log.level=trace", "--log.format=json", "--tryvox.retry-for=0s"];
    let mut exporter = ServerProcess::start(&arguments, &[("TRYVOX_API_KEY", KEY)]).await;
    let failure: serde_json::Value = serde_json::from_str(&exporter.wait_for_log("poll failed", 1).await).unwrap();
    assert_eq!(
        (&failure["reason"], &failure["level"], &failure["account"]),
        (&"decode".into(), &"WARN".into(), &"a".into())
    );
    let (status, output) = exporter.stop_with_output(Signal::TERM).await;
    assert_eq!(status, Some(0));
    assert_no_key("the log", &output);
    for line in output.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
}

#[tokio::test]
async fn errors_and_help_never_reveal_the_key() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    std::fs::write(&file, format!("{KEY} {KEY}")).unwrap();
    let path = format!("--tryvox.api-key-file={}", file.display());
    let spaced = format!("{KEY} {KEY}");
    for (arguments, environment) in [
        (&["--tryvox.account-id=a", &path][..], &[][..]),
        (&["--tryvox.account-id=a"], &[("TRYVOX_API_KEY", &*spaced)]),
        (&["--bogus"], &[("TRYVOX_API_KEY", KEY)]),
        (&["--help"], &[("TRYVOX_API_KEY", KEY)]),
        (&["simulate", "--web.listen-address=192.0.2.1:1"], &[("TRYVOX_API_KEY", KEY)]),
    ] {
        let output = output(arguments, environment).await;
        assert_no_key("stderr", &String::from_utf8_lossy(&output.stderr));
        assert_no_key("stdout", &String::from_utf8_lossy(&output.stdout));
    }
}

#[tokio::test]
async fn other_commands_never_reveal_the_key() {
    let api = MockApi::start(|request| async move {
        let records = [record("+1", "active", "1", "USD"), format!(r#"{{"e164":["{KEY}"]}}"#), format!("\"{KEY}\"")];
        if request.uri.path().contains("acc_valid") {
            page(&records, 3, 1, 1)
        } else {
            (StatusCode::FORBIDDEN, [("location", KEY)], format!("not with {KEY}")).into_response()
        }
    })
    .await;
    let (directory, url) = (tempfile::tempdir().unwrap(), api.url());
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("key"), KEY).unwrap();
    let accounts =
        "accounts: [{account_id: acc_valid, api_key_file: key}, {account_id: acc_failing, api_key_env: OTHER}]";
    std::fs::write(path("valid.yml"), format!("tryvox: {{url: '{url}'}}\n{accounts}\n")).unwrap();
    // The invalid option is next to the keys.
    std::fs::write(path("invalid.yml"), format!("pol: 1\n{accounts}\n")).unwrap();
    let (valid, invalid) =
        (format!("--config.file={}", path("valid.yml")), format!("--config.file={}", path("invalid.yml")));
    for arguments in [
        &["check", &valid, "--log.level=trace"][..],
        &["check", &valid, "--log.level=trace", "--log.format=json", "--output=json"],
        &["once", &valid, "--log.level=trace"],
        &["once", &valid, "--log.level=trace", "--log.format=json"],
        &["serve", &valid, "--config.check"],
        &["serve", &invalid, "--config.check"],
        &["healthcheck", "--web.listen-address=127.0.0.1:1"],
        &["man"],
    ] {
        let output = output(arguments, &[("TRYVOX_API_KEY", KEY), ("OTHER", KEY)]).await;
        assert_no_key("stderr", &String::from_utf8_lossy(&output.stderr));
        assert_no_key("stdout", &String::from_utf8_lossy(&output.stdout));
    }
    // Two accounts in each of four runs.
    assert!(api.requests().len() >= 8, "{:?}", api.requests());
}
