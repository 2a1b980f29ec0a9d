//! Records with unknown fields and values, any Unicode, missing optional fields, and invalid records.

use std::fmt::Write;

use crate::common::api::{MockApi, page, record};
use crate::common::{Scrape, ServerProcess};

/// Polls one page with these records; returns a scrape and the log.
async fn poll_records(records: Vec<String>, arguments: &[&str]) -> (Scrape, String) {
    let total = records.len();
    poll_total(records, total, arguments).await
}

/// Does the same with a total that differs from the number of records.
async fn poll_total(records: Vec<String>, total: usize, arguments: &[&str]) -> (Scrape, String) {
    let api = MockApi::start(move |_| {
        let response = page(&records, total, 1, 1);
        async move { response }
    })
    .await;
    let mut exporter = ServerProcess::exporter(&api.url(), arguments).await;
    exporter.wait_for_polls(1).await;
    assert_eq!(api.requests().len(), 1);
    let scrape = exporter.scrape().await;
    scrape.lint();
    (scrape, exporter.output_so_far())
}

/// Returns a valid record.
fn valid_record() -> String {
    record("+14155550123", "active", "1.15", "USD")
}

#[tokio::test]
async fn unknown_fields_are_ignored_and_unknown_values_become_labels() {
    let record = valid_record()
        .replace("\"local\"", r#""satellite \"\\\n東京都 🛰""#)
        .replace("\"active\"", "\"Porting-Out\"")
        .replace("\"US\"", "\"XK\"")
        .replace("\"voice\"", r#""voice","fax""#)
        .replacen('{', r#"{"unknown":{"a":[1,2,{"b":null}]},"tags":["x"],"#, 1);
    let (scrape, _) = poll_records(vec![record], &[]).await;
    let labels = r#"account="acc_demo",country="XK",type="satellite \"\\\n東京都 🛰",status="Porting-Out""#;
    assert_eq!(scrape.value(&format!("tryvox_numbers{{{labels}}}")), Some(1.0));
    assert_eq!(scrape.value(&format!(r#"tryvox_monthly_fees{{{labels},currency="USD"}}"#)), Some(1.15));
    // The documented statuses have series, too.
    assert_eq!(scrape.family("tryvox_numbers").len(), 4);
    assert_eq!(scrape.account_value("tryvox_invalid_records", ""), 0.0);
}

#[tokio::test]
async fn missing_and_unreadable_optional_fields_do_not_invalidate_a_record() {
    let long_capabilities = format!(r#"["voice","{}"]"#, "x".repeat(260));
    for (name, value, replacement, is_unreadable) in [
        ("region", "null", "{}", true),
        ("region", "null", "\"\"", false),
        ("capabilities", "[\"voice\"]", "null", false),
        ("capabilities", "[\"voice\"]", "\"voice\"", true),
        ("capabilities", "[\"voice\"]", "[\"voice\",7]", true),
        ("capabilities", "[\"voice\"]", &long_capabilities, true),
        ("trunk_id", "null", "7", true),
        ("application_id", "null", "[\"app_1\"]", true),
        ("created_at", "\"2025-03-11T09:24:00Z\"", "\"yesterday\"", true),
        ("updated_at", "\"2025-11-02T17:40:12Z\"", "1762105212", true),
        ("updated_at", "\"2025-11-02T17:40:12Z\"", "null", false),
    ] {
        let field = format!("\"{name}\":{value}");
        assert!(valid_record().contains(&field), "{field}");
        let unreadable = valid_record().replace(&field, &format!("\"{name}\":{replacement}"));
        // The number counts once, with the record of its last occurrence.
        let valid = valid_record().replace("0123", "0124");
        let missing = valid_record().replace("0123", "0125").replace(&field, "\"unknown\":7");
        let other = valid_record().replace("0123", "0126").replace("local", "mobile").replace("null", "{}");
        let records = vec![other.clone(), unreadable.clone(), valid, missing, unreadable, other.replace("{}", "null")];
        let (scrape, _) = poll_total(records, 4, &[]).await;
        assert_eq!(scrape.account_value("tryvox_listed_numbers", ""), 4.0, "{replacement}");
        assert_eq!(scrape.account_value("tryvox_invalid_records", ""), 0.0, "{replacement}");
        for field in ["region", "trunk_id", "application_id", "capabilities", "created_at", "updated_at"] {
            let count = scrape.account_value("tryvox_unreadable_fields", &format!("field=\"{field}\""));
            assert_eq!(count, f64::from(u8::from(is_unreadable && field == name)), "{name}: {replacement}: {field}");
        }
    }
}

#[tokio::test]
async fn each_invalid_record_is_counted_once_and_skipped() {
    let long_country = format!("\"{}\"", "x".repeat(300));
    let invalid: Vec<String> = [
        ("\"+14155550123\"", "\"14155550123\""),
        ("\"+14155550123\"", "\"+1234567890123456\""),
        ("\"+14155550123\"", "\"+1 415\""),
        ("\"+14155550123\"", "null"),
        ("\"e164\":\"+14155550123\",", ""),
        ("\"US\"", "\"\""),
        ("\"US\"", "null"),
        ("\"US\"", &long_country),
        ("\"local\"", "[]"),
        ("\"active\"", "7"),
        ("\"USD\"", "null"),
        (":1.15", ":\"1,15\""),
        (":1.15", ":{\"amount\":1.15}"),
        (":1.15", ":null"),
        (":1.15", ":1e999"),
        ("\"setup_fee\":0,", ""),
    ]
    .into_iter()
    .map(|(field, replacement)| {
        assert!(valid_record().contains(field), "{field}");
        valid_record().replace(field, replacement)
    })
    .collect();
    let count = invalid.len();
    let mut records = vec![record("+14155550001", "active", "2", "USD")];
    records.extend(invalid);
    records.push(record("+14155550002", "active", "3", "USD"));
    let (scrape, log) = poll_records(records, &["--poll.max-discrepancy=1"]).await;
    assert_eq!(scrape.account_value("tryvox_up", ""), 1.0);
    assert_eq!(scrape.account_value("tryvox_listed_numbers", ""), 2.0);
    assert_eq!(scrape.account_value("tryvox_invalid_records", ""), count as f64);
    let series = r#"tryvox_monthly_fees{account="acc_demo",country="US",type="local",status="active",currency="USD"}"#;
    assert_eq!(scrape.value(series), Some(5.0));
    // Five are logged, all are counted.
    assert_eq!(log.matches("invalid record").count(), 5, "{log}");
    assert!(log.contains(&format!("invalid_records={count}")), "{log}");
}

#[tokio::test]
async fn values_beyond_the_label_limit_are_counted_as_other() {
    let mut records = Vec::new();
    for country in 0..40 {
        // The first country has 40 numbers, the next 39, and so on to 1.
        for number in country..40 {
            let mut e164 = String::new();
            write!(e164, "+1{country:02}{number:02}").unwrap();
            records.push(record(&e164, "active", "0.1", "USD").replace("\"US\"", &format!("\"C{country}\"")));
        }
    }
    let total = records.len() as f64;
    let api = MockApi::start(move |request| {
        let pages: Vec<_> = records.chunks(100).collect();
        let response = page(pages[request.page - 1], records.len(), request.page, pages.len());
        async move { response }
    })
    .await;
    let mut exporter = ServerProcess::exporter(&api.url(), &["--collector.label-limit=10"]).await;
    exporter.wait_for_polls(1).await;
    let scrape = exporter.scrape().await;
    scrape.lint();
    let numbers = |country: &str| {
        let labels = format!(r#"account="acc_demo",country="{country}",type="local",status="active""#);
        scrape.value(&format!("tryvox_numbers{{{labels}}}"))
    };
    let within_limit: f64 = (0..10).map(|country| numbers(&format!("C{country}")).unwrap()).sum();
    assert_eq!((numbers("C0"), numbers("C9"), numbers("C10")), (Some(40.0), Some(31.0), None));
    assert_eq!(numbers("other"), Some(total - within_limit));
    assert_eq!(scrape.family("tryvox_numbers").len(), 11 * 3);
    let fees: f64 = scrape.family("tryvox_monthly_fees").values().sum();
    assert_eq!(format!("{fees:.3}"), format!("{:.3}", total * 0.1));
}
