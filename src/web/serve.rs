//! Accepts connections, serves HTTP on them, and shuts down gracefully.
//!
//! Listeners, the state of the handlers and limits go in; [`serve`] returns when the server has stopped. A connection that is
//! accepted is served, evicted in favor of a new one, or refused with status 503; it never waits for a slot. If file
//! descriptors run out, a new connection waits until another one is closed.
//! After the stop no new connections are accepted, and requests in flight have a limited time to finish.

use std::any::Any;
use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONNECTION, HeaderValue};
use axum::http::{Request, Response, StatusCode, Version};
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_service::Service;
use tracing::{debug, warn};

use super::connection_tracker::ConnectionTracker;
use super::connections::{ConnectionSlot, Connections};
use super::listen::{ClientStream, Listener};
use super::response_body::TrackedBody;
use super::routes::{AppState, router};
use super::throttled_log::ThrottledLog;
use super::toolkit::{RequestRejection, WebFile};
use super::tracked_stream::TrackedStream;

/// Time for requests in flight to finish after the stop.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for a request that the client has already sent to arrive: after the stop, and before a connection that
/// speaks HTTP instead of TLS is closed.
const FINAL_READ_TIMEOUT: Duration = Duration::from_millis(500);
/// Time after the stop during which connections that are waiting in the backlog are still accepted.
const BACKLOG_DRAIN_TIMEOUT: Duration = Duration::from_millis(100);
/// Delay before the next connection is accepted after an error.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);
/// Maximum size of a request head, in bytes; a few hundred are usual. The response to a larger one over HTTP/1 has status 431.
const MAX_REQUEST_HEAD_SIZE: u32 = 64 << 10;
/// Maximum size of a request body, in bytes; no route reads one.
const MAX_REQUEST_BODY_SIZE: usize = 64 << 10;
/// Maximum number of concurrent requests on an HTTP/2 connection.
const MAX_CONCURRENT_STREAMS: u32 = 100;

/// What to serve, to whom, and on how many connections.
#[derive(Debug)]
pub struct Server {
    /// What the handlers read. Its metrics count the requests and connections of the server.
    pub state: Arc<AppState>,
    /// TLS, users, response headers and the rate limit.
    pub web_file: Option<Arc<WebFile>>,
    /// The maximum number of open connections.
    pub max_connections: usize,
}

/// Serves on all listeners until `stop` is cancelled, then waits up to 5 s for requests in flight.
pub async fn serve(listeners: Vec<Listener>, server: Server, stop: CancellationToken) {
    let Server { state, web_file, max_connections } = server;
    let context = Arc::new(ServerContext {
        router: with_safeguards(router(state.clone())),
        connections: Connections::new(max_connections, state.exporter.http().clone()),
        state,
        web_file,
        max_connections,
        refused_log: ThrottledLog::default(),
        accept_error_log: ThrottledLog::default(),
        stop,
    });
    let tasks = TaskTracker::new();
    for listener in listeners {
        tasks.spawn(context.clone().accept_connections(listener, tasks.clone()));
    }
    tasks.close();
    let shutdown_timed_out = async {
        context.stop.cancelled().await;
        sleep(SHUTDOWN_TIMEOUT).await;
    };
    tokio::select! {
        () = tasks.wait() => {}
        () = shutdown_timed_out => warn!(connections = tasks.len(), "shutdown timeout exceeded, closing connections"),
    }
}

/// Bounds request bodies, and turns a panic in a handler into status 500. The panic costs only its own request;
/// the panic hook has logged it.
fn with_safeguards(router: Router) -> Router {
    let respond_to_panic = |_: Box<dyn Any + Send>| {
        (StatusCode::INTERNAL_SERVER_ERROR, "Internal error. See the log of tryvox-exporter.\n").into_response()
    };
    router.layer(RequestBodyLimitLayer::new(MAX_REQUEST_BODY_SIZE)).layer(CatchPanicLayer::custom(respond_to_panic))
}

/// What all connections of a server share.
struct ServerContext {
    state: Arc<AppState>,
    router: Router,
    web_file: Option<Arc<WebFile>>,
    connections: Arc<Connections>,
    max_connections: usize,
    refused_log: ThrottledLog,
    accept_error_log: ThrottledLog,
    /// Cancelled when the server is to stop.
    stop: CancellationToken,
}

