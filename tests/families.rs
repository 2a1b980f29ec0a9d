//! The metric families are a stable interface: each has exactly the name, type and labels listed here,
//! and strict parsers accept the exposition.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::timeout;

use crate::common::accounts::ConfigFile;
use crate::common::{KEY, Scrape, ServerProcess, TEST_TIMEOUT, http, seed};
use tryvox_exporter::metrics::{Family, Format, INVENTORY, families};

/// Name, type and labels of every family. Written by hand, so that a change of the interface is deliberate. The type is
/// that of `OpenMetrics`; in the text format, info families are gauges.
const EXPECTED_FAMILIES: &[(&str, &str, &[&str])] = &[
    ("tryvox_numbers", "gauge", &["account", "country", "type", "status"]),
    ("tryvox_monthly_fees", "gauge", &["account", "country", "type", "status", "currency"]),
    ("tryvox_setup_fees", "gauge", &["account", "country", "type", "status", "currency"]),
    ("tryvox_capability_numbers", "gauge", &["account", "capability", "status"]),
    ("tryvox_assignment_numbers", "gauge", &["account", "assignment", "status"]),
    ("tryvox_assignment_monthly_fees", "gauge", &["account", "assignment", "status", "currency"]),
    ("tryvox_region_numbers", "gauge", &["account", "country", "region", "status"]),
    ("tryvox_region_monthly_fees", "gauge", &["account", "country", "region", "status", "currency"]),
    ("tryvox_trunk_numbers", "gauge", &["account", "trunk_id", "status"]),
    ("tryvox_trunk_monthly_fees", "gauge", &["account", "trunk_id", "status", "currency"]),
    ("tryvox_application_numbers", "gauge", &["account", "application_id", "status"]),
    ("tryvox_application_monthly_fees", "gauge", &["account", "application_id", "status", "currency"]),
    ("tryvox_owner_numbers", "gauge", &["account", "owner", "status"]),
    ("tryvox_owner_monthly_fees", "gauge", &["account", "owner", "status", "currency"]),
    ("tryvox_watched_number_status", "gauge", &["account", "e164", "name", "status"]),
    ("tryvox_watched_number_assigned", "gauge", &["account", "e164", "name"]),
    ("tryvox_oldest_update_timestamp_seconds", "gauge", &["account", "status"]),
    ("tryvox_newest_creation_timestamp_seconds", "gauge", &["account"]),
    (
        "tryvox_number_info",
        "info",
        &["account", "e164", "country", "type", "region", "status", "trunk_id", "application_id"],
    ),
    ("tryvox_number_monthly_fee", "gauge", &["account", "e164", "currency"]),
    ("tryvox_number_updated_timestamp_seconds", "gauge", &["account", "e164"]),
    ("tryvox_number_created_timestamp_seconds", "gauge", &["account", "e164"]),
    ("tryvox_number_series_truncated", "gauge", &["account"]),
    ("tryvox_listed_numbers", "gauge", &["account"]),
    ("tryvox_reported_numbers", "gauge", &["account"]),
    ("tryvox_invalid_records", "gauge", &["account"]),
    ("tryvox_unreadable_fields", "gauge", &["account", "field"]),
    ("tryvox_numbers_added_total", "counter", &["account"]),
    ("tryvox_numbers_removed_total", "counter", &["account"]),
    ("tryvox_number_status_changes_total", "counter", &["account", "from", "to"]),
    ("tryvox_number_fee_changes_total", "counter", &["account", "direction"]),
    ("tryvox_number_assignment_changes_total", "counter", &["account"]),
    ("tryvox_monthly_fees_added_total", "counter", &["account", "currency", "cause"]),
    ("tryvox_monthly_fees_removed_total", "counter", &["account", "currency", "cause"]),
    ("tryvox_up", "gauge", &["account"]),
    ("tryvox_polls_total", "counter", &["account"]),
    ("tryvox_poll_errors_total", "counter", &["account", "reason"]),
    ("tryvox_last_poll_timestamp_seconds", "gauge", &["account"]),
    ("tryvox_last_success_timestamp_seconds", "gauge", &["account"]),
    ("tryvox_last_poll_duration_seconds", "gauge", &["account"]),
    ("tryvox_last_poll_pages", "gauge", &["account"]),
    ("tryvox_poll_interval_seconds", "gauge", &["account"]),
    ("tryvox_monthly_budget", "gauge", &["account", "currency"]),
    ("tryvox_api_requests_total", "counter", &["account", "code"]),
    ("tryvox_api_request_duration_seconds", "histogram", &["account"]),
    ("tryvox_api_retries_total", "counter", &["account", "reason"]),
    ("tryvox_exporter_build_info", "info", &["version", "revision", "rustc", "target"]),
    ("tryvox_exporter_config_last_reload_successful", "gauge", &[]),
    ("tryvox_exporter_config_last_reload_success_timestamp_seconds", "gauge", &[]),
    ("tryvox_exporter_shard_ordinal", "gauge", &[]),
    ("tryvox_exporter_total_shards", "gauge", &[]),
    ("tryvox_exporter_state_errors_total", "counter", &[]),
    ("tryvox_exporter_state_last_write_timestamp_seconds", "gauge", &[]),
    ("tryvox_owner_monthly_budget", "gauge", &["owner", "currency"]),
    ("tryvox_exporter_http_requests_total", "counter", &["handler", "code"]),
    ("tryvox_exporter_http_connections", "gauge", &[]),
    ("tryvox_exporter_http_connections_refused_total", "counter", &[]),
];

