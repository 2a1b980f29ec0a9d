//! How an account is asked, and what is served when that fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::api::{Api, one_number, page, record};
use crate::common::{KEY, Running, http};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use tokio::sync::Notify;

#[tokio::test]
async fn n_pages_are_n_requests_within_the_concurrency() {
    const PAGES: usize = 23;
    let api = Api::start(|asked| async move {
        // Long enough for the others to come in.
        tokio::time::sleep(Duration::from_millis(20)).await;
        page(&[record(&format!("+1415555{:04}", asked.page), "active", "1", "USD")], PAGES, asked.page, PAGES)
    })
    .await;
    let arguments = ["--tryvox.concurrency=5", "--tryvox.rate-limit=0", "--tryvox.per-page=1"];
    let mut exporter = Running::exporter(&api.url(), &arguments).await;
    exporter.polled(1).await;

    let asked = api.asked();
    assert_eq!(asked[0].uri, "/v1/account/acc_demo/numbers?page=1&per_page=1");
    for request in &asked {
        assert_eq!(request.headers["authorization"], format!("Bearer {KEY}"));
        assert_eq!(request.headers["accept"], "application/json");
        assert!(request.headers["user-agent"].to_str().unwrap().starts_with("tryvox-exporter/"));
    }
    let mut pages: Vec<_> = asked.iter().map(|asked| asked.page).collect();
    pages.sort_unstable();
    assert_eq!(pages, (1..=PAGES).collect::<Vec<_>>());
    assert_eq!(api.most_in_flight(), 5);
    let scrape = exporter.scrape().await;
    assert_eq!(scrape.value(r#"tryvox_listed_numbers{account="acc_demo"}"#), Some(PAGES as f64));
    assert_eq!(scrape.value(r#"tryvox_api_request_duration_seconds_count{account="acc_demo"}"#), Some(PAGES as f64));
}

#[tokio::test]
async fn a_scrape_during_a_poll_answers_with_what_there_was() {
    let release = Arc::new(Notify::new());
    let released = release.clone();
    let api = Api::start(move |asked| {
        let release = release.clone();
        async move {
            if asked.page == 2 {
                release.notified().await;
            }
            page(&[record(&format!("+1415555{:04}", asked.page), "active", "1", "USD")], 2, asked.page, 2)
        }
    })
    .await;
    let mut exporter = Running::exporter(&api.url(), &["--tryvox.timeout=90s"]).await;

    // Page 2 is held until these have their answers.
    let scrape = exporter.scrape().await;
    scrape.lint();
    assert_eq!(scrape.value(r#"tryvox_up{account="acc_demo"}"#), Some(0.0));
    for absent in ["tryvox_numbers{", "tryvox_last_poll_timestamp_seconds", "tryvox_last_success_timestamp_seconds"] {
        assert!(!scrape.0.contains(absent), "{absent}");
    }
    assert_eq!(scrape.family("tryvox_poll_errors_total").values().copied().collect::<Vec<_>>(), [0.0; 15]);
    assert_eq!(scrape.family("tryvox_api_retries_total").values().copied().collect::<Vec<_>>(), [0.0; 7]);
    assert_eq!(scrape.of("tryvox_invalid_records", ""), 0.0);
    assert_eq!(scrape.family("tryvox_number_status_changes_total").values().sum::<f64>(), 0.0);
    assert_eq!(exporter.get("/-/ready").await.status(), 503);
    assert_eq!(exporter.get("/-/healthy").await.status(), 200);

    released.notify_one();
    exporter.polled(1).await;
    assert_eq!(exporter.get("/-/ready").await.status(), 200);
    assert_eq!(exporter.scrape().await.value(r#"tryvox_listed_numbers{account="acc_demo"}"#), Some(2.0));
}

/// A fault of the second poll and the reason that it is counted as.
async fn fails_as(reason: &str, fault: impl Fn() -> axum::response::Response + Clone + Send + Sync + 'static) {
    let broken = Arc::new(AtomicBool::new(false));
    let breaks = broken.clone();
    let api = Api::start(move |_| {
        let answer = if breaks.load(Ordering::SeqCst) { fault() } else { one_number() };
        async move { answer }
    })
    .await;
    let mut exporter = Running::exporter(
        &api.url(),
        &["--poll.interval=300ms", "--poll.timeout=30s", "--poll.stale-after=1h", "--tryvox.rate-limit=0"],
    )
    .await;
    exporter.polled(1).await;
    let inventory =
        |scrape: &crate::common::Scrape| (scrape.family("tryvox_numbers"), scrape.family("tryvox_monthly_fees"));
    let good = inventory(&exporter.scrape().await);

    broken.store(true, Ordering::SeqCst);
    let line = exporter.logged("poll failed", 1).await;
    assert!(line.contains(&format!("reason={reason} ")), "{line}");
    let scrape = exporter.scrape().await;
    scrape.lint();
    assert_eq!(scrape.value(r#"tryvox_up{account="acc_demo"}"#), Some(0.0));
    let series = format!(r#"tryvox_poll_errors_total{{account="acc_demo",reason="{reason}"}}"#);
    let failures = scrape.value(&series).unwrap();
    assert!(failures >= 1.0);
    assert_eq!(scrape.value(r#"tryvox_polls_total{account="acc_demo",result="failure"}"#), Some(failures));
    assert_eq!(inventory(&scrape), good);

    broken.store(false, Ordering::SeqCst);
    let listed = exporter.said().matches("account listed").count();
    exporter.logged("account listed", listed + 1).await;
    assert_eq!(exporter.scrape().await.value(r#"tryvox_up{account="acc_demo"}"#), Some(1.0));
}

#[tokio::test]
async fn a_failed_poll_keeps_the_last_good_listing_and_counts_its_reason() {
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
        fails_as(reason, move || StatusCode::from_u16(status).unwrap().into_response()).await;
    }
    fails_as("decode", || "<html>maintenance</html>".into_response()).await;
    fails_as("decode", || r#"{"data":{},"pagination":null}"#.into_response()).await;
    fails_as("too_large", || vec![b' '; (16 << 20) + 1].into_response()).await;
}

#[tokio::test]
async fn no_connection_is_counted_as_such() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut exporter = Running::exporter(&url, &[]).await;
    let line = exporter.logged("poll failed", 1).await;
    assert!(line.contains("reason=connect") && line.contains("refused"), "{line}");
    let scrape = exporter.scrape().await;
    assert_eq!(scrape.value(r#"tryvox_api_requests_total{account="acc_demo",code="error"}"#), Some(4.0));
    assert_eq!(scrape.value(r#"tryvox_api_retries_total{account="acc_demo",reason="connect"}"#), Some(3.0));
    assert_eq!(exporter.get("/-/ready").await.status(), 200);
}

#[tokio::test]
async fn an_answer_that_never_ends_is_a_timeout() {
    let api = Api::start(|_| std::future::pending()).await;
    let mut exporter = Running::exporter(&api.url(), &["--tryvox.timeout=100ms"]).await;
    let line = exporter.logged("poll failed", 1).await;
    assert!(line.contains("reason=timeout") && line.contains("--tryvox.timeout"), "{line}");

    let mut exporter = Running::exporter(&api.url(), &["--poll.timeout=100ms"]).await;
    let line = exporter.logged("poll failed", 1).await;
    assert!(line.contains("reason=timeout") && line.contains("--poll.timeout"), "{line}");
}

#[tokio::test]
async fn a_number_that_is_listed_twice_counts_once_and_a_bad_record_costs_itself() {
    let api = Api::start(|asked| async move {
        let records = match asked.page {
            1 => vec![record("+14155550001", "active", "1", "USD"), record("+14155550002", "active", "1", "USD")],
            _ => vec![
                record("+14155550002", "suspended", "2", "USD"),
                record("no number", "active", "1", "USD"),
                "7".to_owned(),
            ],
        };
        // Two numbers and two records that cannot be read.
        page(&records, 4, asked.page, 2)
    })
    .await;
    let mut exporter = Running::exporter(&api.url(), &[]).await;
    exporter.polled(1).await;
    assert_eq!(api.asked().len(), 2);
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
async fn a_key_file_is_read_anew_at_each_poll() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "first-key\n").unwrap();
    let api = Api::start(|_| async { one_number() }).await;
    let (url, path) =
        (format!("--tryvox.url={}", api.url()), format!("--tryvox.api-key-file={}", file.path().display()));
    let arguments = [&*url, &*path, "--tryvox.account-id=acc_demo", "--poll.interval=200ms", "--log.level=debug"];
    let mut exporter = Running::start(&arguments, &[]).await;
    exporter.polled(1).await;
    std::fs::write(file.path(), "second-key").unwrap();
    let polls = exporter.said().matches("account listed").count();
    // The poll after the next began after the file was written.
    exporter.polled(polls + 2).await;
    let keys: Vec<_> =
        api.asked().iter().map(|asked| asked.headers["authorization"].to_str().unwrap().to_owned()).collect();
    assert_eq!((&*keys[0], &**keys.last().unwrap()), ("Bearer first-key", "Bearer second-key"));

    std::fs::write(file.path(), "").unwrap();
    let line = exporter.logged("poll failed", 1).await;
    assert!(line.contains("reason=api_key") && line.contains("empty"), "{line}");
}

#[tokio::test]
async fn the_simulator_answers_as_the_api_is_documented() {
    let simulator = Running::simulator(250, crate::common::seed(), &[]).await;
    let ask = async |path: &str, key: &str| {
        let answer =
            http().get(format!("{}/v1/account/{path}", simulator.url())).bearer_auth(key).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_slice::<serde_json::Value>(&answer.bytes().await.unwrap()).unwrap())
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
        let (answered, body) = ask(path, key).await;
        assert_eq!(answered, status, "{path}");
        assert!(body["error"]["message"].is_string(), "{path}");
    }

    let (_, body) = ask("acc_demo/numbers", KEY).await;
    assert_eq!(
        body["pagination"],
        serde_json::json!({"total": 250, "count": 20, "per_page": 20, "current_page": 1, "total_pages": 13})
    );
    let (_, body) = ask("acc_demo/numbers?page=3&per_page=100", KEY).await;
    assert_eq!((body["pagination"]["count"].as_u64(), body["data"].as_array().unwrap().len()), (Some(50), 50));
    let (status, body) = ask("acc_demo/numbers?page=4&per_page=100", KEY).await;
    assert_eq!((status, body["data"].as_array().unwrap().len()), (200, 0));

    let mut total = 0;
    for status in ["active", "pending", "suspended"] {
        let (_, body) = ask(&format!("acc_demo/numbers?status={status}&per_page=100"), KEY).await;
        assert!(body["data"].as_array().unwrap().iter().all(|record| record["status"] == status));
        total += body["pagination"]["total"].as_u64().unwrap();
    }
    assert_eq!(total, 250);
    let (_, body) = ask("acc_demo/numbers?country=US&status=active&per_page=100", KEY).await;
    let matches = |record: &serde_json::Value| record["country"] == "US" && record["status"] == "active";
    assert!(body["data"].as_array().unwrap().iter().all(matches));
}

/// The log answers which numbers, up to a hundred a poll; the metrics only how many.
#[tokio::test]
async fn what_changed_is_in_the_log() {
    let later = Arc::new(AtomicBool::new(false));
    let changed = later.clone();
    let api = Api::start(move |_| {
        let records: Vec<_> = if changed.load(Ordering::SeqCst) {
            (0..150).map(|number| record(&format!("+1{number:03}"), "active", "1", "USD")).collect()
        } else {
            let kept = record("+1000", "suspended", "2.50", "USD");
            vec![kept, record("+9999", "active", "1", "USD")]
        };
        async move { page(&records, records.len(), 1, 1) }
    })
    .await;
    let mut exporter =
        Running::exporter(&api.url(), &["--poll.interval=300ms", "--poll.timeout=30s", "--tryvox.rate-limit=0"]).await;
    exporter.polled(1).await;
    assert!(!exporter.said().contains("numbers changed"));
    later.store(true, Ordering::SeqCst);
    let line = exporter.logged("message=\"numbers changed\"", 1).await;
    for word in ["level=info", "added=149", "removed=1", "suspended=0", "activated=1", "fee_decreases=1"] {
        assert!(line.contains(word), "{word} is not in: {line}");
    }
    let polls = exporter.polls();
    exporter.polled(polls + 2).await;
    let said = exporter.said();
    let told = ["number added", "number removed", "number status changed", "number fee changed"];
    assert_eq!(told.map(|text| said.matches(text).count()).iter().sum::<usize>(), 100, "{said}");
    assert!(said.contains("e164=+1000 from=suspended to=active") && said.contains("from=2.50 to=1"), "{said}");
    assert!(said.contains("untold=52"), "{said}");
    assert_eq!(said.matches("message=\"numbers changed\"").count(), 1);
    let scrape = exporter.scrape().await;
    assert_eq!(scrape.of("tryvox_numbers_added_total", ""), 149.0);
    assert_eq!(scrape.of("tryvox_number_status_changes_total", r#"from="suspended",to="active""#), 1.0);
    assert_eq!(scrape.of("tryvox_number_fee_changes_total", r#"direction="decrease""#), 1.0);
}
