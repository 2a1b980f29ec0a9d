//! Every file in `examples/` works with the program it configures. Only addresses and intervals are changed.

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;

use axum::response::IntoResponse;
use serde_json::json;
use tokio::process::{Child, Command};
use tokio::time::{Duration, sleep, timeout};

use crate::common::api::MockApi;
use crate::common::prometheus::Prometheus;
use crate::common::release::Release;
use crate::common::web::WebDirectory;
use crate::common::{ServerProcess, TEST_TIMEOUT, http, seed};

const NUMBERS: usize = 130;

/// Returns an example of `examples/prometheus` with this address of the exporter and a short scrape interval.
fn example(name: &str, exporter: &str) -> String {
    let text = std::fs::read_to_string(Path::new("examples/prometheus").join(name)).unwrap();
    assert!(text.contains("scrape_interval: 30s"), "{text}");
    text.replace("scrape_interval: 30s", "scrape_interval: 1s").replace("localhost:10869", exporter)
}

/// Starts a simulator and an exporter that has polled it once.
async fn start_exporter(arguments: &[&str]) -> (ServerProcess, ServerProcess) {
    let simulator = ServerProcess::simulator(NUMBERS, seed(), &[]).await;
    let mut exporter = ServerProcess::exporter(&simulator.url(), arguments).await;
    exporter.wait_for_polls(1).await;
    (simulator, exporter)
}

/// A running `VictoriaMetrics`, the one that Debian packages; dropping it kills the process.
struct VictoriaMetrics {
    url: String,
    _process: Child,
    _folder: tempfile::TempDir,
}

