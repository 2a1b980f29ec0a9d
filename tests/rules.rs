//! The rules: good ones, each with its tests, its runbook, and nothing in them that is not there.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::process::Command;

use tryvox_exporter::metrics::families;

use crate::common::promql::{Query, labels_of};
use crate::docs::is_in_sync;

const RULES: &str = "alerts/tryvox.rules.yml";

/// Runs a checker of Debian's packages.
fn check(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|_| panic!("{program} is there: `make setup` installs it"));
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
}

fn tests() -> Vec<String> {
    let files = std::fs::read_dir("alerts/tests").unwrap().map(|file| file.unwrap().path().display().to_string());
    files.filter(|file| file.ends_with(".test.yml")).collect()
}

/// The names of all alerts, in the order of the file, each with its text up to the next.
fn alerts(rules: &str) -> Vec<(String, String)> {
    let parts = rules.split("- alert: ").skip(1);
    parts.map(|part| (part.lines().next().unwrap().to_owned(), part.to_owned())).collect()
}

#[test]
fn promtool_takes_the_rules_and_all_their_tests_pass() {
    check("promtool", &["check", "rules", RULES]);
    let tests = tests();
    assert!(tests.len() >= 3);
    let mut arguments = vec!["test", "rules"];
    arguments.extend(tests.iter().map(String::as_str));
    check("promtool", &arguments);
}

#[test]
fn each_alert_has_a_test_that_fires_and_one_that_nearly_does() {
    let tests: String = tests().iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let rules = std::fs::read_to_string(RULES).unwrap();
    let alerts = alerts(&rules);
    assert!(alerts.len() >= 17);
    for (name, _) in &alerts {
        assert!(
            tests.contains(&format!("alertname: {name}\n        exp_alerts:\n          - exp_labels:")),
            "{name} never fires"
        );
        assert!(tests.contains(&format!("alertname: {name}, exp_alerts: []}}")), "{name} is never near");
    }
    // What is tested is there.
    let known: BTreeSet<_> = alerts.iter().map(|(name, _)| name.as_str()).collect();
    for name in tests.split("alertname: ").skip(1).map(|rest| rest.split([',', '\n']).next().unwrap()) {
        assert!(known.contains(name), "{name}");
    }
}

#[test]
fn each_alert_says_whom_it_is_for_and_has_a_runbook() {
    let rules = std::fs::read_to_string(RULES).unwrap();
    let alerts = alerts(&rules);
    for (name, text) in &alerts {
        let labels = text.lines().find_map(|line| line.trim().strip_prefix("labels: ")).unwrap();
        assert!(
            ["critical", "warning", "info"].iter().any(|level| labels.contains(&format!("severity: {level}"))),
            "{name}"
        );
        assert!(["telecom", "finance", "sre"].iter().any(|team| labels.contains(&format!("team: {team}"))), "{name}");
        for part in ["summary: ", "description: ", &format!("docs/runbooks/{name}.md")] {
            assert!(text.contains(part), "{name}: no {part}");
        }
        let runbook = std::fs::read_to_string(format!("docs/runbooks/{name}.md")).unwrap();
        for part in [&format!("# {name}\n"), "## What it means\n\n", "## What to look at\n\n- ", "## What to do\n\n- "]
        {
            assert!(runbook.contains(part), "{name}: no {part}");
        }
    }
    let mut table = String::from("| alert | severity | team | |\n| --- | --- | --- | --- |\n");
    for (name, text) in &alerts {
        let value = |key: &str| text.split(key).nth(1).unwrap().split([',', '}']).next().unwrap().to_owned();
        let means = std::fs::read_to_string(format!("docs/runbooks/{name}.md")).unwrap();
        let means =
            means.split("## What it means\n\n").nth(1).unwrap().split("\n\n").next().unwrap().replace('\n', " ");
        let first = means.split_inclusive(['.', ':']).next().unwrap().trim_end_matches([':', '.']);
        let (severity, team) = (value("severity: "), value("team: "));
        writeln!(table, "| [{name}](runbooks/{name}.md) | {severity} | {team} | {first}. |").unwrap();
    }
    is_in_sync("docs/alerts.md", "alerts", &table);
    // No runbook is of an alert that is gone.
    let books = std::fs::read_dir("docs/runbooks").unwrap().count();
    assert_eq!(books, alerts.len());
}

