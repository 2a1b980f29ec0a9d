//! An API that starts to write its values in other forms or types, and the messages of its errors.
//!
//! `faults.rs` crosses the same faults with pages and occurrences; here is what they mean for single metrics. All tests
//! run on tokio's paused clock.

use crate::common::harness::{Harness, HarnessOptions};
use crate::common::{KEY, Scrape};

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

#[tokio::test(start_paused = true)]
async fn failure_shows_the_message_of_the_api() {
    for field in ["error.message", "message", "error", "detail", "title", "none"] {
        let harness = Harness::start(&HarnessOptions::default());
        harness.set_faults(&format!("message text=account+closed+by+owner status=403 field={field}"));
        harness.wait_for_polls(1).await;
        let message = harness.last_failure();
        assert!(message.contains("account closed by owner"), "{field}: {message}");
    }
}

#[tokio::test(start_paused = true)]
async fn message_of_the_api_is_sanitized_redacted_and_short() {
    let harness = Harness::start(&HarnessOptions::default());
    harness.set_faults("message text=%1B[31mdenied%00+for+{authorization}%0D%0A repeat=100");
    harness.wait_for_polls(1).await;
    let message = harness.last_failure();
    assert!(message.contains("denied"), "{message}");
    assert!(!message.contains(KEY), "{message}");
    assert!(!message.contains(char::is_control), "{message:?}");
    // The status and the remedy come in addition to the 200 characters.
    assert!(message.chars().count() <= 400, "{message}");
}
