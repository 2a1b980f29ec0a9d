//! How a fault changes the response to a request for numbers.
//!
//! The simulator calls the three functions in this order: [`replace_response`] returns a response without reading the
//! account, [`alter_page`] changes what a page says, [`send_page`] changes how its bytes are sent. A fault has an effect
//! in one of them only, or in none: [`FaultKind::Shift`] changes the account instead.

use std::convert::Infallible;
use std::io::{self, Write};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use tokio::time::sleep;

use super::fault::{FaultKind, RetryAfter};
use super::response::{ConnectionClosed, SimulatedPage, error_response, json_response};

/// The number of chunks that a slow body is sent in.
const SLOW_BODY_CHUNKS: u32 = 20;

/// The longest wait of a `Retry-After` date, in seconds: a year, which is more than any client waits. Dates much later
/// could not be represented.
const MAX_RETRY_AFTER_DATE: u64 = 365 * 24 * 60 * 60;

/// 64 MiB of spaces, which JSON allows anywhere, compressed to about 64 KiB.
static GZIP_BOMB: LazyLock<Bytes> = LazyLock::new(|| {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let spaces = vec![b' '; 1 << 20];
    // Writing to memory cannot fail.
    let compressed = (0..64).try_for_each(|_| gzip.write_all(&spaces)).and_then(|()| gzip.finish());
    compressed.unwrap_or_default().into()
});

/// Returns the response that a fault puts in the place of a page, or `None` if it lets the page be read.
/// Never returns if the fault is [`FaultKind::Hang`].
///
/// # Errors
/// If the connection has to be closed without a response.
pub(super) async fn replace_response(fault: &FaultKind, now: SystemTime) -> Result<Option<Response>, ConnectionClosed> {
    let response = match fault {
        FaultKind::Hang => std::future::pending().await,
        FaultKind::CutConnection => return Err(ConnectionClosed),
        FaultKind::Status(status, retry_after) => status_response(*status, *retry_after, now),
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
        _ => unaltered,
    }
}

/// Returns a response that sends the JSON of a page as the fault would.
pub(super) fn send_page(fault: Option<&FaultKind>, json: String) -> Response {
    match fault {
        Some(FaultKind::CutBody) => {
            let (length, first_byte) = (json.len(), Bytes::from(json).slice(..1));
            let fail = async {
                // Time for the headers and the first byte to be sent.
                sleep(Duration::from_millis(5)).await;
                Err(io::Error::other(ConnectionClosed))
            };
            let body = Body::from_stream(stream::iter([Ok(first_byte)]).chain(stream::once(fail)));
            ([(CONTENT_LENGTH, length)], json_response(body)).into_response()
        }
        Some(FaultKind::SlowBody(over)) => {
            let (bytes, pause) = (Bytes::from(json), *over / SLOW_BODY_CHUNKS);
            let size = bytes.len().div_ceil(SLOW_BODY_CHUNKS as usize).max(1);
            let starts: Vec<_> = (0..bytes.len()).step_by(size).collect();
            json_response(Body::from_stream(stream::iter(starts).then(move |start| {
                let chunk = bytes.slice(start..(start + size).min(bytes.len()));
                async move {
                    sleep(pause).await;
                    Ok::<_, Infallible>(chunk)
                }
            })))
        }
        _ => json_response(json),
    }
}

fn status_response(status: u16, retry_after: Option<RetryAfter>, now: SystemTime) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = error_response(status, "fault", "Simulated fault.");
    let retry_after = match retry_after {
        None => return response,
        Some(RetryAfter::Seconds(seconds)) => seconds.to_string(),
        Some(RetryAfter::Date(seconds)) => {
            httpdate::fmt_http_date(now + Duration::from_secs(seconds.min(MAX_RETRY_AFTER_DATE)))
        }
    };
    response.headers_mut().insert(RETRY_AFTER, header_value(&retry_after));
    response
}

/// Returns the text as a header value, or an empty one if it cannot be one.
fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}
