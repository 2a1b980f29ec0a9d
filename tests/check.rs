//! `check`: what it says about the series of an exporter, and about accounts that could not be listed.

use std::collections::BTreeSet;
use std::sync::Arc;

use fastrand::Rng;
use serde_json::Value;

use crate::common::accounts::{AccountBehavior, ConfigFile, account_of, config_text, records, start_api};
use crate::common::api::{MockApi, page};
use crate::common::{KEY, Scrape, ServerProcess, output, seed};

const ENVIRONMENT: &[(&str, &str)] = &[("TRYVOX_API_KEY", KEY)];

/// Owners, budgets and watched numbers, one of which the account does not have.
const CONFIGURATION: &str = "
owners:
- {name: support, numbers: [\"+10000000000*\"]}
- {name: germany, countries: [DE], monthly_budget: {EUR: 5}}
- {name: unused, numbers: [+49]}
accounts:
- account_id: acc_0
  monthly_budget: {USD: 100, EUR: 50}
  watch:
  - {number: +1000000000001, name: hotline}
  - {number: +1000000000003}
  - {number: +1000000000007}
  - {number: +4930}
- account_id: acc_1
";

/// Runs `check` and returns its report.
async fn report(arguments: &[&str]) -> Value {
    let checked = output(&[&["check", "--output=json"], arguments].concat(), ENVIRONMENT).await;
    serde_json::from_slice(&checked.stdout).unwrap_or_else(|_| panic!("{checked:?}"))
}

#[tokio::test]
async fn estimated_series_are_those_that_an_exporter_has_after_its_first_poll() {
    let api = MockApi::start(|request| async move {
        let account = account_of(&request);
        let mut records = records(account, 60);
        // The watched number 3 has an undocumented status.
        records[3] = records[3].replace("suspended", "porting");
        page(&records, records.len(), 1, 1)
    })
    .await;
    let file = ConfigFile::new(&format!("tryvox: {{url: '{}'}}{CONFIGURATION}", api.url()));
    let mut estimates = Vec::new();
    for arguments in [
        &[][..],
        &["--collector.number.statuses=none"],
        &["--collector.number.statuses=active,suspended,pending", "--collector.region", "--collector.trunk"],
        &["--collector.number.limit=2"],
        &["--no-collector.assignment", "--no-collector.capability", "--no-collector.lifecycle"],
    ] {
        let flag = file.flag();
        let arguments = [&[&*flag], arguments].concat();
        let report = report(&arguments).await;
        let listed = output(&[&["once"], &arguments[..]].concat(), ENVIRONMENT).await;
        let metrics = Scrape(String::from_utf8(listed.stdout).unwrap());
        assert_series(&report, &metrics, arguments.as_slice());
        assert!(metrics.0.contains(r#"status="porting"} 1"#) && metrics.0.contains(r#"owner="support""#));
        estimates.push(report["accounts"][0]["series"].as_u64().unwrap());
    }
    // Owners and watched numbers count.
    let plain = ConfigFile::new(&config_text(&api.url(), [0]));
    let without = report(&[&plain.flag()]).await["accounts"][0]["series"].as_u64().unwrap();
    assert!(estimates[0] > without + 4 * 4 + 4, "{estimates:?} {without}");
}

#[tokio::test]
async fn estimated_series_are_those_that_an_exporter_has_if_labels_exceed_their_limit() {
    let mut rng = Rng::with_seed(seed());
    // Some statuses are more frequent than others, and so are currencies.
    let listings: Arc<[Vec<String>; 2]> = Arc::new([0, 1].map(|account| {
        let mut vary = |record: String| {
            let status = format!(r#""status":"undocumented {}""#, rng.u8(0..20).min(rng.u8(0..20)));
            let record = if rng.u8(0..4) == 0 { record } else { record.replace(r#""status":"active""#, &status) };
            record.replace("EUR", ["EUR", "CHF", "GBP", "SEK"][rng.usize(0..4)])
        };
        records(account, 400).into_iter().map(&mut vary).collect()
    }));
    let status_of =
        |record: &String| record.split(r#""status":""#).nth(1).unwrap().split('"').next().map(str::to_owned);
    let statuses = listings.iter().map(|records| records.iter().map(status_of).collect::<BTreeSet<_>>().len());
    let statuses = statuses.max().unwrap();
    assert!(statuses > 12, "{listings:?}");
    let api = MockApi::start(move |request| {
        let listings = listings.clone();
        async move {
            let (records, page_number) = (&listings[account_of(&request)], request.page);
            page(&records[(page_number - 1) * 100..page_number * 100], records.len(), page_number, 4)
        }
    })
    .await;
    let file = ConfigFile::new(&format!("tryvox: {{url: '{}', rate_limit: 0}}{CONFIGURATION}", api.url()));
    let opt_in = ["--collector.region", "--collector.trunk", "--collector.number.statuses=undocumented 1,suspended"];
    let mut estimates = Vec::new();
    for limit in [1, 2, 3, 4, 8, 12, statuses - 1, statuses, 300] {
        let arguments = [&*file.flag(), &format!("--collector.label-limit={limit}"), opt_in[0], opt_in[1], opt_in[2]];
        let report = report(&arguments).await;
        let mut exporter = ServerProcess::start(&arguments, ENVIRONMENT).await;
        exporter.wait_for_polls(2).await;
        let metrics = exporter.scrape().await;
        assert_eq!(metrics.0.contains(r#"status="other""#), limit < statuses, "{limit}");
        assert_series(&report, &metrics, &arguments);
        estimates.push(report["accounts"][0]["series"].as_u64().unwrap());
    }
    assert!(estimates.is_sorted() && estimates[0] < estimates[8] / 2, "{estimates:?}");
}

/// Asserts that a report states as many series of each account as there are in the metrics.
fn assert_series(report: &Value, metrics: &Scrape, arguments: &[&str]) {
    let accounts = report["accounts"].as_array().unwrap();
    assert_eq!(accounts.len(), 2);
    for account in accounts {
        let label = format!("{{account={}", account["account"]);
        let samples = metrics.0.lines().filter(|line| !line.starts_with('#') && line.contains(&label)).count();
        assert_eq!(account["series"], samples, "{label} {arguments:?}");
    }
}

#[tokio::test]
async fn accounts_that_could_not_be_listed_are_named_where_their_numbers_are_missing() {
    let behavior = |account| if account < 2 { AccountBehavior::Valid } else { AccountBehavior::Unauthorized };
    let api = start_api(100, behavior).await;
    let table = async |file: &ConfigFile| {
        let checked = output(&["check", &file.flag()], ENVIRONMENT).await;
        (checked.status.code(), String::from_utf8(checked.stdout).unwrap())
    };
    let all = ConfigFile::new(&config_text(&api.url(), [0, 1]));
    assert_eq!(report(&[&all.flag()]).await["failed_accounts"], serde_json::json!([]));
    let (status, printed) = table(&all).await;
    assert!(status == Some(0) && !printed.contains("without"), "{printed}");

    let some = ConfigFile::new(&config_text(&api.url(), [3, 0, 2, 1]));
    assert_eq!(report(&[&some.flag()]).await["failed_accounts"], serde_json::json!(["acc_3", "acc_2"]));
    let (status, printed) = table(&some).await;
    let line = "\n  without acc_3, acc_2, which could not be listed\n";
    for section in ["all accounts  ", "savings  "] {
        let section = printed.split(section).nth(1).unwrap().split("\n\n").next().unwrap();
        assert!(format!("{section}\n").contains(line), "{printed}");
    }
    assert_eq!(status, Some(1));

    let many = ConfigFile::new(&config_text(&api.url(), 0..100));
    assert_eq!(report(&[&many.flag()]).await["failed_accounts"].as_array().unwrap().len(), 98);
    let (_, printed) = table(&many).await;
    assert_eq!(printed.matches("acc_21 and 78 more, which could not be listed\n").count(), 2, "{printed}");
}
