//! Static checks of the shipped dashboards: they are up to date, valid for Grafana, complete, and query
//! only metrics and labels that exist. `panels.rs` runs their queries and draws them.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use tryvox_exporter::metrics::families;

use crate::common::dashboards::{interpolate, label_values, placeholders, read_files, run_tool, shipped, string_field};
use crate::common::promql::{Query, labels_of};

/// Families that no dashboard shows, each with the reason.
const UNUSED: [(&str, &str); 0] = [];

/// `make dashboards` updates the files.
#[test]
fn dashboards_are_up_to_date_with_their_source() {
    let folder = tempfile::tempdir().unwrap();
    let output = run_tool("source/main.mjs", &[folder.path().to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let is_up_to_date = read_files(folder.path()) == read_files(Path::new("dashboards"));
    assert!(is_up_to_date, "the dashboards are out of date; run `make dashboards`");
}

/// Checks the dashboards against Grafana's published types, and that the check rejects invalid ones.
#[test]
fn dashboards_match_the_grafana_schema() {
    let check = |files: &[&str]| {
        let output = run_tool("schema/check.mjs", files);
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let paths: Vec<_> = shipped().into_iter().map(|dashboard| format!("../../{}", dashboard.path)).collect();
    let (is_valid, message) = check(&paths.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(is_valid, "{message}");

    let valid = std::fs::read_to_string("dashboards/tryvox-numbers.json").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("invalid.json");
    for (original, replacement) in [
        (r#""colorMode": "background""#, r#""colorMode": "loud""#),
        (r#""drawStyle": "bars""#, r#""drawStyl": "bars""#),
        (r#""refresh": 2"#, r#""refresh": 7"#),
        (r#""instant": true"#, r#""instant": "yes""#),
        (r#""type": "geomap""#, r#""type": "globe""#),
        (r#""schemaVersion": 38"#, r#""schemaVersion": "38""#),
    ] {
        assert!(valid.contains(original), "{original}");
        std::fs::write(&file, valid.replace(original, replacement)).unwrap();
        let (is_valid, message) = check(&[file.to_str().unwrap()]);
        assert!(!is_valid && message.contains("invalid.json"), "{replacement}: {message}");
    }
}

/// Units that panels may have: the subset of those in <https://github.com/grafana/dashboard-linter> that
/// the dashboards need.
const UNITS: [&str; 9] =
    ["bool_yes_no", "bytes", "dateTimeAsIso", "locale", "none", "percentunit", "reqps", "s", "string"];

/// Applies every rule of Grafana's dashboard-linter, and to panels of all types; the linter itself checks
/// only some types.
#[test]
fn dashboards_follow_the_rules_of_dashboard_linter() {
    let datasource_variable = serde_json::json!({"type": "prometheus", "uid": "${datasource}"});
    for dashboard in shipped() {
        let path = &dashboard.path;
        // uneditable-dashboard
        assert_eq!(dashboard.json["editable"], false, "{path}");
        // template-datasource-rule
        let datasource = dashboard.variable("datasource").unwrap();
        assert_eq!(
            (string_field(datasource, "type"), string_field(datasource, "query")),
            ("datasource", "prometheus"),
            "{path}"
        );
        assert_eq!(string_field(datasource, "label"), "Data source", "{path}");
        // template-job-rule, template-instance-rule, template-label-promql-rule, template-on-time-change-reload-rule
        assert!(dashboard.variable("job").is_some() && dashboard.variable("instance").is_some(), "{path}");
        for variable in dashboard.query_variables() {
            let name = string_field(variable, "name");
            assert_eq!(variable["datasource"], datasource_variable, "{path}: {name}");
            assert_eq!(string_field(variable, "label").to_lowercase(), name, "{path}");
            assert_eq!((&variable["multi"], &variable["includeAll"]), (&true.into(), &true.into()), "{path}: {name}");
            assert_eq!(string_field(variable, "allValue"), ".+", "{path}: {name}");
            assert_eq!(variable["refresh"], 2, "{path}: {name}");
            let (selector, label) = label_values(variable);
            assert_eq!(label, name, "{path}");
            Query::parse(&interpolate(selector, &placeholders(&dashboard)));
        }
        for panel in dashboard.panels() {
            let location = format!("{path}: {}", panel.title());
            // panel-datasource-rule, panel-title-description-rule, panel-no-targets-rule, panel-units-rule
            assert_eq!(panel.json["datasource"], datasource_variable, "{location}");
            assert!(!panel.title().is_empty() && !string_field(panel.json, "description").is_empty(), "{location}");
            assert!(!panel.targets().is_empty(), "{location}");
            let units = panel.overrides().filter(|(id, _)| *id == "unit").map(|(_, unit)| unit.as_str().unwrap());
            for unit in units.chain([string_field(&panel.json["fieldConfig"]["defaults"], "unit")]) {
                assert!(UNITS.contains(&unit), "{location}: {unit}");
            }
            for target in panel.targets() {
                assert_eq!(target["datasource"], datasource_variable, "{location}");
            }
        }
        for query in dashboard.queries() {
            let location = format!("{path}: {query}");
            // target-promql-rule
            for selector in Query::parse(&interpolate(query, &placeholders(&dashboard))).selectors {
                // target-job-rule, target-instance-rule
                for label in ["job", "instance"] {
                    let matcher = (label.to_owned(), format!("any-{label}"));
                    assert!(selector.matchers.contains(&matcher), "{location}");
                }
                // target-rate-interval-rule
                if let Some((range, function)) = selector.range
                    && matches!(function, Some("rate" | "irate"))
                {
                    assert_eq!(range, Duration::from_secs(7777), "{location}");
                }
                // target-counter-agg-rule
                if selector.name.ends_with("_total") {
                    let function = selector.range.and_then(|(_, function)| function);
                    assert!(matches!(function, Some("rate" | "irate" | "increase")), "{location}");
                }
            }
        }
    }
}

/// Rules beyond those of dashboard-linter: unique ids, links and annotations on every dashboard, a grid
/// without overlaps or gaps, a text for missing data, and no sums over several currencies.
#[test]
fn dashboards_are_complete_and_consistent() {
    let mut uids = BTreeSet::new();
    for dashboard in shipped() {
        let path = &dashboard.path;
        let uid = string_field(&dashboard.json, "uid");
        assert_eq!(*path, format!("dashboards/{uid}.json"));
        assert!(uids.insert(uid.to_owned()));
        // The dashboards link to each other by their tag, keeping variables and time range.
        assert_eq!(dashboard.json["tags"], serde_json::json!(["tryvox"]));
        let link = &dashboard.json["links"][0];
        assert_eq!((&link["tags"], string_field(link, "type")), (&dashboard.json["tags"], "dashboards"));
        assert_eq!((&link["includeVars"], &link["keepTime"]), (&true.into(), &true.into()));
        let annotations: Vec<_> =
            dashboard.annotations().iter().map(|annotation| string_field(annotation, "name")).collect();
        assert_eq!(annotations, ["Exporter restart", "Configuration reload", "Mass change"], "{path}");

        let (mut occupied, mut ids) = (BTreeSet::new(), BTreeSet::new());
        let rows = dashboard.json["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] == "row");
        let panels = dashboard.panels();
        for panel in rows.chain(panels.iter().map(|panel| panel.json)) {
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{path}: {panel}");
            let grid_position = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
            let [x, y, w, h] = grid_position;
            assert!(x + w <= 24 && w >= 4 && (h >= 4 || panel["type"] == "row"), "{path}: {grid_position:?}");
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(occupied.insert(cell), "{path}: panels overlap at {cell:?}");
            }
        }
        // If as many cells are occupied as the grid has, there is no gap.
        let height = occupied.iter().map(|(_, y)| y).max().unwrap() + 1;
        assert_eq!(occupied.len() as u64, 24 * height, "{path}");
        for panel in &panels {
            let location = format!("{path}: {}", panel.title());
            assert!(!string_field(&panel.json["fieldConfig"]["defaults"], "noValue").is_empty(), "{location}");
            if let Some(variable) = panel.repeat_variable {
                assert!(panel.title().contains(&format!("${variable}")), "{location}");
            }
            // Amounts of different currencies are never summed: a query either groups by currency or belongs
            // to a row that is repeated per currency and selects that currency.
            for target in panel.targets() {
                let expr = string_field(target, "expr");
                let query = Query::parse(&interpolate(expr, &placeholders(&dashboard)));
                let keeps_currencies_apart = !expr.contains("sum") || query.labels.contains("currency");
                let is_repeated_per_currency = panel.repeat_variable == Some("currency");
                let currency_matcher = ("currency".to_owned(), "any-currency".to_owned());
                for selector in query.selectors.iter().filter(|selector| is_money(&selector.name)) {
                    let is_safe = if is_repeated_per_currency {
                        selector.matchers.contains(&currency_matcher)
                    } else {
                        keeps_currencies_apart
                    };
                    assert!(is_safe, "{location}: {expr}");
                }
            }
        }
    }
}

/// Returns whether the values of a family are amounts of money.
fn is_money(name: &str) -> bool {
    families().any(|family| family.name == name && family.labels.contains(&"currency"))
}

/// Alerts whose panel does not show the value that the alert compares with a threshold.
const ALERTS_WITHOUT_VALUE: [&str; 14] = [
    "TryvoxAccountMissing",
    "TryvoxConfigReloadFailed",
    "TryvoxDataStale",
    "TryvoxInvalidRecords",
    "TryvoxKeyRefused",
    "TryvoxListingInconsistent",
    "TryvoxNumbersRemoved",
    "TryvoxNumbersSuspended",
    "TryvoxPollFailing",
    "TryvoxRateLimited",
    "TryvoxShardsInconsistent",
    "TryvoxStateErrors",
    "TryvoxTargetDown",
    "TryvoxUnreadableFields",
];

/// Alerts that fire from one occurrence on, which is where the panel turns red.
const ALERTS_FROM_ONE: [&str; 3] = ["TryvoxShardMissing", "TryvoxWatchedNumberDown", "TryvoxWatchedNumberUnassigned"];

/// An alert that a panel's description names exists, and the panel turns red at its threshold.
#[test]
fn panels_turn_red_at_the_threshold_of_the_alert_they_name() {
    let rules = std::fs::read_to_string("alerts/tryvox.rules.yml").unwrap();
    let after = |text: &str| rules.split_once(text).unwrap_or_else(|| panic!("no {text}")).1;
    let mut checked = BTreeSet::new();
    for dashboard in shipped() {
        for panel in dashboard.panels() {
            for rest in string_field(panel.json, "description").split("Tryvox").skip(1) {
                let alert = format!("Tryvox{}", rest.split(|c: char| !c.is_alphanumeric()).next().unwrap());
                let expression = after(&format!("- alert: {alert}\n")).split("annotations:").next().unwrap();
                checked.insert(alert.clone());
                if ALERTS_WITHOUT_VALUE.contains(&&*alert) {
                    continue;
                }
                // The expression compares with a named threshold or with a literal.
                let threshold = match expression.split_once("account_name:tryvox_threshold:max{name=\"") {
                    _ if ALERTS_FROM_ONE.contains(&&*alert) => "1",
                    Some((_, rest)) => {
                        let name = rest.split('"').next().unwrap();
                        let default = after(&format!("labels: {{name: {name}}}"));
                        default.split("or on (account) ").nth(1).unwrap().split(' ').next().unwrap()
                    }
                    None => expression.rsplit("> ").next().unwrap().split_whitespace().next().unwrap(),
                };
                let steps = panel.json["fieldConfig"]["defaults"]["thresholds"]["steps"].as_array().unwrap();
                let red = steps.iter().find(|step| step["color"] == "red").unwrap();
                assert_eq!(red["value"].as_f64(), threshold.parse().ok(), "{}: {alert}", panel.title());
            }
        }
    }
    assert!(checked.len() >= 25, "panels name only {checked:?}");
}

/// The labels that have data links wherever a panel shows them.
const LINKED_LABELS: [&str; 4] = ["account", "e164", "instance", "owner"];

/// Values of accounts, numbers, owners and exporters link to dashboards that exist, and select them there by variables
/// that exist. `panels.rs` checks with data that the selection is right.
#[test]
fn data_links_lead_to_existing_dashboards_and_variables() {
    let dashboards = shipped();
    let mut followed = BTreeSet::new();
    for source in &dashboards {
        for panel in source.panels() {
            let is_table = panel.json["type"] == "table";
            let shown = if is_table { panel.columns() } else { panel.legend_labels() };
            let links = panel.data_links();
            for link in &links {
                let location = format!("{}: {}: {}", source.path, panel.title(), link.url);
                assert!(link.labels.is_subset(&shown), "{location}: {shown:?}");
                assert_eq!(link.url.contains("${__data.fields."), is_table, "{location}");
                let Some(uid) = link.uid else { continue };
                let target = dashboards.iter().find(|dashboard| dashboard.json["uid"] == uid);
                let target = target.unwrap_or_else(|| panic!("{location}: no dashboard {uid}"));
                assert!(link.url.ends_with("&${__url_time_range}"), "{location}");
                assert!(link.kept.contains("datasource"), "{location}");
                for name in &link.kept {
                    assert!(source.variable(name).is_some() && target.variable(name).is_some(), "{location}: {name}");
                }
                for (name, label) in &link.selected {
                    assert!(target.variable(name).is_some(), "{location}: {name}");
                    followed.insert((uid, *label));
                }
            }
            for label in LINKED_LABELS.iter().filter(|label| shown.contains(*label)) {
                assert!(
                    links.iter().any(|link| link.selected.values().any(|selected| selected == label)),
                    "{}: {}: values of {label} have no link",
                    source.path,
                    panel.title()
                );
            }
        }
    }
    let expected = [
        ("tryvox-costs", "account"),
        ("tryvox-costs", "owner"),
        ("tryvox-exporter", "account"),
        ("tryvox-exporter", "instance"),
        ("tryvox-numbers", "account"),
        ("tryvox-numbers", "e164"),
        ("tryvox-numbers", "owner"),
    ];
    assert_eq!(followed, expected.into());
}

/// Queries, legends and table columns use only metrics and labels that exist, and every metric is shown
/// on some dashboard.
#[test]
fn dashboards_query_only_existing_metrics_and_show_all_of_them() {
    let mut used = BTreeSet::new();
    for dashboard in shipped() {
        let variables = placeholders(&dashboard);
        let check = |query: &str| Query::parse(&interpolate(query, &variables)).known_labels(labels_of);
        for variable in dashboard.query_variables() {
            let (selector, label) = label_values(variable);
            assert!(check(selector).contains(label), "{selector} has no label {label}");
        }
        for annotation in dashboard.annotations() {
            check(string_field(annotation, "expr"));
        }
        for panel in dashboard.panels() {
            let mut fields = BTreeSet::new();
            for target in panel.targets() {
                let expr = string_field(target, "expr");
                let known = check(expr);
                for name in string_field(target, "legendFormat").split("{{").skip(1) {
                    let name = name.split("}}").next().unwrap();
                    assert!(known.contains(name), "{expr}: the legend uses the unknown label {name}");
                }
                used.extend(
                    Query::parse(&interpolate(expr, &variables)).selectors.into_iter().map(|selector| selector.name),
                );
                fields.extend(known);
                fields.insert(format!("Value #{}", string_field(target, "refId")));
            }
            if panel.targets().len() == 1 {
                fields.insert("Value".to_owned());
            }
            // Transformations select the columns of a table by label.
            for column in panel.columns() {
                assert!(fields.contains(column), "{}: unknown column {column}", panel.title());
            }
        }
    }
    for family in families() {
        let is_shown = used.contains(family.name) || used.contains(&format!("{}_bucket", family.name));
        let is_listed_as_unused = UNUSED.iter().any(|(name, _)| *name == family.name);
        assert!(
            is_shown != is_listed_as_unused,
            "{}: on a dashboard: {is_shown}, listed in UNUSED: {is_listed_as_unused}",
            family.name
        );
    }
}
