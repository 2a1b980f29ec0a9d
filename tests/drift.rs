//! An API whose responses drift from the documentation: forms with only one meaning are read, and anything else fails
//! the poll instead of looking like an empty account.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::response::{IntoResponse, Response};

use crate::common::api::{MockApi, page, record};
use crate::common::harness::{Harness, HarnessOptions};
use crate::common::{KEY, Scrape, ServerProcess, output};

/// Returns one of the responses in `tests/data/responses`.
fn response(name: &str) -> Vec<u8> {
    std::fs::read(format!("tests/data/responses/{name}.json")).unwrap()
}

fn json(body: Vec<u8>) -> Response {
    ([("content-type", "application/json")], body).into_response()
}

/// Starts an API that responds to every request with the same body.
async fn api_with(body: Vec<u8>) -> MockApi {
    MockApi::start(move |_| {
        let response = json(body.clone());
        async move { response }
    })
    .await
}

/// Polls an API once that responds with this body; returns a scrape and the log.
async fn poll_body(body: Vec<u8>, arguments: &[&str]) -> (Scrape, String) {
    let api = api_with(body).await;
    let mut exporter = ServerProcess::exporter(&api.url(), arguments).await;
    exporter.wait_for_polls(1).await;
    let scrape = exporter.scrape().await;
    scrape.lint();
    (scrape, exporter.output_so_far())
}

/// Polls one of the responses once.
async fn poll_response(name: &str, arguments: &[&str]) -> Scrape {
    poll_body(response(name), arguments).await.0
}

/// Asserts that the poll succeeded with this many numbers and invalid records.
fn assert_listed(scrape: &Scrape, numbers: f64, invalid: f64) {
    let value = |family| scrape.account_value(family, "");
    assert_eq!(value("tryvox_up"), 1.0);
    assert_eq!((value("tryvox_listed_numbers"), value("tryvox_invalid_records")), (numbers, invalid));
    let (listed, fees) = (scrape.family("tryvox_numbers"), scrape.family("tryvox_monthly_fees"));
    assert_eq!((listed.values().sum::<f64>(), fees.is_empty()), (numbers, numbers == 0.0));
}

/// Returns the values of `tryvox_unreadable_fields` that are not 0; all six fields must be present.
fn unreadable_fields(scrape: &Scrape) -> Vec<(String, f64)> {
    let fields = scrape.family("tryvox_unreadable_fields");
    let names: Vec<_> =
        fields.keys().map(|series| series.split("field=\"").nth(1).unwrap().replace("\"}", "")).collect();
    assert_eq!(names, ["application_id", "capabilities", "created_at", "region", "trunk_id", "updated_at"]);
    names.into_iter().zip(fields.into_values()).filter(|(_, numbers)| *numbers > 0.0).collect()
}

fn assert_failed(scrape: &Scrape, reason: &str) {
    assert_eq!(scrape.account_value("tryvox_up", ""), 0.0);
    assert_eq!(scrape.account_value("tryvox_poll_errors_total", &format!("reason=\"{reason}\"")), 1.0, "{reason}");
}

#[tokio::test]
async fn totals_as_strings_are_read() {
    let scrape = poll_response("total-as-string", &[]).await;
    assert_listed(&scrape, 1.0, 0.0);
    assert_eq!(scrape.account_value("tryvox_reported_numbers", ""), 1.0);
    assert_eq!(unreadable_fields(&scrape), []);
}

#[tokio::test]
async fn null_data_of_an_empty_account_is_an_empty_listing() {
    let scrape = poll_response("data-null", &[]).await;
    assert_listed(&scrape, 0.0, 0.0);
    assert_eq!(unreadable_fields(&scrape), [], "all fields are present at 0");
}

#[tokio::test]
async fn byte_order_mark_is_skipped() {
    assert_listed(&poll_response("byte-order-mark", &[]).await, 1.0, 0.0);
}

