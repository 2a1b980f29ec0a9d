//! Pages that are much larger than documented: few are buffered at a time, and none of them delays another account or
//! counts the wait for memory as a timeout.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures_util::{FutureExt, StreamExt, stream};
use tokio::sync::Notify;

use crate::common::accounts::{ConfigFile, account_of, config_text};
use crate::common::api::{MockApi, record};
use crate::common::{KEY, ServerProcess};

/// Returns a page that is padded to `size` bytes with spaces, which JSON allows. Its end is sent when `release`
/// completes.
fn padded_page(page: usize, pages: usize, size: usize, release: impl Future<Output = ()> + Send + 'static) -> Response {
    let record = record(&format!("+1415555{page:04}"), "active", "1", "USD");
    let end = format!(r#"{{"data":[{record}],"pagination":{{"total":{pages},"total_pages":{pages}}}}}"#);
    let padding = stream::iter(vec![Bytes::from(vec![b' '; 64 << 10]); size >> 16]);
    let chunks = padding.chain(stream::once(release.map(move |()| end.into())));
    Body::from_stream(chunks.map(Ok::<_, Infallible>)).into_response()
}

#[tokio::test]
async fn slow_large_body_of_one_account_does_not_delay_another() {
    let release = Arc::new(Notify::new());
    let released = release.clone();
    let api = MockApi::start(move |request| {
        let is_slow = account_of(&request) == 0;
        let release = released.clone();
        let wait = async move {
            if is_slow {
                release.notified().await;
            }
        };
        async move { padded_page(request.page, 1, 1 << 20, wait) }
    })
    .await;
    let file = ConfigFile::new(&config_text(&api.url(), [0, 1, 2]));
    let mut exporter = ServerProcess::start(&[&file.flag(), "--tryvox.timeout=90s"], &[("TRYVOX_API_KEY", KEY)]).await;
    // The first account holds its memory until the others have been polled.
    exporter.wait_for_log("poll succeeded", 2).await;
    let up = async || -> Vec<_> {
        let scrape = exporter.scrape().await;
        (0..3).map(|account| scrape.value(&format!("tryvox_up{{account=\"acc_{account}\"}}")).unwrap()).collect()
    };
    assert_eq!(up().await, [0.0, 1.0, 1.0]);
    release.notify_one();
    exporter.wait_for_log("poll succeeded", 3).await;
    assert_eq!(exporter.scrape().await.failed_polls(), 0.0);
}

#[tokio::test]
async fn waiting_for_memory_does_not_count_as_waiting_for_the_api() {
    // Pages 2 and 3 are read one after the other, and each takes two seconds once it is read.
    let api = MockApi::start(|request| async move {
        let is_large = request.page > 1;
        let pause = async move {
            if is_large {
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
        };
        padded_page(request.page, 3, if is_large { 15 << 20 } else { 0 }, pause)
    })
    .await;
    let arguments = ["--tryvox.timeout=3s", "--tryvox.concurrency=2", "--tryvox.rate-limit=0", "--tryvox.per-page=1"];
    let mut exporter = ServerProcess::exporter(&api.url(), &arguments).await;
    exporter.wait_for_polls(1).await;
    let scrape = exporter.scrape().await;
    assert_eq!(scrape.account_value("tryvox_listed_numbers", ""), 3.0, "{}", exporter.output_so_far());
    assert_eq!(api.requests().len(), 3, "{}", exporter.output_so_far());
    // Two seconds for page 2, and twice that for page 3, which is more than the timeout.
    assert!(scrape.account_value("tryvox_api_request_duration_seconds_sum", "") >= 6.0);
}
