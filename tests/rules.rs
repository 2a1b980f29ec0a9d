//! Static checks of the alerting rules: each alert has unit tests and a runbook, and the rules use only
//! metrics and labels that exist. `alerting.rs` runs them end to end.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::process::Command;

use tryvox_exporter::metrics::families;

use crate::common::promql::{Query, labels_of};
use crate::common::release::Release;
use crate::docs::assert_in_sync;
use crate::mixin::rule_files;

const RULES: &str = "alerts/tryvox.rules.yml";
/// Optional rules.
const ANOMALY_RULES: &str = "alerts/tryvox-anomalies.rules.yml";
const ALL_RULES: [&str; 2] = [RULES, ANOMALY_RULES];

/// Returns the text of all rules.
fn all_rules() -> String {
    ALL_RULES.map(|path| std::fs::read_to_string(path).unwrap()).concat()
}

/// Returns the paths of the unit tests of the rules.
fn test_files() -> Vec<String> {
    let files = std::fs::read_dir("alerts/tests").unwrap().map(|file| file.unwrap().path().display().to_string());
    files.filter(|file| file.ends_with(".test.yml")).collect()
}

/// Returns the name of each alert and its text up to the next one, in the order of the file.
fn alerts(rules: &str) -> Vec<(String, String)> {
    let parts = rules.split("- alert: ").skip(1);
    parts.map(|part| (part.lines().next().unwrap().to_owned(), part.to_owned())).collect()
}

fn run_unit_tests(release: Release) {
    for rules in ALL_RULES {
        release.run("promtool", &["check", "rules", rules]);
    }
    let tests = test_files();
    assert!(tests.len() >= 4);
    let mut arguments = vec!["test", "rules"];
    arguments.extend(tests.iter().map(String::as_str));
    release.run("promtool", &arguments);
}

#[test]
fn rules_are_valid_and_their_unit_tests_pass_with_prometheus_2() {
    run_unit_tests(Release::Oldest);
}

#[test]
fn rules_are_valid_and_their_unit_tests_pass_with_prometheus_3() {
    run_unit_tests(Release::Newest);
}

/// The tests of the optional rules are about weeks and evaluate the rules every hour, but vmalert uses recorded samples
/// only from the next evaluation on, and only if they are less than five minutes old.
#[test]
fn unit_tests_of_the_rules_pass_with_victoria_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let mut vmalert = Command::new(Release::Newest.program("vmalert-tool"));
    vmalert.env("TMPDIR", folder.path()).args(["unittest", "--disableAlertgroupLabel"]);
    let tests = test_files();
    let tests: Vec<_> = tests.iter().filter(|test| !test.contains("anomalies")).collect();
    assert_eq!(tests.len(), test_files().len() - 1);
    let output = vmalert.args(tests.iter().map(|test| format!("--files={test}"))).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}");
    for test in tests {
        assert!(printed.contains(&**test), "{test} did not run: {printed}");
    }
}

/// Groups are evaluated in any order, and recorded series of a later rule are those of the previous evaluation.
#[test]
fn rules_use_only_earlier_rules_of_their_group() {
    let recorded_by = |rule: &serde_json::Value| Some(rule.get("record")?.as_str().unwrap().to_owned());
    let mut uses = 0;
    for path in ALL_RULES {
        let rules: serde_json::Value = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let groups = rules["groups"].as_array().unwrap();
        let recorded: BTreeSet<String> =
            groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).filter_map(recorded_by).collect();
        for group in groups {
            let rules = group["rules"].as_array().unwrap();
            for (position, rule) in rules.iter().enumerate() {
                let last_recorded =
                    |name: &str| rules.iter().rposition(|rule| recorded_by(rule).as_deref() == Some(name));
                let mut texts = vec![rule["expr"].as_str().unwrap()];
                for annotation in ["summary", "description"] {
                    texts.extend(rule["annotations"][annotation].as_str());
                }
                for name in texts.iter().flat_map(|text| words(text)).filter(|word| recorded.contains(*word)) {
                    let is_earlier = last_recorded(name).is_some_and(|recording| recording < position);
                    assert!(is_earlier, "{path}: {rule} uses {name}, which is not recorded before it in its group");
                    uses += 1;
                }
            }
        }
    }
    assert!(uses >= 50, "only {uses} uses of recorded metrics");
}