#[tokio::test]
async fn fees_as_strings_are_read_exactly() {
    let scrape = poll_response("fees-as-strings", &["--poll.max-discrepancy=0"]).await;
    assert_listed(&scrape, 3.0, 0.0);
    let labels = r#"account="acc_demo",country="US",type="local",status="active",currency="USD""#;
    assert_eq!(scrape.value(&format!("tryvox_monthly_fees{{{labels}}}")), Some(3.45));
    assert_eq!(scrape.value(&format!("tryvox_setup_fees{{{labels}}}")), Some(0.9));
}

#[tokio::test]
async fn invalid_utf8_costs_at_most_its_own_record() {
    assert_listed(&poll_response("invalid-utf8-in-one-region", &[]).await, 99.0, 1.0);
    // It is an invalid record, which is not allowed if the poll is strict.
    assert_failed(&poll_response("invalid-utf8-in-one-region", &["--poll.max-discrepancy=0"]).await, "invalid_records");
}

#[tokio::test]
async fn timestamps_without_zone_or_with_a_basic_offset_are_read() {
    for name in ["timestamp-basic-offset", "timestamp-without-zone"] {
        let scrape = poll_response(name, &[]).await;
        assert_listed(&scrape, 1.0, 0.0);
        for (family, label) in [
            ("tryvox_oldest_update_timestamp_seconds", "status=\"suspended\""),
            ("tryvox_number_updated_timestamp_seconds", "e164=\"+14150000001\""),
        ] {
            assert_eq!(scrape.account_value(family, label), 1_762_105_212.0, "{name}");
        }
        assert_eq!(unreadable_fields(&scrape), []);
    }
}

#[tokio::test]
async fn numeric_trunk_id_is_counted_as_unreadable() {
    let scrape = poll_response("trunk-id-number", &[]).await;
    assert_listed(&scrape, 2.0, 0.0);
    assert_eq!(unreadable_fields(&scrape), [("trunk_id".to_owned(), 1.0)]);
    assert_eq!(scrape.account_value("tryvox_assignment_numbers", "assignment=\"none\",status=\"active\""), 1.0);
}

#[tokio::test]
async fn listing_that_reports_a_number_but_has_none_fails() {
    for arguments in [&["--poll.max-discrepancy=0"][..], &[], &["--poll.max-discrepancy=1"]] {
        let scrape = poll_response("reported-1-listed-0", arguments).await;
        assert_failed(&scrape, "inconsistent");
        assert_eq!(scrape.inventory(), [].into());
        assert!(!scrape.0.contains("tryvox_invalid_records") && !scrape.0.contains("tryvox_unreadable_fields"));
    }
    // If its only record is invalid, that is the reason.
    let invalid = page_body(&[record("+14155550123", "active", "{}", "USD")], 1);
    for arguments in [&["--poll.max-discrepancy=0"][..], &[], &["--poll.max-discrepancy=1"]] {
        assert_failed(&poll_body(invalid.clone(), arguments).await.0, "invalid_records");
    }
}

#[tokio::test]
async fn strict_polls_accept_no_discrepancy() {
    let one_of_two = page_body(&[record("+14155550123", "active", "1", "USD")], 2);
    assert_listed(&poll_body(one_of_two.clone(), &[]).await.0, 1.0, 0.0);
    assert_failed(&poll_body(one_of_two, &["--poll.max-discrepancy=0"]).await.0, "inconsistent");
}

/// Polls an API once that lists these pages; the totals are those that the pages report.
async fn poll_pages(pages: Vec<(Vec<String>, usize)>, arguments: &[&str]) -> (Scrape, usize) {
    let count = pages.len();
    let api = MockApi::start(move |request| {
        let (records, total) = &pages[request.page - 1];
        let response = page(records, *total, request.page, count);
        async move { response }
    })
    .await;
    let arguments = [arguments, &["--tryvox.rate-limit=0"]].concat();
    let mut exporter = ServerProcess::exporter(&api.url(), &arguments).await;
    exporter.wait_for_polls(1).await;
    (exporter.scrape().await, api.requests().len())
}

fn valid(number: usize) -> String {
    record(&format!("+1415555{number:04}"), "active", "1", "USD")
}

fn invalid(number: usize) -> String {
    record(&format!("+1415555{number:04}"), "active", "{}", "USD")
}

