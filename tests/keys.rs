//! API keys that cannot be read: each costs its own account, and only on the shard that polls it.

use std::fmt::Write;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::sleep;
use tryvox_exporter::config::shard_of;
use tryvox_exporter::tryvox::ApiKeySource;

use crate::common::api::{MockApi, one_number};
use crate::common::harness::{Harness, HarnessOptions};
use crate::common::{KEY, Scrape, ServerProcess, output};

/// Returns a folder with the file `config.yml`, in which `URL` is replaced by the URL of the API, and its flag.
fn folder(api: &MockApi, template: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yml");
    std::fs::write(&path, template.replace("URL", &api.url())).unwrap();
    (folder, format!("--config.file={}", path.display()))
}

const ACCOUNTS: &str = "tryvox: {url: 'URL'}\naccounts:\n- {account_id: good, api_key_env: GOOD_KEY}\n\
                        - {account_id: no_file, api_key_file: missing}\n- {account_id: no_variable, api_key_env: NOT_SET}\n\
                        - {account_id: bad_variable, api_key_env: BAD_KEY}\n";

const ENVIRONMENT: [(&str, &str); 2] = [("GOOD_KEY", KEY), ("BAD_KEY", "k\u{e9}y")];

fn up(scrape: &Scrape, account: &str) -> Option<f64> {
    scrape.value(&format!(r#"tryvox_up{{account="{account}"}}"#))
}

#[tokio::test]
async fn key_that_cannot_be_read_costs_one_account_which_recovers_when_the_file_appears() {
    let api = MockApi::start(|_| async { one_number() }).await;
    let (folder, flag) = folder(&api, ACCOUNTS);
    let mut exporter = ServerProcess::start(&[&flag, "--log.level=debug", "--poll.interval=6h"], &ENVIRONMENT).await;
    exporter.wait_for_polls(4).await;
    let scrape = exporter.scrape().await;
    assert_eq!(up(&scrape, "good"), Some(1.0), "{}", exporter.output_so_far());
    for (account, cause) in [
        ("no_file", "missing: No such file or directory"),
        ("no_variable", "NOT_SET: the environment variable is not set; set it and restart the exporter"),
        ("bad_variable", "BAD_KEY: the key contains"),
    ] {
        let failures = scrape.value(&format!(r#"tryvox_poll_errors_total{{account="{account}",reason="api_key"}}"#));
        assert_eq!((up(&scrape, account), failures), (Some(0.0), Some(1.0)), "{account}");
        let log = exporter.output_so_far();
        let mut lines = log.lines().filter(|line| line.contains("poll failed"));
        assert!(lines.any(|line| line.contains(&format!("account={account} ")) && line.contains(cause)), "{log}");
    }
    assert_eq!(api.requests().len(), 1);
    assert_eq!(exporter.get("/-/ready").await.status(), 200);

    std::fs::write(folder.path().join("missing"), KEY).unwrap();
    exporter.wait_for_log("poll succeeded", 2).await;
    assert_eq!(up(&exporter.scrape().await, "no_file"), Some(1.0));
    assert!(!exporter.output_so_far().contains(KEY) && !exporter.output_so_far().contains("k\u{e9}y"));
}

#[tokio::test]
async fn configuration_check_reports_unreadable_keys_and_check_and_once_fail_only_their_accounts() {
    let api = MockApi::start(|_| async { one_number() }).await;
    let (_folder, flag) = folder(&api, ACCOUNTS);
    let checked = output(&[&flag, "--config.check"], &ENVIRONMENT).await;
    let problems = String::from_utf8(checked.stderr).unwrap();
    assert_eq!((checked.status.code(), problems.lines().count()), (Some(2), 3), "{problems}");
    for expected in
        ["config.yml:4:39: api_key_file: cannot read API key file", "NOT_SET: the environment", "BAD_KEY: the key"]
    {
        assert!(problems.contains(expected), "{problems}");
    }

    let checked = output(&["check", &flag, "--output=json"], &ENVIRONMENT).await;
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
    let ok = report["accounts"].as_array().unwrap().iter().filter(|account| account["ok"] == true).count();
    assert_eq!((checked.status.code(), ok), (Some(1), 1), "{report}");

    let once = output(&["once", &flag], &ENVIRONMENT).await;
    let scrape = Scrape(String::from_utf8(once.stdout).unwrap());
    assert_eq!((once.status.code(), up(&scrape, "good"), up(&scrape, "no_file")), (Some(1), Some(1.0), Some(0.0)));
}

#[tokio::test]
async fn key_in_place_of_the_path_of_its_file_is_not_shown() {
    let api = MockApi::start(|_| async { one_number() }).await;
    let text = format!("tryvox: {{url: 'URL'}}\naccounts:\n- {{name: a, account_id: a, api_key_file: {KEY}}}\n");
    let (_folder, in_entry) = folder(&api, &text);
    let (_shared_folder, shared) =
        folder(&api, &format!("tryvox: {{url: 'URL', api_key_file: {KEY}}}\naccounts: [{{account_id: a}}]\n"));
    let (_both_folder, both) = folder(&api, &text.replace("api_key_file", "api_key_env: GOOD_KEY, api_key_file"));
    let (url, flag) = (format!("--tryvox.url={}", api.url()), format!("--tryvox.api-key-file={KEY}"));
    let variable = [("TRYVOX_EXPORTER_TRYVOX_API_KEY_FILE", KEY), ("GOOD_KEY", KEY)];
    let shown = format!("cannot read API key file {}…: ", &KEY[..4]);
    for (arguments, environment, place) in [
        (&[&*in_entry][..], &ENVIRONMENT[..], "config.yml:3:42: api_key_file: "),
        (&[&shared], &ENVIRONMENT, ": tryvox.api_key_file: "),
        (&[&both], &ENVIRONMENT, ": api_key_file: api_key_env is set, too"),
        (&[&url, "--tryvox.account-id=a", &flag], &[], "--tryvox.api-key-file: "),
        (&[&url, "--tryvox.account-id=a"], &variable, "TRYVOX_EXPORTER_TRYVOX_API_KEY_FILE: "),
    ] {
        for command in [&["--config.check"][..], &["check"], &["once", "--log.level=trace"]] {
            let all: Vec<_> = command.iter().chain(arguments).copied().collect();
            let run = output(&all, environment).await;
            let text = String::from_utf8([run.stdout, run.stderr].concat()).unwrap();
            assert!(!text.contains(KEY) && !run.status.success(), "{all:?}: {text}");
            let is_check = command == ["--config.check"];
            assert!(text.contains(if is_check { place } else { "" }), "{all:?}: {text}");
            assert!(place.ends_with("too") || text.contains(&shown), "{all:?}: {text}");
        }
    }
    for format in ["logfmt", "json"] {
        let format = format!("--log.format={format}");
        let arguments = [&*in_entry, "--log.level=trace", &format, "--poll.interval=50ms"];
        let mut exporter = ServerProcess::start(&arguments, &[("RUST_LOG", "trace")]).await;
        exporter.wait_for_log(&shown, 2).await;
        let page = exporter.get("/").await.text().await.unwrap();
        assert!(page.contains(&shown) && !page.contains(KEY), "{page}");
        let log = exporter.stop_with_output(Signal::TERM).await.1;
        assert!(!log.contains(KEY), "{log}");
    }
    assert!(api.requests().is_empty());
}

#[tokio::test]
async fn single_account_from_flags_needs_its_key_at_the_start() {
    let api = MockApi::start(|_| async { one_number() }).await;
    let url = format!("--tryvox.url={}", api.url());
    let arguments = [&*url, "--tryvox.account-id=acc", "--tryvox.api-key-file=/missing/key"];
    for (command, status) in [(&["serve"][..], 2), (&["serve", "--config.check"], 2), (&["check"], 1), (&["once"], 1)] {
        let all: Vec<_> = command.iter().chain(&arguments).copied().collect();
        let output = output(&all, &[]).await;
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{command:?}: {text}");
        assert!(status == 1 || text.contains("cannot read API key file /missing/key"), "{text}");
    }
    for command in ["serve", "check", "once"] {
        let output = output(&[command, &url, "--tryvox.account-id=acc"], &[]).await;
        assert_eq!(output.status.code(), Some(2), "{command}: there is no key source");
    }
    assert!(api.requests().is_empty());
}

#[tokio::test]
async fn shard_needs_only_the_keys_of_its_own_accounts() {
    let api = MockApi::start(|_| async { one_number() }).await;
    let (other, own): (Vec<String>, Vec<String>) =
        (0..20).map(|account| format!("acc_{account}")).partition(|name| shard_of(name, 2) == 0);
    assert!(other.len() > 2 && own.len() > 2);
    // The accounts of the other shard have keys in files and variables that are not here.
    let mut text = String::from("tryvox: {url: 'URL'}\naccounts:\n");
    for (index, name) in other.iter().enumerate() {
        let key = ["api_key_file: missing", "api_key_env: NOT_SET", "interval: 1h"][index % 3];
        writeln!(text, "- {{account_id: {name}, {key}}}").unwrap();
    }
    for name in &own {
        writeln!(text, "- {{account_id: {name}, api_key_env: GOOD_KEY}}").unwrap();
    }
    let (_folder, flag) = folder(&api, &text);
    let shard = ["--total-shards=2", "--shard=1"];
    let checked = output(&[&flag, "--config.check", shard[0], shard[1]], &ENVIRONMENT).await;
    assert_eq!(checked.status.code(), Some(0), "{}", String::from_utf8_lossy(&checked.stderr));
    let checked = output(&[&flag, "--config.check", shard[0], "--shard=0"], &ENVIRONMENT).await;
    let problems = String::from_utf8(checked.stderr).unwrap();
    assert_eq!((checked.status.code(), problems.lines().count()), (Some(2), other.len()), "{problems}");

    let mut exporter = ServerProcess::start(&[&flag, shard[0], shard[1], "--log.level=debug"], &ENVIRONMENT).await;
    exporter.wait_for_polls(own.len()).await;
    let scrape = exporter.scrape().await;
    assert!(own.iter().all(|name| up(&scrape, name) == Some(1.0)), "{}", exporter.output_so_far());
    assert_eq!(scrape.family("tryvox_up").len(), own.len());
}

#[tokio::test(start_paused = true)]
async fn key_that_appears_after_days_ends_the_outage_within_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let harness = Harness::start(&HarnessOptions { interval: Duration::from_hours(6), ..HarnessOptions::default() });
    harness.wait_for_polls(1).await;
    harness.reconfigure(|config| config.key = ApiKeySource::File(path.clone().into()));
    sleep(Duration::from_hours(47)).await;
    let polls = harness.polls();
    assert!((10..80).contains(&harness.failed_polls()), "{} failed polls", harness.failed_polls());
    std::fs::write(&path, KEY).unwrap();
    sleep(Duration::from_secs(7)).await;
    assert_eq!(harness.polls(), polls + 1);
    assert_eq!(harness.scrape().inventory(), harness.expected_series());
}
