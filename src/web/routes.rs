//! The HTTP routes: the state of the exporter goes in, responses come out.
//!
//! Handlers only read what the pollers have published; none waits for a poll, except that a reload waits until the
//! new configuration has been applied or rejected.

use std::convert::Infallible;
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
use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use super::negotiate::negotiate;
use super::page::{self, PageInput, PageQuery};
use crate::metrics::{AccountMetrics, ExporterMetrics, Scrape};
use crate::poller::{Fleet, ReloadHandle};

/// What the handlers read.
#[derive(Debug)]
pub struct AppState {
    /// The accounts.
    pub fleet: Arc<Fleet<Arc<AccountMetrics>>>,
    /// The metrics of the exporter itself.
    pub exporter: Arc<ExporterMetrics>,
    /// The path at which the metrics are served.
    pub telemetry_path: String,
    /// Reloads the configuration; `None` if `POST /-/reload` is not enabled.
    pub reload: Option<ReloadHandle>,
    /// When the process started.
    pub started_at: Instant,
    /// Whether every account has been polled once. Never reset: accounts that a reload adds do not undo it.
    pub is_ready: AtomicBool,
}

/// Returns the router of all routes. Unknown paths respond with status 404, wrong methods with 405.
pub fn router(state: Arc<AppState>) -> Router {
    Router::new()
        .route(&state.telemetry_path, get(serve_metrics))
        .route("/", get(serve_status_page))
        .route("/-/healthy", get(async || "tryvox-exporter is healthy.\n"))
        .route("/-/ready", get(report_readiness))
        .route("/-/reload", post(reload_config).put(reload_config))
        .with_state(state)
}

async fn serve_metrics(State(state): State<Arc<AppState>>, headers: HeaderMap) -> Response {
    let negotiated = negotiate(&headers);
    let scrape = Scrape::new(&state.fleet.accounts(), state.exporter.clone());
    let mut chunks = scrape.encode(negotiated.format, negotiated.encoding);
    // Usually there is only one chunk; then the response has a Content-Length.
    let first = chunks.next().unwrap_or_default();
    let body = match chunks.next() {
        None => Body::from(first),
        Some(second) => {
            Body::from_stream(stream::iter([first, second].into_iter().chain(chunks)).then(async |chunk| {
                // Let other tasks run before the next chunk is made.
                tokio::task::yield_now().await;
                Ok::<_, Infallible>(chunk)
            }))
        }
    };
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, negotiated.content_type());
    headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if let Some(name) = negotiated.encoding.name() {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
    }
    response
}

async fn report_readiness(State(state): State<Arc<AppState>>) -> Response {
    let accounts = state.fleet.accounts();
    let waiting = accounts.iter().filter(|account| account.account().snapshot().polls.last.is_none()).count();
    if waiting == 0 {
        state.is_ready.store(true, Ordering::Relaxed);
    }
    if state.is_ready.load(Ordering::Relaxed) {
        "tryvox-exporter is ready.\n".into_response()
    } else {
        let plural = if waiting == 1 { "" } else { "s" };
        let text = format!("tryvox-exporter is not ready: waiting for the first poll of {waiting} account{plural}.\n");
        (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
    }
}

async fn reload_config(State(state): State<Arc<AppState>>) -> Response {
    let Some(handle) = &state.reload else {
        let text = "The lifecycle API is disabled; enable it with --web.enable-lifecycle.\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    };
    match handle.reload().await {
        Ok(()) => "The configuration was reloaded.\n".into_response(),
        Err(error) => {
            (StatusCode::BAD_REQUEST, format!("The configuration was not changed: {error}\n")).into_response()
        }
    }
}

async fn serve_status_page(
    State(state): State<Arc<AppState>>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Response {
    // A query that cannot be parsed selects nothing in particular.
    let Query(query) = query.unwrap_or_default();
    // With many accounts rendering takes long enough to delay other requests.
    let rendered = tokio::task::spawn_blocking(move || {
        let accounts: Vec<_> = state.fleet.accounts().iter().map(|account| account.account().clone()).collect();
        let input = PageInput {
            accounts: &accounts,
            config_status: state.exporter.config_status(),
            telemetry_path: &state.telemetry_path,
            reload_enabled: state.reload.is_some(),
            started_at: state.started_at,
        };
        page::render(&input, query)
    });
    let mut response = match rendered.await {
        Ok(html) => html.into_response(),
        Err(error) => match error.try_into_panic() {
            // The server turns it into a response, like a panic in a handler.
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down.
            Err(_) => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        },
    };
    for (name, value) in page::headers() {
        response.headers_mut().insert(name, value);
    }
    response
}