#[test]
fn every_alert_has_a_unit_test_that_fires_and_one_that_does_not() {
    let tests: String = test_files().iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let rules = all_rules();
    let alerts = alerts(&rules);
    assert!(alerts.len() >= 17);
    for (name, _) in &alerts {
        assert!(
            tests.contains(&format!("alertname: {name}\n        exp_alerts:\n          - exp_labels:")),
            "no test in which {name} fires"
        );
        assert!(
            tests.contains(&format!("alertname: {name}, exp_alerts: []}}")),
            "no test in which {name} does not fire"
        );
    }
    // The tests name no other alerts.
    let known: BTreeSet<_> = alerts.iter().map(|(name, _)| name.as_str()).collect();
    for name in tests.split("alertname: ").skip(1).map(|rest| rest.split([',', '\n']).next().unwrap()) {
        assert!(known.contains(name), "{name}");
    }
}

#[test]
fn every_alert_has_a_severity_a_team_and_a_runbook() {
    let rules = all_rules();
    let alerts = alerts(&rules);
    for (name, text) in &alerts {
        let labels = text.lines().find_map(|line| line.trim().strip_prefix("labels: ")).unwrap();
        assert!(
            ["critical", "warning", "info"].iter().any(|severity| labels.contains(&format!("severity: {severity}"))),
            "{name}"
        );
        assert!(["telecom", "finance", "sre"].iter().any(|team| labels.contains(&format!("team: {team}"))), "{name}");
        for part in ["summary: ", "description: ", &format!("docs/runbooks/{name}.md")] {
            assert!(text.contains(part), "{name}: no {part}");
        }
        let runbook = std::fs::read_to_string(format!("docs/runbooks/{name}.md")).unwrap();
        let headings: Vec<_> = runbook.lines().filter(|line| line.starts_with('#')).collect();
        let expected = [&format!("# {name}"), "## Meaning", "## Impact", "## Diagnosis", "## Mitigation"];
        assert_eq!(headings, expected, "{name}");
        let mitigation = runbook.split("## Mitigation\n").nth(1).unwrap();
        let recovery = mitigation.split("\n\nRecovery: ").nth(1).unwrap_or_else(|| panic!("{name}: no recovery"));
        assert!(recovery.contains("tryvox_") && recovery.contains("The alert resolves"), "{name}: {recovery}");
    }
    // No runbook is left over from a removed alert.
    let runbooks = std::fs::read_dir("docs/runbooks").unwrap().count();
    assert_eq!(runbooks, alerts.len());
    assert_in_sync("docs/alerts.md", "alerts", &alert_table(RULES));
    assert_in_sync("docs/alerts.md", "anomalies", &alert_table(ANOMALY_RULES));
}

/// Returns the table of the alerts in a file of rules.
fn alert_table(path: &str) -> String {
    let mut table = String::from("| alert | severity | team | meaning |\n| --- | --- | --- | --- |\n");
    for (name, text) in alerts(&std::fs::read_to_string(path).unwrap()) {
        let value = |key: &str| text.split(key).nth(1).unwrap().split([',', '}']).next().unwrap().to_owned();
        let runbook = std::fs::read_to_string(format!("docs/runbooks/{name}.md")).unwrap();
        let meaning = runbook.split("## Meaning\n\n").nth(1).unwrap().split("\n\n").next().unwrap().replace('\n', " ");
        let first_sentence = meaning.split_inclusive(['.', ':']).next().unwrap().trim_end_matches([':', '.']);
        let (severity, team) = (value("severity: "), value("team: "));
        writeln!(table, "| [{name}](runbooks/{name}.md) | {severity} | {team} | {first_sentence}. |").unwrap();
    }
    table
}

/// Returns the `PromQL` expression of every rule in a file.
fn expressions(path: &str) -> Vec<String> {
    let rules: serde_json::Value = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let groups = rules["groups"].as_array().unwrap().iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
    rules.map(|rule| rule["expr"].as_str().unwrap().to_owned()).collect()
}

/// Returns the words of a text that may be names of metrics.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    words.map(|word| word.trim_matches(':'))
}

/// Returns the labels of a recorded metric, which are the part of its name before the first colon, and of the
/// thresholds, which users may set.
fn recorded_labels(name: &str) -> Option<BTreeSet<String>> {
    let level = match name {
        "tryvox_threshold" => "account_name",
        _ => name.split_once(':')?.0,
    };
    Some(level.split('_').chain(["job"]).map(str::to_owned).collect())
}

