//! Sends HTTP requests over the network. No other module of the client opens connections.
//!
//! A URL and an `Authorization` header go in; an [`ApiResponse`] comes out, or the [`Failure`] that prevented it.
//! Requests are never repeated and redirects never followed.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::Url;
use reqwest::dns::Resolve;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use tokio::time::Instant;
use tracing::warn;
use url::Origin;

use super::body::ResponseBody;
use super::certificates::{self, RejectedCertificate};
use super::failure::{Failure, FailureReason, error_chain, root_cause};
use super::proxy::Proxy;
use super::resolver::SystemResolver;
use super::response::ApiResponse;

/// Time without a sign of life on an HTTP/2 connection with requests in flight after which it is pinged.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// Time after which a connection that does not respond to a ping is closed.
const PING_TIMEOUT: Duration = Duration::from_secs(3);

/// Sends a GET request and receives the response. Implementations do not follow redirects and send nothing twice.
pub trait Transport: fmt::Debug + Send + Sync {
    /// Sends a request with this `Authorization` header. Dropping the future or the body cancels the request.
    ///
    /// # Errors
    /// If there is no response at all. A body that cannot be read is an error of the [`ResponseBody`].
    fn get(&self, url: Url, authorization: HeaderValue) -> BoxFuture<'_, Result<ApiResponse, Failure>>;

    /// Sends later requests to the origin of this URL only on connections that are opened after `time`. Requests in
    /// flight are not affected. The default does nothing, for transports without connections.
    fn discard_connections(&self, url: &Url, time: Instant) {
        _ = (url, time);
    }

    /// Returns the proxy that requests to the origin of this URL use, as errors name it. The default returns `None`, for
    /// transports without proxies.
    fn proxy(&self, url: &Url) -> Option<String> {
        _ = url;
        None
    }
}

/// The HTTP clients that all accounts share: a connection pool for each origin.
///
/// A request fails unless [`prepare`](Self::prepare) was called with a URL of its origin.
pub struct HttpClients {
    pools: Mutex<HashMap<Origin, ConnectionPool>>,
    resolver: Arc<dyn Resolve>,
}

impl Default for HttpClients {
    fn default() -> Self {
        Self::with_resolver(Arc::new(SystemResolver))
    }
}

impl fmt::Debug for HttpClients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClients").field("pools", &self.pools).finish_non_exhaustive()
    }
}

/// The connections to one origin.
#[derive(Debug)]
struct ConnectionPool {
    client: reqwest::Client,
    proxy: Option<Proxy>,
    created_at: Instant,
}

impl HttpClients {
    /// Creates clients that resolve host names in their own way.
    #[must_use]
    pub fn with_resolver(resolver: Arc<dyn Resolve>) -> Self {
        Self { pools: Mutex::default(), resolver }
    }

    /// Creates a connection pool for each origin of the URLs, if there is none yet.
    ///
    /// # Errors
    /// If TLS cannot be set up, usually because this machine has no CA certificates, or if the environment names a proxy
    /// that is not valid.
    pub fn prepare<'a>(&self, urls: impl IntoIterator<Item = &'a Url>) -> Result<(), String> {
        for url in urls {
            if !self.pools().contains_key(&url.origin()) {
                let pool = self.new_pool(url)?;
                self.pools().insert(url.origin(), pool);
            }
        }
        Ok(())
    }

    fn pools(&self) -> MutexGuard<'_, HashMap<Origin, ConnectionPool>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn new_pool(&self, url: &Url) -> Result<ConnectionPool, String> {
        let proxy = Proxy::from_environment(url, |name| std::env::var(name).ok())?;
        let client = http_client(url.scheme() == "https", self.resolver.clone())?;
        Ok(ConnectionPool { client, proxy, created_at: Instant::now() })
    }
}

