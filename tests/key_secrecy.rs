//! The key is nowhere: not in a log at any level, a metric, a page, an error, `ps`, or with another host.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::api::{Api, one_number, page, record};
use crate::common::{KEY, Running, output};
use axum::http::StatusCode;
use axum::response::IntoResponse;

/// The key as it is, and as it may be written by accident.
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

#[tokio::test]
async fn a_running_exporter_shows_it_nowhere() {
    let other = Api::start(|_| async { one_number() }).await;
    let elsewhere = other.url();
    let answers = Arc::new(AtomicUsize::new(0));
    // Everything that an answer can be, in turn; the API even sends the key back.
    let api = Api::start(move |asked| {
        let answer = match answers.fetch_add(1, Ordering::SeqCst) % 8 {
            0 => one_number(),
            1 => (StatusCode::UNAUTHORIZED, format!("the key {KEY} is wrong")).into_response(),
            2 => (StatusCode::FOUND, [("location", format!("{elsewhere}{}", asked.uri))]).into_response(),
            3 => format!("not JSON: {KEY}").into_response(),
            4 => format!(r#"{{"data":"{KEY}","pagination":null}}"#).into_response(),
            5 => format!(r#"{{"data":["{KEY}",{{"e164":["{KEY}"]}}],"pagination":{{"total":2,"total_pages":1}}}}"#)
                .into_response(),
            6 => (StatusCode::SERVICE_UNAVAILABLE, "later").into_response(),
            _ => (StatusCode::FOUND, [("location", format!("{elsewhere}/?key={KEY}"))]).into_response(),
        };
        async move { answer }
    })
    .await;

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), KEY).unwrap();
    let (url, path) =
        (format!("--tryvox.url={}", api.url()), format!("--tryvox.api-key-file={}", file.path().display()));
    for (format, environment, source) in [
        ("--log.format=logfmt", &[("TRYVOX_API_KEY", KEY)][..], None),
        ("--log.format=logfmt", &[("RUST_LOG", "trace"), ("RUST_BACKTRACE", "full")][..], Some(&*path)),
    ] {
        let mut arguments =
            vec![&*url, "--tryvox.account-id=acc_demo", "--log.level=trace", format, "--poll.interval=50ms"];
        arguments.extend(source);
        let mut exporter = Running::start(&arguments, environment).await;
        exporter.polled(12).await;
        for path in ["/metrics", "/", "/-/healthy", "/-/ready", "/bogus"] {
            assert_no_key(path, &exporter.get(path).await.text().await.unwrap());
        }
        assert_no_key("the command line", &exporter.command_line());
        assert_no_key("the log", &exporter.said());
    }
    assert!(other.asked().is_empty(), "another host was asked");
}

#[tokio::test]
async fn json_lines_do_not_show_it_either() {
    let api = Api::start(|_| async { format!("not JSON: {KEY}").into_response() }).await;
    let url = format!("--tryvox.url={}", api.url());
    let arguments =
        [&*url, "--tryvox.account-id=a", "--log.level=trace", "--log.format=json", "--web.listen-address=127.0.0.1:0"];
    let mut child = crate::common::command(&arguments).env("TRYVOX_API_KEY", KEY).spawn().unwrap();
    let mut lines = {
        use tokio::io::AsyncBufReadExt;
        tokio::io::BufReader::new(child.stderr.take().unwrap()).lines()
    };
    while let Some(line) = lines.next_line().await.unwrap() {
        assert_no_key("the log", &line);
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        if line["message"] == "poll failed" {
            assert_eq!(
                (&line["reason"], &line["level"], &line["account"]),
                (&"decode".into(), &"WARN".into(), &"a".into())
            );
            break;
        }
    }
}

#[tokio::test]
async fn no_error_shows_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
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
async fn no_other_command_shows_it() {
    let api = Api::start(|asked| async move {
        let records = [record("+1", "active", "1", "USD"), format!(r#"{{"e164":["{KEY}"]}}"#), format!("\"{KEY}\"")];
        if asked.uri.path().contains("acc_good") {
            page(&records, 3, 1, 1)
        } else {
            (StatusCode::FORBIDDEN, [("location", KEY)], format!("not with {KEY}")).into_response()
        }
    })
    .await;
    let (folder, url) = (tempfile::tempdir().unwrap(), api.url());
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("key"), KEY).unwrap();
    let accounts = "accounts: [{account_id: acc_good, api_key_file: key}, {account_id: acc_bad, api_key_env: OTHER}]";
    std::fs::write(path("good.yml"), format!("tryvox: {{url: '{url}'}}\n{accounts}\n")).unwrap();
    // What is wrong is beside the key.
    std::fs::write(path("bad.yml"), format!("pol: 1\n{accounts}\n")).unwrap();
    let (good, bad) = (format!("--config.file={}", path("good.yml")), format!("--config.file={}", path("bad.yml")));
    for arguments in [
        &["check", &good, "--log.level=trace"][..],
        &["check", &good, "--log.level=trace", "--output=json"],
        &["once", &good, "--log.level=trace"],
        &["serve", &good, "--config.check"],
        &["serve", &bad, "--config.check"],
        &["healthcheck", "--web.listen-address=127.0.0.1:1"],
        &["man"],
    ] {
        let output = output(arguments, &[("TRYVOX_API_KEY", KEY), ("OTHER", KEY)]).await;
        assert_no_key("stderr", &String::from_utf8_lossy(&output.stderr));
        assert_no_key("stdout", &String::from_utf8_lossy(&output.stdout));
    }
    assert!(api.asked().len() >= 6, "nothing was asked");
}
