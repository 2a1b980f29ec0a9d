//! Every panel of every dashboard shows data.
//!
//! A real Prometheus holds a month of history of four accounts and scrapes two exporters that share them.
//! Every query of every dashboard must return data from it, and every panel is drawn from the results in a
//! real browser, with Grafana's own components as far as Grafana publishes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tryvox_exporter::inventory::{CollectorOptions, WatchedNumber};
use tryvox_exporter::simulator::{Fault, Simulator};

use crate::common::accounts::ConfigFile;
use crate::common::dashboards::{
    Dashboard, Panel, Variables, interpolate, label_values, run_tool, shipped, string_field,
};
use crate::common::history::{History, OWNERS};
use crate::common::prometheus::Prometheus;
use crate::common::release::Release;
use crate::common::{KEY, ServerProcess};

/// Faults that the API has all the time.
const BACKGROUND_FAULTS: &str = "429 probability=0.05,500 probability=0.02,bad-records page=1 probability=0.02";

/// A Prometheus with a month of history, and the two exporters it scrapes, which share the accounts.
struct Scenario {
    prometheus: Prometheus,
    /// The same with Prometheus 3.
    newest: Prometheus,
    _exporters: [ServerProcess; 2],
    _file: ConfigFile,
    _stop: tokio_util::sync::DropGuard,
}

impl Scenario {
    async fn start() -> Self {
        let collector = CollectorOptions {
            region: true,
            trunk: true,
            application: true,
            number_limit: 40,
            ..CollectorOptions::default()
        };
        let history = History::simulate(collector).await;
        let stop = CancellationToken::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());

        let mut text = format!(
            "tryvox: {{url: '{url}', rate_limit: 0}}\npoll: {{interval: 1s, timeout: 30s, stale_after: 10m}}\n\
             collector: {{region: true, trunk: true, application: true, number: {{limit: 40}}}}\naccounts:\n"
        );
        for (account, numbers, watched) in history.accounts() {
            let budget = format!("{{USD: {}, EUR: {}}}", numbers * 2, numbers);
            writeln!(text, "- name: {account}\n  account_id: {account}\n  monthly_budget: {budget}\n  watch:").unwrap();
            for WatchedNumber { e164, name } in watched {
                writeln!(text, "  - {{number: {e164}, name: {name}}}").unwrap();
            }
        }
        text.push_str("owners:\n");
        for (name, numbers, trunks, applications) in OWNERS {
            writeln!(text, "- name: {name}\n  monthly_budget: {{USD: 1000, EUR: 800}}").unwrap();
            for (key, values) in [("numbers", numbers), ("trunks", trunks), ("applications", applications)] {
                if !values.is_empty() {
                    writeln!(text, "  {key}: {values:?}").unwrap();
                }
            }
        }
        let file = ConfigFile::new(&text);
        let shard = async |shard: &str| {
            let state_file = format!("--state.file={}/state{shard}.db", file.folder().display());
            let arguments = [&*file.flag(), "--total-shards=2", shard, &*state_file, "--log.level=debug"];
            ServerProcess::start(&arguments, &[("TRYVOX_API_KEY", KEY)]).await
        };
        let mut exporters = [shard("--shard=0").await, shard("--shard=1").await];
        let mut owned = Vec::new();
        for exporter in &exporters {
            let up = exporter.scrape().await.family("tryvox_up");
            owned.push(up.into_keys().collect::<String>());
        }
        assert!(owned.iter().all(|accounts| !accounts.is_empty()), "a shard has no accounts");
        let target_of = |account: &str| {
            let shard = owned.iter().position(|accounts| accounts.contains(&format!("\"{account}\""))).unwrap();
            exporters[shard].address.clone()
        };
        let samples = history.samples(target_of);

        // The API starts here. Its numbers change fast and it has faults, so that the panels have data.
        let simulator = history.into_simulator();
        let set_faults = |simulator: &Simulator, faults| simulator.faults.set(Fault::parse_list(faults).unwrap());
        set_faults(&simulator, BACKGROUND_FAULTS);
        tokio::spawn(simulator.clone().serve(listener, stop.clone()));
        let (api, until_stop) = (simulator.clone(), stop.clone());
        tokio::spawn(async move {
            // Many changes at first, for the annotation "Mass change", then changes at a normal rate.
            let never = CancellationToken::new();
            _ = timeout(Duration::from_secs(15), api.change_accounts(Duration::from_millis(50), never)).await;
            api.change_accounts(Duration::from_secs(20), until_stop).await;
        });

