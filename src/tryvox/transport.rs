//! Sends HTTP requests over the network. No other module of the client opens connections.
//!
//! A URL and an `Authorization` header go in; an [`ApiResponse`] comes out, or the [`Failure`] that prevented it. Requests
//! are never repeated, redirects never followed, and the size of a body is bounded.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::OnceLock;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, Stream, StreamExt};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use reqwest::{StatusCode, Url};
use tokio::sync::Semaphore;

use super::failure::{Failure, FailureReason};
use super::response::ApiResponse;

/// Maximum size of a body, in bytes after decompression.
const MAX_BODY: usize = 16 << 20;

/// Generous upper bound of the size of a page of 100 numbers, in bytes. A larger body needs the [`LARGE_BODY_PERMIT`].
const LARGE_BODY_THRESHOLD: usize = 128 << 10;

/// The permit to buffer a large body: only one is buffered at a time across all accounts, which bounds memory if the
/// API misbehaves.
static LARGE_BODY_PERMIT: Semaphore = Semaphore::const_new(1);

/// Sends a GET request and reads the response. Implementations do not follow redirects and send nothing twice.
pub trait Transport: fmt::Debug + Send + Sync {
    /// Sends a request with this `Authorization` header. Dropping the future cancels the request.
    ///
    /// # Errors
    /// If there is no response at all. A body that cannot be read is an error within the [`ApiResponse`].
    fn get(&self, url: Url, authorization: HeaderValue) -> BoxFuture<'_, Result<ApiResponse, Failure>>;
}

/// The HTTP clients that all accounts share: a connection pool for `https` URLs and one for `http` URLs.
///
/// A request fails unless [`prepare`](Self::prepare) was called with a URL of its scheme.
#[derive(Debug, Default)]
pub struct HttpClients {
    https: OnceLock<reqwest::Client>,
    http: OnceLock<reqwest::Client>,
}

impl HttpClients {
    /// Creates a connection pool for each scheme of the URLs, if there is none yet.
    ///
    /// # Errors
    /// If TLS cannot be set up, usually because this machine has no CA certificates.
    pub fn prepare<'a>(&self, urls: impl IntoIterator<Item = &'a Url>) -> Result<(), String> {
        for url in urls {
            let pool = self.pool(url);
            if pool.get().is_none() {
                // If another thread was faster, its pool is used.
                _ = pool.set(http_client(url.scheme() == "https")?);
            }
        }
        Ok(())
    }

    fn pool(&self, url: &Url) -> &OnceLock<reqwest::Client> {
        if url.scheme() == "https" { &self.https } else { &self.http }
    }
}

impl Transport for HttpClients {
    fn get(&self, url: Url, authorization: HeaderValue) -> BoxFuture<'_, Result<ApiResponse, Failure>> {
        async move {
            let pool = self.pool(&url).get().ok_or_else(|| {
                Failure::new(
                    FailureReason::Internal,
                    format!("no HTTP client for {} URLs; please report this bug", url.scheme()),
                )
            })?;
            let host = url.host_str().unwrap_or_default().to_owned();
            let request = pool.get(url).header(AUTHORIZATION, authorization).header(ACCEPT, "application/json");
            let response = request.send().await.map_err(|error| connection_failure(&host, &error))?;
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

/// Reads a body of at most 16 MiB.
///
/// # Errors
/// If the body is truncated or too large.
pub async fn read_body<E: Error + 'static>(chunks: impl Stream<Item = Result<Bytes, E>>) -> Result<Bytes, Failure> {
    let mut chunks = std::pin::pin!(chunks);
    let (mut body, mut large_body_permit) = (Vec::new(), None);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| {
            let cause = format!("the response is truncated: {}; check the network and any proxy", root_cause(&error));
            Failure::new(FailureReason::Decode, cause)
        })?;
        let length = body.len() + chunk.len();
        if length > MAX_BODY {
            let cause =
                format!("the response exceeds {} MiB; check that --tryvox.url is the TryVox API", MAX_BODY >> 20);
            return Err(Failure::new(FailureReason::TooLarge, cause));
        }
        if length > LARGE_BODY_THRESHOLD && large_body_permit.is_none() {
            // The semaphore is never closed.
            large_body_permit = LARGE_BODY_PERMIT.acquire().await.ok();
            // The buffer gets its full size at once: while one grows, it takes memory twice.
            body.reserve_exact(MAX_BODY - body.len());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.into())
}

/// Creates a client, which has a connection pool of its own.
fn http_client(https: bool) -> Result<reqwest::Client, String> {
    // This fails only if a provider is installed already, and then that one is used.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .user_agent(concat!("tryvox-exporter/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        // Every request is counted by the caller, so the library must not repeat one on its own.
        .retry(reqwest::retry::never());
    // A proxy could read the key of a plain HTTP request. Without TLS there are no certificates to load.
    let builder = if https { builder } else { builder.no_proxy().tls_certs_only([]) };
    builder.build().map_err(|error| {
        format!("cannot set up TLS: {}; check that the package ca-certificates is installed", root_cause(&error))
    })
}

/// Classifies an error that occurred before there was a response.
fn connection_failure(host: &str, error: &reqwest::Error) -> Failure {
    let (reason, remedy) = if error_chain(error).any(<dyn Error>::is::<rustls::Error>) {
        (FailureReason::Tls, "check --tryvox.url, the system clock and the trusted CA certificates")
    } else {
        (FailureReason::Connect, "check --tryvox.url, DNS, proxy and firewall")
    };
    Failure::new(reason, format!("request to {host} failed: {}; {remedy}", root_cause(error)))
}

/// Returns an error and its causes, outermost first.
fn error_chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn Error + 'static) = *error;
        // The `source` of an `io::Error` skips the error that it wraps.
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

/// Returns the message of the innermost cause, which describes the error; the others only locate it.
fn root_cause(error: &(dyn Error + 'static)) -> String {
    error_chain(error).last().unwrap_or(error).to_string()
}
