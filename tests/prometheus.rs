//! A real Prometheus scrapes the running binary and gives the same sums as the simulated truth.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::common::{PATIENCE, Running, http, seed, truth};

/// A Prometheus with a folder of its own.
struct Prometheus {
    url: String,
    _process: Child,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// Starts one that scrapes this target every second.
    async fn scraping(target: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("prometheus.yml");
        let job = format!("{{job_name: tryvox, static_configs: [{{targets: ['{target}']}}]}}");
        std::fs::write(&config, format!("global: {{scrape_interval: 1s}}\nscrape_configs: [{job}]\n")).unwrap();
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
    async fn query(&self, query: &str) -> Vec<(BTreeMap<String, String>, f64)> {
        let url = reqwest::Url::parse_with_params(&format!("{}/api/v1/query", self.url), [("query", query)]).unwrap();
        let body = http().get(url).send().await.unwrap().bytes().await.unwrap();
        let answer: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(answer["status"], "success", "{answer}");
        let series = answer["data"]["result"].as_array().unwrap();
        let value = |series: &Value| series["value"][1].as_str().unwrap().parse().unwrap();
        series.iter().map(|series| (serde_json::from_value(series["metric"].clone()).unwrap(), value(series))).collect()
    }

    /// Waits until a query gives something.
    async fn until(&self, query: &str) {
        let given = async {
            while self.query(query).await.is_empty() {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, given).await.unwrap_or_else(|_| panic!("never true: {query}"));
    }
}

#[tokio::test]
async fn prometheus_sees_the_truth() {
    let simulator = Running::simulator(5_000, seed(), &[]).await;
    let mut exporter = Running::exporter(&simulator.url(), &["--tryvox.rate-limit=0"]).await;
    exporter.polled(1).await;
    let truth = truth::of(&simulator).await;

    let prometheus = Prometheus::scraping(&exporter.address).await;
    prometheus.until("count_over_time(tryvox_up[1m]) >= 2 and tryvox_up == 1").await;
    assert_eq!(prometheus.query("up{job=\"tryvox\"} == 1").await.len(), 1);

    // Series by series, to the last digit.
    for family in ["tryvox_numbers", "tryvox_monthly_fees", "tryvox_setup_fees", "tryvox_listed_numbers"] {
        let labels = ["account", "country", "type", "status", "currency"];
        let seen: truth::Series = prometheus
            .query(family)
            .await
            .into_iter()
            .map(|(metric, value)| {
                let pairs = labels.iter().filter_map(|label| Some(format!("{label}=\"{}\"", metric.get(*label)?)));
                (format!("{family}{{{}}}", pairs.collect::<Vec<_>>().join(",")), value)
            })
            .collect();
        let of_family = |(series, _): &(&String, &f64)| series.split('{').next() == Some(family);
        let expected: truth::Series =
            truth.iter().filter(of_family).map(|(series, value)| (series.clone(), *value)).collect();
        assert_eq!(seen, expected);
    }

    // And summed by Prometheus: it adds doubles, so to the tenth of a cent.
    let total = |family: &str, currency: &str| -> f64 {
        let of_family = |series: &String| series.starts_with(family) && series.contains(currency);
        truth.iter().filter(|(series, _)| of_family(series)).map(|(_, value)| value).sum()
    };
    assert_eq!(prometheus.query("sum(tryvox_numbers)").await, [(BTreeMap::new(), 5_000.0)]);
    for currency in ["EUR", "USD"] {
        for family in ["tryvox_monthly_fees", "tryvox_setup_fees"] {
            let sums = prometheus.query(&format!("sum({family}{{currency=\"{currency}\"}})")).await;
            let label = format!("currency=\"{currency}\"");
            assert_eq!(format!("{:.3}", sums[0].1), format!("{:.3}", total(family, &label)), "{family} {currency}");
        }
    }
}

/// Every query of every dashboard, with its variables filled in, gives data.
#[tokio::test]
async fn the_dashboards_show_data() {
    let mut demo = Running::start(&["demo", "--log.level=debug"], &[]).await;
    demo.polled(1).await;
    let prometheus = Prometheus::scraping(&demo.address).await;
    prometheus.until("count_over_time(tryvox_up[1m]) >= 3").await;

    let mut queries = 0;
    for file in std::fs::read_dir("dashboards").unwrap() {
        let path = file.unwrap().path();
        let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        for panel in dashboard["panels"].as_array().unwrap() {
            assert!(!panel["description"].as_str().unwrap().is_empty(), "{panel}");
            for target in panel["targets"].as_array().unwrap() {
                let mut query = target["expr"].as_str().unwrap().replace("$__rate_interval", "4s");
                for (variable, value) in [("$job", "tryvox"), ("$instance", ".+"), ("$account", "acc_demo")] {
                    query = query.replace(variable, value);
                }
                assert!(!query.contains('$'), "{query}");
                assert!(!prometheus.query(&query).await.is_empty(), "{}: no data: {query}", path.display());
                queries += 1;
            }
        }
    }
    assert!(queries > 0);
}
