//! The Jsonnet mixin renders the shipped rules and dashboards, and adds a selector and thresholds to them.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};

use crate::common::dashboards::{
    Dashboard, interpolate, label_values, placeholders, read_files, shipped, string_field,
};
use crate::common::promql::Query;

/// Matchers for the tests, with characters that have a meaning in Jsonnet, Go templates and JSON.
const SELECTOR: &str = r#"cluster=~"a\\.b|50%",env!="test""#;

/// Evaluates a Jsonnet expression. Imports are relative to the repository.
fn evaluate(expression: &str) -> Value {
    let output = Command::new("jsonnet").args(["--jpath", ".", "--exec", expression]).output();
    let output = output.expect("jsonnet is not installed; run `make setup`");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Renders the mixin with changes to its configuration.
fn render(config: &str) -> Value {
    evaluate(&format!(
        "local mixin = (import 'mixin.libsonnet') + {{ _config+:: {config} }};\n\
         {{ alerts: mixin.prometheusAlerts, rules: mixin.prometheusRules, dashboards: mixin.grafanaDashboards }}"
    ))
}

/// Returns the files of rules in `alerts/` by name, as JSON.
pub(crate) fn rule_files() -> BTreeMap<String, Value> {
    let files = std::fs::read_dir("alerts").unwrap().map(|file| file.unwrap());
    let name = |file: &std::fs::DirEntry| file.file_name().into_string().unwrap();
    let files = files.map(|file| (name(&file), file.path())).filter(|(name, _)| name.ends_with(".rules.yml"));
    files.map(|(name, path)| (name, serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())).collect()
}

/// Returns the rules of all groups.
fn rules(file: &Value) -> Vec<&Value> {
    let groups = file["groups"].as_array().unwrap().iter();
    groups.flat_map(|group| group["rules"].as_array().unwrap()).collect()
}

#[test]
fn mixin_renders_the_shipped_files_by_default() {
    let rendered = render("{}");
    assert_eq!(rendered["alerts"], rule_files()["tryvox.rules.yml"]);
    assert_eq!(rendered["rules"], json!({"groups": []}));
    let dashboards = read_files("dashboards".as_ref()).into_iter();
    let dashboards = dashboards.map(|(name, text)| (name, serde_json::from_str(&text).unwrap())).collect();
    assert_eq!(rendered["dashboards"], Value::Object(dashboards));
}

#[test]
fn mixin_renders_every_file_of_rules_that_is_selected() {
    let files = rule_files();
    let names: Vec<_> = files.keys().collect();
    let rendered = render(&format!("{{ tryvoxRuleFiles: {names:?} }}"));
    let expected: Vec<_> = files.values().flat_map(|file| file["groups"].as_array().unwrap().clone()).collect();
    assert_eq!(rendered["alerts"]["groups"], Value::Array(expected));
}

/// Returns the text without the selector.
fn without_selector(text: &str, selector: &str) -> String {
    text.replace(&format!("{{{selector}}}"), "").replace(&format!("{{{selector},"), "{")
}

/// Asserts that every selector of a metric that is scraped has the matchers of [`SELECTOR`], and returns how many
/// there are.
fn count_selected(expression: &str) -> usize {
    let selectors = Query::parse(expression).selectors;
    let scraped =
        selectors.iter().filter(|selector| !selector.name.contains(':') && selector.name != "tryvox_threshold");
    let has_matcher = |name: &str, value: &str, matchers: &[(String, String)]| {
        matchers.contains(&(name.to_owned(), value.to_owned()))
    };
    let scraped: Vec<_> = scraped.collect();
    for selector in &scraped {
        let matchers = &selector.matchers;
        assert!(
            has_matcher("cluster", r"a\.b|50%", matchers) && has_matcher("env", "test", matchers),
            "{}: {expression}",
            selector.name
        );
    }
    scraped.len()
}

/// Returns the queries in a Go template.
fn template_queries(template: &str) -> Vec<String> {
    let calls = template.split("with printf \"").skip(1);
    // The first quote that is not escaped ends the format.
    let format = |rest: &str| {
        let escaped = rest.replace(r"\\", "\0").replace(r#"\""#, "\u{1}");
        let format = escaped.split('"').next().unwrap();
        format.replace("%q", r#""x""#).replace("%%", "%").replace('\u{1}', "\"").replace('\0', r"\")
    };
    calls.map(format).collect()
}

#[test]
fn mixin_adds_the_selector_to_every_metric_of_the_exporter() {
    let files = rule_files();
    let names: Vec<_> = files.keys().collect();
    let selector = serde_json::to_string(SELECTOR).unwrap();
    let rendered = render(&format!("{{ tryvoxSelector: {selector}, tryvoxRuleFiles: {names:?} }}"));

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), rendered["alerts"].to_string()).unwrap();
    let output = Command::new("promtool").args(["check", "rules"]).arg(file.path()).output();
    let output = output.expect("promtool is not installed; run `make setup`");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let in_template = SELECTOR.replace('\\', r"\\").replace('"', r#"\""#).replace('%', "%%");
    let (mut in_expressions, mut in_annotations) = (0, 0);
    let originals: Vec<_> = files.values().flat_map(rules).collect();
    let changed = rules(&rendered["alerts"]);
    assert_eq!(changed.len(), originals.len());
    for (rule, original) in changed.into_iter().zip(originals) {
        in_expressions += count_selected(string_field(rule, "expr"));
        let mut restored = rule.clone();
        restored["expr"] = without_selector(string_field(rule, "expr"), SELECTOR).into();
        for (name, text) in rule["annotations"].as_object().into_iter().flatten() {
            in_annotations +=
                template_queries(text.as_str().unwrap()).iter().map(|query| count_selected(query)).sum::<usize>();
            restored["annotations"][name] = without_selector(text.as_str().unwrap(), &in_template).into();
        }
        assert_eq!(restored, *original);
    }
    assert!(in_expressions > 50 && in_annotations > 6, "{in_expressions}, {in_annotations}");

    let mut in_dashboards = 0;
    for original in shipped() {
        let name = original.path.strip_prefix("dashboards/").unwrap();
        let dashboard = Dashboard { json: rendered["dashboards"][name].clone(), path: original.path.clone() };
        let variables = placeholders(&dashboard);
        let selectors = dashboard.query_variables().into_iter().map(|variable| label_values(variable).0);
        for query in dashboard.queries().into_iter().chain(selectors) {
            in_dashboards += count_selected(&interpolate(query, &variables));
        }
        // In JSON the quotes and backslashes of the selector are escaped.
        let restored = without_selector(&dashboard.json.to_string(), &selector[1..selector.len() - 1]);
        assert_eq!(serde_json::from_str::<Value>(&restored).unwrap(), original.json, "{name}");
    }
    assert!(in_dashboards > 200, "{in_dashboards}");
}

#[test]
fn mixin_sets_thresholds_and_addresses_of_runbooks() {
    let names: Vec<_> = rules(&rule_files()["tryvox.rules.yml"])
        .into_iter()
        .filter(|rule| rule["record"] == "account_name:tryvox_threshold:max")
        .map(|rule| string_field(&rule["labels"], "name").to_owned())
        .collect();
    assert!(names.len() >= 7);
    let thresholds: Vec<_> = names.iter().enumerate().map(|(index, name)| format!("{name}: {index}.125")).collect();
    let rendered = render(&format!(
        "{{ tryvoxThresholds+: {{ {} }}, tryvoxRunbookURLPattern: 'https://wiki.example/%s' }}",
        thresholds.join(", ")
    ));
    for rule in rules(&rendered["alerts"]) {
        if let Some(index) = names.iter().position(|name| rule["labels"]["name"] == **name) {
            let expected = format!(
                "max by (account) (tryvox_threshold{{name=\"{}\"}}) or on (account) {index}.125 * group by (account) (tryvox_up)",
                names[index]
            );
            assert_eq!(rule["expr"], expected);
        }
        if let Some(alert) = rule["alert"].as_str() {
            assert_eq!(rule["annotations"]["runbook_url"], format!("https://wiki.example/{alert}"));
        }
    }
}

#[test]
fn examples_in_the_documentation_render() {
    let text = std::fs::read_to_string("docs/mixin.md").unwrap();
    let text = text.replace("github.com/tryvox-exporter/tryvox-exporter/mixin.libsonnet", "mixin.libsonnet");
    let blocks: Vec<_> = text.split("```jsonnet\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let [configured, changed] = *blocks else { panic!("{} examples", blocks.len()) };
    let configured = evaluate(&format!("({configured}).prometheusAlerts"));
    let by_name = |file: &Value, key: &str, name: &str| -> Value {
        let rules = rules(file);
        (*rules.iter().find(|rule| rule[key] == name || rule["labels"]["name"] == name).unwrap()).clone()
    };
    assert_eq!(
        by_name(&configured, "alert", "TryvoxExporterAbsent")["expr"],
        r#"absent(tryvox_exporter_build_info{job="tryvox"})"#
    );
    let threshold = by_name(&configured, "record", "mass_suspension_ratio");
    assert!(string_field(&threshold, "expr").contains(" 0.2 * "), "{threshold}");
    let changed = evaluate(&format!("({changed}).prometheusAlerts"));
    assert_eq!(by_name(&changed, "alert", "TryvoxPollSlow")["labels"], json!({"severity": "info", "team": "sre"}));
    assert_eq!(rules(&changed).len(), rules(&rule_files()["tryvox.rules.yml"]).len());
}