        let targets = exporters.each_ref().map(|exporter| &*exporter.address);
        let [prometheus, newest] = Release::ALL.map(|release| Prometheus::with_history(release, &samples, &targets));
        let (prometheus, newest) = tokio::join!(prometheus, newest);
        for exporter in &mut exporters {
            exporter.wait_for_polls(8).await;
            exporter.signal(Signal::HUP);
        }
        for prometheus in [&prometheus, &newest] {
            prometheus.wait_for("min(count_over_time(tryvox_up[1m])) >= 12").await;
        }
        // A short outage.
        set_faults(&simulator, "404");
        for prometheus in [&prometheus, &newest] {
            prometheus.wait_for("max(max_over_time(tryvox_up[3s])) == 0").await;
        }
        set_faults(&simulator, BACKGROUND_FAULTS);
        for prometheus in [&prometheus, &newest] {
            prometheus.wait_for("min(tryvox_up) == 1").await;
        }
        Self { prometheus, newest, _exporters: exporters, _file: file, _stop: stop.drop_guard() }
    }
}

/// A dashboard as drawn at one width.
#[derive(Debug, Deserialize)]
struct Picture {
    uid: String,
    width: u32,
    panels: Vec<DrawnPanel>,
    /// Errors on the console of the browser.
    errors: Vec<String>,
}

/// A panel as drawn.
#[derive(Debug, Deserialize)]
struct DrawnPanel {
    id: u64,
    #[serde(rename = "type")]
    kind: String,
    /// Whether it was drawn by a replacement for a component that Grafana does not publish.
    #[serde(rename = "standIn")]
    is_stand_in: bool,
    /// Number of visible colours (on a canvas) or texts.
    #[serde(rename = "shown")]
    visible_items: usize,
    /// Whether it shows the text for missing data.
    #[serde(rename = "noData")]
    has_no_data: bool,
}

/// How many of the values of a template variable are selected.
#[derive(Debug, Clone, Copy)]
enum Selection {
    One,
    Several,
    All,
}

/// Writes selected values as Grafana interpolates them in a string of a query: as a regular expression.
fn format_values(values: &[String]) -> String {
    let escape = |c: char| if r"\^$*{}[]'+?.()|".contains(c) { format!(r"\\{c}") } else { c.to_string() };
    let escaped: Vec<String> = values.iter().map(|value| value.chars().map(escape).collect()).collect();
    match &*escaped {
        [value] => value.clone(),
        values => format!("({})", values.join("|")),
    }
}

/// Selects values for the template variables in their order, each from what the earlier selections leave.
/// Returns the variables and the selected currencies.
async fn select_variables(
    prometheus: &Prometheus,
    dashboard: &Dashboard,
    selection: Selection,
) -> (Variables, Vec<String>) {
    let (mut variables, mut currencies) = (Variables::new(), Vec::new());
    for variable in dashboard.query_variables() {
        let (selector, label) = label_values(variable);
        let mut available = prometheus.label_values(label, &interpolate(selector, &variables)).await;
        assert!(!available.is_empty(), "{}: no values for {label}", dashboard.path);
        // A single number is not on every panel of numbers: the links select numbers.
        let selection = if label == "e164" { Selection::All } else { selection };
        // Select the last ones: among the countries that is the United States, which has the most numbers.
        let count = match selection {
            Selection::One => 1,
            Selection::Several => 2,
            Selection::All => available.len(),
        };
        let selected = available.split_off(available.len().saturating_sub(count));
        if label == "currency" {
            currencies.clone_from(&selected);
        }
        let value = if matches!(selection, Selection::All) {
            string_field(variable, "allValue").to_owned()
        } else {
            format_values(&selected)
        };
        variables.insert(label.to_owned(), value);
    }
    (variables, currencies)
}

/// Returns whether any value is finite.
fn has_data(values: impl IntoIterator<Item = f64>) -> bool {
    values.into_iter().any(f64::is_finite)
}

/// Returns the variables with some more.
fn extended(variables: &Variables, more: &[(&str, &str)]) -> Variables {
    let mut variables = variables.clone();
    variables.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    variables
}