impl ServerContext {
    /// Accepts connections until the stop, and those that are in the backlog then.
    async fn accept_connections(self: Arc<Self>, listener: Listener, tasks: TaskTracker) {
        while let Some(accepted) = self.stop.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok(stream) => self.clone().spawn_connection(stream, &tasks),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // Without file descriptors, accepting fails even if no connection waits.
                    let is_out_of_files = is_out_of_files(&error);
                    if is_out_of_files && !listener.has_waiting_connection() {
                        self.pause_accepting().await;
                        continue;
                    }
                    self.accept_error_log.record(|failures| warn!(%error, failures, "accept failed, retrying"));
                    let closed = timeout(ACCEPT_RETRY_DELAY, self.connections.close_one());
                    if !is_out_of_files || closed.await != Ok(true) {
                        self.pause_accepting().await;
                    }
                }
            }
        }
        // To their clients, connections in the backlog are established.
        let deadline = Instant::now() + BACKLOG_DRAIN_TIMEOUT;
        let next = || timeout_at(deadline, timeout(BACKLOG_DRAIN_TIMEOUT / 10, listener.accept()));
        while let Ok(Ok(Ok(stream))) = next().await {
            self.clone().spawn_connection(stream, &tasks);
        }
    }

    /// Waits until accepting is tried again, or until the stop.
    async fn pause_accepting(&self) {
        self.stop.run_until_cancelled(sleep(ACCEPT_RETRY_DELAY)).await;
    }

    /// Serves a connection in a task of its own, or refuses it if there is no slot for it.
    fn spawn_connection(self: Arc<Self>, stream: ClientStream, tasks: &TaskTracker) {
        if let Some(slot) = self.connections.acquire_slot() {
            tasks.spawn(self.serve_connection(stream, slot));
        } else {
            self.refused_log.record(|refused| {
                let max_connections = self.max_connections;
                warn!(max_connections, refused, "connections refused, limit reached");
            });
            refuse(&stream);
        }
    }

    /// Serves a connection, encrypted if so configured, until it ends, times out or is evicted.
    async fn serve_connection(self: Arc<Self>, stream: ClientStream, slot: ConnectionSlot) {
        let tracker = slot.tracker.clone();
        let served = async {
            let acceptor = match &self.web_file {
                Some(file) => file.acceptor().await,
                None => Ok(None),
            };
            match acceptor {
                Ok(None) => self.serve_http(stream, &tracker, false).await,
                Ok(Some(_)) if is_plain_http(&stream).await => explain_tls(stream).await,
                Ok(Some(acceptor)) => match acceptor.accept(stream).await {
                    Ok(stream) => {
                        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                        self.serve_http(stream, &tracker, is_http2).await;
                    }
                    Err(error) => debug!(%error, "TLS handshake failed"),
                },
                // It has been logged.
                Err(_) => {}
            }
        };
        tokio::select! {
            () = served => {}
            () = tracker.wait_for_timeout_or_eviction() => {
                debug!("connection closed, timed out or evicted");
            }
        }
    }

    async fn serve_http<S>(self: &Arc<Self>, stream: S, tracker: &Arc<ConnectionTracker>, is_http2: bool)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let builder = auto::Builder::new(TokioExecutor::new());
        let mut builder = if is_http2 { builder.http2_only() } else { builder.http1_only() };
        // The tracker has the timeouts; hyper's would also close connections that wait for the next scrape.
        let max_head_size = MAX_REQUEST_HEAD_SIZE as usize;
        builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(max_head_size);
        let mut http2 = builder.http2();
        http2.timer(TokioTimer::new()).max_header_list_size(MAX_REQUEST_HEAD_SIZE);
        http2.max_concurrent_streams(MAX_CONCURRENT_STREAMS);
        let io = TokioIo::new(TrackedStream::new(stream, tracker.clone(), is_http2));
        let service = service_fn(|request: Request<Incoming>| {
            let request_in_flight = tracker.start_request(!is_http2);
            let this = self.clone();
            async move {
                let response = this.respond(request).await;
                Ok::<_, Infallible>(response.map(|body| TrackedBody::new(body, request_in_flight)))
            }
        });
        let mut connection = pin!(builder.serve_connection(io, service));
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = self.stop.cancelled() => {
                if is_http2 {
                    // The GOAWAY frame of HTTP/2 identifies the requests that will not be served.
                    connection.as_mut().graceful_shutdown();
                }
                // A request on its way over HTTP/1 is still served; its response closes the connection.
                tokio::select! {
                    result = connection.as_mut() => result,
                    () = sleep(FINAL_READ_TIMEOUT) => {
                        if tracker.is_idle() {
                            return;
                        }
                        connection.as_mut().graceful_shutdown();
                        connection.as_mut().await
                    }
                }
            }
        };
        if let Err(error) = result {
            debug!(error = &*error, "connection failed");
        }
    }

    /// Responds to a request and counts it; after the stop the response closes an HTTP/1 connection.
    async fn respond(&self, request: Request<Incoming>) -> Response<Body> {
        let is_http1 = request.version() <= Version::HTTP_11;
        let handler = self.state.handler(request.uri().path());
        let mut response = self.check_and_route(request).await;
        self.state.exporter.http().count_request(handler, response.status().as_u16());
        if is_http1 && self.stop.is_cancelled() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Routes a request if the web file allows it, and adds the web file's headers to the response.
    async fn check_and_route(&self, request: Request<Incoming>) -> Response<Body> {
        let mut headers = Vec::new();
        if let Some(file) = &self.web_file {
            match file.check_request(request.headers()).await {
                Ok(response_headers) => headers = response_headers,
                Err(RequestRejection { status, headers }) => {
                    let text = format!("{}\n", status.canonical_reason().unwrap_or_default());
                    return (status, headers, text).into_response();
                }
            }
        }
        let mut response = self.router.clone().call(request).await.unwrap_or_else(|never| match never {});
        for (name, value) in headers {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// Returns whether this process or the system has run out of file descriptors, so that a connection must be closed
/// before the next one can be accepted.
fn is_out_of_files(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// Refuses a connection with status 503, unless that would block.
fn refuse(stream: &ClientStream) {
    const RESPONSE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n\
        Content-Type: text/plain; charset=utf-8\r\nContent-Length: 23\r\n\r\nToo many connections.\r\n";
    // To a client that expects TLS this is an invalid message, which ends the handshake just as well.
    _ = match stream {
        Either::Left(stream) => stream.try_write(RESPONSE),
        Either::Right(stream) => stream.try_write(RESPONSE),
    };
}

/// Returns whether the client's first byte is a letter, as in an HTTP/1 request; a TLS handshake begins with 22.
async fn is_plain_http(stream: &ClientStream) -> bool {
    let mut first = [0];
    match stream {
        Either::Left(stream) => matches!(stream.peek(&mut first).await, Ok(1) if first[0].is_ascii_alphabetic()),
        // Tokio cannot peek at Unix sockets.
        Either::Right(_) => false,
    }
}

/// Responds to a client that speaks plain HTTP that TLS is required, and closes the connection.
async fn explain_tls(mut stream: ClientStream) {
    let text = "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
        Client sent an HTTP request to an HTTPS server.\n";
    // Errors mean that the client has gone. Closing a socket with unread data would reset the connection, and
    // the response could be lost.
    _ = stream.write_all(text.as_bytes()).await;
    _ = stream.shutdown().await;
    _ = timeout(FINAL_READ_TIMEOUT, stream.read(&mut [0; 4096])).await;
}

#[cfg(test)]
mod tests {
    use axum::routing::{get, post};

    use super::*;

    #[tokio::test]
    async fn panic_costs_one_request_and_responds_with_500() {
        let panicking = async || -> &'static str { panic!("on purpose") };
        let router = Router::new().route("/panic", get(panicking)).route("/", get(async || "fine"));
        let router = with_safeguards(router);
        let get = |path: &'static str| router.clone().call(Request::get(path).body(Body::empty()).unwrap());
        assert_eq!(get("/panic").await.unwrap().status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(get("/").await.unwrap().status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn request_body_above_the_limit_is_rejected() {
        let mut router = with_safeguards(Router::new().route("/", post(async |body: String| body)));
        for (size, has_length, status) in [
            (MAX_REQUEST_BODY_SIZE, true, StatusCode::OK),
            (MAX_REQUEST_BODY_SIZE + 1, true, StatusCode::PAYLOAD_TOO_LARGE),
            (MAX_REQUEST_BODY_SIZE + 1, false, StatusCode::PAYLOAD_TOO_LARGE),
        ] {
            let mut request = Request::post("/");
            if has_length {
                request = request.header("content-length", size);
            }
            let response = router.call(request.body("x".repeat(size)).unwrap()).await.unwrap();
            assert_eq!(response.status(), status, "{size} bytes");
        }
    }
}
