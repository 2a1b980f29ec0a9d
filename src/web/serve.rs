//! Connections in, answers out, until the end.

use std::convert::Infallible;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue};
use axum::http::{Request, Response, StatusCode, Version};
use axum::response::IntoResponse;
use bytes::Bytes;
use futures_util::FutureExt;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;
use tracing::{debug, warn};

use super::activity::{Activity, Answering, Connections, Place, Watched};
use super::listen::{Listener, Stream};
use super::toolkit::{Refusal, WebFile};

/// What answers in flight get to end in, once no new ones are taken.
const GRACE: Duration = Duration::from_secs(5);
/// What a request that is on its way gets to arrive in, when the end has come.
const LINGER: Duration = Duration::from_millis(500);
/// How long connections that the system has made already are taken in, when the end has come.
const LAST_CALL: Duration = Duration::from_millis(100);
/// A head is some hundred bytes; of HTTP/1 one that needs a larger buffer is answered with 431.
const MAX_HEAD: usize = 64 << 10;
/// Nothing that is asked here has a body.
const MAX_BODY: u64 = 64 << 10;
/// A client takes an answer in such pieces, and says in between whether it still wants it.
const PIECE: usize = 64 << 10;
/// Requests of one connection at once.
const MAX_STREAMS: u32 = 100;
/// What is told of connections that are turned away is told that often at most.
const TELL: Duration = Duration::from_secs(10);

/// Who is let in, and what they find.
#[derive(Debug)]
pub struct Server {
    /// The pages.
    pub router: Router,
    /// TLS, users and the like.
    pub web_file: Option<Arc<WebFile>>,
    /// Connections at one time.
    pub max_connections: usize,
}

/// Answers on all sockets until `stop`; then answers in flight end, 5 s at most.
pub async fn serve(listeners: Vec<Listener>, server: Server, stop: CancellationToken) {
    let Server { router, web_file, max_connections } = server;
    let door = Arc::new(Door {
        router,
        web_file,
        connections: Connections::new(max_connections),
        max_connections,
        refused: Told::default(),
        failed: Told::default(),
        stop,
    });
    let tasks = TaskTracker::new();
    for listener in listeners {
        tasks.spawn(door.clone().accept(listener, tasks.clone()));
    }
    tasks.close();
    let overdue = async {
        door.stop.cancelled().await;
        sleep(GRACE).await;
    };
    tokio::select! {
        () = tasks.wait() => {}
        () = overdue => warn!(open = tasks.len(), "answers that are not done are cut off"),
    }
}

/// What all connections have in common.
struct Door {
    router: Router,
    web_file: Option<Arc<WebFile>>,
    connections: Arc<Connections>,
    max_connections: usize,
    refused: Told,
    failed: Told,
    stop: CancellationToken,
}

