//! What is served at which path.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use super::negotiate::negotiate;
use super::page;
use crate::metrics::{AccountMetrics, ExporterMetrics, Scrape};
use crate::poller::Fleet;

/// All that the pages are made of.
#[derive(Debug)]
pub struct AppState {
    /// The accounts.
    pub fleet: Arc<Fleet<Arc<AccountMetrics>>>,
    /// What the process says of itself.
    pub exporter: Arc<ExporterMetrics>,
    /// The path of the metrics.
    pub telemetry_path: String,
    /// Reads the configuration again; none where that is not allowed.
    pub reload: Option<Reload>,
    /// When this process began.
    pub started: Instant,
    /// Whether every account had been polled once: what a reload adds later does not undo it.
    pub ready: AtomicBool,
}

/// What `POST /-/reload` does: the error says what is wrong with the configuration.
#[derive(Clone)]
pub struct Reload(pub Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>);

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reload").finish_non_exhaustive()
    }
}

/// The pages of a site. Another path is 404, another method 405.
pub fn router(site: Arc<AppState>) -> Router {
    Router::new()
        .route(&site.telemetry_path, get(scrape))
        .route("/", get(status))
        .route("/-/healthy", get(async || "tryvox-exporter is healthy.\n"))
        .route("/-/ready", get(ready))
        .route("/-/reload", post(reload).put(reload))
        .with_state(site)
}

async fn scrape(State(site): State<Arc<AppState>>, headers: HeaderMap) -> Response {
    let (format, coding) = negotiate(&headers);
    let mut pieces = Scrape::new(&site.fleet.accounts(), site.exporter.clone()).encode(format, coding);
    // Most often that is all, and its length is known.
    let first = pieces.next().unwrap_or_default();
    let body = match pieces.next() {
        None => Body::from(first),
        Some(second) => {
            Body::from_stream(stream::iter([first, second].into_iter().chain(pieces)).then(async |piece| {
                // Between two pieces others have their turn.
                tokio::task::yield_now().await;
                Ok::<_, Infallible>(piece)
            }))
        }
    };
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if let Some(name) = coding.name() {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
    }
    response
}

async fn ready(State(site): State<Arc<AppState>>) -> Response {
    let accounts = site.fleet.accounts();
    let waiting = accounts.iter().filter(|account| account.account().snapshot().polls.last.is_none()).count();
    if waiting == 0 {
        site.ready.store(true, Ordering::Relaxed);
    }
    if site.ready.load(Ordering::Relaxed) {
        "tryvox-exporter is ready.\n".into_response()
    } else {
        let text = format!("tryvox-exporter is not ready: the first poll of {waiting} account(s) has not ended.\n");
        (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
    }
}

async fn reload(State(site): State<Arc<AppState>>) -> Response {
    let Some(Reload(reload)) = &site.reload else {
        let text = "The lifecycle API is off; --web.enable-lifecycle allows it.\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    };
    match reload().await {
        Ok(()) => "The configuration was reloaded.\n".into_response(),
        Err(problem) => {
            (StatusCode::BAD_REQUEST, format!("The configuration was not changed: {problem}\n")).into_response()
        }
    }
}

async fn status(State(site): State<Arc<AppState>>, asked: Result<Query<page::Asked>, QueryRejection>) -> Response {
    // A query that cannot be read asks for nothing. Of many accounts a page takes its time, and keeps no
    // other answer waiting.
    let Query(asked) = asked.unwrap_or_default();
    let rendered = tokio::task::spawn_blocking(move || {
        let accounts: Vec<_> = site.fleet.accounts().iter().map(|account| account.account().clone()).collect();
        let subject = page::Subject {
            accounts: &accounts,
            configured: site.exporter.config_status(),
            telemetry_path: &site.telemetry_path,
            reload: site.reload.is_some(),
            started: site.started,
        };
        page::render(&subject, asked)
    });
    let mut response = match rendered.await {
        Ok(text) => text.into_response(),
        // It panicked, and what that means is for the caller to say; or the end has come.
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        },
    };
    for (name, value) in page::headers() {
        response.headers_mut().insert(name, value);
    }
    response
}
