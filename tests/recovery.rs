//! How the exporter gets through errors of the API, over real sockets: errors during a listing, rate limits, dead
//! connections, a name that moves to another address, and a key that is replaced.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::http::StatusCode;
use axum::response::IntoResponse;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tryvox_exporter::tryvox::{ApiKey, HttpClients};

use crate::common::api::{MockApi, one_number, page, record};
use crate::common::harness::{HarnessOptions, build_poller};
use crate::common::https::HttpsListener;
use crate::common::{KEY, ServerProcess};

/// An empty listing.
const EMPTY: &str = r#"{"data":[],"pagination":{"total":0,"total_pages":0}}"#;

#[tokio::test]
async fn errors_for_seconds_during_a_listing_do_not_fail_it() {
    const PAGES: usize = 12;
    let outage_started_at: Arc<Mutex<Option<Instant>>> = Arc::default();
    let api = MockApi::start(move |request| {
        let outage_started_at = outage_started_at.clone();
        async move {
            if request.page >= PAGES / 2 {
                let mut started_at = outage_started_at.lock().unwrap();
                if started_at.get_or_insert_with(Instant::now).elapsed() < Duration::from_secs(3) {
                    return StatusCode::SERVICE_UNAVAILABLE.into_response();
                }
            }
            page(&[record(&format!("+1415555{:04}", request.page), "active", "1", "USD")], PAGES, request.page, PAGES)
        }
    })
    .await;
    let mut exporter = ServerProcess::exporter(&api.url(), &["--tryvox.rate-limit=0", "--tryvox.per-page=1"]).await;
    exporter.wait_for_polls(1).await;
    let scrape = exporter.scrape().await;
    assert_eq!(scrape.account_value("tryvox_up", ""), 1.0, "{}", exporter.output_so_far());
    assert_eq!(scrape.account_value("tryvox_listed_numbers", ""), PAGES as f64);
    // Four requests were in flight when the outage began; then one probe at a time.
    let retries = scrape.account_value("tryvox_api_retries_total", r#"reason="server_error""#);
    assert!((4.0..=4.0 + 8.0).contains(&retries), "{retries}");
}

#[tokio::test]
async fn time_for_retries_is_configurable() {
    let api = MockApi::start(|_| async { StatusCode::BAD_GATEWAY.into_response() }).await;
    for (retry_for, requests) in [("0s", 1..=1), ("1s", 4..=6)] {
        let before = api.requests().len();
        let retry_for = format!("--tryvox.retry-for={retry_for}");
        let mut exporter = ServerProcess::exporter(&api.url(), &[&retry_for]).await;
        let line = exporter.wait_for_log("poll failed", 1).await;
        assert!(line.contains("reason=server_error "), "{line}");
        let sent = api.requests().len() - before;
        assert!(requests.contains(&sent), "{retry_for}: {sent} requests");
    }
}

/// If the deadline of a poll ends the retries, the reason is that of the last attempt, but only of this poll.
#[tokio::test]
async fn deadline_of_a_poll_reports_the_failure_of_its_last_attempt() {
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = requests.clone();
    let api = MockApi::start(move |_| {
        let request = counter.fetch_add(1, Ordering::SeqCst);
        async move {
            if request > 0 {
                std::future::pending::<()>().await;
            }
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    })
    .await;
    let arguments = ["--poll.interval=3s", "--poll.timeout=3s"];
    let mut exporter = ServerProcess::exporter(&api.url(), &arguments).await;
    let first = exporter.wait_for_log("poll failed", 1).await;
    assert!(first.contains("reason=server_error ") && first.contains("did not finish within 3s"), "{first}");
    let second = exporter.wait_for_log("poll failed", 2).await;
    assert!(second.contains("reason=timeout "), "{second}");
}

#[tokio::test]
async fn failed_poll_is_repeated_long_before_the_interval_ends() {
    let is_down = Arc::new(AtomicBool::new(true));
    let down = is_down.clone();
    let api = MockApi::start(move |_| {
        let is_down = down.load(Ordering::SeqCst);
        async move { if is_down { StatusCode::FORBIDDEN.into_response() } else { one_number() } }
    })
    .await;
    let mut exporter = ServerProcess::exporter(&api.url(), &["--poll.interval=6h"]).await;
    exporter.wait_for_log("poll failed", 1).await;
    is_down.store(false, Ordering::SeqCst);
    exporter.wait_for_log("poll succeeded", 1).await;
    assert_eq!(api.requests().len(), 2);
    assert_eq!(exporter.scrape().await.account_value("tryvox_up", ""), 1.0);
}

#[tokio::test]
async fn rate_limited_account_waits_as_long_as_the_api_asks() {
    for (header, value) in [
        ("retry-after", "1.5"),
        ("x-ratelimit-reset", "2"),
        ("ratelimit-reset", "2"),
        ("x-ratelimit-reset", "a timestamp"),
    ] {
        let arrivals: Arc<Mutex<Vec<Instant>>> = Arc::default();
        let in_three_seconds = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 3;
        let value = value.parse::<f64>().map_or_else(|_| in_three_seconds().to_string(), |_| value.to_owned());
        let recorded = arrivals.clone();
        let api = MockApi::start(move |_| {
            let mut arrivals = recorded.lock().unwrap();
            arrivals.push(Instant::now());
            let response = match arrivals.len() {
                1 => (StatusCode::TOO_MANY_REQUESTS, [(header, value.clone())]).into_response(),
                _ => one_number(),
            };
            async move { response }
        })
        .await;
        let mut exporter = ServerProcess::exporter(&api.url(), &["--tryvox.rate-limit=0"]).await;
        exporter.wait_for_log("poll succeeded", 1).await;
        let arrivals = arrivals.lock().unwrap().clone();
        let [first, second] = arrivals[..] else { panic!("{header}: {arrivals:?}") };
        assert!(second - first >= Duration::from_secs(1), "{header}: {:?}", second - first);
    }
}

#[tokio::test]
async fn message_of_the_api_is_shown_without_control_characters_and_without_the_key() {
    let api = MockApi::start(|request| async move {
        let key = request.headers["authorization"].to_str().unwrap().to_owned();
        let message = format!("account closed\u{1b}[31m\n<script>{key}</script>{}", "x".repeat(1000));
        let body = serde_json::json!({ "error": { "code": 7, "message": message } });
        (StatusCode::FORBIDDEN, body.to_string()).into_response()
    })
    .await;
    let mut exporter = ServerProcess::exporter(&api.url(), &[]).await;
    let line = exporter.wait_for_log("poll failed", 1).await;
    assert!(line.contains("account closed") && line.contains("Bearer <key>"), "{line}");
    let page = exporter.get("/").await.text().await.unwrap();
    assert!(page.contains("account closed") && !page.contains("<script>Bearer"), "{page}");
    for text in [&line, &page] {
        assert!(!text.contains(KEY) && !text.contains('\u{1b}') && !text.contains(&"x".repeat(200)), "{text}");
    }
    let (url, account) = (format!("--tryvox.url={}", api.url()), "--tryvox.account-id=acc_demo");
    for command in ["check", "once"] {
        let output = crate::common::output(&[command, &url, account], &[("TRYVOX_API_KEY", KEY)]).await;
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(text.contains("account closed") && !text.contains(KEY) && !text.contains('\u{1b}'), "{text}");
    }
}

#[tokio::test]
async fn key_that_is_replaced_during_a_listing_is_read_again() {
    const PAGES: usize = 8;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    std::fs::write(&path, "first-key").unwrap();
    let (key_file, requests) = (path.clone(), Arc::new(AtomicUsize::new(0)));
    let api = MockApi::start(move |request| {
        // The key is replaced, and the old one revoked, when the fourth request arrives.
        if requests.fetch_add(1, Ordering::SeqCst) == 3 {
            std::fs::write(&key_file, "second-key").unwrap();
        }
        let key = std::fs::read_to_string(&key_file).unwrap();
        let is_valid = request.headers["authorization"] == format!("Bearer {key}");
        async move {
            if !is_valid {
                return StatusCode::UNAUTHORIZED.into_response();
            }
            page(&[record(&format!("+1415555{:04}", request.page), "active", "1", "USD")], PAGES, request.page, PAGES)
        }
    })
    .await;
    let (url, key_flag) = (format!("--tryvox.url={}", api.url()), format!("--tryvox.api-key-file={}", path.display()));
    let arguments = [&*url, &*key_flag, "--tryvox.account-id=acc_demo", "--tryvox.per-page=1", "--log.level=trace"];
    let mut exporter = ServerProcess::start(&arguments, &[]).await;
    exporter.wait_for_log("poll succeeded", 1).await;
    let scrape = exporter.scrape().await;
    assert_eq!(scrape.account_value("tryvox_listed_numbers", ""), PAGES as f64);
    let retries = scrape.account_value("tryvox_api_retries_total", r#"reason="unauthorized""#);
    assert!((1.0..=4.0).contains(&retries), "{retries}");
    assert_eq!(scrape.failed_polls(), 0.0);

    // A key that is still rejected after it was read again ends the poll: one request, no retry.
    let before = api.requests().len();
    std::fs::write(&path, "second-key ").unwrap();
    assert!(!exporter.output_so_far().contains("first-key") && !exporter.output_so_far().contains("second-key"));
    let rejecting = MockApi::start(|_| async { StatusCode::UNAUTHORIZED.into_response() }).await;
    let url = format!("--tryvox.url={}", rejecting.url());
    let mut exporter = ServerProcess::start(&[&url, &key_flag, "--tryvox.account-id=acc_demo"], &[]).await;
    let line = exporter.wait_for_log("poll failed", 1).await;
    assert!(line.contains("reason=unauthorized "), "{line}");
    assert_eq!((rejecting.requests().len(), api.requests().len()), (1, before));
}

/// How the connections of an [`Http2Api`] behave.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Hang {
    /// After its first requests, the first connection is not even read any more.
    Connection,
    /// After its first requests, the first connection responds to pings but to no request.
    Requests,
}

/// Starts an HTTP/2 API with TLS whose first connection hangs after `valid_responses`; other connections work. Returns
/// its URL, its certificate and the number of connections.
async fn http2_api(hang: Hang, valid_responses: usize) -> (String, String, Arc<AtomicUsize>) {
    let HttpsListener { listener, acceptor, url, certificate } = HttpsListener::bind(&["h2"]).await;
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = connections.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let is_first = counter.fetch_add(1, Ordering::SeqCst) == 0;
            let stopped = CancellationToken::new();
            let (hangs, responses) = (stopped.clone(), Arc::new(AtomicUsize::new(0)));
            let service = service_fn(move |_| {
                let (hangs, responses) = (hangs.clone(), responses.clone());
                async move {
                    if is_first && responses.fetch_add(1, Ordering::SeqCst) >= valid_responses {
                        if hang == Hang::Connection {
                            hangs.cancel();
                        }
                        std::future::pending::<()>().await;
                    }
                    Ok::<_, std::convert::Infallible>(hyper::Response::new(EMPTY.to_owned()))
                }
            });
            tokio::spawn(async move {
                let connection =
                    http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
                let mut connection = std::pin::pin!(connection);
                if stopped.run_until_cancelled(&mut connection).await.is_none() {
                    // Open, but not read.
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    (url, certificate, connections)
}

#[tokio::test]
async fn hung_http2_connection_costs_one_request_timeout() {
    for hang in [Hang::Connection, Hang::Requests] {
        for valid_responses in [0, 2] {
            let (url, certificate, connections) = http2_api(hang, valid_responses).await;
            let mut trust_file = tempfile::NamedTempFile::new().unwrap();
            trust_file.write_all(certificate.as_bytes()).unwrap();
            let trusted = trust_file.path().display().to_string();
            let url = format!("--tryvox.url={url}");
            let arguments = [
                &*url,
                "--tryvox.account-id=acc_demo",
                "--tryvox.timeout=500ms",
                "--poll.interval=200ms",
                "--poll.timeout=30s",
                "--log.level=debug",
            ];
            let environment = [("TRYVOX_API_KEY", KEY), ("SSL_CERT_FILE", &*trusted)];
            let mut exporter = ServerProcess::start(&arguments, &environment).await;
            exporter.wait_for_polls(valid_responses + 3).await;
            let scrape = exporter.scrape().await;
            assert_eq!(scrape.failed_polls(), 0.0, "{hang:?}: {}", exporter.output_so_far());
            let timeouts = scrape.account_value("tryvox_api_retries_total", r#"reason="timeout""#);
            assert_eq!(timeouts, 1.0, "{hang:?}: {}", exporter.output_so_far());
            assert_eq!(connections.load(Ordering::SeqCst), 2, "{hang:?}");
        }
    }
}

#[tokio::test]
async fn dead_http2_connection_is_detected_by_pings_before_a_long_timeout() {
    let (url, certificate, connections) = http2_api(Hang::Connection, 0).await;
    let mut trust_file = tempfile::NamedTempFile::new().unwrap();
    trust_file.write_all(certificate.as_bytes()).unwrap();
    let trusted = trust_file.path().display().to_string();
    let arguments = [&*format!("--tryvox.url={url}"), "--tryvox.account-id=acc_demo", "--tryvox.timeout=1h"];
    let environment = [("TRYVOX_API_KEY", KEY), ("SSL_CERT_FILE", &*trusted)];
    let mut exporter = ServerProcess::start(&arguments, &environment).await;
    exporter.wait_for_log("poll succeeded", 1).await;
    assert_eq!(connections.load(Ordering::SeqCst), 2);
    assert_eq!(exporter.scrape().await.account_value("tryvox_api_retries_total", r#"reason="connect""#), 1.0);
}

/// Resolves every name to one address, which can change.
#[derive(Debug)]
struct MovingName(Arc<Mutex<IpAddr>>);

impl Resolve for MovingName {
    fn resolve(&self, _: Name) -> Resolving {
        let address = SocketAddr::new(*self.0.lock().unwrap(), 0);
        Box::pin(async move { Ok(Box::new([address].into_iter()) as Addrs) })
    }
}

/// Starts an API on this address and port that always responds the same. Returns its port and the number of requests.
async fn start_server(address: &str, port: u16, response: (StatusCode, &'static str)) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((address, port)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = requests.clone();
    let router = axum::Router::new().fallback(move || {
        counter.fetch_add(1, Ordering::SeqCst);
        async move { response }
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    (port, requests)
}

#[tokio::test]
async fn name_that_moves_to_another_address_is_resolved_again_after_a_failed_poll() {
    let (port, requests_of_old) = start_server("127.0.0.1", 0, (StatusCode::SERVICE_UNAVAILABLE, "moved")).await;
    let (_, requests_of_new) = start_server("127.0.0.2", port, (StatusCode::OK, EMPTY)).await;
    let address = Arc::new(Mutex::new(IpAddr::from([127, 0, 0, 1])));
    let clients = HttpClients::with_resolver(Arc::new(MovingName(address.clone())));
    let url: reqwest::Url = format!("http://api.test:{port}/").parse().unwrap();
    clients.prepare([&url]).unwrap();
    let options = HarnessOptions {
        url,
        interval: Duration::from_millis(300),
        retry_for: Duration::from_millis(500),
        timeout: Duration::from_secs(30),
        ..HarnessOptions::default()
    };
    let poller = build_poller(&options, ApiKey::new(&KEY.into()).unwrap(), Arc::new(clients));
    let (account, stop) = (poller.account.clone(), CancellationToken::new());
    let task = tokio::spawn(poller.run(stop.clone()));
    let failures = || account.snapshot().polls.failures.iter().sum::<u64>();
    let wait_for = async |condition: &dyn Fn() -> bool| {
        let start = Instant::now();
        while !condition() {
            assert!(start.elapsed() < crate::common::TEST_TIMEOUT && !task.is_finished());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    wait_for(&|| failures() == 1).await;
    *address.lock().unwrap() = IpAddr::from([127, 0, 0, 2]);
    let failed_before = failures();
    wait_for(&|| account.snapshot().polls.is_up()).await;
    // The poll during which the name moved may still have failed.
    assert!(failures() <= failed_before + 1, "{} polls failed", failures());
    assert!(requests_of_old.load(Ordering::SeqCst) > 1 && requests_of_new.load(Ordering::SeqCst) > 0);
    stop.cancel();
}
