//! `--config.auto-reload-interval`: the configuration file is reloaded when its content changes, however it is replaced.

use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;

use reqwest::StatusCode;
use rustix::process::Signal;

use crate::common::api::{MockApi, one_number};
use crate::common::{KEY, ServerProcess, http};

/// Returns a configuration whose budget is this many dollars.
fn config(api: &MockApi, budget: usize) -> String {
    format!("accounts: [{{account_id: acc, url: '{}', monthly_budget: {{USD: {budget}}}}}]\n", api.url())
}

async fn start(path: &Path, arguments: &[&str]) -> ServerProcess {
    let flag = format!("--config.file={}", path.display());
    let mut all = vec![&*flag, "--web.enable-lifecycle"];
    all.extend(arguments);
    ServerProcess::start(&all, &[("TRYVOX_API_KEY", KEY)]).await
}

const AUTO: &str = "--config.auto-reload-interval=30ms";

/// Returns the budget that applies.
async fn budget(exporter: &ServerProcess) -> Option<f64> {
    exporter.scrape().await.value(r#"tryvox_monthly_budget{account="acc",currency="USD"}"#)
}

async fn last_reload(exporter: &ServerProcess) -> Option<f64> {
    exporter.scrape().await.value("tryvox_exporter_config_last_reload_successful")
}

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

fn reloads(exporter: &ServerProcess) -> usize {
    exporter.output_so_far().matches("configuration reloaded").count()
}

fn failures(exporter: &ServerProcess) -> usize {
    exporter.output_so_far().matches("reload failed").count()
}

#[tokio::test]
async fn changed_content_is_reloaded_however_the_file_is_replaced() {
    let api = MockApi::start(|_| async { one_number() }).await;
    let folder = tempfile::tempdir().unwrap();

    // As an editor and as configuration management do.
    let path = folder.path().join("config.yml");
    std::fs::write(&path, config(&api, 1)).unwrap();
    let mut exporter = start(&path, &[AUTO]).await;
    replace(&path, &config(&api, 2));
    exporter.wait_for_log("configuration reloaded", 1).await;
    assert_eq!(budget(&exporter).await, Some(2.0));

    // In place: the text has the same length, so there is nothing to truncate.
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().write_all(config(&api, 3).as_bytes()).unwrap();
    exporter.wait_for_log("configuration reloaded", 2).await;
    assert_eq!((budget(&exporter).await, failures(&exporter)), (Some(3.0), 0));

    // As Kubernetes does: the file is a link through a link to a folder, which is replaced.
    let folder = tempfile::tempdir().unwrap();
    let data = |name: &str| folder.path().join(name);
    for (version, budget) in [("v1", 4), ("v2", 5)] {
        std::fs::create_dir(data(version)).unwrap();
        std::fs::write(data(version).join("config.yml"), config(&api, budget)).unwrap();
    }
    symlink("v1", data("..data")).unwrap();
    symlink("..data/config.yml", data("config.yml")).unwrap();
    let mut exporter = start(&data("config.yml"), &[AUTO]).await;
    assert_eq!(budget(&exporter).await, Some(4.0));
    symlink("v2", data("..data_tmp")).unwrap();
    std::fs::rename(data("..data_tmp"), data("..data")).unwrap();
    std::fs::remove_dir_all(data("v1")).unwrap();
    exporter.wait_for_log("configuration reloaded", 1).await;
    assert_eq!((budget(&exporter).await, failures(&exporter)), (Some(5.0), 0));
}

#[tokio::test]
async fn invalid_content_is_reported_once_and_a_missing_file_changes_nothing() {
    let api = MockApi::start(|_| async { one_number() }).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yml");
    std::fs::write(&path, config(&api, 1)).unwrap();
    let mut exporter = start(&path, &[AUTO]).await;

    replace(&path, "accounts: 5\n");
    exporter.wait_for_log("reload failed, keeping the previous configuration", 1).await;
    assert_eq!((budget(&exporter).await, last_reload(&exporter).await), (Some(1.0), Some(0.0)));

    // While the file is missing there is nothing to look at. The next content shows that there were looks.
    std::fs::remove_file(&path).unwrap();
    exporter.wait_until_idle().await;
    replace(&path, "accounts: 5\n");
    exporter.wait_until_idle().await;
    replace(&path, &config(&api, 2));
    exporter.wait_for_log("configuration reloaded", 1).await;
    assert_eq!((failures(&exporter), reloads(&exporter)), (1, 1), "{}", exporter.output_so_far());
    assert_eq!((budget(&exporter).await, last_reload(&exporter).await), (Some(2.0), Some(1.0)));

    // The content in force after an invalid one is a success.
    replace(&path, "accounts: 6\n");
    exporter.wait_for_log("reload failed", 2).await;
    replace(&path, &config(&api, 2));
    let line = exporter.wait_for_log("configuration reloaded", 2).await;
    assert!(line.contains("unchanged=1"), "{line}");
    assert_eq!(last_reload(&exporter).await, Some(1.0));
}

#[tokio::test]
async fn content_that_a_signal_or_a_request_has_reloaded_is_not_reloaded_again() {
    let api = MockApi::start(|_| async { one_number() }).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yml");
    std::fs::write(&path, config(&api, 1)).unwrap();
    let mut exporter = start(&path, &["--config.auto-reload-interval=400ms"]).await;
    let request = |expected| {
        let reload = http().post(format!("{}/-/reload", exporter.url())).send();
        async move { assert_eq!(reload.await.unwrap().status(), expected) }
    };
    replace(&path, &config(&api, 2));
    request(StatusCode::OK).await;
    replace(&path, "accounts: 5\n");
    request(StatusCode::BAD_REQUEST).await;
    replace(&path, &config(&api, 3));
    exporter.signal(Signal::HUP);
    exporter.wait_for_log("configuration reloaded", 2).await;
    replace(&path, &config(&api, 4));
    // Only this one is found by looking.
    exporter.wait_for_log("configuration reloaded", 3).await;
    assert_eq!(budget(&exporter).await, Some(4.0));
    assert_eq!((failures(&exporter), reloads(&exporter)), (1, 3), "{}", exporter.output_so_far());
}

#[tokio::test]
async fn file_is_not_looked_at_by_default() {
    let api = MockApi::start(|_| async { one_number() }).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yml");
    std::fs::write(&path, config(&api, 1)).unwrap();
    let mut exporter = start(&path, &[]).await;
    replace(&path, "accounts: 5\n");
    // Another exporter reports the content while this one does not.
    let other_path = folder.path().join("other.yml");
    std::fs::write(&other_path, config(&api, 1)).unwrap();
    let mut other = start(&other_path, &[AUTO]).await;
    replace(&other_path, "accounts: 5\n");
    other.wait_for_log("reload failed", 1).await;
    assert_eq!(failures(&exporter), 0);
    exporter.signal(Signal::HUP);
    exporter.wait_for_log("reload failed", 1).await;
}
