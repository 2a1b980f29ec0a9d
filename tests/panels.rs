//! No panel without data: every query of every dashboard, asked of a real Prometheus that has a month of
//! four accounts and scrapes two real exporters of them; and every panel, drawn from the answers in a real
//! browser, as far as Grafana publishes what draws it.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tryvox_exporter::inventory::CollectorOptions;
use tryvox_exporter::simulator::{Fault, Simulator};

use crate::common::accounts::File;
use crate::common::dashboards::{Dashboard, Values, all, fill, label_values, text, tool};
use crate::common::past::{ACCOUNTS, Past};
use crate::common::prometheus::Prometheus;
use crate::common::{KEY, Running};

/// What the API does wrong all the time.
const USUAL: &str = "429 probability=0.05,500 probability=0.02,bad-records page=1 probability=0.02";

/// A month of four accounts, two exporters that share them, and a Prometheus above.
struct Scenario {
    prometheus: Prometheus,
    _exporters: [Running; 2],
    _file: File,
    _stop: tokio_util::sync::DropGuard,
}

impl Scenario {
    async fn start() -> Self {
        let collect = CollectorOptions {
            region: true,
            trunk: true,
            application: true,
            number_limit: 40,
            ..CollectorOptions::default()
        };
        let past = Past::live(collect).await;
        let stop = CancellationToken::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());

        let mut text = format!(
            "tryvox: {{url: '{url}', rate_limit: 0}}\npoll: {{interval: 1s, timeout: 30s, stale_after: 10m}}\n\
             collector: {{region: true, trunk: true, application: true, number: {{limit: 40}}}}\naccounts:\n"
        );
        for (account, numbers) in ACCOUNTS {
            let budget = format!("{{USD: {}, EUR: {}}}", numbers * 2, numbers);
            writeln!(text, "- {{name: {account}, account_id: {account}, monthly_budget: {budget}}}").unwrap();
        }
        let file = File::new(&text);
        let shard = async |shard: &str| {
            let arguments = [&*file.flag(), "--total-shards=2", shard, "--log.level=debug"];
            Running::start(&arguments, &[("TRYVOX_API_KEY", KEY)]).await
        };
        let mut exporters = [shard("--shard=0").await, shard("--shard=1").await];
        let mut owned = Vec::new();
        for exporter in &exporters {
            let up = exporter.scrape().await.family("tryvox_up");
            owned.push(up.into_keys().collect::<String>());
        }
        assert!(owned.iter().all(|accounts| !accounts.is_empty()), "a shard without accounts");
        let target_of = |account: &str| {
            let shard = owned.iter().position(|accounts| accounts.contains(&format!("\"{account}\""))).unwrap();
            exporters[shard].address.clone()
        };
        let samples = past.samples(target_of);

        // From here on the API is there, and so that there is something to see it lives fast and errs.
        let simulator = past.simulator();
        let trouble = |simulator: &Simulator, faults| simulator.faults.set(Fault::list(faults).unwrap());
        trouble(&simulator, USUAL);
        tokio::spawn(simulator.clone().serve(listener, stop.clone()));
        let (api, alive) = (simulator.clone(), stop.clone());
        tokio::spawn(async move {
            // Much at first, so that there is a mass change, and then as things go.
            let burst = CancellationToken::new();
            _ = timeout(Duration::from_secs(15), api.live(Duration::from_millis(50), burst)).await;
            api.live(Duration::from_secs(20), alive).await;
        });

        let targets = exporters.each_ref().map(|exporter| &*exporter.address);
        let prometheus = Prometheus::remembering(&samples, &targets).await;
        for exporter in &mut exporters {
            exporter.polled(8).await;
            exporter.signal(Signal::HUP);
        }
        prometheus.until("min(count_over_time(tryvox_up[1m])) >= 12").await;
        // For a while nothing goes.
        trouble(&simulator, "404");
        prometheus.until("max(max_over_time(tryvox_up[3s])) == 0").await;
        trouble(&simulator, USUAL);
        prometheus.until("min(tryvox_up) == 1").await;
        Self { prometheus, _exporters: exporters, _file: file, _stop: stop.drop_guard() }
    }
}

