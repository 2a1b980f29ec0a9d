//! The dashboards: what the code writes, what Grafana reads, and no panel without data.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use tryvox_exporter::metrics::families;

use crate::common::dashboards::{Dashboard, Values, all, fill, label_values, read, text, tool};
use crate::common::promql::{Query, labels_of};

/// Families that no dashboard shows, each with its reason.
const UNUSED: [(&str, &str); 0] = [];

/// The JSON is what the typed code makes of itself. `make dashboards` writes it anew.
#[test]
fn they_are_what_the_code_writes() {
    let folder = tempfile::tempdir().unwrap();
    let output = tool("source/main.mjs", &[folder.path().to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let same = read(folder.path()) == read(Path::new("dashboards"));
    assert!(same, "the dashboards are stale: make dashboards");
}

/// Grafana's published types know all that is in them; and the check sees what they do not.
#[test]
fn grafana_s_schema_takes_them() {
    let check = |files: &[&str]| {
        let output = tool("schema/check.mjs", files);
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let paths: Vec<_> = all().into_iter().map(|dashboard| format!("../../{}", dashboard.path)).collect();
    let (good, said) = check(&paths.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(good, "{said}");

    let good = std::fs::read_to_string("dashboards/tryvox-numbers.json").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.json");
    for (right, wrong) in [
        (r#""colorMode": "background""#, r#""colorMode": "loud""#),
        (r#""drawStyle": "bars""#, r#""drawStyl": "bars""#),
        (r#""refresh": 2"#, r#""refresh": 7"#),
        (r#""instant": true"#, r#""instant": "yes""#),
        (r#""type": "geomap""#, r#""type": "globe""#),
        (r#""schemaVersion": 38"#, r#""schemaVersion": "38""#),
    ] {
        assert!(good.contains(right), "{right}");
        std::fs::write(&file, good.replace(right, wrong)).unwrap();
        let (passed, said) = check(&[file.to_str().unwrap()]);
        assert!(!passed && said.contains("bad.json"), "{wrong}: {said}");
    }
}

/// Values that no query holds otherwise, so that what was a variable can still be told.
fn placeholders(dashboard: &Dashboard) -> Values {
    let mut values: Values = [("__rate_interval", "7777s"), ("__range", "9999s"), ("__to:date:seconds", "1")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    values.extend(dashboard.query_variables().iter().map(|one| {
        let name = text(one, "name");
        (name.to_owned(), format!("any-{name}"))
    }));
    values
}

/// The units that the panels may have: those of <https://github.com/grafana/dashboard-linter> that are
/// needed here.
const UNITS: [&str; 9] =
    ["bool_yes_no", "bytes", "dateTimeAsIso", "locale", "none", "percentunit", "reqps", "s", "string"];

/// The rules of Grafana's dashboard-linter, none left out, for all panels and not just for those kinds
/// that it looks at.
#[test]
fn the_linter_s_rules_hold() {
    let ours = serde_json::json!({"type": "prometheus", "uid": "${datasource}"});
    for dashboard in all() {
        let path = &dashboard.path;
        // uneditable-dashboard
        assert_eq!(dashboard.json["editable"], false, "{path}");
        // template-datasource-rule
        let datasource = dashboard.variable("datasource").unwrap();
        assert_eq!((text(datasource, "type"), text(datasource, "query")), ("datasource", "prometheus"), "{path}");
        assert_eq!(text(datasource, "label"), "Data source", "{path}");
        // template-job-rule, template-instance-rule, template-label-promql-rule, template-on-time-change-reload-rule
        assert!(dashboard.variable("job").is_some() && dashboard.variable("instance").is_some(), "{path}");
        for variable in dashboard.query_variables() {
            let name = text(variable, "name");
            assert_eq!(variable["datasource"], ours, "{path}: {name}");
            assert_eq!(text(variable, "label").to_lowercase(), name, "{path}");
            assert_eq!((&variable["multi"], &variable["includeAll"]), (&true.into(), &true.into()), "{path}: {name}");
            assert_eq!(text(variable, "allValue"), ".+", "{path}: {name}");
            assert_eq!(variable["refresh"], 2, "{path}: {name}");
            let (selector, label) = label_values(variable);
            assert_eq!(label, name, "{path}");
            Query::parse(&fill(selector, &placeholders(&dashboard)));
        }
        for panel in dashboard.panels() {
            let place = format!("{path}: {}", panel.title());
            // panel-datasource-rule, panel-title-description-rule, panel-no-targets-rule, panel-units-rule
            assert_eq!(panel.json["datasource"], ours, "{place}");
            assert!(!panel.title().is_empty() && !text(panel.json, "description").is_empty(), "{place}");
            assert!(!panel.targets().is_empty(), "{place}");
            let units = panel.overrides().filter(|(id, _)| *id == "unit").map(|(_, unit)| unit.as_str().unwrap());
            for unit in units.chain([text(&panel.json["fieldConfig"]["defaults"], "unit")]) {
                assert!(UNITS.contains(&unit), "{place}: {unit}");
            }
            for target in panel.targets() {
                assert_eq!(target["datasource"], ours, "{place}");
            }
        }
        for query in dashboard.queries() {
            let place = format!("{path}: {query}");
            // target-promql-rule
            for selector in Query::parse(&fill(query, &placeholders(&dashboard))).selectors {
                // target-job-rule, target-instance-rule
                for label in ["job", "instance"] {
                    let matcher = (label.to_owned(), format!("any-{label}"));
                    assert!(selector.matchers.contains(&matcher), "{place}");
                }
                // target-rate-interval-rule
                if let Some((range, function)) = selector.range
                    && matches!(function, Some("rate" | "irate"))
                {
                    assert_eq!(range, Duration::from_secs(7777), "{place}");
                }
                // target-counter-agg-rule
                if selector.name.ends_with("_total") {
                    let function = selector.range.and_then(|(_, function)| function);
                    assert!(matches!(function, Some("rate" | "irate" | "increase")), "{place}");
                }
            }
        }
    }
}

/// What the linter does not ask for and a reader does.
#[test]
fn every_panel_is_whole_and_has_its_place() {
    let mut uids = BTreeSet::new();
    for dashboard in all() {
        let path = &dashboard.path;
        let uid = text(&dashboard.json, "uid");
        assert_eq!(*path, format!("dashboards/{uid}.json"));
        assert!(uids.insert(uid.to_owned()));
        // All three know each other by their tag, and take variables and time along.
        assert_eq!(dashboard.json["tags"], serde_json::json!(["tryvox"]));
        let link = &dashboard.json["links"][0];
        assert_eq!((&link["tags"], text(link, "type")), (&dashboard.json["tags"], "dashboards"));
        assert_eq!((&link["includeVars"], &link["keepTime"]), (&true.into(), &true.into()));
        let annotations: Vec<_> = dashboard.annotations().iter().map(|one| text(one, "name")).collect();
        assert_eq!(annotations, ["Restart", "Reload", "Mass change"], "{path}");

        let (mut taken, mut ids) = (BTreeSet::new(), BTreeSet::new());
        let rows = dashboard.json["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] == "row");
        let panels = dashboard.panels();
        let inside = panels.iter().map(|panel| panel.json);
        for panel in rows.chain(inside.clone()) {
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{path}: {panel}");
            let place = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
            let [x, y, w, h] = place;
            assert!(x + w <= 24 && w >= 4 && (h >= 4 || panel["type"] == "row"), "{path}: {place:?}");
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(taken.insert(cell), "{path}: two panels at {cell:?}");
            }
        }
        // No gap in the grid either.
        let depth = taken.iter().map(|(_, y)| y).max().unwrap() + 1;
        assert_eq!(taken.len() as u64, 24 * depth, "{path}");
        for panel in &panels {
            let place = format!("{path}: {}", panel.title());
            assert!(!text(&panel.json["fieldConfig"]["defaults"], "noValue").is_empty(), "{place}");
            if let Some(variable) = panel.repeated {
                assert!(panel.title().contains(&format!("${variable}")), "{place}");
            }
            // No sum of money is over several currencies: it keeps them apart, or is of a row for one.
            for target in panel.targets() {
                let expr = text(target, "expr");
                let query = Query::parse(&fill(expr, &placeholders(&dashboard)));
                let apart = !expr.contains("sum") || query.labels.contains("currency");
                let one = panel.repeated == Some("currency");
                let chosen = ("currency".to_owned(), "any-currency".to_owned());
                for selector in query.selectors.iter().filter(|selector| is_money(&selector.name)) {
                    assert!(if one { selector.matchers.contains(&chosen) } else { apart }, "{place}: {expr}");
                }
            }
        }
    }
}

/// Whether a family is of amounts in a currency.
fn is_money(name: &str) -> bool {
    families().any(|family| family.name == name && family.labels.contains(&"currency"))
}

/// Where a panel says that an alert fires, the alert is there, and fires where the panel turns red.
#[test]
fn red_is_where_the_alert_fires() {
    let rules = std::fs::read_to_string("alerts/tryvox.rules.yml").unwrap();
    let part = |from: &str| rules.split_once(from).unwrap_or_else(|| panic!("no {from}")).1;
    let mut named = 0;
    for dashboard in all() {
        for panel in dashboard.panels() {
            let Some((_, rest)) = text(panel.json, "description").split_once("Tryvox") else { continue };
            let alert = format!("Tryvox{}", rest.split(|c: char| !c.is_alphanumeric()).next().unwrap());
            let expression = part(&format!("- alert: {alert}\n")).split("annotations:").next().unwrap();
            // It compares with a threshold of a name, or with a number of its own.
            let limit = match expression.split_once("account:tryvox_threshold{name=\"") {
                Some((_, rest)) => {
                    let name = rest.split('"').next().unwrap();
                    let default = part(&format!("labels: {{name: {name}}}"));
                    default.split("or on (account) ").nth(1).unwrap().split(' ').next().unwrap()
                }
                None => expression.rsplit("> ").next().unwrap().split_whitespace().next().unwrap(),
            };
            let steps = panel.json["fieldConfig"]["defaults"]["thresholds"]["steps"].as_array().unwrap();
            let red = steps.iter().find(|step| step["color"] == "red").unwrap();
            assert_eq!(red["value"].as_f64(), limit.parse().ok(), "{}: {alert}", panel.title());
            named += 1;
        }
    }
    assert!(named >= 8, "{named} panels");
}

/// Metrics and labels are ones that the exporter has, and it has none that no dashboard shows.
#[test]
fn they_name_what_there_is_and_all_of_it() {
    let mut used = BTreeSet::new();
    for dashboard in all() {
        let values = placeholders(&dashboard);
        let check = |text: &str| Query::parse(&fill(text, &values)).known_labels(labels_of);
        for variable in dashboard.query_variables() {
            let (selector, label) = label_values(variable);
            assert!(check(selector).contains(label), "{selector} has no {label}");
        }
        for annotation in dashboard.annotations() {
            check(text(annotation, "expr"));
        }
        for panel in dashboard.panels() {
            let mut fields = BTreeSet::new();
            for target in panel.targets() {
                let expr = text(target, "expr");
                let known = check(expr);
                for name in text(target, "legendFormat").split("{{").skip(1) {
                    let name = name.split("}}").next().unwrap();
                    assert!(known.contains(name), "{expr}: no {name} for its legend");
                }
                used.extend(Query::parse(&fill(expr, &values)).selectors.into_iter().map(|selector| selector.name));
                fields.extend(known);
                fields.insert(format!("Value #{}", text(target, "refId")));
            }
            if panel.targets().len() == 1 {
                fields.insert("Value".to_owned());
            }
            // The columns of a table.
            for transformation in panel.json["transformations"].as_array().into_iter().flatten() {
                for column in transformation["options"]["include"]["names"].as_array().into_iter().flatten() {
                    assert!(fields.contains(column.as_str().unwrap()), "{}: no {column}", panel.title());
                }
            }
        }
    }
    for family in families() {
        let shown = used.contains(family.name) || used.contains(&format!("{}_bucket", family.name));
        let unused = UNUSED.iter().any(|(name, _)| *name == family.name);
        assert!(shown != unused, "{}: in a dashboard: {shown}, said to be in none: {unused}", family.name);
    }
}
