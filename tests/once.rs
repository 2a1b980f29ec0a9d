//! `once` and `check` list every account once, for files, scripts and people; `healthcheck`,
//! `completions` and `man`.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::IntoResponse;
use clap::Args;
use rustix::process::Signal;
use serde_json::Value;
use tokio::process::Command;
use tryvox_exporter::cli::commands;
use tryvox_exporter::config::Options;

use crate::common::accounts::{AccountBehavior, ConfigFile, config_text, records, start_api};
use crate::common::api::{MockApi, page, record};
use crate::common::{
    BINARY, KEY, Scrape, ServerProcess, TEST_TIMEOUT, command, expected, output, output_to_closed_pipe, seed,
};

/// Starts a simulator; also returns the flag with its URL.
async fn simulator(numbers: usize) -> (ServerProcess, String) {
    let simulator = ServerProcess::simulator(numbers, seed(), &[]).await;
    let url = format!("--tryvox.url={}", simulator.url());
    (simulator, url)
}

const ACCOUNT: &str = "--tryvox.account-id=acc_demo";

#[tokio::test]
async fn once_prints_the_families_of_a_scrape_that_have_an_account_label() {
    let (simulator, url) = simulator(700).await;
    let printed = output(&["once", &url, ACCOUNT], &[("TRYVOX_API_KEY", KEY)]).await;
    assert!(printed.status.success() && printed.stderr.is_empty(), "{}", String::from_utf8_lossy(&printed.stderr));
    let printed = Scrape(String::from_utf8(printed.stdout).unwrap());
    printed.lint();
    assert_eq!(printed.inventory(), expected::from_simulator(&simulator).await);
    assert_eq!(printed.account_value("tryvox_up", ""), 1.0);
    let has_account = |line: &str| line.starts_with('#') || line.split_once('{').unwrap().1.starts_with("account=");
    assert!(printed.0.lines().all(has_account), "{}", printed.0);
    // Apart from those of the exporter and its process, the families are those of a scrape.
    let mut exporter = ServerProcess::exporter(&simulator.url(), &[]).await;
    exporter.wait_for_polls(1).await;
    let names = |scrape: &Scrape| -> Vec<String> {
        let lines = scrape.0.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let is_of_accounts = |line: &&str| !line.starts_with("process_") && !line.starts_with("tryvox_exporter_");
        lines.filter(is_of_accounts).map(str::to_owned).collect()
    };
    assert_eq!(names(&printed), names(&exporter.scrape().await));
}

#[tokio::test]
async fn check_reports_numbers_problems_and_advice() {
    let (simulator, url) = simulator(1_234).await;
    simulator.set_faults("bad-records page=2 times=1").await;
    let checked = output(&["check", &url, ACCOUNT, "--output=json"], &[("TRYVOX_API_KEY", KEY)]).await;
    assert!(checked.status.success() && checked.stderr.is_empty());
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
    let account = &report["accounts"][0];
    assert_eq!(
        (account["ok"].as_bool(), account["numbers"].as_u64(), account["reported"].as_u64()),
        (Some(true), Some(1_224), Some(1_234))
    );
    let groups = account["groups"].as_array().unwrap();
    assert_eq!(groups.iter().map(|group| group["numbers"].as_u64().unwrap()).sum::<u64>(), 1_224);
    assert!(account["problems"].to_string().contains("invalid record"), "{report}");
    assert_eq!(account["advice"], serde_json::json!([]), "the default rate limit is ample");

    let checked = output(&["check", &url, ACCOUNT], &[("TRYVOX_API_KEY", KEY)]).await;
    let table = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.status.success() && checked.stderr.is_empty());
    // Stdout is no terminal, so there is no progress bar and no color.
    assert!(!table.contains('\x1b'), "{table}");
    for (series, value) in expected::from_simulator(&simulator)
        .await
        .iter()
        .filter(|(series, value)| series.starts_with("tryvox_numbers{") && **value > 0.0)
    {
        let label =
            |name: &str| series.split(&format!("{name}=\"")).nth(1).unwrap().split('"').next().unwrap().to_owned();
        let row = [label("country"), label("type"), label("status"), value.to_string()];
        let has = |line: &str| line.split_whitespace().take(4).eq(row.iter());
        assert!(table.lines().any(has), "{row:?} is missing\n{table}");
    }
    assert!(table.contains("13 pages in ") && table.contains(", interval 5m, about "), "{table}");
    assert!(table.contains("numbers  monthly fees  setup fees  currency\n"), "{table}");
    assert!(!table.contains("advice:"), "{table}");
}

