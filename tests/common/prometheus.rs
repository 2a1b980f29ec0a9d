//! A real Prometheus, Debian's.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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

fn job(targets: &[&str]) -> String {
    format!("{{job_name: tryvox, static_configs: [{{targets: {targets:?}}}]}}")
}

fn jobs_every_second(jobs: &[String]) -> String {
    format!("global: {{scrape_interval: 1s}}\nscrape_configs: [{}]\n", jobs.join(", "))
}

impl Prometheus {
    /// Starts one that scrapes these targets every second.
    pub(crate) async fn scraping(targets: &[&str]) -> Self {
        Self::with_jobs(&[job(targets)]).await
    }

    /// Starts one with these scrape configurations, every second.
    pub(crate) async fn with_jobs(jobs: &[String]) -> Self {
        Self::configured(&jobs_every_second(jobs), &[], |_| ()).await
    }

    /// Starts one that scrapes these targets every second and has these samples of former times. They are
    /// an hour apart, so a sample holds longer than the usual five minutes.
    pub(crate) async fn remembering(samples: &str, targets: &[&str]) -> Self {
        let fill = |data: &Path| {
            let file = data.with_extension("om");
            std::fs::write(&file, samples).unwrap();
            let promtool = std::process::Command::new("promtool")
                .args(["tsdb", "create-blocks-from", "openmetrics", "--quiet", "--max-block-duration=744h"])
                .args([&file, data])
                .output();
            let output = promtool.expect("promtool is there: `make setup` installs it");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        let options = ["--query.lookback-delta=65m", "--storage.tsdb.retention.time=1y"];
        Self::configured(&jobs_every_second(&[job(targets)]), &options, fill).await
    }

    /// Starts one that scrapes a target, by rules whose alerts go to an Alertmanager.
    pub(crate) async fn alerting(target: &str, rules: &Path, alertmanager: &str) -> Self {
        let text = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             scrape_configs: [{{job_name: tryvox, static_configs: [{{targets: ['{target}']}}]}}]\n\
             rule_files: ['{}']\n\
             alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{alertmanager}']}}]}}]}}\n",
            rules.display()
        );
        Self::configured(&text, &[], |_| ()).await
    }

    /// Starts one by an example's text, with these files beside it.
    pub(crate) async fn by_example(text: &str, files: &[(&str, &str)]) -> Self {
        let beside = |data: &Path| {
            for (name, text) in files {
                std::fs::write(data.with_file_name(name), text).unwrap();
            }
        };
        Self::configured(text, &[], beside).await
    }

    /// Starts one by this configuration, its folder of data filled beforehand.
    async fn configured(text: &str, options: &[&str], fill: impl Fn(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fill(&folder.path().join("data"));
        let config = folder.path().join("prometheus.yml");
        std::fs::write(&config, text).unwrap();
        let mut process = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .args(options)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("prometheus is there: `make setup` installs it");
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let (mut address, mut ready, mut said) = (None, false, String::new());
        let listening = timeout(PATIENCE, async {
            // It says the two in any order.
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Some((_, rest)) = line.split_once("msg=\"Listening on\" address=") {
                    address = rest.split_whitespace().next().map(str::to_owned);
                }
                ready |= line.contains("Server is ready to receive web requests");
                if let Some(address) = address.take_if(|_| ready) {
                    return address;
                }
                said.push_str(&line);
            }
            panic!("prometheus does not start: {said}");
        });
        let url = format!("http://{}", listening.await.unwrap());
        // Its log must go on being read, or it stops when the pipe is full.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { url, _process: process, _folder: folder }
    }

    /// Where it is asked.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What one of its addresses answers.
    async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let url = reqwest::Url::parse_with_params(&format!("{}/api/v1/{path}", self.url), parameters).unwrap();
        let body = http().get(url).send().await.unwrap().bytes().await.unwrap();
        let mut answer: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(answer["status"], "success", "{answer} {parameters:?}");
        answer["data"].take()
    }

    /// What an instant query gives: labels and value of each series.
    pub(crate) async fn query(&self, query: &str) -> Vec<(BTreeMap<String, String>, f64)> {
        let data = self.ask("query", &[("query", query)]).await;
        let value = |series: &Value| series["value"][1].as_str().unwrap().parse().unwrap();
        let series = data["result"].as_array().unwrap().iter();
        series.map(|series| (serde_json::from_value(series["metric"].clone()).unwrap(), value(series))).collect()
    }

    /// What a query gives over a time up to now, in a hundred steps: all values, series by series.
    pub(crate) async fn query_range(&self, query: &str, range: Duration) -> Vec<f64> {
        let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let (start, end, step) =
            ((end - range.as_secs_f64()).to_string(), end.to_string(), (range.as_secs_f64() / 100.0).to_string());
        let parameters = [("query", query), ("start", &*start), ("end", &*end), ("step", &*step)];
        let data = self.ask("query_range", &parameters).await;
        let values = data["result"].as_array().unwrap().iter().flat_map(|series| series["values"].as_array().unwrap());
        values.map(|value| value[1].as_str().unwrap().parse().unwrap()).collect()
    }

    /// The values that a label has in the series that match.
    pub(crate) async fn label_values(&self, label: &str, matches: &str) -> Vec<String> {
        serde_json::from_value(self.ask(&format!("label/{label}/values"), &[("match[]", matches)]).await).unwrap()
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
