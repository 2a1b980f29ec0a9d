//! Faults, as a client of the API sees them.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{ConnectionClosed, Fault, Faults, SimulatedAccount, SimulatedConnection, Simulator};

const AUTHORIZATION_VALUE: &str = "Bearer key+of/test==";

/// The time of day of all simulators, in seconds since the epoch.
const NOW: u64 = 1_800_000_000;

fn simulator(numbers: usize, faults: &str) -> Simulator {
    let now = || SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    Simulator {
        accounts: [("acc".to_owned(), RwLock::new(SimulatedAccount::new(numbers, fastrand::u64(..), now())))].into(),
        authorization: HeaderValue::from_static(AUTHORIZATION_VALUE),
        latency: Duration::ZERO,
        faults: Faults::new(Fault::parse_list(faults).unwrap(), fastrand::u64(..)),
        now,
        requests: AtomicU64::new(0),
    }
}

fn request(page: usize) -> Request {
    let uri = format!("/v1/account/acc/numbers?per_page=10&page={page}");
    Request::get(uri).header(AUTHORIZATION, AUTHORIZATION_VALUE).body(Body::empty()).unwrap()
}

/// Requests a page and returns the status, the headers and the body.
async fn get(simulator: &Simulator, page: usize) -> (u16, HeaderMap, Bytes) {
    let (head, body) = simulator.respond(request(page)).await.unwrap().into_parts();
    (head.status.as_u16(), head.headers, axum::body::to_bytes(body, usize::MAX).await.unwrap())
}

/// Returns page 2 of an account of 25 numbers as it is, and as the fault makes it.
async fn page_with_fault(fault: &str) -> (Bytes, Bytes) {
    let simulator = simulator(25, "");
    let (_, _, unaltered) = get(&simulator, 2).await;
    simulator.faults.set(Fault::parse_list(fault).unwrap());
    let (status, _, altered) = get(&simulator, 2).await;
    assert_eq!(status, 200);
    (unaltered, altered)
}

/// Like [`page_with_fault`], parsed.
async fn json_with_fault(fault: &str) -> (Value, Value) {
    let (unaltered, altered) = page_with_fault(fault).await;
    (serde_json::from_slice(&unaltered).unwrap(), serde_json::from_slice(&altered).unwrap())
}

/// Applies a change to each record of a page.
fn change_records(page: &mut Value, change: impl Fn(usize, &mut Value)) {
    page["data"].as_array_mut().unwrap().iter_mut().enumerate().for_each(|(index, record)| change(index, record));
}

#[tokio::test]
async fn string_numbers_writes_fees_and_pagination_as_strings() {
    let (mut page, altered) = json_with_fault("string-numbers").await;
    change_records(&mut page, |_, record| {
        for fee in ["monthly_fee", "setup_fee"] {
            record[fee] = json!(record[fee].to_string());
        }
    });
    page["pagination"] =
        json!({"total": "25", "count": "10", "per_page": "10", "current_page": "2", "total_pages": "3"});
    assert_eq!(altered, page);
}

