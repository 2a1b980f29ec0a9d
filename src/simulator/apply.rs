//! How a fault changes the response to a request for numbers.
//!
//! The simulator calls the three functions in this order: [`replace_response`] returns a response without reading the
//! account, [`alter_page`] changes what a page says, [`send_page`] changes how it is written and sent.
//! [`FaultKind::Shift`] has no effect in any of them; it changes the account instead.

use std::convert::Infallible;
use std::io::{self, Write};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use axum::body::{Body, Bytes};
use axum::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use tokio::time::sleep;

use super::connection::SimulatedConnection;
use super::content::{alter_record, encode_page};
use super::fault_kind::{
    AUTHORIZATION_PLACEHOLDER, ErrorMessage, FaultKind, MessageField, RateLimitReset, ResetFormat, RetryAfter,
};
use super::response::{ConnectionClosed, SimulatedPage, error_response, json_response};

/// The number of chunks that a slow body is sent in.
const SLOW_BODY_CHUNKS: u32 = 20;

/// The longest wait until a date in a header, in seconds: a year, which is more than any client waits. Dates much later
/// could not be represented.
const MAX_SECONDS_TO_DATE: u64 = 365 * 24 * 60 * 60;

/// 64 MiB of spaces, which JSON allows anywhere, compressed to about 64 KiB.
static GZIP_BOMB: LazyLock<Bytes> = LazyLock::new(|| {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let spaces = vec![b' '; 1 << 20];
    // Writing to memory cannot fail.
    let compressed = (0..64).try_for_each(|_| gzip.write_all(&spaces)).and_then(|()| gzip.finish());
    compressed.unwrap_or_default().into()
});

