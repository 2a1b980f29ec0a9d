//! `--config.auto-reload-interval`: the configuration file is reloaded when its content changes, however it is replaced.

use std::fs::OpenOptions;
use std::io::Write;
use std::mem::MaybeUninit;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use rustix::fs::inotify;
use rustix::io::Errno;
use rustix::process::Signal;
use tokio::time::{sleep, timeout};

use crate::common::api::{MockApi, one_number};
use crate::common::{KEY, ServerProcess, TEST_TIMEOUT, http, output};

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
    OpenOptions::new().write(true).open(&path).unwrap().write_all(config(&api, 3).as_bytes()).unwrap();
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

/// Waits until another process opens a file, and then closes it after reading.
async fn wait_for_read(path: &Path) {
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    inotify::add_watch(&watch, path, inotify::WatchFlags::OPEN | inotify::WatchFlags::CLOSE_NOWRITE).unwrap();
    let read = async {
        let (mut buffer, mut is_open) = ([MaybeUninit::uninit(); 4096], false);
        let mut events = inotify::Reader::new(&watch, &mut buffer);
        loop {
            match events.next() {
                Ok(event) if event.events().contains(inotify::ReadFlags::OPEN) => is_open = true,
                // One that was opened before the watch began is not counted.
                Ok(_) if is_open => return,
                Ok(_) => {}
                Err(Errno::AGAIN) => sleep(Duration::from_millis(1)).await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    timeout(TEST_TIMEOUT, read).await.expect("the file is not read");
}

#[tokio::test]
async fn half_written_file_is_not_reloaded_until_it_is_complete() {
    let api = MockApi::start(|_| async { one_number() }).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yml");
    std::fs::write(&path, config(&api, 1)).unwrap();
    let mut exporter = start(&path, &[AUTO]).await;
    let length = config(&api, 1).find("1}").unwrap();
    let mut late = 0;
    for (round, cut) in [0, 12, length / 2, length].into_iter().enumerate() {
        // Up to the budget all texts are the same, so this is a beginning of the new one, and it is never valid.
        let text = config(&api, round + 2);
        let file = OpenOptions::new().append(true).open(&path).unwrap();
        file.set_len(cut as u64).unwrap();
        let begin = Instant::now();
        wait_for_read(&path).await;
        (&file).write_all(&text.as_bytes()[cut..]).unwrap();
        // A second is the time after which the exporter takes the content for complete.
        late += usize::from(begin.elapsed() > Duration::from_millis(900));
        drop(file);
        exporter.wait_for_log("configuration reloaded", round + 1).await;
        assert_eq!(budget(&exporter).await, Some(f64::from(u32::try_from(round + 2).unwrap())), "{cut}");
    }
    assert!(late < 4, "this machine is too slow for the test");
    assert!(failures(&exporter) <= late, "{late}: {}", exporter.output_so_far());
}

#[tokio::test]
async fn interval_without_a_file_is_a_warning() {
    let api = MockApi::start(|_| async { one_number() }).await;
    let url = format!("--tryvox.url={}", api.url());
    let arguments = [&*url, "--tryvox.account-id=acc", AUTO];
    let checked = output(&[&arguments[..], &["--config.check"]].concat(), &[("TRYVOX_API_KEY", KEY)]).await;
    let printed = String::from_utf8(checked.stdout).unwrap();
    let warning = "--config.auto-reload-interval has no effect without --config.file";
    assert!(checked.status.success() && printed.contains(&format!("warning: {warning}")), "{printed}");
    let exporter = ServerProcess::start(&arguments, &[("TRYVOX_API_KEY", KEY)]).await;
    let log = exporter.stop_with_output(Signal::TERM).await.1;
    assert_eq!(log.matches(warning).count(), 1, "{log}");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yml");
    std::fs::write(&path, config(&api, 1)).unwrap();
    let log = start(&path, &[AUTO]).await.stop_with_output(Signal::TERM).await.1;
    assert!(!log.contains("level=warn"), "{log}");
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