impl Door {
    async fn accept(self: Arc<Self>, listener: Listener, tasks: TaskTracker) {
        while let Some(accepted) = self.stop.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok(stream) => self.clone().welcome(stream, &tasks),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // Most often there are no more file descriptors, and that passes.
                    self.failed.tell(|times| warn!(%error, times, "cannot take a connection; trying again"));
                    self.stop.run_until_cancelled(sleep(Duration::from_millis(100))).await;
                }
            }
        }
        // The system may have said yes to some that are not known here yet.
        let until = Instant::now() + LAST_CALL;
        while let Ok(Ok(Ok(stream))) = timeout_at(until, timeout(LAST_CALL / 10, listener.accept())).await {
            self.clone().welcome(stream, &tasks);
        }
    }

    fn welcome(self: Arc<Self>, stream: Stream, tasks: &TaskTracker) {
        if let Some(place) = self.connections.admit() {
            tasks.spawn(self.connection(stream, place));
        } else {
            self.refused.tell(|refused| {
                let max_connections = self.max_connections;
                warn!(max_connections, refused, "connections refused, as all are being answered");
            });
            refuse(&stream);
        }
    }

    async fn connection(self: Arc<Self>, stream: Stream, place: Place) {
        let activity = place.activity.clone();
        let end = async {
            let acceptor = match &self.web_file {
                Some(file) => file.acceptor().await,
                None => Ok(None),
            };
            match acceptor {
                Ok(None) => self.http(stream, &activity, false).await,
                Ok(Some(_)) if speaks_plainly(&stream).await => explain_tls(stream).await,
                Ok(Some(acceptor)) => match acceptor.accept(stream).await {
                    Ok(stream) => {
                        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                        self.http(stream, &activity, http2).await;
                    }
                    Err(error) => debug!(%error, "TLS handshake failed"),
                },
                Err(error) => warn!(%error, "connection refused: the web configuration is not good"),
            }
        };
        tokio::select! {
            () = end => {}
            () = activity.over() => debug!("connection closed: its client was too slow, or its place was needed"),
        }
    }

    async fn http<S>(self: &Arc<Self>, stream: S, activity: &Arc<Activity>, http2: bool)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let builder = auto::Builder::new(TokioExecutor::new());
        let mut builder = if http2 { builder.http2_only() } else { builder.http1_only() };
        // Activity keeps the time: hyper's would also end connections that are kept for the next scrape.
        builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(MAX_HEAD);
        let max_head = u32::try_from(MAX_HEAD).unwrap_or(u32::MAX);
        builder.http2().timer(TokioTimer::new()).max_header_list_size(max_head).max_concurrent_streams(MAX_STREAMS);
        let io = TokioIo::new(Watched::new(stream, activity.clone(), !http2));
        let service = service_fn(|request: Request<Incoming>| {
            let answering = activity.answer(!http2);
            let this = self.clone();
            async move {
                let response = this.answer(request).await;
                Ok::<_, Infallible>(response.map(|body| Owed { body, rest: Bytes::new(), _answering: answering }))
            }
        });
        let mut connection = pin!(builder.serve_connection(io, service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                if http2 {
                    // It has a way to say which requests are too late.
                    connection.as_mut().graceful_shutdown();
                }
                // A request that is on its way is answered; the answer says that it is the last.
                tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = sleep(LINGER) => {
                        if activity.is_quiet() {
                            return;
                        }
                        connection.as_mut().graceful_shutdown();
                        connection.as_mut().await
                    }
                }
            }
        };
        if let Err(error) = ended {
            debug!(error = &*error, "connection failed");
        }
    }

    /// The answer to a request, whatever happens.
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let http1 = request.version() <= Version::HTTP_11;
        let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let mut response = if length.is_some_and(|length: u64| length > MAX_BODY) {
            (StatusCode::PAYLOAD_TOO_LARGE, "Nothing here takes a body that large.\n").into_response()
        } else {
            self.admitted(request).await
        };
        if http1 && self.stop.is_cancelled() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn admitted(&self, request: Request<Incoming>) -> Response<Body> {
        let mut headers = Vec::new();
        if let Some(file) = &self.web_file {
            let log = |error| warn!(%error, "request refused: the web configuration is not good");
            match file.admit(request.headers(), log).await {
                Ok(admitted) => headers = admitted,
                Err(Refusal { status, headers }) => {
                    let text = format!("{}\n", status.canonical_reason().unwrap_or_default());
                    return (status, headers, text).into_response();
                }
            }
        }
        let mut response = answer(self.router.clone(), request.map(Body::new)).await;
        for (name, value) in headers {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// What the pages answer: a fault of this program costs one answer, and the panic hook has logged it.
async fn answer(mut router: Router, request: Request<Body>) -> Response<Body> {
    let answered = AssertUnwindSafe(async { router.call(request).await }).catch_unwind().await;
    answered.map_or_else(
        |_| (StatusCode::INTERNAL_SERVER_ERROR, "A fault of this program; its log says more.\n").into_response(),
        |response| response.unwrap_or_else(|never| match never {}),
    )
}

/// Tells a client that there is no place for it, if it can be told at once.
fn refuse(stream: &Stream) {
    const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n\
        Content-Type: text/plain; charset=utf-8\r\nContent-Length: 23\r\n\r\nToo many connections.\r\n";
    // Where the connection is to be encrypted this is noise, and ends it just as well.
    _ = match stream {
        Either::Left(stream) => stream.try_write(ANSWER),
        Either::Right(stream) => stream.try_write(ANSWER),
    };
}

/// Whether a client begins with a letter, as a request does and TLS does not.
async fn speaks_plainly(stream: &Stream) -> bool {
    let mut first = [0];
    match stream {
        Either::Left(stream) => matches!(stream.peek(&mut first).await, Ok(1) if first[0].is_ascii_alphabetic()),
        // There the system has no way to look without taking.
        Either::Right(_) => false,
    }
}

/// Tells such a client what is wrong.
async fn explain_tls(mut stream: Stream) {
    let text = "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
        Client sent an HTTP request to an HTTPS server.\n";
    // Whoever is gone need not be told. What it sent is read, or closing would take back what it was told.
    _ = stream.write_all(text.as_bytes()).await;
    _ = stream.shutdown().await;
    _ = timeout(LINGER, stream.read(&mut [0; 4096])).await;
}

/// How often something happened, told now and then.
#[derive(Debug, Default)]
struct Told {
    times: AtomicU64,
    until: std::sync::Mutex<Option<Instant>>,
}

impl Told {
    fn tell(&self, tell: impl FnOnce(u64)) {
        let times = self.times.fetch_add(1, Ordering::Relaxed) + 1;
        let mut until = self.until.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = Instant::now();
        if until.is_none_or(|until| until <= now) {
            *until = Some(now + TELL);
            self.times.store(0, Ordering::Relaxed);
            tell(times);
        }
    }
}

/// A body in pieces; its request is answered when all of it is taken.
struct Owed {
    body: Body,
    rest: Bytes,
    _answering: Answering,
}

impl http_body::Body for Owed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(trailers))) => return Poll::Ready(Some(Ok(trailers))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let length = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        match body.exact() {
            Some(length) => SizeHint::with_exact(length + rest),
            None => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;

    #[tokio::test]
    async fn a_panic_is_a_500_and_the_next_request_is_answered() {
        let fault = async || -> &'static str { panic!("on purpose") };
        let router = Router::new().route("/fault", get(fault)).route("/", get(async || "fine"));
        let ask = |path: &'static str| answer(router.clone(), Request::get(path).body(Body::empty()).unwrap());
        assert_eq!(ask("/fault").await.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(ask("/").await.status(), StatusCode::OK);
    }
}