/// Starts an exporter with every collector, budgets, owners and watched numbers, so that it serves every family, and its
/// simulator.
async fn start_full_exporter() -> (ServerProcess, ServerProcess) {
    let simulator = ServerProcess::simulator(800, seed(), &[]).await;
    let file = ConfigFile::new(&format!(
        "tryvox: {{url: '{}', rate_limit: 0}}\nstate: {{file: state.db}}\n\
         collector: {{region: true, trunk: true, application: true, number: {{statuses: [suspended, pending]}}}}\n\
         accounts:\n- account_id: acc_demo\n  monthly_budget: {{USD: 5}}\n  watch: [{{number: +1}}, {{number: +12, name: a}}]\n\
         owners:\n- {{name: one, numbers: ['+1*'], monthly_budget: {{USD: 5, EUR: 6}}}}\n- {{name: gb, countries: [GB]}}\n",
        simulator.url()
    ));
    let flag = file.flag();
    let mut exporter = ServerProcess::start(&[&flag, "--log.level=debug"], &[("TRYVOX_API_KEY", KEY)]).await;
    exporter.wait_for_polls(1).await;
    (simulator, exporter)
}

/// Returns the names of the labels of a series in their order, without `le`.
fn label_names(series: &str) -> Vec<&str> {
    let Some((_, labels)) = series.split_once('{') else { return Vec::new() };
    let names = labels.split("=\"").filter_map(|part| part.rsplit(['{', ',', '"']).next());
    let mut names: Vec<_> = names.filter(|name| !name.is_empty() && *name != "}" && *name != "le").collect();
    names.dedup();
    names
}