/// Returns the number of these records and their monthly fees by currency, in thousandths.
fn fees_of(records: &[Value], select: impl Fn(&Value) -> bool) -> (u64, BTreeMap<String, i64>) {
    let (mut numbers, mut fees) = (0, BTreeMap::new());
    for record in records.iter().filter(|record| select(record)) {
        numbers += 1;
        *fees.entry(record["currency"].as_str().unwrap().to_owned()).or_default() +=
            thousandths(&record["monthly_fee"]);
    }
    (numbers, fees)
}

/// Returns an amount, which is a number or a decimal in a string, in thousandths.
fn thousandths(amount: &Value) -> i64 {
    let text = amount.as_str().map_or_else(|| amount.to_string(), str::to_owned);
    let (units, decimals) = text.split_once('.').unwrap_or((&text, ""));
    format!("{units}{decimals:0<3}").parse().unwrap()
}

#[tokio::test]
async fn check_reports_savings_and_the_most_expensive_groups() {
    let api = start_api(400, |account| match account {
        2 => AccountBehavior::Unauthorized,
        _ => AccountBehavior::Valid,
    })
    .await;
    let records = |account| -> Vec<Value> {
        let record = |json: String| serde_json::from_str::<Value>(&json).unwrap();
        records(account, 400).into_iter().map(record).collect()
    };
    let file = ConfigFile::new(&config_text(&api.url(), [0, 1, 2]));
    let mut reports = Vec::new();
    for collector in ["--collector.assignment=true", "--collector.assignment=false"] {
        let checked = output(&["check", &file.flag(), "--output=json", collector], &[("TRYVOX_API_KEY", KEY)]).await;
        assert_eq!(checked.status.code(), Some(1));
        reports.push(serde_json::from_slice::<Value>(&checked.stdout).unwrap());
    }
    let (with, without) = (&reports[0], &reports[1]);
    assert_eq!((&with["savings"], &with["expensive_groups"]), (&without["savings"], &without["expensive_groups"]));
    let series = |report: &Value| report["accounts"][0]["series"].as_u64().unwrap();
    assert!(series(without) < series(with), "the table that an exporter would not have has no series");
    assert_eq!(with["accounts"][2]["savings"], Value::Null);

    let all = [records(0), records(1)].concat();
    for (savings, records) in [(&with["accounts"][0]["savings"], &records(0)), (&with["savings"], &all)] {
        let is_unassigned = |record: &Value| record["trunk_id"].is_null() && record["application_id"].is_null();
        for (name, (numbers, fees)) in [
            ("unassigned", fees_of(records, is_unassigned)),
            ("suspended", fees_of(records, |record| record["status"] == "suspended")),
            ("pending", fees_of(records, |record| record["status"] == "pending")),
        ] {
            assert!(numbers > 50 && fees.len() == 2, "{name}");
            assert_eq!(savings[name]["numbers"], numbers);
            let reported = savings[name]["monthly_fees"].as_object().unwrap().iter();
            assert_eq!(reported.map(|(c, amount)| (c.clone(), thousandths(amount))).collect::<BTreeMap<_, _>>(), fees);
        }
    }
    let expensive = with["expensive_groups"].as_array().unwrap();
    let groups: Vec<(&str, &Value)> = with["accounts"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|account| {
            let name = account["account"].as_str().unwrap();
            account["groups"].as_array().unwrap().iter().map(move |group| (name, group))
        })
        .collect();
    for currency in ["EUR", "USD"] {
        let fees = |group: &Value| thousandths(&group["monthly_fees"]);
        let mut most: Vec<_> =
            groups.iter().filter(|(_, group)| group["currency"] == currency).map(|(_, group)| fees(group)).collect();
        most.sort_unstable_by_key(|fees| std::cmp::Reverse(*fees));
        most.truncate(10);
        let reported: Vec<_> = expensive.iter().filter(|group| group["currency"] == currency).collect();
        assert_eq!(reported.iter().map(|group| fees(group)).collect::<Vec<_>>(), most);
        for group in reported {
            let same = |(account, other): &(&str, &Value)| {
                *account == group["account"].as_str().unwrap()
                    && other.as_object().unwrap().iter().all(|(field, value)| group[field] == *value)
            };
            assert!(groups.iter().any(same), "{group}");
        }
    }
    let checked = output(&["check", &file.flag()], &[("TRYVOX_API_KEY", KEY)]).await;
    let table = String::from_utf8(checked.stdout).unwrap();
    let (suspended, _) = fees_of(&all, |record| record["status"] == "suspended");
    for line in
        [&*format!("  suspended: {suspended} numbers, "), "  unassigned: 800 numbers, ", "most expensive groups\n"]
    {
        assert!(table.contains(line), "{line}: {table}");
    }
}

