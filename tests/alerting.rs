//! The shipped rules in a real Prometheus, behind it a real Alertmanager: what goes wrong arrives at a
//! receiver, nothing else does, and it is resolved when it is mended. Only the times are shorter.

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

use crate::common::accounts::File;
use crate::common::api::{Api, page, record};
use crate::common::prometheus::Prometheus;
use crate::common::{KEY, PATIENCE, Running};

/// What the account is like at the moment.
#[derive(Default)]
struct Life {
    suspended: AtomicUsize,
    dearer: AtomicBool,
    broken: AtomicBool,
    refused: AtomicBool,
}

async fn api(life: Arc<Life>) -> Api {
    Api::start(move |_| {
        let life = life.clone();
        async move {
            if life.broken.load(Ordering::SeqCst) {
                return (StatusCode::NOT_IMPLEMENTED, "broken").into_response();
            }
            if life.refused.load(Ordering::SeqCst) {
                return StatusCode::UNAUTHORIZED.into_response();
            }
            let suspended = life.suspended.load(Ordering::SeqCst);
            let fee = if life.dearer.load(Ordering::SeqCst) { "1.50" } else { "1.00" };
            let one = |number: usize| {
                let status = if number < suspended { "suspended" } else { "active" };
                // They lead to a trunk, so that none is idle, and are suspended only now.
                let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
                record(&format!("+1415555{number:04}"), status, fee, "USD")
                    .replace(r#""trunk_id":null"#, r#""trunk_id":"trk_1""#)
                    .replace("2025-11-02T17:40:12Z", &now)
            };
            let records: Vec<_> = (0..100).map(one).collect();
            page(&records, 100, 1, 1)
        }
    })
    .await
}

/// The rules with seconds where there are hours: what they compare and what they say stays.
fn hurried(rules: &str) -> String {
    let mut text = String::new();
    for line in rules.lines() {
        let line = match line.split_once("for: ") {
            Some((before, _)) => format!("{before}for: 3s"),
            None => line.to_owned(),
        };
        let mut line = line;
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

/// What arrived: the names of alerts that fire.
type Firing = watch::Receiver<BTreeSet<String>>;

/// A receiver, and where it is.
async fn receiver() -> (String, Firing, Arc<Mutex<Vec<Value>>>) {
    let (sender, firing) = watch::channel(BTreeSet::new());
    let seen: Arc<Mutex<Vec<Value>>> = Arc::default();
    let all = seen.clone();
    let receive = async move |State(sender): State<Arc<watch::Sender<BTreeSet<String>>>>, body: String| {
        let message: Value = serde_json::from_str(&body).unwrap();
        for alert in message["alerts"].as_array().unwrap() {
            let name = alert["labels"]["alertname"].as_str().unwrap().to_owned();
            all.lock().unwrap().push(alert.clone());
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
    (url, firing, seen)
}

/// An Alertmanager that tells the receiver at once.
async fn alertmanager(receiver: &str, folder: &std::path::Path) -> (Child, String) {
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
        .expect("prometheus-alertmanager is there: `make setup` installs it");
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let address = timeout(PATIENCE, async {
        loop {
            let line = lines.next_line().await.unwrap().expect("Alertmanager does not start");
            if let Some((_, rest)) = line.split_once("msg=\"Listening on\" address=") {
                return rest.split_whitespace().next().unwrap().to_owned();
            }
        }
    });
    let address = address.await.unwrap();
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (process, address)
}

/// Waits until just these fire.
async fn fire(firing: &mut Firing, names: &[&str]) {
    let expected: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let waited = timeout(PATIENCE, firing.wait_for(|firing| *firing == expected)).await.is_ok();
    assert!(waited, "{expected:?} are awaited, there are {:?}", *firing.borrow());
}

#[tokio::test]
async fn what_goes_wrong_arrives_and_nothing_else_does() {
    let life = Arc::new(Life::default());
    life.suspended.store(3, Ordering::SeqCst);
    let api = api(life.clone()).await;
    let file = File::new(&format!(
        "tryvox: {{url: '{}', rate_limit: 0}}\n\
         poll: {{interval: 2s, timeout: 30s, stale_after: 12s}}\n\
         accounts: [{{account_id: acc_1, name: production, monthly_budget: {{USD: 120}}}}]\n",
        api.url()
    ));
    let exporter = Running::start(&[&file.flag()], &[("TRYVOX_API_KEY", KEY)]).await;
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.yml");
    std::fs::write(&rules, hurried(&std::fs::read_to_string("alerts/tryvox.rules.yml").unwrap())).unwrap();
    let (url, mut firing, seen) = receiver().await;
    let (_alertmanager, address) = alertmanager(&url, folder.path()).await;
    let prometheus = Prometheus::alerting(&exporter.address, &rules, &address).await;

    // The first listing, with numbers that are suspended already, is nothing to tell of.
    prometheus.until("count_over_time(account:tryvox_numbers:sum[1m]) > 20").await;
    let early = seen.lock().unwrap().clone();
    assert!(early.is_empty(), "{early:?}");

    life.suspended.store(33, Ordering::SeqCst);
    fire(&mut firing, &["TryvoxNumbersSuspended", "TryvoxMassSuspension"]).await;
    fire(&mut firing, &[]).await;

    life.dearer.store(true, Ordering::SeqCst);
    fire(&mut firing, &["TryvoxCostSpikeDay", "TryvoxCostSpikeWeek", "TryvoxBudgetExceeded"]).await;
    // What is dearer is so no more than before after a day, and still over the budget.
    fire(&mut firing, &["TryvoxBudgetExceeded"]).await;
    life.dearer.store(false, Ordering::SeqCst);
    fire(&mut firing, &[]).await;

    life.broken.store(true, Ordering::SeqCst);
    fire(&mut firing, &["TryvoxPollFailing", "TryvoxDataStale"]).await;
    life.broken.store(false, Ordering::SeqCst);
    fire(&mut firing, &[]).await;

    life.refused.store(true, Ordering::SeqCst);
    fire(&mut firing, &["TryvoxPollFailing", "TryvoxDataStale", "TryvoxKeyRefused"]).await;
    life.refused.store(false, Ordering::SeqCst);
    fire(&mut firing, &[]).await;

    // Each of them says what its values are, and there was no other.
    let seen = seen.lock().unwrap().clone();
    let names: BTreeSet<&str> = seen.iter().map(|alert| alert["labels"]["alertname"].as_str().unwrap()).collect();
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
    for alert in &seen {
        let text = alert["annotations"].to_string();
        assert!(text.contains("production") && !text.contains("{{") && !text.contains("<no value>"), "{text}");
        assert!(!text.contains("error calling"), "{text}");
    }
}