#[tokio::test]
async fn every_family_is_served_with_exactly_its_labels() {
    let kind = |family: &Family| family.kind.name(Format::OpenMetrics);
    let declared: Vec<_> = families().map(|family| (family.name, kind(family), family.labels)).collect();
    let sorted = |families: &[(&'static str, &'static str, &'static [&'static str])]| -> BTreeSet<_> {
        families.iter().copied().collect()
    };
    assert_eq!(sorted(&declared), sorted(EXPECTED_FAMILIES));

    let (_simulator, exporter) = start_full_exporter().await;
    let scrape = exporter.scrape().await;
    scrape.lint();
    for (name, kind, expected) in EXPECTED_FAMILIES {
        let text_kind = if *kind == "info" { "gauge" } else { kind };
        assert!(scrape.0.contains(&format!("# TYPE {name} {text_kind}\n")), "{name}");
        assert!(scrape.0.contains(&format!("# HELP {name} ")), "{name}");
        let samples = if *kind == "histogram" { format!("{name}_bucket") } else { (*name).to_owned() };
        let series = scrape.family(&samples);
        assert!(!series.is_empty(), "{name}");
        for series in series.keys() {
            assert_eq!(label_names(series), *expected, "{series}");
        }
    }
    // The only other families are those of the process.
    let known: BTreeSet<_> = EXPECTED_FAMILIES.iter().map(|(name, ..)| *name).collect();
    for line in scrape.0.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().unwrap();
        assert!(known.contains(name) || name.starts_with("process_"), "{name}");
    }
    // The samples of a family are contiguous, and no series is duplicated.
    let (mut seen, mut current, mut finished) = (BTreeSet::new(), String::new(), BTreeSet::new());
    for line in scrape.0.lines().filter(|line| !line.starts_with('#')) {
        let series = line.rsplit_once(' ').unwrap().0;
        assert!(seen.insert(series.to_owned()), "{series} is duplicated");
        let family = series.split('{').next().unwrap();
        let family =
            ["_bucket", "_sum", "_count"].iter().find_map(|suffix| family.strip_suffix(suffix)).unwrap_or(family);
        if family != current {
            assert!(!finished.contains(family), "the samples of {family} are not contiguous");
            finished.insert(std::mem::replace(&mut current, family.to_owned()));
        }
    }
}

/// Parses the `OpenMetrics` exposition with Prometheus's Python client, which rejects everything that the
/// specification forbids.
#[tokio::test]
async fn openmetrics_exposition_passes_a_strict_parser() {
    let (_simulator, exporter) = start_full_exporter().await;
    let url = format!("{}/metrics", exporter.url());
    let response =
        http().get(&url).header("accept", "application/openmetrics-text;version=1.0.0").send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = response.text().await.unwrap();
    assert!(text.ends_with("\n# EOF\n"));

    let script = "import sys, json\n\
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse\n\
        print(json.dumps({f.name: [f.type, [s.name for s in f.samples], f.unit] for f in parse(sys.stdin.read())}))";
    let mut python = std::process::Command::new("/usr/bin/python3")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 is not installed; run `make setup`");
    python.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let parsed: BTreeMap<String, (String, Vec<String>, String)> = serde_json::from_slice(&output.stdout).unwrap();
    for (name, kind, _) in EXPECTED_FAMILIES {
        let suffixes: &[_] = match *kind {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            "info" => &["_info"],
            _ => &[""],
        };
        let family = name.strip_suffix(suffixes[0]).unwrap_or(name);
        let (parsed_kind, samples, unit) = &parsed[family];
        assert_eq!(parsed_kind, kind, "{name}");
        let names: BTreeSet<_> = samples.iter().map(String::as_str).collect();
        let expected: Vec<_> = suffixes.iter().map(|suffix| format!("{family}{suffix}")).collect();
        assert_eq!(names, expected.iter().map(String::as_str).collect(), "{name}");
        assert_eq!(unit, if family.ends_with("_seconds") { "seconds" } else { "" }, "{name}");
    }
    // The families of the process have units, too.
    for (name, unit) in [("process_cpu_seconds", "seconds"), ("process_resident_memory_bytes", "bytes")] {
        assert_eq!(parsed[name].2, unit, "{name}");
    }
    // A unit is the suffix of its family's name, and info families have none.
    for (name, (kind, _, unit)) in &parsed {
        assert!(unit.is_empty() || (kind != "info" && name.ends_with(&format!("_{unit}"))), "{name}: {unit}");
    }
    // Both formats have the same values.
    let text: Scrape = Scrape(text.trim_end_matches("# EOF\n").to_owned());
    assert_eq!(text.inventory(), exporter.scrape().await.inventory());
}

