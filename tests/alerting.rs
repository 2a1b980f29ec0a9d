//! Tests the shipped alerting rules end to end, with a real Prometheus and a real Alertmanager.
//!
//! The API is put into states that should alert. A webhook receiver must get the expected alerts and no
//! others, and each must be resolved after the API recovers. The rules are unchanged except for shorter
//! durations.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::post;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::common::accounts::ConfigFile;
use crate::common::api::{MockApi, page, record};
use crate::common::prometheus::Prometheus;
use crate::common::{KEY, ServerProcess, TEST_TIMEOUT};

/// What the API does at the moment; the test changes it while the exporter polls.
#[derive(Default)]
struct ApiState {
    /// How many of the 100 numbers are suspended.
    suspended: AtomicUsize,
    /// Whether the monthly fee of each number is 1.50 rather than 1.00.
    has_higher_fees: AtomicBool,
    /// Whether every request gets an error that is not worth a retry.
    is_failing: AtomicBool,
    /// Whether the API key is refused.
    refuses_key: AtomicBool,
}

/// Starts an API with one account of 100 numbers.
async fn start_api(state: Arc<ApiState>) -> MockApi {
    MockApi::start(move |_| {
        let state = state.clone();
        async move {
            if state.is_failing.load(Ordering::SeqCst) {
                return (StatusCode::NOT_IMPLEMENTED, "failing").into_response();
            }
            if state.refuses_key.load(Ordering::SeqCst) {
                return StatusCode::UNAUTHORIZED.into_response();
            }
            let suspended = state.suspended.load(Ordering::SeqCst);
            let fee = if state.has_higher_fees.load(Ordering::SeqCst) { "1.50" } else { "1.00" };
            let json = |number: usize| {
                let status = if number < suspended { "suspended" } else { "active" };
                // Assigned to a trunk, so that none is unassigned, and updated now, so that none is suspended
                // for long.
                let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
                record(&format!("+1415555{number:04}"), status, fee, "USD")
                    .replace(r#""trunk_id":null"#, r#""trunk_id":"trk_1""#)
                    .replace("2025-11-02T17:40:12Z", &now)
            };
            let records: Vec<_> = (0..100).map(json).collect();
            page(&records, 100, 1, 1)
        }
    })
    .await
}

/// Shortens the durations in the rules from hours to seconds; thresholds and annotations stay.
fn shorten_durations(rules: &str) -> String {
    let mut text = String::new();
    for line in rules.lines() {
        let mut line = match line.split_once("for: ") {
            Some((indent, _)) => format!("{indent}for: 3s"),
            None => line.to_owned(),
        };
        for (long, short) in [
            ("[1h]", "[15s]"),
            ("[3h]", "[15s]"),
            ("[2d]", "[15s]"),
            ("offset 1h", "offset 15s"),
            ("offset 1d", "offset 15s"),
            ("offset 1w", "offset 15s"),
        ] {
            line = line.replace(long, short);
        }
        text.push_str(&line.replace("  - name:", "  - interval: 1s\n    name:"));
        text.push('\n');
    }
    text
}

/// The names of the alerts that fire at present.
type Firing = watch::Receiver<BTreeSet<String>>;

/// Starts a webhook receiver. Returns its URL, the names of the alerts that fire at present, and every
/// alert received so far.
async fn start_receiver() -> (String, Firing, Arc<Mutex<Vec<Value>>>) {
    let (sender, firing) = watch::channel(BTreeSet::new());
    let received: Arc<Mutex<Vec<Value>>> = Arc::default();
    let alerts = received.clone();
    let receive = async move |State(sender): State<Arc<watch::Sender<BTreeSet<String>>>>, body: String| {
        let message: Value = serde_json::from_str(&body).unwrap();
        for alert in message["alerts"].as_array().unwrap() {
            let name = alert["labels"]["alertname"].as_str().unwrap().to_owned();
            alerts.lock().unwrap().push(alert.clone());
            sender.send_modify(|firing| {
                if alert["status"] == "firing" {
                    firing.insert(name);
                } else {
                    firing.remove(&name);
                }
            });
        }
    };
    let router = Router::new().route("/", post(receive)).with_state(Arc::new(sender));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, firing, received)
}

/// Starts an Alertmanager that notifies the receiver without delay, and returns it with its address.
async fn start_alertmanager(receiver: &str, folder: &std::path::Path) -> (Child, String) {
    let config = folder.join("alertmanager.yml");
    std::fs::write(
        &config,
        format!(
            "route: {{receiver: all, group_by: [alertname, account], group_wait: 0s, group_interval: 1s}}\n\
             receivers: [{{name: all, webhook_configs: [{{url: '{receiver}', send_resolved: true}}]}}]\n"
        ),
    )
    .unwrap();
    let mut process = Command::new("prometheus-alertmanager")
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
            if let Some((_, rest)) = line.split_once("msg=\"Listening on\" address=") {
                return rest.split_whitespace().next().unwrap().to_owned();
            }
        }
    });
    let address = address.await.unwrap();
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (process, address)
}