impl VictoriaMetrics {
    fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // It does not accept port 0, so find a free port first.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = Command::new("victoria-metrics")
            .arg(format!("-storageDataPath={}", folder.path().join("data").display()))
            .args([&format!("-httpListenAddr={address}"), "-search.latencyOffset=0s"])
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("victoria-metrics is not installed; run `make setup`");
        Self { url: format!("http://{address}"), _process: process, _folder: folder }
    }

    /// Waits until a metric of the account has this value.
    async fn wait_for(&self, family: &str, value: usize) {
        let url = format!("{}/api/v1/query?query={family}%7Baccount%3D%22acc_demo%22,job%3D%22tryvox%22%7D", self.url);
        let has_value = async {
            loop {
                if let Ok(response) = http().get(&url).send().await {
                    let text = response.text().await.unwrap();
                    if text.contains(&format!("\"{value}\"]")) {
                        return;
                    }
                }
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(TEST_TIMEOUT, has_value)
            .await
            .unwrap_or_else(|_| panic!("{family} is not {value} within {TEST_TIMEOUT:?}"));
    }
}

#[tokio::test]
async fn prometheus_and_victoria_metrics_scrape_a_static_target() {
    let (_simulator, exporter) = start_exporter(&[]).await;
    let text = example("static.yml", &exporter.address);
    for release in Release::ALL {
        let prometheus = Prometheus::with_config(release, &text, &[]).await;
        prometheus.wait_for(&format!("tryvox_listed_numbers{{job=\"tryvox\"}} == {NUMBERS}")).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("static.yml");
    std::fs::write(&file, &text).unwrap();
    let victoria = VictoriaMetrics::start(&[&format!("-promscrape.config={}", file.display())]);
    victoria.wait_for("tryvox_listed_numbers", NUMBERS).await;
}

#[tokio::test]
async fn prometheus_writes_to_victoria_metrics() {
    let (_simulator, exporter) = start_exporter(&[]).await;
    for release in Release::ALL {
        let victoria = VictoriaMetrics::start(&[]);
        let text = example("remote-write.yml", &exporter.address).replace("http://localhost:8428", &victoria.url);
        let _prometheus = Prometheus::with_config(release, &text, &[]).await;
        victoria.wait_for("tryvox_listed_numbers", NUMBERS).await;
    }
}

#[tokio::test]
async fn prometheus_scrapes_over_tls_with_a_password() {
    let web = std::fs::read_to_string("examples/web/web.yml").unwrap();
    let (folder, authority) = WebDirectory::new();
    folder.write_pair("exporter.pem", "exporter.key", authority.issue(&["localhost", "127.0.0.1"], 30));
    folder.configure(&web);
    let (_simulator, exporter) = start_exporter(&[&folder.flag()]).await;
    let text = example("tls-and-users.yml", &exporter.address);
    for release in Release::ALL {
        let files = [("exporter.pem", &*authority.pem()), ("password", "change me")];
        let prometheus = Prometheus::with_config(release, &text, &files).await;
        prometheus.wait_for(&format!("tryvox_listed_numbers == {NUMBERS}")).await;
        // With another password the scrape fails.
        let files = [("exporter.pem", &*authority.pem()), ("password", "wrong password")];
        let prometheus = Prometheus::with_config(release, &text, &files).await;
        prometheus.wait_for("up{job=\"tryvox\"} == 0").await;
    }
}

/// A scripted Kubernetes API lists three pods, one of which is the exporter. `VictoriaMetrics` runs the
/// example, because Debian builds Prometheus without Kubernetes service discovery.
#[tokio::test]
async fn kubernetes_discovery_finds_only_the_exporter_pod() {
    let (_simulator, exporter) = start_exporter(&[]).await;
    let port: u16 = exporter.address.rsplit(':').next().unwrap().parse().unwrap();
    let pod = |name: &str, label: &str, port_name: &str| {
        json!({
            "metadata": {"name": name, "namespace": "tryvox-exporter", "uid": name, "labels": {"app.kubernetes.io/name": label}},
            "spec": {"nodeName": "node", "containers": [{"name": "main", "ports": [{"name": port_name, "containerPort": port}]}]},
            "status": {"phase": "Running", "podIP": "127.0.0.1", "hostIP": "127.0.0.1"},
        })
    };
    let pods = json!({
        "kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"},
        "items": [
            pod("tryvox-exporter-0", "tryvox-exporter", "metrics"),
            pod("another", "another", "metrics"),
            pod("tryvox-exporter-1", "tryvox-exporter", "debug"),
        ],
    });
    let api = MockApi::start(move |request| {
        let (pods, uri) = (pods.to_string(), request.uri.to_string());
        async move {
            if uri.contains("watch=") {
                std::future::pending::<()>().await;
            }
            assert!(uri.starts_with("/api/v1/namespaces/tryvox-exporter/pods"), "{uri}");
            ([("content-type", "application/json")], pods).into_response()
        }
    })
    .await;
    let text = example("kubernetes.yml", &exporter.address);
    let example = text.replace("- role: pod", &format!("- role: pod\n        api_server: {}", api.url()));
    assert_ne!(example, text);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kubernetes.yml");
    std::fs::write(&file, example).unwrap();
    let victoria = VictoriaMetrics::start(&[&format!("-promscrape.config={}", file.display())]);
    victoria.wait_for("tryvox_listed_numbers", NUMBERS).await;
    victoria.wait_for("tryvox_up", 1).await;
    let targets = http().get(format!("{}/api/v1/targets", victoria.url)).send().await.unwrap().bytes().await.unwrap();
    let targets: serde_json::Value = serde_json::from_slice(&targets).unwrap();
    let active = targets["data"]["activeTargets"].as_array().unwrap();
    assert_eq!(active.len(), 1, "{targets}");
    assert_eq!(active[0]["labels"]["instance"], "tryvox-exporter-0");
}

/// The timer and its service are tested in `tests/shipping`, nginx in `proxy.rs`, everything else here.
#[test]
fn every_example_is_tested() {
    let mut names = Vec::new();
    for folder in ["nginx", "prometheus", "textfile", "web"] {
        for entry in std::fs::read_dir(Path::new("examples").join(folder)).unwrap() {
            names.push(entry.unwrap().file_name().into_string().unwrap());
        }
    }
    names.sort();
    let tested = [
        "kubernetes.yml",
        "remote-write.yml",
        "route-prefix.conf",
        "static.yml",
        "strip-prefix.conf",
        "tls-and-users.yml",
        "tryvox-once.service",
        "tryvox-once.timer",
        "unix-socket.conf",
        "web.yml",
    ];
    assert_eq!(names, tested);
}
