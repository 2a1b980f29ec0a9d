//! `check`: what it says about the series of an exporter, and about accounts that could not be listed.

use serde_json::Value;

use crate::common::accounts::{AccountBehavior, ConfigFile, account_of, config_text, records, start_api};
use crate::common::api::{MockApi, page};
use crate::common::{KEY, Scrape, output};

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
        for account in report["accounts"].as_array().unwrap() {
            let label = format!("{{account={}", account["account"]);
            let samples = metrics.0.lines().filter(|line| !line.starts_with('#') && line.contains(&label)).count();
            assert_eq!(account["series"], samples, "{label} {arguments:?}");
        }
        assert!(metrics.0.contains(r#"status="porting"} 1"#) && metrics.0.contains(r#"owner="support""#));
        estimates.push(report["accounts"][0]["series"].as_u64().unwrap());
    }
    // Owners and watched numbers count.
    let plain = ConfigFile::new(&config_text(&api.url(), [0]));
    let without = report(&[&plain.flag()]).await["accounts"][0]["series"].as_u64().unwrap();
    assert!(estimates[0] > without + 4 * 4 + 4, "{estimates:?} {without}");
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
