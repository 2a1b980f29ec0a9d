//! How a request gets to the API and its answer back: the only place that knows of sockets.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::OnceLock;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, Stream, StreamExt};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{StatusCode, Url};
use tokio::sync::Semaphore;

use super::{Failure, Reason};

/// A page's body is read to at most this many bytes, after decompression.
const MAX_BODY: usize = 16 << 20;

/// What a page of 100 numbers comes to, generously. A body that is larger waits for its turn.
const USUAL_BODY: usize = 128 << 10;

/// One body at a time may be larger than usual, over all accounts: so an API that sends nonsense
/// without end costs no more memory than that.
static LARGE_BODY: Semaphore = Semaphore::const_new(1);

/// An answer of the API.
#[derive(Debug)]
pub struct ApiResponse {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, if the status is 200: of other answers it is not read.
    pub body: Result<Bytes, Failure>,
}

/// A way to send one GET request and read the answer. Redirects are not followed and nothing is
/// sent twice.
pub trait Transport: fmt::Debug + Send + Sync {
    /// Sends a request. The future may be dropped at any time, and that ends the request.
    ///
    /// The error is the reason of no answer at all: no connection, or no trusted one.
    fn get(&self, url: Url, authorization: HeaderValue) -> BoxFuture<'_, Result<ApiResponse, Failure>>;
}

/// The connections that accounts share, one pool for `https` and one for `http`.
#[derive(Debug, Default)]
pub struct HttpClients {
    https: OnceLock<reqwest::Client>,
    http: OnceLock<reqwest::Client>,
}

impl HttpClients {
    /// Sees to it that there is a pool for each scheme that the URLs have.
    ///
    /// # Errors
    /// When TLS cannot be set up: as a rule because this machine has no certificates to trust.
    pub fn prepare<'a>(&self, urls: impl IntoIterator<Item = &'a Url>) -> Result<(), String> {
        for url in urls {
            let pool = self.of(url);
            if pool.get().is_none() {
                // Where another was faster, its pool serves as well.
                _ = pool.set(http_client(url.scheme() == "https")?);
            }
        }
        Ok(())
    }

    fn of(&self, url: &Url) -> &OnceLock<reqwest::Client> {
        if url.scheme() == "https" { &self.https } else { &self.http }
    }
}

impl Transport for HttpClients {
    fn get(&self, url: Url, authorization: HeaderValue) -> BoxFuture<'_, Result<ApiResponse, Failure>> {
        async move {
            let pool = self.of(&url).get().ok_or_else(|| {
                Failure::new(Reason::Internal, format!("there are no connections for {}", url.scheme()))
            })?;
            let host = url.host_str().unwrap_or_default().to_owned();
            let request = pool.get(url).header(AUTHORIZATION, authorization).header(ACCEPT, "application/json");
            let response = request.send().await.map_err(|error| no_answer(&host, &error))?;
            let (status, headers) = (response.status(), response.headers().clone());
            let body = match status {
                StatusCode::OK => read_body(response.bytes_stream()).await,
                _ => Ok(Bytes::new()),
            };
            Ok(ApiResponse { status, headers, body })
        }
        .boxed()
    }
}

/// Reads a body to its end, but no further than a page can reach.
///
/// # Errors
/// When the body is cut or too large.
pub async fn read_body<E: Error + 'static>(chunks: impl Stream<Item = Result<Bytes, E>>) -> Result<Bytes, Failure> {
    let mut chunks = std::pin::pin!(chunks);
    let (mut body, mut permit) = (Vec::new(), None);
    while let Some(chunk) = chunks.next().await {
        let chunk =
            chunk.map_err(|error| Failure::new(Reason::Decode, format!("the body is cut: {}", innermost(&error))))?;
        let length = body.len() + chunk.len();
        if length > MAX_BODY {
            return Err(Failure::new(Reason::TooLarge, format!("the body is larger than {MAX_BODY} bytes")));
        }
        if length > USUAL_BODY && permit.is_none() {
            // The semaphore is never closed.
            permit = LARGE_BODY.acquire().await.ok();
            // All at once: a buffer that grows is there twice while it does.
            body.reserve_exact(MAX_BODY - body.len());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.into())
}

fn http_client(https: bool) -> Result<reqwest::Client, String> {
    // Fails only where one is installed already, and then that one serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .user_agent(concat!("tryvox-exporter/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        // RequestStats are counted, so none is sent that was not asked for.
        .retry(reqwest::retry::never());
    // Over plain http a proxy would read the key, and no certificate is ever looked at.
    let builder = if https { builder } else { builder.no_proxy().tls_certs_only([]) };
    builder.build().map_err(|error| {
        format!("TLS cannot be set up: {}; is the package ca-certificates installed?", innermost(&error))
    })
}

fn no_answer(host: &str, error: &reqwest::Error) -> Failure {
    let reason = if causes(error).any(<dyn Error>::is::<rustls::Error>) { Reason::Tls } else { Reason::Connect };
    Failure::new(reason, format!("no answer from {host}: {}", innermost(error)))
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn Error + 'static) = *error;
        // An `io::Error` that wraps another shows that one's source as its own, not the other.
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

/// The text of the last cause, which is what happened; those before it only say where.
fn innermost(error: &(dyn Error + 'static)) -> String {
    causes(error).last().unwrap_or(error).to_string()
}