/// What was drawn of one dashboard.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Picture {
    uid: String,
    width: u32,
    panels: Vec<Drawn>,
    /// What the browser complained of.
    errors: Vec<String>,
}

/// How a panel was drawn.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Drawn {
    id: u64,
    #[serde(rename = "type")]
    kind: String,
    /// Whether by something else than what Grafana draws it by.
    stand_in: bool,
    /// How many colours or texts there are to see.
    shown: usize,
    /// Whether it says that it has no data.
    no_data: bool,
}

/// How much of what a variable offers is chosen.
#[derive(Debug, Clone, Copy)]
enum Choice {
    One,
    Several,
    All,
}

/// What Grafana puts in the place of some values: themselves, escaped, where there are several.
fn chosen(values: &[String]) -> String {
    let escape = |value: &String| value.replace('.', "\\\\.");
    match values {
        [one] => one.clone(),
        several => format!("({})", several.iter().map(escape).collect::<Vec<_>>().join("|")),
    }
}

/// Fills the variables one after the other, each from what those before it leave.
async fn choose(prometheus: &Prometheus, dashboard: &Dashboard, choice: Choice) -> (Values, Vec<String>) {
    let (mut values, mut currencies) = (Values::new(), Vec::new());
    for variable in dashboard.query_variables() {
        let (selector, label) = label_values(variable);
        let mut offered = prometheus.label_values(label, &fill(selector, &values)).await;
        assert!(!offered.is_empty(), "{}: nothing to choose for {label}", dashboard.path);
        // The last ones: of the countries that is the United States, which has the most numbers.
        let count = match choice {
            Choice::One => 1,
            Choice::Several => 2,
            Choice::All => offered.len(),
        };
        let picked = offered.split_off(offered.len().saturating_sub(count));
        if label == "currency" {
            currencies.clone_from(&picked);
        }
        let value = if matches!(choice, Choice::All) { text(variable, "allValue").to_owned() } else { chosen(&picked) };
        values.insert(label.to_owned(), value);
    }
    (values, currencies)
}

fn is_data(values: impl IntoIterator<Item = f64>) -> bool {
    values.into_iter().any(f64::is_finite)
}

fn with(values: &Values, more: &[(&str, &str)]) -> Values {
    let mut values = values.clone();
    values.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    values
}

