//! Prometheus with the shipped alerting rules, and Alertmanager, which notifies a webhook.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;

use super::TEST_TIMEOUT;
use super::prometheus::Prometheus;
use super::release::{Release, listening_address};

/// Shortens the durations in the rules from hours to seconds; thresholds and annotations stay.
///
/// A day in which something was last seen is longer than the day after which fees are compared, so that alerts about
/// processes that are down do not resolve on their own before the test has seen them.
fn shorten_durations(rules: &str) -> String {
    let mut text = String::new();
    for line in rules.lines() {
        let mut line = match line.split_once("for: ") {
            Some((indent, _)) => format!("{indent}for: 6s"),
            None => line.to_owned(),
        };
        for (long, short) in [
            ("[1h]", "[12s]"),
            ("[3h]", "[12s]"),
            ("[1d]", "[60s]"),
            ("[2d]", "[20s]"),
            ("[1w]", "[60s]"),
            ("offset 1h", "offset 12s"),
            ("offset 1d", "offset 20s"),
            ("offset 1w", "offset 20s"),
        ] {
            line = line.replace(long, short);
        }
        text.push_str(&line.replace("  - name:", "  - interval: 1s\n    name:"));
        text.push('\n');
    }
    text
}

/// The scrape targets of each job, which a test may change. Every monitoring reads the same file.
pub(crate) struct Targets {
    folder: tempfile::TempDir,
    jobs: Mutex<BTreeMap<&'static str, Vec<String>>>,
}

impl Targets {
    pub(crate) fn new() -> Self {
        let targets = Self { folder: tempfile::tempdir().unwrap(), jobs: Mutex::default() };
        std::fs::write(targets.file(), "[]").unwrap();
        targets
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("targets.json")
    }

    /// Replaces the targets of a job.
    pub(crate) fn set(&self, job: &'static str, addresses: &[&str]) {
        let mut jobs = self.jobs.lock().unwrap();
        jobs.insert(job, addresses.iter().map(|&address| address.to_owned()).collect());
        let groups = jobs.iter().map(|(job, targets)| json!({"labels": {"job": job}, "targets": targets}));
        // Prometheus never reads half of the file.
        let new = self.folder.path().join("new");
        std::fs::write(&new, Value::from(groups.collect::<Vec<_>>()).to_string()).unwrap();
        std::fs::rename(new, self.file()).unwrap();
    }
}

/// The alerts that the webhook has received: those that fire at present by their labels, and every notification.
#[derive(Debug, Clone, Default)]
struct Received {
    firing: BTreeMap<String, Value>,
    all: Vec<Value>,
}

/// A running Prometheus and a running Alertmanager of the same release.
pub(crate) struct Monitoring {
    pub(crate) release: Release,
    pub(crate) prometheus: Prometheus,
    received: watch::Receiver<Received>,
    _alertmanager: Child,
    _folder: tempfile::TempDir,
}

/// Returns the value of a label of an alert, or an empty text.
fn label<'a>(alert: &'a Value, name: &str) -> &'a str {
    alert["labels"][name].as_str().unwrap_or_default()
}