impl Transport for HttpClients {
    fn get(&self, url: Url, authorization: HeaderValue) -> BoxFuture<'_, Result<ApiResponse, Failure>> {
        async move {
            let pool = self.pools().get(&url.origin()).map(|pool| (pool.client.clone(), pool.proxy.clone()));
            let (client, proxy) = pool.ok_or_else(|| {
                let origin = url.origin().ascii_serialization();
                Failure::new(FailureReason::Internal, format!("no HTTP client for {origin}; please report this bug"))
            })?;
            let host = url.host_str().unwrap_or_default().to_owned();
            let request = client.get(url).header(AUTHORIZATION, authorization).header(ACCEPT, "application/json");
            let mut response =
                request.send().await.map_err(|error| connection_failure(&host, proxy.as_ref(), &error))?;
            let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
            Ok(ApiResponse { status, headers, body: ResponseBody::from_stream(response.bytes_stream()) })
        }
        .boxed()
    }

    fn discard_connections(&self, url: &Url, time: Instant) {
        let mut pools = self.pools();
        // If another request has discarded the connections since, those of now are new enough.
        let Some(pool) = pools.get_mut(&url.origin()).filter(|pool| pool.created_at <= time) else { return };
        match self.new_pool(url) {
            Ok(new) => *pool = new,
            Err(error) => warn!(url = %url.origin().ascii_serialization(), error, "keeping the previous connections"),
        }
    }

    fn proxy(&self, url: &Url) -> Option<String> {
        self.pools().get(&url.origin())?.proxy.as_ref().map(Proxy::to_string)
    }
}

/// Creates a client, which has a connection pool of its own.
fn http_client(https: bool, resolver: Arc<dyn Resolve>) -> Result<reqwest::Client, String> {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("tryvox-exporter/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .dns_resolver(resolver)
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        // Every request is counted by the caller, so the library must not repeat one on its own.
        .retry(reqwest::retry::never());
    // This fails only if a provider is installed already, and then that one is used.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = if https {
        builder.tls_backend_preconfigured(certificates::client_config()?)
    } else {
        // A proxy could read the key of a plain HTTP request. Without TLS there are no certificates to load.
        builder.no_proxy().tls_certs_only([])
    };
    builder.build().map_err(|error| {
        format!("cannot set up TLS: {}; check that the package ca-certificates is installed", root_cause(&error))
    })
}

/// Returns whether a SOCKS proxy was not asked because the name of the host could not be resolved here. The library exports
/// no type for it.
fn is_resolution(error: &reqwest::Error) -> bool {
    error_chain(error).any(|error| error.to_string() == "error resolving for socks proxy")
}

/// Classifies an error that occurred before there was a response. Through a proxy, only the connection to the proxy can
/// be refused or time out, so such an error names the proxy and not the API.
fn connection_failure(host: &str, proxy: Option<&Proxy>, error: &reqwest::Error) -> Failure {
    let rejected = error_chain(error).find_map(RejectedCertificate::from_error);
    let cause = rejected.map_or_else(|| root_cause(error), RejectedCertificate::to_string);
    let is_tls = error_chain(error).any(<dyn std::error::Error>::is::<rustls::Error>);
    let reason = if is_tls { FailureReason::Tls } else { FailureReason::Connect };
    let message = match (proxy, is_tls) {
        (None, true) => format!(
            "request to {host} failed: {cause}; check --tryvox.url, the system clock and the trusted CA certificates"
        ),
        (None, false) => format!("request to {host} failed: {cause}; check --tryvox.url, DNS and firewall"),
        (Some(proxy), true) => format!(
            "request to {host} through {proxy} failed: {cause}; check the proxy, the system clock and the trusted CA \
             certificates"
        ),
        (Some(proxy @ Proxy { variable, .. }), false) if error.is_connect() => {
            if let Some(scheme) = proxy.resolving_scheme().filter(|_| is_resolution(error)) {
                let message = format!(
                    "cannot resolve {host} for {proxy}: {cause}; check DNS, or write the value of {variable} with \
                     {scheme}:// so that the proxy resolves the name"
                );
                return Failure::new(reason, message);
            }
            format!("no connection through {proxy}: {cause}; check the proxy and the variables {variable} and NO_PROXY")
        }
        (Some(proxy), false) => {
            format!("request to {host} through {proxy} failed: {cause}; check the proxy and --tryvox.url")
        }
    };
    Failure::new(reason, message)
}