#[tokio::test]
async fn pages_that_report_numbers_but_list_none_fail_whatever_the_first_page_reports() {
    let (scrape, requests) = poll_pages(vec![(vec![], 0), (vec![], 47)], &["--poll.max-discrepancy=1"]).await;
    assert_failed(&scrape, "inconsistent");
    assert_eq!(requests, 3 * 2, "three attempts");
}

#[tokio::test]
async fn strict_polls_accept_no_pages_that_disagree_on_the_total() {
    let pages = || vec![(vec![valid(1)], 2), (vec![valid(2)], 5)];
    assert_listed(&poll_pages(pages(), &[]).await.0, 2.0, 0.0);
    assert_failed(&poll_pages(pages(), &["--poll.max-discrepancy=0"]).await.0, "inconsistent");
}

#[tokio::test]
async fn invalid_record_on_two_pages_counts_once() {
    // The list shifts between two pages: the last record of the first is again the first of the second.
    let (scrape, _) = poll_pages(vec![(vec![valid(1), invalid(2)], 3), (vec![invalid(2), valid(3)], 3)], &[]).await;
    assert_listed(&scrape, 2.0, 1.0);
    // Two records on one page are two records.
    let (scrape, _) = poll_pages(
        vec![(vec![valid(1), invalid(2)], 3), (vec![invalid(3), invalid(3)], 3)],
        &["--poll.max-discrepancy=1"],
    )
    .await;
    assert_listed(&scrape, 1.0, 3.0);
}

#[tokio::test]
async fn filter_that_reports_a_number_but_lists_none_fails_the_poll() {
    let api = MockApi::start(|request| async move {
        let records: Vec<_> =
            if request.uri.to_string().contains("country=US") { (0..5).map(valid).collect() } else { vec![] };
        page(&records, records.len().max(1), 1, 1)
    })
    .await;
    let mut exporter = ServerProcess::exporter(&api.url(), &["--tryvox.countries=US,IN"]).await;
    let line = exporter.wait_for_log("poll failed", 1).await;
    assert!(line.contains("reason=inconsistent") && line.contains("one of the filters"), "{line}");
}