/// Every expression of the rules.
fn expressions(rules: &str) -> Vec<String> {
    let rules: serde_json::Value = serde_saphyr::from_str(rules).unwrap();
    let groups = rules["groups"].as_array().unwrap().iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
    rules.map(|rule| rule["expr"].as_str().unwrap().to_owned()).collect()
}

/// The labels of what the rules record, which its name begins with, and of what users set.
fn recorded_labels(name: &str) -> Option<BTreeSet<String>> {
    let level = match name {
        "tryvox_threshold" | "account:tryvox_threshold" => "account_name",
        _ => name.split_once(':')?.0,
    };
    Some(level.split('_').chain(["job"]).map(str::to_owned).collect())
}

/// Every metric and label of the rules, and every metric of the runbooks, is one that the exporter has or
/// a rule records.
#[test]
fn the_rules_name_nothing_that_is_not_there() {
    let rules = std::fs::read_to_string(RULES).unwrap();
    let mut known: BTreeSet<String> = families().map(|family| family.name.to_owned()).collect();
    known.insert("tryvox_api_request_duration_seconds_bucket".to_owned());
    // What users may set.
    known.insert("tryvox_threshold".to_owned());
    known.extend(rules.split("- record: ").skip(1).map(|rest| rest.lines().next().unwrap().to_owned()));
    let expressions = expressions(&rules);
    assert!(expressions.len() >= 34);
    for expression in expressions {
        let query = Query::parse(&expression);
        query.known_labels(|name| {
            assert!(known.contains(name), "{expression}: {name} is no metric");
            labels_of(name).or_else(|| recorded_labels(name))
        });
    }
    let books = std::fs::read_dir("docs/runbooks").unwrap();
    let books: String = books.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    let words = books.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    let words = words.map(|word| word.trim_matches(':'));
    for word in words.filter(|word| word.starts_with("tryvox_") || word.contains(":tryvox_")) {
        assert!(known.contains(word), "{word} is no metric");
    }
}

/// The same rules for the Prometheus operator. `UPDATE_DOCS=1` writes them anew.
#[test]
fn the_operator_s_rules_are_the_same() {
    const PATH: &str = "alerts/prometheus-operator/tryvox.prometheusrule.yml";
    let rules = std::fs::read_to_string(RULES).unwrap();
    let body: String = rules
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") })
        .collect();
    let head = "# Made of ../tryvox.rules.yml; write there.\n\
        apiVersion: monitoring.coreos.com/v1\n\
        kind: PrometheusRule\n\
        metadata:\n  name: tryvox-exporter\n  labels:\n    app.kubernetes.io/name: tryvox-exporter\n\
        spec:\n";
    let made = format!("{head}{body}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(PATH, made).unwrap();
    } else {
        assert!(std::fs::read_to_string(PATH).unwrap() == made, "{PATH} is stale: UPDATE_DOCS=1 cargo test rules");
    }
}

#[test]
fn the_example_sends_costs_to_finance_and_suspensions_to_telecom() {
    const EXAMPLE: &str = "alerts/alertmanager.example.yml";
    check("amtool", &["check-config", EXAMPLE]);
    for (receiver, labels) in [
        ("finance", ["team=finance", "severity=warning"]),
        ("telecom", ["team=telecom", "severity=warning"]),
        ("telecom-on-call", ["team=telecom", "severity=critical"]),
        ("sre", ["team=sre", "severity=critical"]),
    ] {
        let verify = format!("--verify.receivers={receiver}");
        let mut arguments = vec!["config", "routes", "test", "--config.file", EXAMPLE, &verify];
        arguments.extend(labels);
        check("amtool", &arguments);
    }
}