/// The metrics of the process are those that the system shows, and the CPU time has fractions of a second.
#[tokio::test]
async fn process_metrics_are_those_of_the_system() {
    let simulator = ServerProcess::simulator(20_000, seed(), &[]).await;
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let flags = ["--tryvox.rate-limit=0", "--poll.interval=10ms", "--poll.timeout=30s"];
    let mut exporter = ServerProcess::exporter(&simulator.url(), &flags).await;
    exporter.wait_for_polls(3).await;
    let cpu = async || exporter.scrape().await.value("process_cpu_seconds_total").unwrap();
    let mut cpu_times = Vec::new();
    let found = async {
        while cpu_times.iter().all(|time: &f64| time.fract() == 0.0) {
            cpu_times.push(cpu().await);
        }
        // The counter grows by less than a second at a time.
        let first = cpu().await;
        loop {
            let next = cpu().await;
            assert!(next >= first);
            if next > first {
                assert!(next < first + 0.9, "{first} {next}");
                return;
            }
        }
    };
    timeout(TEST_TIMEOUT, found).await.expect("the CPU time has no fractions");
    assert!(cpu_times.is_sorted() && cpu_times[0] > 0.0, "{cpu_times:?}");

    let scrape = exporter.scrape().await;
    let value = |name: &str| scrape.value(name).unwrap();
    // Scrapes and polls go on, so memory changes a little.
    let resident = exporter.memory("VmRSS") as f64;
    assert!((value("process_resident_memory_bytes") / resident - 1.0).abs() < 0.3, "{resident}");
    let size = exporter.memory("VmSize") as f64;
    assert!((value("process_virtual_memory_bytes") / size - 1.0).abs() < 0.3, "{size}");
    assert!((3.0..100.0).contains(&value("process_threads")), "{}", value("process_threads"));
    assert!((5.0..200.0).contains(&value("process_open_fds")), "{}", value("process_open_fds"));
    assert!(value("process_max_fds") > value("process_open_fds"));
    // The time of the start of the system, on which it is based, is in whole seconds.
    let started = value("process_start_time_seconds");
    assert!((before - 2.0..before + 60.0).contains(&started), "{started} {before}");
}

/// The unit of the documentation and that of `OpenMetrics`, which is taken from the name, are the same.
#[test]
fn documented_units_match_the_names() {
    for family in families() {
        let name = family.name_in(Format::OpenMetrics);
        assert_eq!(family.unit.ends_with("seconds"), name.ends_with("_seconds"), "{name}");
        assert_eq!(family.unit == "Unix time in seconds", name.ends_with("_timestamp_seconds"), "{name}");
        let is_amount = name.contains("_fees") || name.ends_with("_fee") || name.ends_with("_budget");
        assert_eq!(family.unit == "units of the currency", is_amount, "{name}");
    }
}

/// HELP texts are part of the interface, so their form is checked.
#[test]
fn help_texts_are_sentences_that_name_unit_and_absence() {
    for Family { name, help, unit, is_opt_in, labels, .. } in families() {
        assert!(help.starts_with(char::is_uppercase) && help.ends_with('.') && !help.contains("  "), "{name}: {help}");
        assert_eq!(unit.contains("Unix time"), help.starts_with("Unix timestamp in seconds"), "{name}: {help}");
        assert!(!unit.ends_with("seconds") || help.contains("in seconds"), "{name}: {help}");
        let has_warning = help.contains("in units of the currency (different currencies must not be added)");
        assert_eq!(labels.contains(&"currency"), has_warning, "{name}: {help}");
        let conditions = ["is not set.", "no owners are configured.", "the number is not watched."];
        let is_conditional = conditions.iter().any(|condition| help.ends_with(condition));
        assert_eq!(*is_opt_in, is_conditional && !help.contains(" is none and "), "{name}: {help}");
    }
    for metric in INVENTORY {
        let help = metric.family.help;
        assert!(help.contains("; absent if ") && help.contains("there is no valid listing"), "{help}");
    }
}