/// Returns the body of the only page of a listing.
fn page_body(records: &[String], total: usize) -> Vec<u8> {
    let pagination = format!(r#"{{"total":{total},"count":1,"per_page":100,"current_page":1,"total_pages":1}}"#);
    format!(r#"{{"data":[{}],"pagination":{pagination}}}"#, records.join(",")).into_bytes()
}

/// Starts an exporter of an API that responds with the bodies in turn, one per poll, and then with the last one.
/// Each body must need one request per poll. Returns a scrape after each poll, and the log.
async fn poll_in_turn(bodies: Vec<Vec<u8>>, arguments: &[&str]) -> (Vec<Scrape>, String) {
    let count = bodies.len();
    let (current, bodies) = (Arc::new(AtomicUsize::new(0)), Arc::new(bodies));
    let served = (current.clone(), bodies.clone());
    let api = MockApi::start(move |_| {
        let (current, bodies) = &served;
        let response = json(bodies[current.load(Ordering::SeqCst)].clone());
        async move { response }
    })
    .await;
    let arguments = [&["--poll.interval=100ms", "--poll.timeout=30s", "--poll.stale-after=1h"], arguments].concat();
    let mut exporter =
        ServerProcess::exporter(&api.url(), &[&arguments[..], &["--tryvox.rate-limit=0"]].concat()).await;
    let mut scrapes = Vec::new();
    for index in 0..count {
        current.store(index, Ordering::SeqCst);
        // The poll in progress may have read the previous body.
        exporter.wait_for_polls(exporter.polls() + 2).await;
        scrapes.push(exporter.scrape().await);
    }
    (scrapes, exporter.output_so_far())
}

#[tokio::test]
async fn an_api_that_changes_its_fees_to_objects_removes_no_number() {
    let objects = response("fees-as-objects");
    let text = String::from_utf8(objects.clone()).unwrap();
    let valid = text.replace(r#"{"amount": 115, "scale": 2}"#, "1.15").into_bytes();
    assert_ne!(valid, objects);
    let (scrapes, log) = poll_in_turn(vec![valid.clone(), objects, valid], &[]).await;
    let [before, during, after] = &scrapes[..] else { panic!("{}", scrapes.len()) };
    assert_listed(before, 50.0, 0.0);
    assert_eq!(before.inventory(), during.inventory());
    assert_eq!(during.account_value("tryvox_up", ""), 0.0);
    assert!(during.account_value("tryvox_poll_errors_total", "reason=\"invalid_records\"") >= 1.0);
    assert_eq!(during.account_value("tryvox_invalid_records", ""), 0.0, "it belongs to the last valid listing");
    assert_listed(after, 50.0, 0.0);
    for scrape in &scrapes {
        for family in ["tryvox_numbers_removed_total", "tryvox_numbers_added_total"] {
            assert_eq!(scrape.account_value(family, ""), 0.0);
        }
    }
    let error = "50 invalid records, and no number is valid; most frequent, 50 times: fee is not a number";
    assert!(log.contains(error), "{log}");
}

#[tokio::test]
async fn a_number_with_an_invalid_record_is_compared_with_its_last_known_state() {
    let number = |digit: u8, status: &str, fee: &str| record(&format!("+1415555000{digit}"), status, fee, "USD");
    let listing = |third: String| page_body(&[number(1, "active", "1"), number(2, "active", "1"), third], 3);
    let bodies = vec![
        listing(number(3, "active", "2")),
        // Invalid in various ways, with a readable number, during several polls.
        listing(number(3, "active", "null")),
        listing(number(3, "", "2")),
        listing(number(3, "suspended", "3")),
        // The number cannot be read.
        listing(number(3, "suspended", "3").replace('+', "")),
        listing(number(3, "suspended", "3")),
        // A valid record wins over an invalid one.
        page_body(
            &[number(1, "active", "1"), number(2, "active", "1"), number(3, "suspended", "3"), number(3, "", "3")],
            3,
        ),
    ];
    let (scrapes, _) = poll_in_turn(bodies, &[]).await;
    let values = |family: &str, label: &str| -> Vec<f64> {
        scrapes.iter().map(|scrape| scrape.account_value(family, label)).collect()
    };
    assert_eq!(values("tryvox_listed_numbers", ""), [3.0, 2.0, 2.0, 3.0, 2.0, 3.0, 3.0]);
    assert_eq!(values("tryvox_invalid_records", ""), [0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0]);
    assert_eq!(values("tryvox_numbers_removed_total", ""), [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
    assert_eq!(values("tryvox_numbers_added_total", ""), [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0]);
    let suspended = values("tryvox_number_status_changes_total", "from=\"active\",to=\"suspended\"");
    assert_eq!(suspended, [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]);
    let increases = values("tryvox_number_fee_changes_total", "direction=\"increase\"");
    assert_eq!(increases, [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]);
}

#[tokio::test]
async fn invalid_records_are_allowed_up_to_their_share_of_the_total() {
    let records = |valid: usize, invalid: usize| {
        let number = |index: usize| format!("+1415555{index:04}");
        let valid = (0..valid).map(move |index| record(&number(index), "active", "1", "USD"));
        let invalid = (0..invalid).map(move |index| record(&number(5000 + index), "active", "[]", "USD"));
        page_body(&valid.chain(invalid).collect::<Vec<_>>(), 0)
    };
    for (valid, invalid, share, is_accepted) in [
        (1, 1, "0.01", true),
        (50, 1, "0.01", true),
        (50, 2, "0.01", false),
        (90, 10, "0.1", true),
        (89, 11, "0.1", false),
        (50, 1, "0", false),
    ] {
        let body = String::from_utf8(records(valid, invalid)).unwrap();
        let body = body.replace(r#""total":0"#, &format!(r#""total":{}"#, valid + invalid)).into_bytes();
        let (scrape, _) = poll_body(body, &[&format!("--poll.max-discrepancy={share}")]).await;
        if is_accepted {
            assert_listed(&scrape, valid as f64, invalid as f64);
        } else {
            assert_failed(&scrape, "invalid_records");
        }
    }
}

#[tokio::test]
async fn a_page_of_more_than_twice_the_requested_records_is_too_large_and_not_retried() {
    let records: Vec<_> = (0..21).map(|index| record(&format!("+1415555{index:04}"), "active", "1", "USD")).collect();
    let accepted = page_body(&records[..20], 20);
    assert_listed(&poll_body(accepted, &["--tryvox.per-page=10"]).await.0, 20.0, 0.0);
    let api = api_with(page_body(&records, 21)).await;
    let mut exporter = ServerProcess::exporter(&api.url(), &["--tryvox.per-page=10"]).await;
    let line = exporter.wait_for_log("poll failed", 1).await;
    assert!(line.contains("reason=too_large") && line.contains("21 records although 10 were requested"), "{line}");
    assert_eq!(api.requests().len(), 1);
}

/// Runs `check` on an API that responds with this body and returns the problems of the account and its report.
async fn check(body: Vec<u8>, arguments: &[&str]) -> (Vec<String>, serde_json::Value) {
    let api = api_with(body).await;
    let url = format!("--tryvox.url={}", api.url());
    let arguments = [&["check", &url, "--tryvox.account-id=acc_demo", "--output=json"], arguments].concat();
    let checked = output(&arguments, &[("TRYVOX_API_KEY", KEY)]).await;
    let report: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
    let account = report["accounts"][0].clone();
    let problems = account["problems"].as_array().unwrap();
    (problems.iter().map(|problem| problem.as_str().unwrap().to_owned()).collect(), account)
}

#[tokio::test]
async fn check_names_each_deviation_of_form() {
    for (name, expected) in [
        ("total-as-string", "total or total_pages is a string instead of a number"),
        ("data-null", "data is null instead of an empty array"),
        ("byte-order-mark", "a byte order mark before the JSON"),
        ("fees-as-strings", "a fee is a string instead of a number"),
        ("timestamp-basic-offset", "a timestamp has an offset like +0000 instead of +00:00"),
        ("timestamp-without-zone", "a timestamp has no time zone (read as UTC)"),
    ] {
        let (problems, _) = check(response(name), &[]).await;
        assert_eq!(problems, [format!("undocumented form, which is read: {expected}")], "{name}");
    }
    let (problems, _) = check(response("trunk-id-number"), &[]).await;
    assert_eq!(problems, ["trunk_id cannot be read and counts as absent for 1 number"]);
    let body = String::from_utf8(response("timestamp-without-zone")).unwrap();
    let body = body.replace("2025-11-02T17:40:12", "2025-11-02 17:40:12Z").replace(r#""total": 1"#, r#""total": 1.0"#);
    let (problems, _) = check(body.into_bytes(), &[]).await;
    let expected = [
        "undocumented form, which is read: total or total_pages is written like 47.0",
        "undocumented form, which is read: a timestamp has a space instead of T",
    ];
    assert_eq!(problems, expected);
}

#[tokio::test]
async fn check_names_undocumented_values_and_limits_its_series_count() {
    let records: Vec<_> = (0..90)
        .map(|index| {
            let currency = if index == 0 { "EUR" } else { "USD" };
            let country = if index < 30 { format!("\"X{index:02}\"") } else { "\"NO\"".to_owned() };
            record(&format!("+1415555{index:04}"), "active", "1", currency).replace("\"US\"", &country)
        })
        .collect();
    let (problems, account) = check(page_body(&records, 90), &[]).await;
    let countries: Vec<_> = (0..20).map(|index| format!("X{index:02}")).collect();
    let countries = format!("undocumented country, kept as it is: {} and 10 more", countries.join(", "));
    assert_eq!(problems, [&*countries, "undocumented currency, kept as it is: EUR"]);
    let (_, limited) = check(page_body(&records, 90), &["--collector.label-limit=5"]).await;
    let series = |account: &serde_json::Value| account["series"].as_u64().unwrap();
    // Each of 31 countries has at least 9 series: numbers and two kinds of fees in three statuses.
    assert_eq!(series(&account) - series(&limited), (31 - 6) * 9);
    assert_eq!(account["groups"], limited["groups"], "the report itself is complete");
}

/// Two kinds of invalid records in a listing that is published: `check` describes both with an example.
#[tokio::test]
async fn check_describes_invalid_records() {
    let valid = (0..8).map(|index| record(&format!("+1415555{index:04}"), "active", "1", "USD"));
    let invalid = [record("+14155559998", "active", "true", "USD"), "[7]".to_owned()];
    let records: Vec<_> = valid.chain(invalid).collect();
    let (problems, _) = check(page_body(&records, 10), &["--poll.max-discrepancy=0.5"]).await;
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].starts_with("1 invalid record: a fee is not a valid amount, for example: fee is not"));
    let shape =
        "1 invalid record: a required field is missing or has the wrong type, for example: the record is an array";
    assert!(problems[1].starts_with(shape), "{problems:?}");
}

#[tokio::test(start_paused = true)]
async fn timestamps_in_other_notations_are_read_to_the_second() {
    let harness = Harness::start(&HarnessOptions::default());
    harness.wait_for_polls(1).await;
    let timestamps = |scrape: &Scrape| {
        ["tryvox_oldest_update_timestamp_seconds", "tryvox_newest_creation_timestamp_seconds"]
            .map(|family| scrape.family(family))
    };
    let before = timestamps(&harness.scrape());
    assert!(before.iter().all(|family| !family.is_empty()));
    harness.set_faults("odd-timestamps");
    harness.wait_for_polls(2).await;
    let after = harness.scrape();
    assert_eq!(after.account_value("tryvox_up", ""), 1.0);
    assert_eq!(timestamps(&after), before);
}

#[tokio::test(start_paused = true)]
async fn unreadable_fields_are_counted_by_field() {
    let options = HarnessOptions::default();
    let harness = Harness::start(&options);
    let with_id = |field: &str| {
        let account = harness.simulator.accounts["acc_demo"].read().unwrap();
        account.records().filter(|record| !record.contains(&format!("\"{field}\":null"))).count()
    };
    let fields = [
        ("region", options.numbers),
        ("trunk_id", with_id("trunk_id")),
        ("application_id", with_id("application_id")),
        ("capabilities", options.numbers),
        ("created_at", options.numbers),
        ("updated_at", options.numbers),
    ];
    let unreadable = |field| harness.scrape().account_value("tryvox_unreadable_fields", &format!("field=\"{field}\""));
    harness.wait_for_polls(1).await;
    for (field, _) in fields {
        assert_eq!(unreadable(field), 0.0, "{field}");
    }
    harness.set_faults("unreadable-fields");
    harness.wait_for_polls(2).await;
    for (field, count) in fields {
        assert_eq!(unreadable(field), count as f64, "{field}");
    }
}

#[tokio::test(start_paused = true)]
async fn null_data_with_a_total_of_0_is_an_empty_listing() {
    let harness = Harness::start(&HarnessOptions { numbers: 0, ..HarnessOptions::default() });
    harness.set_faults("null-data");
    harness.wait_for_polls(1).await;
    let scrape = harness.scrape();
    assert_eq!(scrape.account_value("tryvox_up", ""), 1.0);
    assert_eq!(scrape.inventory(), harness.expected_series());
    assert_eq!(harness.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn numbers_of_invalid_records_do_not_count_as_removed() {
    for fault in ["type-change", "invalid-utf8", "invalid-utf8 times=1"] {
        let harness = Harness::start(&HarnessOptions::default());
        harness.wait_for_polls(1).await;
        harness.set_faults(fault);
        harness.wait_for_polls(2).await;
        harness.set_faults("");
        harness.wait_for_polls(3).await;
        let scrape = harness.scrape();
        assert_eq!(scrape.inventory(), harness.expected_series(), "{fault}");
        for counter in ["tryvox_numbers_removed_total", "tryvox_numbers_added_total"] {
            assert_eq!(scrape.account_value(counter, ""), 0.0, "{fault}");
        }
    }
}
