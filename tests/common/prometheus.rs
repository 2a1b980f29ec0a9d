//! A real Prometheus, Debian's.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::{PATIENCE, http};

/// A Prometheus with a folder of its own.
pub(crate) struct Prometheus {
    url: String,
    _process: Child,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// Starts one that scrapes these targets every second.
    pub(crate) async fn scraping(targets: &[&str]) -> Self {
        let job = format!("{{job_name: tryvox, static_configs: [{{targets: {targets:?}}}]}}");
        Self::with_jobs(&[job]).await
    }

    /// Starts one with these scrape configurations, every second.
    pub(crate) async fn with_jobs(jobs: &[String]) -> Self {
        Self::configured(&format!("global: {{scrape_interval: 1s}}\nscrape_configs: [{}]\n", jobs.join(", "))).await
    }

    /// Starts one that scrapes a target, by rules whose alerts go to an Alertmanager.
    pub(crate) async fn alerting(target: &str, rules: &Path, alertmanager: &str) -> Self {
        Self::configured(&format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             scrape_configs: [{{job_name: tryvox, static_configs: [{{targets: ['{target}']}}]}}]\n\
             rule_files: ['{}']\n\
             alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{alertmanager}']}}]}}]}}\n",
            rules.display()
        ))
        .await
    }

    async fn configured(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("prometheus.yml");
        std::fs::write(&config, text).unwrap();
        let mut process = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("prometheus is there: `make setup` installs it");
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let (mut address, mut said) = (None, String::new());
        let ready = timeout(PATIENCE, async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Some((_, rest)) = line.split_once("msg=\"Listening on\" address=") {
                    address = rest.split_whitespace().next().map(str::to_owned);
                } else if line.contains("Server is ready to receive web requests") {
                    return;
                }
                said.push_str(&line);
            }
            panic!("prometheus does not start: {said}");
        });
        ready.await.unwrap();
        let url = format!("http://{}", address.unwrap());
        // Its log must go on being read, or it stops when the pipe is full.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { url, _process: process, _folder: folder }
    }

    /// What an instant query gives: labels and value of each series.
    pub(crate) async fn query(&self, query: &str) -> Vec<(BTreeMap<String, String>, f64)> {
        let url = reqwest::Url::parse_with_params(&format!("{}/api/v1/query", self.url), [("query", query)]).unwrap();
        let body = http().get(url).send().await.unwrap().bytes().await.unwrap();
        let answer: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(answer["status"], "success", "{answer}");
        let series = answer["data"]["result"].as_array().unwrap();
        let value = |series: &Value| series["value"][1].as_str().unwrap().parse().unwrap();
        series.iter().map(|series| (serde_json::from_value(series["metric"].clone()).unwrap(), value(series))).collect()
    }

    /// Waits until a query gives something.
    pub(crate) async fn until(&self, query: &str) {
        let given = async {
            while self.query(query).await.is_empty() {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, given).await.unwrap_or_else(|_| panic!("never true: {query}"));
    }
}
