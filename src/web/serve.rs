//! Answering until the end.

use std::future::IntoFuture;
use std::io;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use futures_util::future::try_join_all;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What answers in flight get to end in, once no new ones are taken.
const GRACE: Duration = Duration::from_secs(5);

/// Answers on all sockets until `stop`; then answers in flight end, 5 s at most.
///
/// # Errors
/// When a socket fails.
pub async fn serve(listeners: Vec<TcpListener>, router: Router, stop: CancellationToken) -> io::Result<()> {
    let all = try_join_all(listeners.into_iter().map(|listener| {
        let listener = listener.tap_io(|stream| _ = stream.set_nodelay(true));
        let stop = stop.clone().cancelled_owned();
        axum::serve(listener, router.clone()).with_graceful_shutdown(stop).into_future()
    }));
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = all => ended.map(drop),
        () = overdue => Ok(()),
    }
}