#[tokio::test]
async fn every_panel_shows_data() {
    let Scenario { prometheus, newest, .. } = &Scenario::start().await;
    assert_every_query_returns_data(newest).await;
    assert_every_query_returns_data(prometheus).await;
    assert_data_links_show_what_they_select(prometheus).await;
    if let Some(docs) = std::env::var_os("TRYVOX_SCREENSHOTS") {
        // Pictures for the documentation; they show more after a while.
        tokio::time::sleep(Duration::from_mins(5)).await;
        draw(
            prometheus,
            &shipped(),
            &Path::new(&docs).join("dashboards"),
            &["--width=1280", "--range=tryvox-exporter=6m", "--range=tryvox-numbers=7d"],
        )
        .await;
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    assert_every_panel_is_drawn(prometheus, folder.path()).await;
    assert_panels_without_data_say_so(prometheus, folder.path()).await;
}

async fn assert_every_query_returns_data(prometheus: &Prometheus) {
    let (mut queries, mut empty) = (0, BTreeSet::new());
    for dashboard in shipped() {
        for selection in [Selection::One, Selection::Several, Selection::All] {
            let (variables, currencies) = select_variables(prometheus, &dashboard, selection).await;
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().to_string();
            for panel in dashboard.panels() {
                let range = panel.range().unwrap_or(dashboard.range());
                // Grafana makes the window at least four samples long; the history has one sample per hour.
                let window = panel.interval().unwrap_or_default().max(Duration::from_hours(4));
                let [window, span] = [window, range].map(|time| format!("{}s", time.as_secs()));
                let base = extended(
                    &variables,
                    &[("__rate_interval", &window), ("__range", &span), ("__to:date:seconds", &now)],
                );
                // A panel of a repeated row exists once for each value.
                let each: Vec<_> = match panel.repeat_variable {
                    Some(variable) => currencies.iter().map(|value| extended(&base, &[(variable, value)])).collect(),
                    None => vec![base],
                };
                for (variables, target) in
                    each.iter().flat_map(|variables| panel.targets().iter().map(move |target| (variables, target)))
                {
                    let query = interpolate(string_field(target, "expr"), variables);
                    let returns_data = if target["instant"] == true {
                        has_data(prometheus.query(&query).await.into_iter().map(|(_, value)| value))
                    } else {
                        has_data(prometheus.query_range(&query, range).await)
                    };
                    queries += 1;
                    if !returns_data {
                        empty.insert(format!("{} {selection:?}: {}: {query}", dashboard.path, panel.title()));
                    }
                }
            }
            for annotation in dashboard.annotations() {
                let query = interpolate(string_field(annotation, "expr"), &variables);
                queries += 1;
                if prometheus.query_range(&query, Duration::from_mins(1)).await.is_empty() {
                    empty.insert(format!("{} {selection:?}: {query}", dashboard.path));
                }
            }
        }
    }
    assert!(empty.is_empty(), "queries without data:\n{}", empty.into_iter().collect::<Vec<_>>().join("\n"));
    assert!(queries > 300, "{queries} queries");
}

/// Returns the variables of a dashboard with these values selected, and everything else.
fn with_selection(dashboard: &Dashboard, selected: &BTreeMap<&str, String>) -> Variables {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().to_string();
    let built_in = [("__rate_interval", "4h"), ("__range", "30d"), ("__to:date:seconds", &now)];
    let mut variables = extended(&Variables::new(), &built_in);
    for variable in dashboard.query_variables() {
        let name = string_field(variable, "name");
        let all = || string_field(variable, "allValue").to_owned();
        let value = selected.get(name).map_or_else(all, |value| format_values(std::slice::from_ref(value)));
        variables.insert(name.to_owned(), value);
    }
    variables
}

/// Runs the queries of a panel and returns the labels of the series, with those of a joined row in one set.
async fn series_of(prometheus: &Prometheus, panel: Panel<'_>, variables: &Variables) -> Vec<BTreeMap<String, String>> {
    let mut series = Vec::new();
    for target in panel.targets() {
        let query = interpolate(string_field(target, "expr"), variables);
        series.extend(prometheus.query(&query).await.into_iter().map(|(labels, _)| labels));
    }
    series
}

/// Follows the data links of the first values of each panel: the dashboard that they open has data, and only of the
/// value that they select.
async fn assert_data_links_show_what_they_select(prometheus: &Prometheus) {
    let dashboards = shipped();
    // The uid of a dashboard and the values of the variables that a link selects.
    let mut destinations = BTreeSet::new();
    for source in &dashboards {
        let variables = with_selection(source, &BTreeMap::new());
        for panel in source.panels() {
            let links = panel.data_links();
            let series = if links.is_empty() { Vec::new() } else { series_of(prometheus, panel, &variables).await };
            for link in links {
                let location = format!("{}: {}: {}", source.path, panel.title(), link.url);
                let has_labels = |series: &&BTreeMap<_, _>| link.labels.iter().all(|label| series.contains_key(*label));
                let linked: Vec<_> = series.iter().filter(has_labels).take(5).collect();
                assert!(!linked.is_empty(), "{location}: no series has these labels: {series:?}");
                let Some(uid) = link.uid else { continue };
                for labels in linked {
                    let selected = link.selected.iter().map(|(name, label)| (*name, labels[*label].clone()));
                    destinations.insert((
                        uid.to_owned(),
                        selected.map(|(name, value)| (name.to_owned(), value)).collect::<BTreeMap<_, _>>(),
                    ));
                }
            }
        }
    }
    assert!(destinations.len() > 20, "{destinations:?}");
    for (uid, selected) in &destinations {
        let dashboard = dashboards.iter().find(|dashboard| dashboard.json["uid"] == **uid).unwrap();
        let selected: BTreeMap<_, _> = selected.iter().map(|(name, value)| (&**name, value.clone())).collect();
        let variables = with_selection(dashboard, &selected);
        let mut shown = BTreeSet::new();
        for panel in dashboard.panels() {
            // Panels that use all the selected variables.
            let expressions = panel.targets().iter().map(|target| string_field(target, "expr"));
            if !expressions.clone().all(|expr| selected.keys().all(|name| expr.contains(&format!("${name}")))) {
                continue;
            }
            for labels in series_of(prometheus, panel, &variables).await {
                for (name, value) in &selected {
                    if let Some(label) = labels.get(*name) {
                        assert_eq!(label, value, "{uid}: {}: {selected:?}", panel.title());
                        shown.insert(*name);
                    }
                }
            }
        }
        assert_eq!(shown, selected.keys().copied().collect(), "{uid} shows nothing of {selected:?}");
    }
}

/// Draws dashboards, saves the pictures in a folder, and returns what was drawn.
async fn draw(prometheus: &Prometheus, dashboards: &[Dashboard], folder: &Path, options: &[&str]) -> Vec<Picture> {
    let folder = std::path::absolute(folder).unwrap();
    let mut arguments = vec![prometheus.url().to_owned(), folder.display().to_string()];
    for dashboard in dashboards {
        arguments.push(std::path::absolute(&dashboard.path).unwrap().display().to_string());
    }
    // The history of the accounts has one sample per hour; the exporters have no history.
    arguments.push("--resolution=tryvox-exporter=1s".to_owned());
    arguments.extend(options.iter().map(|&option| option.to_owned()));
    let draw = move || run_tool("render/main.mjs", &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let output = tokio::task::spawn_blocking(draw).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn assert_every_panel_is_drawn(prometheus: &Prometheus, folder: &Path) {
    let dashboards = shipped();
    let pictures = draw(prometheus, &dashboards, folder, &["--range=tryvox-exporter=2m"]).await;
    assert_eq!(pictures.iter().map(|picture| picture.width).collect::<Vec<_>>(), [1280, 1920].repeat(3));
    for picture in &pictures {
        let dashboard = dashboards.iter().find(|dashboard| dashboard.path.contains(&picture.uid)).unwrap();
        let location = format!("{} at {}", picture.uid, picture.width);
        assert!(picture.errors.is_empty(), "{location}: {:?}", picture.errors);
        let drawn: BTreeSet<_> = picture.panels.iter().map(|panel| panel.id).collect();
        let shipped = dashboard.panels().iter().map(|panel| panel.json["id"].as_u64().unwrap()).collect();
        assert_eq!(drawn, shipped, "{location}");
        for panel in &picture.panels {
            assert!(panel.visible_items > 0 && !panel.has_no_data, "{location}: {panel:?}");
            // Grafana does not publish the components of these panel types.
            let is_unpublished = ["geomap", "state-timeline"].contains(&&*panel.kind);
            assert_eq!(panel.is_stand_in, is_unpublished, "{location}: {panel:?}");
        }
    }
}

/// Draws a dashboard whose metrics do not exist; every panel must show the text for missing data.
async fn assert_panels_without_data_say_so(prometheus: &Prometheus, folder: &Path) {
    let dashboards = shipped();
    let dashboard = dashboards.iter().find(|dashboard| dashboard.path.contains("exporter")).unwrap();
    let path = folder.join("no-data.json").display().to_string();
    let mut json = dashboard.json.clone();
    for panel in json["panels"].as_array_mut().unwrap() {
        for target in panel["targets"].as_array_mut().into_iter().flatten() {
            target["expr"] = "nonexistent_metric".into();
        }
    }
    std::fs::write(&path, json.to_string()).unwrap();
    let pictures = draw(prometheus, &[Dashboard { path, json }], folder, &["--width=1280"]).await;
    assert!(pictures[0].panels.iter().all(|panel| panel.has_no_data), "{pictures:?}");
}
