//! Pages that are much larger than documented: few are buffered at a time, and none of them delays another account or
//! counts the wait for memory as a timeout.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures_util::{FutureExt, StreamExt, stream};
use tokio_util::sync::CancellationToken;

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
async fn slow_large_bodies_do_not_delay_another_account() {
    const SLOW: usize = 8;
    let release = CancellationToken::new();
    let released = release.clone();
    let api = MockApi::start(move |request| {
        let is_slow = account_of(&request) < SLOW;
        let release = released.clone();
        let wait = async move {
            if is_slow {
                release.cancelled().await;
            }
        };
        async move { padded_page(request.page, 1, 1 << 20, wait) }
    })
    .await;
    let file = ConfigFile::new(&config_text(&api.url(), 0..=SLOW));
    let mut exporter = ServerProcess::start(&[&file.flag(), "--tryvox.timeout=90s"], &[("TRYVOX_API_KEY", KEY)]).await;
    // The slow accounts hold their memory until the last one has been polled.
    exporter.wait_for_log("poll succeeded", 1).await;
    let up = exporter.scrape().await.family("tryvox_up");
    let is_up = |account: usize| up[&format!("tryvox_up{{account=\"acc_{account}\"}}")] == 1.0;
    assert!(is_up(SLOW) && !(0..SLOW).any(is_up), "{up:?}");
    release.cancel();
    exporter.wait_for_log("poll succeeded", 1 + SLOW).await;
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
