//! How the exporter polls an account, and what it serves during a poll and after a failed one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::api::{MockApi, one_number, page, record};
use crate::common::{KEY, ServerProcess, http};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use tokio::net::TcpSocket;
use tokio::sync::{Barrier, Notify};

#[tokio::test]
async fn each_page_is_requested_once_within_the_concurrency() {
    const CONCURRENCY: usize = 5;
    // The first page is requested on its own, the others in full groups.
    const PAGES: usize = 1 + 4 * CONCURRENCY;
    let group = Arc::new(Barrier::new(CONCURRENCY));
    let api = MockApi::start(move |request| {
        let group = group.clone();
        async move {
            if request.page > 1 {
                // No response is sent before this many requests are in flight.
                group.wait().await;
                // One more than allowed has the time to arrive.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let record = record(&format!("+1415555{:04}", request.page), "active", "1", "USD");
            page(&[record], PAGES, request.page, PAGES)
        }
    })
    .await;
    let arguments = ["--tryvox.concurrency=5", "--tryvox.rate-limit=0", "--tryvox.per-page=1", "--tryvox.timeout=90s"];
    let mut exporter = ServerProcess::exporter(&api.url(), &arguments).await;
    exporter.wait_for_polls(1).await;

    let requests = api.requests();
    assert_eq!(requests[0].uri, "/v1/account/acc_demo/numbers?page=1&per_page=1");
    for request in &requests {
        assert_eq!(request.headers["authorization"], format!("Bearer {KEY}"));
        assert_eq!(request.headers["accept"], "application/json");
        assert!(request.headers["user-agent"].to_str().unwrap().starts_with("tryvox-exporter/"));
    }
    let mut pages: Vec<_> = requests.iter().map(|request| request.page).collect();
    pages.sort_unstable();
    assert_eq!(pages, (1..=PAGES).collect::<Vec<_>>());
    assert_eq!(api.max_in_flight(), CONCURRENCY);
    let scrape = exporter.scrape().await;
    assert_eq!(scrape.value(r#"tryvox_listed_numbers{account="acc_demo"}"#), Some(PAGES as f64));
    assert_eq!(scrape.value(r#"tryvox_api_request_duration_seconds_count{account="acc_demo"}"#), Some(PAGES as f64));
}

#[tokio::test]
async fn scrape_during_the_first_poll_succeeds_without_inventory() {
    let release = Arc::new(Notify::new());
    let released = release.clone();
    let api = MockApi::start(move |request| {
        let release = release.clone();
        async move {
            if request.page == 2 {
                release.notified().await;
            }
            page(&[record(&format!("+1415555{:04}", request.page), "active", "1", "USD")], 2, request.page, 2)
        }
    })
    .await;
    let mut exporter = ServerProcess::exporter(&api.url(), &["--tryvox.timeout=90s"]).await;

    // Page 2 is held back until all of these have a response.
    let scrape = exporter.scrape().await;
    scrape.lint();
    assert_eq!(scrape.value(r#"tryvox_up{account="acc_demo"}"#), Some(0.0));
    for absent in [
        "tryvox_numbers{",
        "tryvox_invalid_records",
        "tryvox_last_poll_timestamp_seconds",
        "tryvox_last_success_timestamp_seconds",
    ] {
        assert!(!scrape.0.contains(absent), "{absent}");
    }
    assert_eq!(scrape.family("tryvox_poll_errors_total").values().copied().collect::<Vec<_>>(), [0.0; 16]);
    assert_eq!(scrape.family("tryvox_api_retries_total").values().copied().collect::<Vec<_>>(), [0.0; 8]);
    assert_eq!(scrape.family("tryvox_number_status_changes_total").values().sum::<f64>(), 0.0);
    let response = exporter.get("/-/ready").await;
    assert_eq!(response.status(), 503);
    assert!(response.text().await.unwrap().ends_with(": waiting for the first poll of 1 account.\n"));
    assert_eq!(exporter.get("/-/healthy").await.status(), 200);

    released.notify_one();
    exporter.wait_for_polls(1).await;
    assert_eq!(exporter.get("/-/ready").await.status(), 200);
    assert_eq!(exporter.scrape().await.value(r#"tryvox_listed_numbers{account="acc_demo"}"#), Some(2.0));
}

/// Asserts that after a valid listing a response like this fails the poll with this reason, keeps the
/// listing, and that the account recovers.
async fn assert_fails_with(reason: &str, fault: impl Fn() -> axum::response::Response + Clone + Send + Sync + 'static) {
    let is_failing = Arc::new(AtomicBool::new(false));
    let fails = is_failing.clone();
    let api = MockApi::start(move |_| {
        let response = if fails.load(Ordering::SeqCst) { fault() } else { one_number() };
        async move { response }
    })
    .await;
    let mut exporter = ServerProcess::exporter(
        &api.url(),
        &[
            "--poll.interval=300ms",
            "--poll.timeout=30s",
            "--poll.stale-after=1h",
            "--tryvox.rate-limit=0",
            "--tryvox.retry-for=300ms",
        ],
    )
    .await;
    exporter.wait_for_polls(1).await;
    let inventory =
        |scrape: &crate::common::Scrape| (scrape.family("tryvox_numbers"), scrape.family("tryvox_monthly_fees"));
    let valid_inventory = inventory(&exporter.scrape().await);

    is_failing.store(true, Ordering::SeqCst);
    let line = exporter.wait_for_log("poll failed", 1).await;
    assert!(line.contains(&format!("reason={reason} ")), "{line}");
    let scrape = exporter.scrape().await;
    scrape.lint();
    assert_eq!(scrape.value(r#"tryvox_up{account="acc_demo"}"#), Some(0.0));
    let series = format!(r#"tryvox_poll_errors_total{{account="acc_demo",reason="{reason}"}}"#);
    let failures = scrape.value(&series).unwrap();
    assert!(failures >= 1.0);
    assert_eq!(scrape.failed_polls(), failures);
    assert_eq!(inventory(&scrape), valid_inventory);

    is_failing.store(false, Ordering::SeqCst);
    let listed = exporter.output_so_far().matches("poll succeeded").count();
    exporter.wait_for_log("poll succeeded", listed + 1).await;
    assert_eq!(exporter.scrape().await.value(r#"tryvox_up{account="acc_demo"}"#), Some(1.0));
}

#[tokio::test]
async fn failed_poll_keeps_the_last_valid_listing_and_counts_its_reason() {
    let statuses = [
        (401, "unauthorized"),
        (403, "forbidden"),
        (404, "not_found"),
        (429, "rate_limited"),
        (500, "server_error"),
        (503, "server_error"),
        (302, "redirect"),
        (418, "http_status"),
        (204, "http_status"),
    ];
    for (status, reason) in statuses {
        assert_fails_with(reason, move || StatusCode::from_u16(status).unwrap().into_response()).await;
    }
    assert_fails_with("decode", || "<html>maintenance</html>".into_response()).await;
    assert_fails_with("decode", || r#"{"data":{},"pagination":null}"#.into_response()).await;
    assert_fails_with("too_large", || vec![b' '; (16 << 20) + 1].into_response()).await;
}

#[tokio::test]
async fn refused_connection_is_retried_and_counted_as_connect() {
    // Nothing listens on this port, and no other process can bind it.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let mut exporter = ServerProcess::exporter(&url, &["--tryvox.retry-for=1s"]).await;
    let line = exporter.wait_for_log("poll failed", 1).await;
    assert!(line.contains("reason=connect") && line.contains("refused"), "{line}");
    let scrape = exporter.scrape().await;
    let requests = scrape.account_value("tryvox_api_requests_total", r#"code="error""#);
    assert!((4.0..=6.0).contains(&requests), "{requests}");
    assert_eq!(scrape.account_value("tryvox_api_retries_total", r#"reason="connect""#), requests - 1.0);
    assert_eq!(exporter.get("/-/ready").await.status(), 200);
}

#[tokio::test]
async fn missing_response_is_a_timeout_of_the_request_or_of_the_poll() {
    let api = MockApi::start(|_| std::future::pending()).await;
    let mut exporter = ServerProcess::exporter(&api.url(), &["--tryvox.timeout=100ms", "--tryvox.retry-for=0s"]).await;
    let line = exporter.wait_for_log("poll failed", 1).await;
    assert!(line.contains("reason=timeout") && line.contains("--tryvox.timeout"), "{line}");

    let mut exporter = ServerProcess::exporter(&api.url(), &["--poll.timeout=100ms"]).await;
    let line = exporter.wait_for_log("poll failed", 1).await;
    assert!(line.contains("reason=timeout") && line.contains("--poll.timeout"), "{line}");
}

#[tokio::test]
async fn duplicate_number_counts_once_and_invalid_records_are_skipped() {
    let api = MockApi::start(|request| async move {
        let records = match request.page {
            1 => vec![record("+14155550001", "active", "1", "USD"), record("+14155550002", "active", "1", "USD")],
            _ => vec![
                record("+14155550002", "suspended", "2", "USD"),
                record("no number", "active", "1", "USD"),
                "7".to_owned(),
            ],
        };
        // Two numbers and two invalid records.
        page(&records, 4, request.page, 2)
    })
    .await;
    let mut exporter = ServerProcess::exporter(&api.url(), &["--poll.max-discrepancy=0.5"]).await;
    exporter.wait_for_polls(1).await;
    assert_eq!(api.requests().len(), 2);
    let scrape = exporter.scrape().await;
    assert_eq!(scrape.value(r#"tryvox_invalid_records{account="acc_demo"}"#), Some(2.0));
    let numbers = |status| {
        let labels = format!(r#"account="acc_demo",country="US",type="local",status="{status}""#);
        (
            scrape.value(&format!("tryvox_numbers{{{labels}}}")).unwrap(),
            scrape.value(&format!(r#"tryvox_monthly_fees{{{labels},currency="USD"}}"#)).unwrap(),
        )
    };
    assert_eq!((numbers("active"), numbers("suspended")), ((1.0, 1.0), (1.0, 2.0)));
    assert_eq!(scrape.value(r#"tryvox_listed_numbers{account="acc_demo"}"#), Some(2.0));
}

#[tokio::test]
async fn api_key_file_is_read_again_for_each_poll() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    // In one step, so that no poll finds a file that is only half written.
    let write_key = |key: &str| {
        std::fs::write(directory.path().join("new"), key).unwrap();
        std::fs::rename(directory.path().join("new"), &path).unwrap();
    };
    write_key("first-key\n");
    let api = MockApi::start(|_| async { one_number() }).await;
    let (url, key_file) = (format!("--tryvox.url={}", api.url()), format!("--tryvox.api-key-file={}", path.display()));
    let arguments = [&*url, &*key_file, "--tryvox.account-id=acc_demo", "--poll.interval=200ms", "--log.level=debug"];
    let mut exporter = ServerProcess::start(&arguments, &[]).await;
    exporter.wait_for_polls(1).await;
    write_key("second-key");
    let polls = exporter.polls();
    // The next poll may have begun before the file was replaced, but not the one after it.
    exporter.wait_for_polls(polls + 2).await;
    let keys: Vec<_> =
        api.requests().iter().map(|request| request.headers["authorization"].to_str().unwrap().to_owned()).collect();
    assert_eq!((&*keys[0], &**keys.last().unwrap()), ("Bearer first-key", "Bearer second-key"));

    write_key("");
    let line = exporter.wait_for_log("poll failed", 1).await;
    assert!(line.contains("reason=api_key") && line.contains("empty"), "{line}");
}

#[tokio::test]
async fn simulator_responds_like_the_documented_api() {
    let simulator = ServerProcess::simulator(250, crate::common::seed(), &[]).await;
    let request = async |path: &str, key: &str| {
        let response =
            http().get(format!("{}/v1/account/{path}", simulator.url())).bearer_auth(key).send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_slice::<serde_json::Value>(&response.bytes().await.unwrap()).unwrap())
    };
    for (path, key, status) in [
        ("acc_demo/numbers", "wrong", 401),
        ("acc_other/numbers", KEY, 404),
        ("acc_demo/bogus", KEY, 404),
        ("acc_demo/numbers?page=0", KEY, 400),
        ("acc_demo/numbers?per_page=101", KEY, 400),
        ("acc_demo/numbers?status=gone", KEY, 400),
        ("acc_demo/numbers?country=usa", KEY, 400),
    ] {
        let (response_status, body) = request(path, key).await;
        assert_eq!(response_status, status, "{path}");
        assert!(body["error"]["message"].is_string(), "{path}");
    }

    let (_, body) = request("acc_demo/numbers", KEY).await;
    assert_eq!(
        body["pagination"],
        serde_json::json!({"total": 250, "count": 20, "per_page": 20, "current_page": 1, "total_pages": 13})
    );
    let (_, body) = request("acc_demo/numbers?page=3&per_page=100", KEY).await;
    assert_eq!((body["pagination"]["count"].as_u64(), body["data"].as_array().unwrap().len()), (Some(50), 50));
    let (status, body) = request("acc_demo/numbers?page=4&per_page=100", KEY).await;
    assert_eq!((status, body["data"].as_array().unwrap().len()), (200, 0));

    let mut total = 0;
    for status in ["active", "pending", "suspended"] {
        let (_, body) = request(&format!("acc_demo/numbers?status={status}&per_page=100"), KEY).await;
        assert!(body["data"].as_array().unwrap().iter().all(|record| record["status"] == status));
        total += body["pagination"]["total"].as_u64().unwrap();
    }
    assert_eq!(total, 250);
    let (_, body) = request("acc_demo/numbers?country=US&status=active&per_page=100", KEY).await;
    let matches = |record: &serde_json::Value| record["country"] == "US" && record["status"] == "active";
    assert!(body["data"].as_array().unwrap().iter().all(matches));
}

/// Metrics count the changes; the log names the numbers, up to a hundred for each poll.
#[tokio::test]
async fn changed_numbers_are_logged_and_counted() {
    let has_changed = Arc::new(AtomicBool::new(false));
    let changed = has_changed.clone();
    let api = MockApi::start(move |_| {
        let records: Vec<_> = if changed.load(Ordering::SeqCst) {
            (0..150).map(|number| record(&format!("+1{number:03}"), "active", "1", "USD")).collect()
        } else {
            vec![record("+1000", "suspended", "2.50", "USD"), record("+9999", "active", "1", "USD")]
        };
        async move { page(&records, records.len(), 1, 1) }
    })
    .await;
    let mut exporter =
        ServerProcess::exporter(&api.url(), &["--poll.interval=300ms", "--poll.timeout=30s", "--tryvox.rate-limit=0"])
            .await;
    exporter.wait_for_polls(1).await;
    assert!(!exporter.output_so_far().contains("numbers changed"));
    has_changed.store(true, Ordering::SeqCst);
    let line = exporter.wait_for_log("message=\"numbers changed\"", 1).await;
    for word in ["level=info", "added=149", "removed=1", "suspended=0", "activated=1", "fee_decreases=1"] {
        assert!(line.contains(word), "{word} is not in: {line}");
    }
    let polls = exporter.polls();
    exporter.wait_for_polls(polls + 2).await;
    let log = exporter.output_so_far();
    let messages = ["number added", "number removed", "number status changed", "number monthly fee changed"];
    assert_eq!(messages.map(|text| log.matches(text).count()).iter().sum::<usize>(), 100, "{log}");
    assert!(log.contains("e164=+1000 from=suspended to=active") && log.contains("from=2.50 to=1"), "{log}");
    assert!(log.contains("omitted=52"), "{log}");
    assert_eq!(log.matches("message=\"numbers changed\"").count(), 1);
    let scrape = exporter.scrape().await;
    assert_eq!(scrape.account_value("tryvox_numbers_added_total", ""), 149.0);
    assert_eq!(scrape.account_value("tryvox_number_status_changes_total", r#"from="suspended",to="active""#), 1.0);
    assert_eq!(scrape.account_value("tryvox_number_fee_changes_total", r#"direction="decrease""#), 1.0);
}