#[tokio::test]
async fn string_numbers_with_style_float_adds_a_fraction_to_the_pagination() {
    let (unaltered, altered) = page_with_fault("string-numbers style=float").await;
    let [unaltered, altered] = [&unaltered, &altered].map(|body| std::str::from_utf8(body).unwrap());
    let (data, _) = unaltered.split_once(r#","pagination""#).unwrap();
    let pagination = r#"{"total":25.0,"count":10.0,"per_page":10.0,"current_page":2.0,"total_pages":3.0}"#;
    assert_eq!(altered, format!(r#"{data},"pagination":{pagination}}}"#));
}

#[tokio::test]
async fn type_change_writes_fees_as_objects() {
    let (mut page, altered) = json_with_fault("type-change").await;
    change_records(&mut page, |_, record| {
        for fee in ["monthly_fee", "setup_fee"] {
            record[fee] = json!({"amount": record[fee].to_string(), "currency": record["currency"]});
        }
    });
    assert_eq!(altered, page);
}

#[tokio::test]
async fn odd_timestamps_writes_the_same_seconds_in_turn_in_other_notations() {
    let (mut page, altered) = json_with_fault("odd-timestamps").await;
    change_records(&mut page, |index, record| {
        for field in ["created_at", "updated_at"] {
            let text = record[field].as_str().unwrap();
            let (date, time) = text.strip_suffix('Z').unwrap().split_once('T').unwrap();
            record[field] = json!(match index % 5 {
                0 => format!("{date} {time}Z"),
                1 => format!("{date}T{time}"),
                2 => format!("{date}T{time}+0000"),
                3 => format!("{date}T{time}.750Z"),
                _ => format!("{date} {time}.123456"),
            });
        }
    });
    assert_eq!(altered, page);
}

#[tokio::test]
async fn unreadable_fields_changes_only_the_types_of_optional_fields() {
    let (mut page, altered) = json_with_fault("unreadable-fields").await;
    change_records(&mut page, |_, record| {
        record["capabilities"] = json!("voice");
        record["region"] = json!({"code": record["region"]});
        for id in ["trunk_id", "application_id"] {
            if !record[id].is_null() {
                record[id] = json!(40239);
            }
        }
        for timestamp in ["created_at", "updated_at"] {
            record[timestamp] = json!(1_762_105_212);
        }
    });
    assert_eq!(altered, page);
}

#[tokio::test]
async fn invalid_utf8_affects_the_region_of_the_first_record() {
    let (unaltered, altered) = page_with_fault("invalid-utf8").await;
    assert!(std::str::from_utf8(&altered).is_err());
    let position = altered.iter().position(|byte| *byte == 0xe9).unwrap();
    let repaired =
        String::from_utf8([&altered[..position], "é".as_bytes(), &altered[position + 1..]].concat()).unwrap();
    let mut page: Value = serde_json::from_slice(&unaltered).unwrap();
    page["data"][0]["region"] = json!("Québec");
    assert_eq!(serde_json::from_str::<Value>(&repaired).unwrap(), page);
}

#[tokio::test]
async fn many_records_exceeds_twice_the_page_size() {
    let (mut page, altered) = json_with_fault("many-records").await;
    let records = page["data"].as_array().unwrap().iter().cycle().take(21).cloned().collect::<Vec<_>>();
    page["data"] = json!(records);
    page["pagination"]["count"] = json!(21);
    assert_eq!(altered, page);
    // A page beyond the end has no records to repeat.
    let (_, _, beyond) = get(&simulator(25, "many-records"), 9).await;
    assert_eq!(serde_json::from_slice::<Value>(&beyond).unwrap()["data"], json!([]));
}

#[tokio::test]
async fn null_data_keeps_the_total() {
    let (mut page, altered) = json_with_fault("null-data").await;
    page["data"] = json!(null);
    assert_eq!(altered, page);
    let (status, _, empty) = get(&simulator(0, "null-data"), 1).await;
    assert_eq!(status, 200);
    assert_eq!(
        empty,
        r#"{"data":null,"pagination":{"total":0,"count":0,"per_page":10,"current_page":1,"total_pages":0}}"#
    );
}

#[tokio::test]
async fn bom_precedes_an_unaltered_page() {
    let (unaltered, altered) = page_with_fault("bom").await;
    assert_eq!(altered, [b"\xef\xbb\xbf", &unaltered[..]].concat());
}

#[tokio::test]
async fn message_has_the_text_in_the_given_field() {
    for (fault, status, body) in [
        ("message", 403, r#"{"error":{"message":"Simulated fault."}}"#),
        ("message text=account+closed status=410", 410, r#"{"error":{"message":"account closed"}}"#),
        ("message text=%1B[31mred%0a field=message", 403, r#"{"message":"\u001b[31mred\n"}"#),
        ("message text=a%2Cb field=error status=500", 500, r#"{"error":"a,b"}"#),
        ("message text=a_b field=detail", 403, r#"{"detail":"a_b"}"#),
        ("message text=x field=title", 403, r#"{"title":"x"}"#),
        ("message text=+no+ repeat=3 field=none", 403, " no  no  no "),
        (
            "message text=invalid+{authorization} status=401",
            401,
            r#"{"error":{"message":"invalid Bearer key+of/test=="}}"#,
        ),
    ] {
        let (actual, headers, actual_body) = get(&simulator(1, fault), 1).await;
        assert_eq!((actual, &actual_body[..]), (status, body.as_bytes()), "{fault}");
        let content_type = if fault.contains("none") { "text/plain; charset=utf-8" } else { "application/json" };
        assert_eq!(headers[CONTENT_TYPE], content_type);
    }
    let (_, _, long) = get(&simulator(1, "message text=0123456789 repeat=1000 field=none"), 1).await;
    assert_eq!(long.len(), 10_000);
}

#[tokio::test]
async fn reset_header_replaces_retry_after() {
    for (fault, status, header, value) in [
        ("reset-header", 429, "x-ratelimit-reset", "2".to_owned()),
        ("reset-header after=2.5 header=RateLimit-Reset", 429, "ratelimit-reset", "2.5".to_owned()),
        ("reset-header after=2.5 format=epoch status=503", 503, "x-ratelimit-reset", (NOW + 3).to_string()),
        // A date later than a year from now is not needed, and no number of seconds is an error.
        ("reset-header after=1e300 format=epoch", 429, "x-ratelimit-reset", (NOW + 31_536_000).to_string()),
    ] {
        let (actual, headers, _) = get(&simulator(1, fault), 1).await;
        assert_eq!((actual, headers[header].to_str().unwrap()), (status, &*value), "{fault}");
        assert!(!headers.contains_key(RETRY_AFTER), "{fault}");
        assert_eq!(headers.keys().filter(|name| name.as_str().ends_with("ratelimit-reset")).count(), 1, "{fault}");
    }
}

#[tokio::test]
async fn retry_after_may_have_a_fraction() {
    for (fault, value) in [("429 retry-after=2.5", "2.5"), ("503 retry-after=2", "2")] {
        let (_, headers, _) = get(&simulator(1, fault), 1).await;
        assert_eq!(headers[RETRY_AFTER], value);
    }
}

/// Returns whether a request on this connection gets a response within an hour.
async fn responds(simulator: &Simulator, connection: Option<&SimulatedConnection>) -> bool {
    let mut request = request(1);
    if let Some(connection) = connection {
        request.extensions_mut().insert(connection.clone());
    }
    tokio::time::timeout(Duration::from_hours(1), simulator.respond(request)).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn hung_connection_never_responds_again_but_others_do() {
    let simulator = simulator(1, "hung-connection times=1");
    let [first, second] = [(); 2].map(|()| SimulatedConnection::default());
    assert!(!responds(&simulator, Some(&first)).await);
    assert_eq!(simulator.faults.remaining(), []);
    assert!(!responds(&simulator, Some(&first)).await);
    assert!(responds(&simulator, Some(&second)).await);
    assert!(responds(&simulator, None).await);
    assert_eq!(simulator.requests.load(Ordering::Relaxed), 4, "requests without a response count, too");
    // A request on a connection that hangs does not use up another fault.
    simulator.faults.set(Fault::parse_list("503 times=1").unwrap());
    assert!(!responds(&simulator, Some(&first)).await);
    assert_eq!(simulator.faults.remaining().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn hung_connection_affects_requests_in_flight_on_it() {
    let mut simulator = simulator(1, "hung-connection times=1");
    simulator.latency = Duration::from_secs(1);
    let [hung, other] = [(); 2].map(|()| SimulatedConnection::default());
    let later = async |connection: &SimulatedConnection| {
        tokio::time::sleep(Duration::from_millis(500)).await;
        responds(&simulator, Some(connection)).await
    };
    let responses = tokio::join!(responds(&simulator, Some(&hung)), later(&hung), later(&other));
    assert_eq!(responses, (false, false, true));
}

#[tokio::test(start_paused = true)]
async fn hung_connection_is_like_hang_for_requests_without_a_connection() {
    let simulator = simulator(1, "hung-connection times=1");
    assert!(!responds(&simulator, None).await);
    assert!(responds(&simulator, None).await);
}

/// Serves the simulator on a socket until the guard is dropped, and connects to it twice.
async fn serve(simulator: &Arc<Simulator>) -> ([TcpStream; 2], DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(simulator.clone().serve(listener, stop.clone()));
    let connect = || async { TcpStream::connect(address).await.unwrap() };
    ([connect().await, connect().await], stop.drop_guard())
}

/// The request for the first page as the bytes that are sent on a socket.
const REQUEST: &[u8] =
    b"GET /v1/account/acc/numbers HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer key+of/test==\r\n\r\n";

#[tokio::test]
async fn connection_is_closed_or_reset_on_a_socket() {
    for (fault, closed) in [("cut-connection", ConnectionClosed::Cut), ("reset-connection", ConnectionClosed::Reset)] {
        let simulator = Arc::new(simulator(1, fault));
        assert_eq!(simulator.respond(request(1)).await.unwrap_err(), closed);
        let ([mut stream, _], _guard) = serve(&simulator).await;
        stream.write_all(REQUEST).await.unwrap();
        let result = stream.read(&mut [0; 1]).await.map_err(|error| error.kind());
        let expected = if closed == ConnectionClosed::Reset { Err(ErrorKind::ConnectionReset) } else { Ok(0) };
        assert_eq!(result, expected, "{fault}");
    }
}

#[tokio::test]
async fn hung_connection_is_one_of_several_on_a_socket() {
    let simulator = Arc::new(simulator(1, "hung-connection times=1"));
    let ([mut hung, mut other], _guard) = serve(&simulator).await;
    hung.write_all(REQUEST).await.unwrap();
    while !simulator.faults.remaining().is_empty() {
        tokio::task::yield_now().await;
    }
    hung.write_all(REQUEST).await.unwrap();
    other.write_all(REQUEST).await.unwrap();
    let mut start = [0; 15];
    other.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200 OK");
    assert_eq!(hung.try_read(&mut start).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn only_the_last_hotline_changes_and_it_recovers() {
    let mut now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    let mut account = SimulatedAccount::new(60, fastrand::u64(..), now);
    let hotlines = account.choose_hotlines(3);
    let record_of = |account: &SimulatedAccount, hotline: &str| -> Value {
        let record = account.records().find(|record| record.contains(&format!(r#""{hotline}""#)));
        serde_json::from_str(record.expect("a hotline was released")).unwrap()
    };
    let first = [0, 1, 2].map(|index| record_of(&account, &hotlines[index]));
    assert!(
        first.iter().all(|record| record["status"] == "active"
            && !(record["trunk_id"].is_null() && record["application_id"].is_null()))
    );

    let mut statuses = Vec::new();
    for _ in 0..400 {
        now += Duration::from_secs(3);
        account.change(now);
        account.move_page_boundaries(now);
        assert_eq!([0, 1].map(|index| record_of(&account, &hotlines[index])), [first[0].clone(), first[1].clone()]);
        let mut last = record_of(&account, &hotlines[2]);
        statuses.push(last["status"].as_str().unwrap().to_owned());
        // Nothing but the status and its time changes.
        (last["status"], last["updated_at"]) = (first[2]["status"].clone(), first[2]["updated_at"].clone());
        assert_eq!(last, first[2]);
    }
    let changes = statuses.windows(2).filter(|pair| pair[0] != pair[1]).count();
    let suspended = statuses.iter().filter(|status| *status == "suspended").count();
    assert_eq!((changes, suspended), (20, 100), "{statuses:?}");
    assert_eq!(statuses.last().map(String::as_str), Some("active"));
}

#[test]
fn small_account_has_fewer_hotlines() {
    let mut account = SimulatedAccount::new(0, 1, SystemTime::UNIX_EPOCH);
    assert!(account.choose_hotlines(2).is_empty());
    account.change(SystemTime::UNIX_EPOCH);
}