/// Waits until exactly these alerts fire.
async fn wait_until_firing(firing: &mut Firing, names: &[&str]) {
    let expected: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let is_reached = timeout(TEST_TIMEOUT, firing.wait_for(|firing| *firing == expected)).await.is_ok();
    assert!(is_reached, "expected {expected:?} to fire, but {:?} do", *firing.borrow());
}

#[tokio::test]
async fn alerts_reach_the_receiver_and_are_resolved_after_recovery() {
    let state = Arc::new(ApiState::default());
    state.suspended.store(3, Ordering::SeqCst);
    let api = start_api(state.clone()).await;
    let file = ConfigFile::new(&format!(
        "tryvox: {{url: '{}', rate_limit: 0}}\n\
         poll: {{interval: 2s, timeout: 30s, stale_after: 12s}}\n\
         accounts: [{{account_id: acc_1, name: production, monthly_budget: {{USD: 120}}}}]\n",
        api.url()
    ));
    let exporter = ServerProcess::start(&[&file.flag()], &[("TRYVOX_API_KEY", KEY)]).await;
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.yml");
    std::fs::write(&rules, shorten_durations(&std::fs::read_to_string("alerts/tryvox.rules.yml").unwrap())).unwrap();
    let (url, mut firing, received) = start_receiver().await;
    let (_alertmanager, address) = start_alertmanager(&url, folder.path()).await;
    let prometheus = Prometheus::with_rules(&exporter.address, &rules, &address).await;

    // Numbers that are already suspended in the first listing do not alert.
    prometheus.wait_for("count_over_time(account:tryvox_numbers:sum[1m]) > 20").await;
    let alerts = received.lock().unwrap().clone();
    assert!(alerts.is_empty(), "{alerts:?}");

    state.suspended.store(33, Ordering::SeqCst);
    wait_until_firing(&mut firing, &["TryvoxNumbersSuspended", "TryvoxMassSuspension"]).await;
    wait_until_firing(&mut firing, &[]).await;

    state.has_higher_fees.store(true, Ordering::SeqCst);
    wait_until_firing(&mut firing, &["TryvoxCostSpikeDay", "TryvoxCostSpikeWeek", "TryvoxBudgetExceeded"]).await;
    // After "a day" the fees are no longer higher than a day before, but still over the budget.
    wait_until_firing(&mut firing, &["TryvoxBudgetExceeded"]).await;
    state.has_higher_fees.store(false, Ordering::SeqCst);
    wait_until_firing(&mut firing, &[]).await;

    state.is_failing.store(true, Ordering::SeqCst);
    wait_until_firing(&mut firing, &["TryvoxPollFailing", "TryvoxDataStale"]).await;
    state.is_failing.store(false, Ordering::SeqCst);
    wait_until_firing(&mut firing, &[]).await;

    state.refuses_key.store(true, Ordering::SeqCst);
    wait_until_firing(&mut firing, &["TryvoxPollFailing", "TryvoxDataStale", "TryvoxKeyRefused"]).await;
    state.refuses_key.store(false, Ordering::SeqCst);
    wait_until_firing(&mut firing, &[]).await;

    // No other alert was received, and all annotations are rendered completely.
    let received = received.lock().unwrap().clone();
    let names: BTreeSet<&str> = received.iter().map(|alert| alert["labels"]["alertname"].as_str().unwrap()).collect();
    let expected = [
        "TryvoxBudgetExceeded",
        "TryvoxCostSpikeDay",
        "TryvoxCostSpikeWeek",
        "TryvoxDataStale",
        "TryvoxKeyRefused",
        "TryvoxMassSuspension",
        "TryvoxNumbersSuspended",
        "TryvoxPollFailing",
    ];
    assert_eq!(names, expected.into_iter().collect());
    for alert in &received {
        let text = alert["annotations"].to_string();
        assert!(text.contains("production") && !text.contains("{{") && !text.contains("<no value>"), "{text}");
        assert!(!text.contains("error calling") && !text.contains("error expanding"), "{text}");
    }
    // Annotations that query other metrics: the reason of failed polls, and the amount of a cost spike.
    for (name, part) in [
        ("TryvoxPollFailing", "The most frequent reason in the last hour is server_error."),
        ("TryvoxPollFailing", "Its last successful poll was "),
        ("TryvoxCostSpikeDay", "are 50% higher than a day ago, now 150.00 USD."),
        ("TryvoxBudgetExceeded", "are 125% of its monthly budget in USD, now 150.00 USD."),
    ] {
        let has_part =
            |alert: &Value| alert["labels"]["alertname"] == name && alert["annotations"].to_string().contains(part);
        assert!(received.iter().any(has_part), "no {name} with: {part}");
    }
}