/// A number whose trunk cannot be read may be in use, so releasing it is no saving. The metrics count it as unassigned, so
/// that their sum is the number of numbers.
#[tokio::test]
async fn number_whose_trunk_cannot_be_read_is_no_saving_and_not_listed_as_unassigned() {
    let api = MockApi::start(|_| async {
        let records = [("null", "null"), ("7", "null"), ("null", "{}"), ("7", r#""app_1""#), (r#""trk_1""#, "[]")]
            .into_iter()
            .enumerate()
            .map(|(number, (trunk, application))| {
                let record = record(&format!("+1415555010{number}"), "suspended", "1.15", "USD");
                let record = record.replace(r#""trunk_id":null"#, &format!(r#""trunk_id":{trunk}"#));
                record.replace(r#""application_id":null"#, &format!(r#""application_id":{application}"#))
            });
        page(&records.collect::<Vec<_>>(), 5, 1, 1)
    })
    .await;
    let url = format!("--tryvox.url={}", api.url());
    for collector in ["--collector.assignment=true", "--collector.assignment=false"] {
        let checked = output(&["check", &url, ACCOUNT, "--output=json", collector], &[("TRYVOX_API_KEY", KEY)]).await;
        let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
        let savings = &report["savings"];
        assert_eq!(savings["unassigned"], serde_json::json!({"numbers": 1, "monthly_fees": {"USD": "1.15"}}));
        assert_eq!(savings["suspended"], serde_json::json!({"numbers": 5, "monthly_fees": {"USD": "5.75"}}));
        let problems = report["accounts"][0]["problems"].to_string();
        assert!(problems.contains("trunk_id cannot be read and counts as absent for 2 numbers"), "{problems}");
    }
    for (assignment, expected) in [("none", &[0][..]), ("application", &[3]), ("trunk", &[4]), ("both", &[])] {
        let flag = format!("--assignment={assignment}");
        let listed = output(&["list", &url, ACCOUNT, "--output=json", &flag], &[("TRYVOX_API_KEY", KEY)]).await;
        let rows = String::from_utf8(listed.stdout).unwrap();
        let numbers: Vec<_> =
            rows.lines().map(|row| serde_json::from_str::<Value>(row).unwrap()["e164"].clone()).collect();
        let expected: Vec<_> = expected.iter().map(|number| Value::from(format!("+1415555010{number}"))).collect();
        assert_eq!(numbers, expected, "{assignment}");
    }
    let all = output(&["list", &url, ACCOUNT, "--output=json"], &[("TRYVOX_API_KEY", KEY)]).await;
    assert_eq!(String::from_utf8(all.stdout).unwrap().lines().count(), 5);
    let metrics = output(&["once", &url, ACCOUNT], &[("TRYVOX_API_KEY", KEY)]).await;
    let metrics = Scrape(String::from_utf8(metrics.stdout).unwrap());
    assert_eq!(
        metrics.account_value("tryvox_assignment_numbers", r#"assignment="none",status="suspended""#),
        3.0,
        "{}",
        metrics.0
    );
}

#[tokio::test]
async fn check_reports_failed_accounts_with_status_1() {
    let api =
        start_api(10, |account| if account == 1 { AccountBehavior::Unauthorized } else { AccountBehavior::Valid })
            .await;
    let file = ConfigFile::new(&config_text(&api.url(), [0, 1]));
    let checked = output(&["check", &file.flag()], &[("TRYVOX_API_KEY", KEY)]).await;
    let (table, stderr) = (String::from_utf8(checked.stdout).unwrap(), String::from_utf8(checked.stderr).unwrap());
    assert_eq!((checked.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(
        table.contains("acc_0  listed") && table.contains("acc_1  failed") && table.contains("unauthorized"),
        "{table}"
    );
    assert!(table.contains("all accounts  10 numbers"), "{table}");
    let failed = table.split("acc_1  failed").nth(1).unwrap().split("\n\n").next().unwrap();
    assert!(failed.contains("0 pages in ") && !failed.contains("time series"), "{table}");
}

#[tokio::test]
async fn check_counts_the_pages_of_all_filters_and_attempts() {
    // Three listings of one page for each of two statuses, because the total is never reached.
    let api = MockApi::start(|_| async { page(&[record("+14155550100", "active", "1", "USD")], 500, 1, 1) }).await;
    let url = format!("--tryvox.url={}", api.url());
    let arguments = ["check", &url, ACCOUNT, "--tryvox.statuses=active,pending", "--output=json"];
    let checked = output(&arguments, &[("TRYVOX_API_KEY", KEY)]).await;
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
    let account = &report["accounts"][0];
    assert_eq!((checked.status.code(), account["error"]["reason"].as_str()), (Some(1), Some("inconsistent")));
    assert_eq!(account["pages"].as_u64(), Some(6), "{report}");
    let message = account["error"]["message"].as_str().unwrap();
    let expected =
        "the API reports 1000 numbers but listed 1 (0 invalid): a difference of 999, at most 10 allowed; raise";
    assert!(message.starts_with(expected), "{message}");
}

#[tokio::test]
async fn check_counts_the_pages_of_listings_by_country() {
    let api = MockApi::start(|request| async move {
        let query = request.uri.query().unwrap().to_owned();
        let (country, pages) = if query.contains("country=US") { ("US", 3) } else { ("IN", 2) };
        let e164 = format!("+1{}0{}", pages, request.page);
        let record = record(&e164, "active", "1", "USD").replace("\"US\"", &format!("\"{country}\""));
        page(&[record], pages, request.page, pages)
    })
    .await;
    let url = format!("--tryvox.url={}", api.url());
    let arguments = ["check", &url, ACCOUNT, "--tryvox.countries=US,IN"];
    let checked = output(&arguments, &[("TRYVOX_API_KEY", KEY)]).await;
    let table = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.status.success() && table.contains("5 pages in "), "{table}");
    let checked = output(&[&arguments[..], &["--output=json"]].concat(), &[("TRYVOX_API_KEY", KEY)]).await;
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
    let account = &report["accounts"][0];
    assert_eq!((account["pages"].as_u64(), account["numbers"].as_u64()), (Some(5), Some(5)), "{report}");
}

#[tokio::test]
async fn check_of_a_failing_listing_counts_only_the_pages_that_were_read() {
    let api = MockApi::start(|request| async move {
        if request.page == 8 {
            return StatusCode::NOT_FOUND.into_response();
        }
        page(&[record(&format!("+1{}", request.page), "active", "1", "USD")], 200, request.page, 200)
    })
    .await;
    let url = format!("--tryvox.url={}", api.url());
    // One request at a time, so that exactly the pages before the failing one are read.
    let arguments = ["check", &url, ACCOUNT, "--tryvox.concurrency=1", "--tryvox.rate-limit=0"];
    let checked = output(&arguments, &[("TRYVOX_API_KEY", KEY)]).await;
    let table = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.status.code() == Some(1) && table.contains("7 pages in "), "{table}");
    let checked = output(&[&arguments[..], &["--output=json"]].concat(), &[("TRYVOX_API_KEY", KEY)]).await;
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(report["accounts"][0]["pages"].as_u64(), Some(7), "{report}");
    assert_eq!(api.requests().len(), 2 * 8, "not found is not retried");
}

/// The reader has closed the pipe. That holds for output of any size: a pipe buffers 64 KiB, and the
/// metrics of a thousand countries are larger.
#[tokio::test]
async fn closed_stdout_is_not_an_error_for_once_and_check() {
    let api = MockApi::start(|request| async move {
        let record =
            |n: usize| record(&format!("+1{n:04}"), "active", "1", "USD").replace("\"US\"", &format!("\"C{n}\""));
        let first = (request.page - 1) * 100;
        page(&(first..first + 100).map(record).collect::<Vec<_>>(), 1000, request.page, 10)
    })
    .await;
    let url = format!("--tryvox.url={}", api.url());
    for arguments in [
        &["check", &url, ACCOUNT][..],
        &["check", &url, ACCOUNT, "--output=json"],
        &["once", &url, ACCOUNT, "--collector.label-limit=1000"],
    ] {
        let key = [("TRYVOX_API_KEY", KEY)];
        let read = output(arguments, &key).await;
        assert!(read.status.success() && !read.stdout.is_empty(), "{read:?}");
        assert!(arguments[0] != "once" || read.stdout.len() > 128 << 10, "{} bytes", read.stdout.len());
        let output = output_to_closed_pipe(arguments, &key).await;
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), &*stderr), (Some(0), ""), "{arguments:?}");
    }
}

#[tokio::test]
async fn sigint_stops_once_and_check_with_status_1() {
    let api = start_api(10, |_| AccountBehavior::Hanging).await;
    let url = format!("--tryvox.url={}", api.url());
    for name in ["once", "check"] {
        let requests = api.requests().len();
        let child = command(&[name, &url, "--tryvox.account-id=acc_0"]).env("TRYVOX_API_KEY", KEY).spawn().unwrap();
        while api.requests().len() == requests {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let pid = rustix::process::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
        rustix::process::kill_process(pid, Signal::INT).unwrap();
        let exited = tokio::time::timeout(TEST_TIMEOUT, child.wait_with_output()).await.unwrap().unwrap();
        let stderr = String::from_utf8(exited.stderr).unwrap();
        assert!(exited.status.code() == Some(1) && stderr.contains("interrupted"), "{name}: {stderr}");
    }
}

#[tokio::test]
async fn healthcheck_reports_whether_the_exporter_responds() {
    let exporter = ServerProcess::start(&["demo", "--numbers=1"], &[]).await;
    let flag = format!("--web.listen-address={}", exporter.address);
    let checked = output(&["healthcheck", &flag], &[]).await;
    assert_eq!((checked.status.code(), &*checked.stdout), (Some(0), &b"healthy\n"[..]));
    let port = exporter.address.rsplit(':').next().unwrap().to_owned();
    let checked = output(&["healthcheck"], &[("TRYVOX_EXPORTER_WEB_LISTEN_ADDRESS", &format!(":{port}"))]).await;
    assert_eq!(checked.status.code(), Some(0));
    assert_eq!(exporter.stop(Signal::TERM).await, Some(0));
    let checked = output(&["healthcheck", &flag], &[]).await;
    let stderr = String::from_utf8(checked.stderr).unwrap();
    assert!(checked.status.code() == Some(1) && stderr.lines().count() == 1 && stderr.contains(&port), "{stderr}");
}

#[tokio::test]
async fn completions_cover_commands_and_options() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let printed = output(&["completions", shell], &[]).await;
        let text = String::from_utf8(printed.stdout).unwrap();
        assert!(printed.status.success() && text.contains("healthcheck") && text.contains("poll.interval"), "{shell}");
    }
    let script = format!("source <('{BINARY}' completions bash) && complete -p tryvox-exporter");
    assert!(Command::new("bash").args(["-c", &script]).output().await.unwrap().status.success());
}

#[tokio::test]
async fn man_page_has_every_command_and_option_once() {
    let printed = output(&["man"], &[]).await;
    assert!(printed.status.success() && printed.stderr.is_empty());
    let page = String::from_utf8(printed.stdout).unwrap();
    let headings: Vec<_> = page.lines().filter_map(|line| line.strip_prefix(".SH ")).collect();
    let expected =
        ["NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS", "OPTIONS", "ENVIRONMENT", "\"EXIT STATUS\"", "EXAMPLES"];
    assert_eq!(headings, [&expected[..], &["\"SEE ALSO\""]].concat());
    assert!(page.contains(concat!(" \"tryvox-exporter ", env!("CARGO_PKG_VERSION"), "\" ")), "{page}");

    // The tag of an entry is the line after its macro, and starts with what it describes.
    let mut lines = page.lines();
    let mut tags = Vec::new();
    while lines.any(|line| line == ".TP") {
        let words = lines.next().unwrap().replace("\\-", "-");
        tags.extend(words.split("\\fB").skip(1).map(|word| word.split("\\fR").next().unwrap().to_owned()));
    }
    let options = Options::augment_args(clap::Command::new("options"));
    let options = options.get_arguments().map(|option| format!("--{}", option.get_id()));
    let commands = commands().map(|command| command.name.to_owned()).chain(["completions", "man"].map(str::to_owned));
    for name in options.chain(commands).chain(["--help", "--version", "TRYVOX_API_KEY"].map(str::to_owned)) {
        assert_eq!(tags.iter().filter(|tag| **tag == name).count(), 1, "{name}: {tags:?}");
    }

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tryvox-exporter.1");
    std::fs::write(&path, page).unwrap();
    let linters: [&[&str]; 2] =
        [&["man", "--warnings", "-E", "UTF-8", "-Tutf8", "-Z", "-l"], &["mandoc", "-T", "lint", "-W", "warning"]];
    for linter in linters {
        // A minimal installation has neither.
        if let Ok(linted) = Command::new(linter[0]).args(&linter[1..]).arg(&path).output().await {
            let messages = String::from_utf8_lossy(&linted.stderr);
            assert!(linted.status.success() && messages.is_empty(), "{linter:?}: {messages}");
        }
    }
}