/// The formulas are those of `docs/metrics.md`.
#[tokio::test]
async fn collectors_have_as_many_series_as_documented() {
    let (_simulator, exporter) = start_full_exporter().await;
    let scrape = exporter.scrape().await;
    let series = |name: &str| scrape.family(name).into_keys().collect::<Vec<_>>();
    let count = |names: &[&str]| names.iter().map(|name| series(name).len()).sum::<usize>();
    let distinct = |name: &str, labels: &[&str]| -> usize {
        let value = |series: &str, label: &str| {
            series.split(&format!("{label}=\"")).nth(1).unwrap().split('"').next().unwrap().to_owned()
        };
        let values = |series: &String| labels.iter().map(|label| value(series, label)).collect::<Vec<_>>();
        series(name).iter().map(values).collect::<BTreeSet<_>>().len()
    };
    let groups = distinct("tryvox_numbers", &["country", "type"]);
    let statuses = distinct("tryvox_numbers", &["status"]);
    let currencies = distinct("tryvox_monthly_fees", &["currency"]);
    let capabilities = distinct("tryvox_capability_numbers", &["capability"]);
    let numbers = series("tryvox_number_info").len();

    assert_eq!(count(&["tryvox_numbers"]), groups * statuses);
    let fees = count(&["tryvox_monthly_fees", "tryvox_setup_fees"]);
    let pairs = distinct("tryvox_monthly_fees", &["country", "type", "currency"]);
    assert_eq!(fees, 2 * pairs * statuses);
    assert!(count(&["tryvox_capability_numbers"]) <= capabilities * statuses);
    let assignment = count(&["tryvox_assignment_numbers", "tryvox_assignment_monthly_fees"]);
    assert!(assignment <= 4 * statuses + 4 * statuses * currencies);
    let lifecycle = ["tryvox_oldest_update_timestamp_seconds", "tryvox_newest_creation_timestamp_seconds"];
    assert_eq!(count(&lifecycle), statuses + 1);
    let per_number = [
        "tryvox_number_info",
        "tryvox_number_monthly_fee",
        "tryvox_number_updated_timestamp_seconds",
        "tryvox_number_created_timestamp_seconds",
        "tryvox_number_series_truncated",
    ];
    assert_eq!(count(&per_number), 4 * numbers + 1);
    let mut optional = 0;
    for (by, labels) in [
        ("region", &["country", "region"][..]),
        ("trunk", &["trunk_id"]),
        ("application", &["application_id"]),
        ("owner", &["owner"]),
    ] {
        let [by_number, by_fee] = ["numbers", "monthly_fees"].map(|what| format!("tryvox_{by}_{what}"));
        let groups = distinct(&by_number, labels);
        assert_eq!(groups, distinct(&by_fee, labels), "{by}");
        assert!(count(&[&by_number]) <= statuses * groups, "{by}");
        assert!(count(&[&by_fee]) <= statuses * currencies * groups, "{by}");
        optional += count(&[&by_number, &by_fee]);
    }
    // Two owners and the numbers without one.
    assert_eq!(distinct("tryvox_owner_numbers", &["owner"]), 3);
    let watched = ["tryvox_watched_number_status", "tryvox_watched_number_assigned"];
    assert_eq!(count(&watched), 2 * 4 + 2);
    let movements = ["tryvox_monthly_fees_added_total", "tryvox_monthly_fees_removed_total"];
    assert_eq!(count(&movements), 10 * currencies);

    let all = scrape.0.lines().filter(|line| line.starts_with("tryvox_") && line.contains("account=")).count();
    let grouped = count(&["tryvox_numbers", "tryvox_capability_numbers"]) + fees + assignment;
    let named = optional + count(&watched) + count(&movements);
    let rest = all - grouped - count(&lifecycle) - count(&per_number) - named;
    assert!((64..=80).contains(&rest), "{rest} series besides those of the collectors");
}
