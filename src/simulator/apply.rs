//! What each kind of fault does to an answer: instead of a page, to its numbers, or to its body.

use std::convert::Infallible;
use std::io::{self, Write};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use tokio::time::sleep;

use super::api::{Numbers, error, json};
use super::fault::{FaultKind, RetryAfter};

/// No answer: the connection is to be cut.
#[derive(Debug, thiserror::Error)]
#[error("the connection is cut on purpose")]
pub struct ConnectionClosed;

/// 64 MiB of blanks, which JSON allows anywhere, in some 64 KiB.
static BOMB: LazyLock<Bytes> = LazyLock::new(|| {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let blanks = vec![b' '; 1 << 20];
    // Writing to memory cannot fail.
    let bomb = (0..64).try_for_each(|_| gzip.write_all(&blanks)).and_then(|()| gzip.finish());
    bomb.unwrap_or_default().into()
});

/// What is answered instead of a page, if the fault is of that sort.
pub(super) fn instead(
    kind: &FaultKind,
    now: SystemTime,
) -> Option<BoxFuture<'static, Result<Response, ConnectionClosed>>> {
    let response = match kind {
        FaultKind::Hang => return Some(std::future::pending().boxed()),
        FaultKind::CutConnection => return Some(std::future::ready(Err(ConnectionClosed)).boxed()),
        FaultKind::Status(status, retry_after) => refusal(*status, *retry_after, now),
        FaultKind::Html => {
            ([(CONTENT_TYPE, "text/html")], "<html><body>Down for maintenance</body></html>").into_response()
        }
        FaultKind::BadJson => json(r#"{"data":[{"e164":"+14155550123",,}],"pagination":{"total":1}"#),
        FaultKind::WrongTypes => json(r#"{"data":"none","pagination":{"total":"many","total_pages":[1]}}"#),
        FaultKind::Nulls => json(r#"{"data":null,"pagination":null}"#),
        FaultKind::EmptyBody => json(Body::empty()),
        FaultKind::GzipBomb => ([(CONTENT_ENCODING, "gzip")], json(BOMB.clone())).into_response(),
        FaultKind::EndlessBody => {
            let blanks = Bytes::from(vec![b' '; 64 << 10]);
            json(Body::from_stream(stream::repeat(blanks).map(Ok::<_, Infallible>)))
        }
        FaultKind::Redirect(to) => (StatusCode::FOUND, [(LOCATION, header(to))]).into_response(),
        _ => return None,
    };
    Some(std::future::ready(Ok(response)).boxed())
}

/// The numbers of a page. `read` gives those of a page of so many.
pub(super) fn page(
    kind: Option<&FaultKind>,
    page: usize,
    per_page: usize,
    read: impl Fn(usize, usize) -> Numbers,
) -> Numbers {
    let numbers = read(page, per_page);
    match kind {
        Some(FaultKind::Total(by)) => Numbers { total: (numbers.total + by).max(0), ..numbers },
        Some(FaultKind::EmptyPages) => Numbers { records: Vec::new(), ..numbers },
        Some(FaultKind::EndlessPages) => Numbers { total_pages: 1_000_000_000, ..numbers },
        Some(FaultKind::ReorderedPages) => read((numbers.total_pages + 1).saturating_sub(page).max(1), per_page),
        Some(FaultKind::ShortPages) => read(page, (per_page / 2).max(1)),
        Some(FaultKind::BadRecords) => {
            let odd = ["7", "null", r#"{"e164":"none"}"#, r#"{"status":{}}"#].into_iter().cycle();
            let mut records = numbers.records;
            records.iter_mut().step_by(10).zip(odd).for_each(|(record, odd)| odd.clone_into(record));
            Numbers { records, ..numbers }
        }
        _ => numbers,
    }
}

/// A page on its way.
pub(super) fn body(kind: Option<&FaultKind>, page: String) -> Response {
    match kind {
        Some(FaultKind::CutBody) => {
            let (length, half) = (page.len(), Bytes::from(page).slice(..1));
            let cut = async {
                // So that what came before is on its way.
                sleep(Duration::from_millis(5)).await;
                Err(io::Error::other(ConnectionClosed))
            };
            let body = Body::from_stream(stream::iter([Ok(half)]).chain(stream::once(cut)));
            ([(CONTENT_LENGTH, length)], json(body)).into_response()
        }
        Some(FaultKind::SlowBody(over)) => {
            const PIECES: usize = 20;
            let (bytes, pause) = (Bytes::from(page), *over / 20);
            let size = bytes.len().div_ceil(PIECES).max(1);
            let pieces: Vec<_> = (0..bytes.len()).step_by(size).collect();
            json(Body::from_stream(stream::iter(pieces).then(move |start| {
                let piece = bytes.slice(start..(start + size).min(bytes.len()));
                async move {
                    sleep(pause).await;
                    Ok::<_, Infallible>(piece)
                }
            })))
        }
        _ => json(page),
    }
}

fn refusal(status: u16, retry_after: Option<RetryAfter>, now: SystemTime) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = error(status, "fault", "This goes wrong on purpose.");
    let wait = match retry_after {
        None => return response,
        Some(RetryAfter::Seconds(wait)) => wait.to_string(),
        // A year is later than anybody waits for.
        Some(RetryAfter::Date(wait)) => {
            httpdate::fmt_http_date(now + Duration::from_secs(wait.min(365 * 24 * 60 * 60)))
        }
    };
    response.headers_mut().insert(RETRY_AFTER, header(&wait));
    response
}

fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}
