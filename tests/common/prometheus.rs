//! Runs a real Prometheus and queries it over its HTTP API.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::release::{Release, listening_address};
use super::{TEST_TIMEOUT, http};

/// A running Prometheus with its own configuration and data directory; dropping it kills the process.
pub(crate) struct Prometheus {
    url: String,
    _process: Child,
    _folder: tempfile::TempDir,
}

fn scrape_job(targets: &[&str]) -> String {
    format!("{{job_name: tryvox, static_configs: [{{targets: {targets:?}}}]}}")
}

fn scrape_config(jobs: &[String]) -> String {
    format!("global: {{scrape_interval: 1s}}\nscrape_configs: [{}]\n", jobs.join(", "))
}

impl Prometheus {
    /// Starts a Prometheus that scrapes these targets every second.
    pub(crate) async fn scraping(release: Release, targets: &[&str]) -> Self {
        Self::with_jobs(release, &[scrape_job(targets)]).await
    }

    /// Starts a Prometheus with these scrape jobs, which run every second.
    pub(crate) async fn with_jobs(release: Release, jobs: &[String]) -> Self {
        Self::start(release, &scrape_config(jobs), &[], |_| ()).await
    }

    /// Starts a Prometheus that scrapes these targets every second and already stores `samples`, in the
    /// `OpenMetrics` format. They are an hour apart, so the lookback is longer than the default five minutes.
    pub(crate) async fn with_history(release: Release, samples: &str, targets: &[&str]) -> Self {
        let create_blocks = |data: &Path| {
            let file = data.with_extension("om");
            std::fs::write(&file, samples).unwrap();
            let [file, data] = [&*file, data].map(|path| path.to_str().unwrap());
            let arguments =
                ["tsdb", "create-blocks-from", "openmetrics", "--quiet", "--max-block-duration=744h", file, data];
            release.run("promtool", &arguments);
        };
        let options = ["--query.lookback-delta=65m", "--storage.tsdb.retention.time=1y"];
        Self::start(release, &scrape_config(&[scrape_job(targets)]), &options, create_blocks).await
    }

    /// Starts a Prometheus with this configuration; `files` are written to the same directory.
    pub(crate) async fn with_config(release: Release, config: &str, files: &[(&str, &str)]) -> Self {
        let write_files = |data: &Path| {
            for (name, text) in files {
                std::fs::write(data.with_file_name(name), text).unwrap();
            }
        };
        Self::start(release, config, &[], write_files).await
    }

    /// Starts a Prometheus and waits until it is ready. `prepare` is called with the path of the data
    /// directory before the process starts.
    async fn start(release: Release, config: &str, options: &[&str], prepare: impl Fn(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        prepare(&folder.path().join("data"));
        let config_file = folder.path().join("prometheus.yml");
        std::fs::write(&config_file, config).unwrap();
        let mut process = Command::new(release.program("prometheus"))
            .arg(format!("--config.file={}", config_file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .args(options)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("prometheus is not installed; run `make setup`");
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let (mut address, mut is_ready, mut log) = (None, false, String::new());
        let listening = timeout(TEST_TIMEOUT, async {
            // The two messages come in either order.
            while let Some(line) = lines.next_line().await.unwrap() {
                address = address.or_else(|| listening_address(&line));
                is_ready |= line.contains("Server is ready to receive web requests");
                if let Some(address) = address.take_if(|_| is_ready) {
                    return address;
                }
                log.push_str(&line);
                log.push('\n');
            }
            panic!("prometheus did not start:\n{log}");
        });
        let url = format!("http://{}", listening.await.unwrap());
        // Prometheus would block on a full pipe, so keep reading its log.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { url, _process: process, _folder: folder }
    }

    /// Returns its base URL.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Requests an endpoint of the HTTP API and returns the `data` of its response.
    async fn api_get(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let url = reqwest::Url::parse_with_params(&format!("{}/api/v1/{path}", self.url), parameters).unwrap();
        let body = http().get(url).send().await.unwrap().bytes().await.unwrap();
        let mut response: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(response["status"], "success", "{response} {parameters:?}");
        response["data"].take()
    }

    /// Runs an instant query and returns the labels and the value of each series.
    pub(crate) async fn query(&self, query: &str) -> Vec<(BTreeMap<String, String>, f64)> {
        let data = self.api_get("query", &[("query", query)]).await;
        let value = |series: &Value| series["value"][1].as_str().unwrap().parse().unwrap();
        let series = data["result"].as_array().unwrap().iter();
        series.map(|series| (serde_json::from_value(series["metric"].clone()).unwrap(), value(series))).collect()
    }

    /// Runs a query over the `range` up to now in 100 steps and returns the values of all series.
    pub(crate) async fn query_range(&self, query: &str, range: Duration) -> Vec<f64> {
        let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let (start, end, step) =
            ((end - range.as_secs_f64()).to_string(), end.to_string(), (range.as_secs_f64() / 100.0).to_string());
        let parameters = [("query", query), ("start", &*start), ("end", &*end), ("step", &*step)];
        let data = self.api_get("query_range", &parameters).await;
        let values = data["result"].as_array().unwrap().iter().flat_map(|series| series["values"].as_array().unwrap());
        values.map(|value| value[1].as_str().unwrap().parse().unwrap()).collect()
    }

    /// Returns the values that a label has in the series that match a selector.
    pub(crate) async fn label_values(&self, label: &str, matches: &str) -> Vec<String> {
        serde_json::from_value(self.api_get(&format!("label/{label}/values"), &[("match[]", matches)]).await).unwrap()
    }

    /// Waits until a query returns at least one series.
    pub(crate) async fn wait_for(&self, query: &str) {
        let non_empty = async {
            while self.query(query).await.is_empty() {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(TEST_TIMEOUT, non_empty).await.unwrap_or_else(|_| panic!("no result within {TEST_TIMEOUT:?}: {query}"));
    }
}