/// Returns the queries in the fenced `promql` blocks of the runbooks.
fn runbook_queries(runbooks: &str) -> Vec<&str> {
    runbooks.split("```promql\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// Metrics and labels in the rules and in the queries of the runbooks, and metrics in annotations and in the
/// text of the runbooks, belong to the exporter or are recorded by a rule.
#[test]
fn rules_and_runbooks_use_only_existing_metrics() {
    let rules = all_rules();
    let mut known: BTreeSet<String> = families().map(|family| family.name.to_owned()).collect();
    known.insert("tryvox_api_request_duration_seconds_bucket".to_owned());
    // Set by users.
    known.insert("tryvox_threshold".to_owned());
    known.extend(rules.split("- record: ").skip(1).map(|rest| rest.lines().next().unwrap().to_owned()));
    let check = |expression: &str| {
        let query = Query::parse(expression);
        query.known_labels(|name| {
            assert!(known.contains(name) || name == "up", "{expression}: {name} does not exist");
            labels_of(name).or_else(|| recorded_labels(name))
        });
    };
    let expressions = ALL_RULES.map(expressions).concat();
    assert!(expressions.len() >= 34);
    let runbooks = std::fs::read_dir("docs/runbooks").unwrap();
    let runbooks: String = runbooks.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    let queries = runbook_queries(&runbooks);
    assert!(queries.len() >= 50);
    for query in expressions.iter().map(String::as_str).chain(queries) {
        check(query);
    }
    let texts = rules + &runbooks;
    for word in words(&texts).filter(|word| word.starts_with("tryvox_") || word.contains(":tryvox_")) {
        assert!(known.contains(word), "{word} does not exist");
    }
}

/// If the variable `UPDATE_DOCS` is set, updates the file instead.
#[test]
fn prometheus_operator_rules_are_up_to_date() {
    for (rules, name) in [(RULES, "tryvox-exporter"), (ANOMALY_RULES, "tryvox-exporter-anomalies")] {
        assert_operator_rules_are_up_to_date(rules, name);
    }
}

/// `name` is that of the Kubernetes object.
fn assert_operator_rules_are_up_to_date(rules: &str, name: &str) {
    let path = rules.replace("alerts/", "alerts/prometheus-operator/").replace(".rules.yml", ".prometheusrule.yml");
    let source = rules.replace("alerts/", "");
    let rules = std::fs::read_to_string(rules).unwrap();
    let body: String = rules
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") })
        .collect();
    let head = format!(
        "# Generated from ../{source}; do not edit.\n\
         apiVersion: monitoring.coreos.com/v1\n\
         kind: PrometheusRule\n\
         metadata:\n  name: {name}\n  labels:\n    app.kubernetes.io/name: tryvox-exporter\n\
         spec:\n"
    );
    let generated = format!("{head}{body}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, generated).unwrap();
    } else {
        assert!(
            std::fs::read_to_string(&path).unwrap() == generated,
            "{path} is out of date; run UPDATE_DOCS=1 cargo test rules"
        );
    }
}

/// If the variable `UPDATE_DOCS` is set, updates the file instead.
#[test]
fn rules_of_the_mixin_are_up_to_date() {
    const PATH: &str = "alerts/rules.json";
    let generated = serde_json::to_string_pretty(&rule_files()).unwrap() + "\n";
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(PATH, generated).unwrap();
    } else {
        let is_up_to_date = std::fs::read_to_string(PATH).unwrap() == generated;
        assert!(is_up_to_date, "{PATH} is out of date; run UPDATE_DOCS=1 cargo test rules");
    }
}

#[test]
fn alertmanager_example_routes_alerts_by_team_and_severity() {
    const EXAMPLE: &str = "alerts/alertmanager.example.yml";
    for release in Release::ALL {
        release.run("amtool", &["check-config", EXAMPLE]);
    }
    for (receiver, labels) in [
        ("finance", ["team=finance", "severity=warning"]),
        ("telecom", ["team=telecom", "severity=warning"]),
        ("telecom-on-call", ["team=telecom", "severity=critical"]),
        ("sre", ["team=sre", "severity=critical"]),
    ] {
        let verify = format!("--verify.receivers={receiver}");
        let mut arguments = vec!["config", "routes", "test", "--config.file", EXAMPLE, &verify];
        arguments.extend(labels);
        for release in Release::ALL {
            release.run("amtool", &arguments);
        }
    }
}