#[tokio::test]
async fn no_panel_is_without_data() {
    let Scenario { prometheus, .. } = &Scenario::start().await;
    every_query_gives_data(prometheus).await;
    if let Some(folder) = std::env::var_os("TRYVOX_SCREENSHOTS") {
        // Pictures for people: there is more to see after a while.
        tokio::time::sleep(Duration::from_mins(5)).await;
        draw(prometheus, &all(), &PathBuf::from(folder), &["--width=1280", "--range=tryvox-exporter=6m"]).await;
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    every_panel_is_drawn(prometheus, folder.path()).await;
    what_is_not_there_is_not_drawn(prometheus, folder.path()).await;
}

async fn every_query_gives_data(prometheus: &Prometheus) {
    let (mut asked, mut empty) = (0, BTreeSet::new());
    for dashboard in all() {
        for choice in [Choice::One, Choice::Several, Choice::All] {
            let (values, currencies) = choose(prometheus, &dashboard, choice).await;
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().to_string();
            for panel in dashboard.panels() {
                let range = panel.range().unwrap_or(dashboard.range());
                // Of four samples at least, as Grafana has it; the past has one an hour.
                let window = panel.interval().unwrap_or_default().max(Duration::from_hours(4));
                let [window, span] = [window, range].map(|time| format!("{}s", time.as_secs()));
                let base =
                    with(&values, &[("__rate_interval", &window), ("__range", &span), ("__to:date:seconds", &now)]);
                // A panel of a repeated row is there once for each value.
                let each: Vec<_> = match panel.repeated {
                    Some(variable) => currencies.iter().map(|value| with(&base, &[(variable, value)])).collect(),
                    None => vec![base],
                };
                for (values, target) in
                    each.iter().flat_map(|values| panel.targets().iter().map(move |it| (values, it)))
                {
                    let query = fill(text(target, "expr"), values);
                    let data = if target["instant"] == true {
                        is_data(prometheus.query(&query).await.into_iter().map(|(_, value)| value))
                    } else {
                        is_data(prometheus.query_range(&query, range).await)
                    };
                    asked += 1;
                    if !data {
                        empty.insert(format!("{} {choice:?}: {}: {query}", dashboard.path, panel.title()));
                    }
                }
            }
            for annotation in dashboard.annotations() {
                let query = fill(text(annotation, "expr"), &values);
                asked += 1;
                if prometheus.query_range(&query, Duration::from_mins(1)).await.is_empty() {
                    empty.insert(format!("{} {choice:?}: {query}", dashboard.path));
                }
            }
        }
    }
    assert!(empty.is_empty(), "no data:\n{}", empty.into_iter().collect::<Vec<_>>().join("\n"));
    assert!(asked > 300, "{asked} queries");
}

/// Draws dashboards into a folder.
async fn draw(prometheus: &Prometheus, dashboards: &[Dashboard], folder: &Path, options: &[&str]) -> Vec<Picture> {
    let folder = std::path::absolute(folder).unwrap();
    let mut arguments = vec![prometheus.url().to_owned(), folder.display().to_string()];
    for dashboard in dashboards {
        arguments.push(std::path::absolute(&dashboard.path).unwrap().display().to_string());
    }
    // The accounts' past has a sample an hour, the exporters have no past.
    arguments.push("--resolution=tryvox-exporter=1s".to_owned());
    arguments.extend(options.iter().map(|&option| option.to_owned()));
    let drawing = move || tool("render/main.mjs", &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let output = tokio::task::spawn_blocking(drawing).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn every_panel_is_drawn(prometheus: &Prometheus, folder: &Path) {
    let dashboards = all();
    let pictures = draw(prometheus, &dashboards, folder, &["--range=tryvox-exporter=2m"]).await;
    assert_eq!(pictures.iter().map(|picture| picture.width).collect::<Vec<_>>(), [1280, 1920].repeat(3));
    for picture in &pictures {
        let dashboard = dashboards.iter().find(|one| one.path.contains(&picture.uid)).unwrap();
        let place = format!("{} at {}", picture.uid, picture.width);
        assert!(picture.errors.is_empty(), "{place}: {:?}", picture.errors);
        let drawn: BTreeSet<_> = picture.panels.iter().map(|panel| panel.id).collect();
        let shipped = dashboard.panels().iter().map(|panel| panel.json["id"].as_u64().unwrap()).collect();
        assert_eq!(drawn, shipped, "{place}");
        for panel in &picture.panels {
            assert!(panel.shown > 0 && !panel.no_data, "{place}: {panel:?}");
            // What Grafana keeps to its server.
            let kept = ["geomap", "state-timeline"].contains(&&*panel.kind);
            assert_eq!(panel.stand_in, kept, "{place}: {panel:?}");
        }
    }
}

/// The same, of a dashboard whose metrics nobody has: every panel says so.
async fn what_is_not_there_is_not_drawn(prometheus: &Prometheus, folder: &Path) {
    let all = all();
    let dashboard = all.iter().find(|one| one.path.contains("exporter")).unwrap();
    let path = folder.join("nothing.json").display().to_string();
    let mut json = dashboard.json.clone();
    for panel in json["panels"].as_array_mut().unwrap() {
        for target in panel["targets"].as_array_mut().into_iter().flatten() {
            target["expr"] = "nothing_has_this_name".into();
        }
    }
    std::fs::write(&path, json.to_string()).unwrap();
    let pictures = draw(prometheus, &[Dashboard { path, json }], folder, &["--width=1280"]).await;
    assert!(pictures[0].panels.iter().all(|panel| panel.no_data), "{pictures:?}");
}