impl Monitoring {
    pub(crate) async fn start(release: Release, targets: &Targets) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rules = folder.path().join("rules.yml");
        std::fs::write(&rules, shorten_durations(&std::fs::read_to_string("alerts/tryvox.rules.yml").unwrap()))
            .unwrap();
        let (url, received) = start_webhook().await;
        let (alertmanager, address) = start_alertmanager(release, &url, folder.path()).await;
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             scrape_configs: [{{job_name: all, file_sd_configs: [{{files: ['{}'], refresh_interval: 1s}}]}}]\n\
             rule_files: ['{}']\n\
             alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{address}']}}]}}]}}\n",
            targets.file().display(),
            rules.display()
        );
        let prometheus = Prometheus::with_config(release, &config, &[]).await;
        Self { release, prometheus, received, _alertmanager: alertmanager, _folder: folder }
    }

    /// Waits until exactly the alerts with these names fire in a job.
    pub(crate) async fn wait_until_firing(&self, job: &str, names: &[&str]) {
        let mut expected = names.to_vec();
        expected.sort_unstable();
        let firing = |received: &Received| {
            let alerts = received.firing.values().filter(|alert| label(alert, "job") == job);
            let mut names: Vec<_> = alerts.map(|alert| label(alert, "alertname").to_owned()).collect();
            names.sort_unstable();
            names
        };
        let mut received = self.received.clone();
        let is_reached =
            timeout(TEST_TIMEOUT, received.wait_for(|received| firing(received) == expected)).await.is_ok();
        let release = self.release;
        assert!(is_reached, "{release:?}: {job}: expected {expected:?}, but {:?} fire", firing(&received.borrow()));
    }

    /// Returns every alert of a job that was ever received.
    pub(crate) fn received(&self, job: &str) -> Vec<Value> {
        self.received.borrow().all.iter().filter(|alert| label(alert, "job") == job).cloned().collect()
    }

    /// Asserts that the alerts with these names, and no others, were received from a job, and that the annotations of one
    /// alert of each name contain these texts.
    pub(crate) fn assert_received(&self, job: &str, expected: &[(&str, &[&str])]) {
        let received = self.received(job);
        let mut names: Vec<_> = received.iter().map(|alert| label(alert, "alertname")).collect();
        names.sort_unstable();
        names.dedup();
        let mut expected_names: Vec<_> = expected.iter().map(|(name, _)| *name).collect();
        expected_names.sort_unstable();
        expected_names.dedup();
        assert_eq!(names, expected_names, "{:?}: {job}", self.release);
        for (name, parts) in expected {
            let texts: Vec<_> = received.iter().filter(|alert| label(alert, "alertname") == *name).collect();
            let has_parts = |alert: &&&Value| {
                let annotations = &alert["annotations"];
                let text = ["summary", "description"].map(|key| annotations[key].as_str().unwrap()).join("\n");
                parts.iter().all(|part| text.contains(part))
            };
            assert!(texts.iter().any(|alert| has_parts(&alert)), "no {name} with {parts:?}: {texts:?}");
        }
        for alert in &received {
            let text = alert["annotations"].to_string();
            assert!(
                ["{{", "<no value>", "error calling", "error expanding"].iter().all(|part| !text.contains(part)),
                "{text}"
            );
        }
    }

    /// Returns the jobs of all alerts that were ever received.
    pub(crate) fn jobs(&self) -> std::collections::BTreeSet<String> {
        self.received.borrow().all.iter().map(|alert| label(alert, "job").to_owned()).collect()
    }
}

/// Starts a webhook. Returns its URL and what it receives.
async fn start_webhook() -> (String, watch::Receiver<Received>) {
    let (sender, received) = watch::channel(Received::default());
    let receive = async move |State(sender): State<Arc<watch::Sender<Received>>>, body: String| {
        let mut message: Value = serde_json::from_str(&body).unwrap();
        sender.send_modify(|received| {
            for alert in message["alerts"].as_array_mut().unwrap() {
                let (key, alert) = (alert["labels"].to_string(), alert.take());
                received.all.push(alert.clone());
                if alert["status"] == "firing" {
                    received.firing.insert(key, alert);
                } else {
                    received.firing.remove(&key);
                }
            }
        });
    };
    let router = Router::new().route("/", post(receive)).with_state(Arc::new(sender));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, received)
}

/// Starts an Alertmanager that notifies the webhook without delay, and returns it with its address.
async fn start_alertmanager(release: Release, webhook: &str, folder: &Path) -> (Child, String) {
    let config = folder.join("alertmanager.yml");
    std::fs::write(
        &config,
        format!(
            "route: {{receiver: all, group_by: [alertname, account, job], group_wait: 0s, group_interval: 1s}}\n\
             receivers: [{{name: all, webhook_configs: [{{url: '{webhook}', send_resolved: true}}]}}]\n"
        ),
    )
    .unwrap();
    let mut process = Command::new(release.program("prometheus-alertmanager"))
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.path={}", folder.join("alertmanager").display()))
        .args(["--web.listen-address=127.0.0.1:0", "--cluster.listen-address="])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("prometheus-alertmanager is not installed; run `make setup`");
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let address = timeout(TEST_TIMEOUT, async {
        loop {
            let line = lines.next_line().await.unwrap().expect("Alertmanager did not start");
            if let Some(address) = listening_address(&line) {
                return address;
            }
        }
    });
    let address = address.await.unwrap();
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (process, address)
}