/// Returns the response that a fault puts in the place of a page, or `None` if it lets the page be read.
/// Never returns if the fault is [`FaultKind::Hang`] or [`FaultKind::HungConnection`].
///
/// # Errors
/// If the connection has to be closed without a response.
pub(super) async fn replace_response(
    fault: &FaultKind,
    request: &Parts,
    now: SystemTime,
) -> Result<Option<Response>, ConnectionClosed> {
    let response = match fault {
        FaultKind::Hang => std::future::pending().await,
        FaultKind::HungConnection => {
            SimulatedConnection::of(&request.extensions).hang();
            std::future::pending().await
        }
        FaultKind::CutConnection => return Err(ConnectionClosed::Cut),
        FaultKind::ResetConnection => return Err(ConnectionClosed::Reset),
        FaultKind::Status(status, retry_after) => status_response(*status, *retry_after, now),
        FaultKind::Message(message) => message_response(message, request.headers.get(AUTHORIZATION)),
        FaultKind::ResetHeader(reset) => reset_response(reset, now),
        FaultKind::Html => {
            ([(CONTENT_TYPE, "text/html")], "<html><body>Down for maintenance</body></html>").into_response()
        }
        FaultKind::BadJson => json_response(r#"{"data":[{"e164":"+14155550123",,}],"pagination":{"total":1}"#),
        FaultKind::WrongTypes => json_response(r#"{"data":"none","pagination":{"total":"many","total_pages":[1]}}"#),
        FaultKind::Nulls => json_response(r#"{"data":null,"pagination":null}"#),
        FaultKind::EmptyBody => json_response(Body::empty()),
        FaultKind::GzipBomb => ([(CONTENT_ENCODING, "gzip")], json_response(GZIP_BOMB.clone())).into_response(),
        FaultKind::EndlessBody => {
            let spaces = Bytes::from(vec![b' '; 64 << 10]);
            json_response(Body::from_stream(stream::repeat(spaces).map(Ok::<_, Infallible>)))
        }
        FaultKind::Redirect(to) => (StatusCode::FOUND, [(LOCATION, header_value(to))]).into_response(),
        _ => return Ok(None),
    };
    Ok(Some(response))
}

/// Returns page `page` as the fault makes it. `read(page, per_page)` returns any page as it is.
pub(super) fn alter_page(
    fault: Option<&FaultKind>,
    page: usize,
    per_page: usize,
    read: impl Fn(usize, usize) -> SimulatedPage,
) -> SimulatedPage {
    let unaltered = read(page, per_page);
    match fault {
        Some(FaultKind::Total(by)) => SimulatedPage { total: (unaltered.total + by).max(0), ..unaltered },
        Some(FaultKind::EmptyPages) => SimulatedPage { records: Vec::new(), ..unaltered },
        Some(FaultKind::EndlessPages) => SimulatedPage { total_pages: 1_000_000_000, ..unaltered },
        Some(FaultKind::ReorderedPages) => read((unaltered.total_pages + 1).saturating_sub(page).max(1), per_page),
        Some(FaultKind::ShortPages) => read(page, (per_page / 2).max(1)),
        Some(FaultKind::BadRecords) => {
            let invalid = ["7", "null", r#"{"e164":"none"}"#, r#"{"status":{}}"#].into_iter().cycle();
            let mut records = unaltered.records;
            records.iter_mut().step_by(10).zip(invalid).for_each(|(record, invalid)| invalid.clone_into(record));
            SimulatedPage { records, ..unaltered }
        }
        Some(FaultKind::ManyRecords) => {
            // An account may have fewer numbers, so records are repeated.
            let records = unaltered.records.iter().cycle().take(2 * per_page + 1).cloned().collect();
            SimulatedPage { records, ..unaltered }
        }
        Some(fault) => {
            let mut page = unaltered;
            page.records.iter_mut().enumerate().for_each(|(index, record)| alter_record(fault, index, record));
            page
        }
        None => unaltered,
    }
}

/// Returns a response that writes and sends a page as the fault would.
pub(super) fn send_page(fault: Option<&FaultKind>, page: &SimulatedPage) -> Response {
    let body = Bytes::from(encode_page(fault, page));
    match fault {
        Some(FaultKind::CutBody) => {
            let (length, first_byte) = (body.len(), body.slice(..1));
            let fail = async {
                // Time for the headers and the first byte to be sent.
                sleep(Duration::from_millis(5)).await;
                Err(io::Error::other(ConnectionClosed::Cut))
            };
            let body = Body::from_stream(stream::iter([Ok(first_byte)]).chain(stream::once(fail)));
            ([(CONTENT_LENGTH, length)], json_response(body)).into_response()
        }
        Some(FaultKind::SlowBody(over)) => {
            let pause = *over / SLOW_BODY_CHUNKS;
            let size = body.len().div_ceil(SLOW_BODY_CHUNKS as usize).max(1);
            let starts: Vec<_> = (0..body.len()).step_by(size).collect();
            json_response(Body::from_stream(stream::iter(starts).then(move |start| {
                let chunk = body.slice(start..(start + size).min(body.len()));
                async move {
                    sleep(pause).await;
                    Ok::<_, Infallible>(chunk)
                }
            })))
        }
        _ => json_response(body),
    }
}

fn status_response(status: u16, retry_after: Option<RetryAfter>, now: SystemTime) -> Response {
    let mut response = error_response(error_status(status), "fault", "Simulated fault.");
    let retry_after = match retry_after {
        None => return response,
        Some(RetryAfter::Seconds(seconds)) => seconds.to_string(),
        Some(RetryAfter::Date(seconds)) => {
            httpdate::fmt_http_date(now + Duration::from_secs(seconds.min(MAX_SECONDS_TO_DATE)))
        }
    };
    response.headers_mut().insert(RETRY_AFTER, header_value(&retry_after));
    response
}

fn message_response(message: &ErrorMessage, authorization: Option<&HeaderValue>) -> Response {
    let authorization = String::from_utf8_lossy(authorization.map_or(&[], HeaderValue::as_bytes));
    let text = message.text.replace(AUTHORIZATION_PLACEHOLDER, &authorization).repeat(message.repeat);
    let response = match message.field {
        MessageField::None => ([(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response(),
        MessageField::Named(name) => json_response(serde_json::json!({ name: text }).to_string()),
        MessageField::ErrorMessage => json_response(serde_json::json!({ "error": { "message": text } }).to_string()),
    };
    (error_status(message.status), response).into_response()
}

fn reset_response(reset: &RateLimitReset, now: SystemTime) -> Response {
    let reset_at = match reset.format {
        ResetFormat::Seconds => reset.after.to_string(),
        ResetFormat::Epoch => {
            let after = Duration::try_from_secs_f64(reset.after).unwrap_or(Duration::MAX);
            let reset_at = now + after.min(Duration::from_secs(MAX_SECONDS_TO_DATE));
            let since_epoch = reset_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            // Rounded up, so that a client that waits until then does not wait too short.
            since_epoch.as_nanos().div_ceil(1_000_000_000).to_string()
        }
    };
    let response = error_response(error_status(reset.status), "fault", "Simulated fault.");
    ([(reset.header, header_value(&reset_at))], response).into_response()
}

fn error_status(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Returns the text as a header value, or an empty one if it cannot be one.
fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}
