//! The HTTP routes: the state of the exporter goes in, responses come out.
//!
//! Handlers only read what the pollers have published; none waits for a poll, except that a reload waits until the
//! new configuration has been applied or rejected.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, RawQuery, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use super::negotiate::negotiate;
use super::page::{self, PageInput, PageQuery};
use crate::config::RoutePrefix;
use crate::metrics::{AccountMetrics, ExporterMetrics, Scrape};
use crate::poller::{Account, Fleet, ReloadHandle};

/// What the handlers read.
#[derive(Debug)]
pub struct AppState {
    /// The accounts.
    pub fleet: Arc<Fleet<Arc<AccountMetrics>>>,
    /// The metrics of the exporter itself.
    pub exporter: Arc<ExporterMetrics>,
    /// The prefix of every path.
    pub route_prefix: RoutePrefix,
    /// The path below the prefix at which the metrics are served.
    pub telemetry_path: String,
    /// Reloads the configuration; `None` if `POST /-/reload` is not enabled.
    pub reload: Option<ReloadHandle>,
    /// When the process started.
    pub started_at: Instant,
    /// Whether every account has been polled once or restored. Never reset: accounts that a reload adds do not undo it.
    pub is_ready: AtomicBool,
}

const STATUS_PAGE: &str = "/";
const HEALTHY: &str = "/-/healthy";
const READY: &str = "/-/ready";
const RELOAD: &str = "/-/reload";
/// The handler of requests to other paths.
const OTHER: &str = "other";

/// The paths below the prefix besides that of the metrics, and the status codes that their handlers respond with.
const HANDLERS: [(&str, &[u16]); 4] =
    [(STATUS_PAGE, &[200]), (HEALTHY, &[200]), (READY, &[200, 503]), (RELOAD, &[200, 400, 403])];

impl AppState {
    /// Returns the name of the handler of a path, for the metrics: one of a few, whatever is requested.
    pub(super) fn handler(&self, path: &str) -> &str {
        let path = match self.route_prefix.strip(path) {
            // It is redirected to the status page.
            Some("") => STATUS_PAGE,
            Some(path) => path,
            None => return OTHER,
        };
        let mut paths = HANDLERS.iter().map(|(path, _)| *path).chain([&*self.telemetry_path]);
        paths.find(|known| *known == path).unwrap_or(OTHER)
    }

    /// Makes the metrics of all handlers present.
    fn declare_handlers(&self) {
        let http = self.exporter.http();
        for (path, codes) in HANDLERS {
            http.declare_handler(path, codes);
        }
        http.declare_handler(&self.telemetry_path, &[200, 404]);
        http.declare_handler(OTHER, &[404]);
    }
}

/// Returns the router of all routes. Unknown paths respond with status 404, wrong methods with 405.
pub fn router(state: Arc<AppState>) -> Router {
    state.declare_handlers();
    let path = |path: &str| state.route_prefix.join(path);
    let mut router = Router::new()
        .route(&path(&state.telemetry_path), get(serve_metrics))
        .route(&path(STATUS_PAGE), get(serve_status_page))
        .route(&path(HEALTHY), get(async || "tryvox-exporter is healthy.\n"))
        .route(&path(READY), get(report_readiness))
        .route(&path(RELOAD), post(reload_config).put(reload_config));
    if !state.route_prefix.is_root() {
        // As in Prometheus. Relative locations also lead there through a proxy that adds or strips a part of the path.
        let prefix = path("");
        let last_segment = prefix.rsplit('/').next().unwrap_or_default();
        let from_root = format!("{}/", prefix.trim_start_matches('/'));
        let from_prefix = format!("{last_segment}/");
        router = router.route("/", get(async move || redirect(StatusCode::FOUND, &from_root))).route(
            &prefix,
            get(async move |RawQuery(query): RawQuery| {
                let query = query.map(|query| format!("?{query}")).unwrap_or_default();
                redirect(StatusCode::MOVED_PERMANENTLY, &format!("{from_prefix}{query}"))
            }),
        );
    }
    router.with_state(state)
}

fn redirect(status: StatusCode, location: &str) -> Response {
    (status, [(LOCATION, location)]).into_response()
}

/// Returns the accounts that a query selects with its `account` parameters, in the order of the configuration; `None`
/// if it has none.
///
/// # Errors
/// If one of them is not polled here; its name.
fn select_accounts(accounts: &[Arc<AccountMetrics>], query: &str) -> Result<Option<Vec<Arc<AccountMetrics>>>, String> {
    let mut names: HashSet<_> = url::form_urlencoded::parse(query.as_bytes())
        .filter_map(|(parameter, name)| (parameter == "account").then_some(name))
        .collect();
    if names.is_empty() {
        return Ok(None);
    }
    let selected = accounts.iter().filter(|metrics| names.remove(metrics.account().name())).cloned().collect();
    match names.into_iter().min() {
        None => Ok(Some(selected)),
        Some(missing) => Err(missing.into_owned()),
    }
}

/// The number of characters of an unknown account's name that are shown.
const MAX_NAME: usize = 100;

async fn serve_metrics(State(state): State<Arc<AppState>>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let accounts = state.fleet.accounts();
    let scrape = match select_accounts(&accounts, &query.unwrap_or_default()) {
        Ok(None) => Scrape::new(&accounts, state.exporter.clone()),
        Ok(Some(selected)) => Scrape::new(&selected, state.exporter.clone()).without_exporter(),
        Err(missing) => {
            let name: String = missing.chars().take(MAX_NAME).collect();
            let text = format!("The account {name:?} is not polled here; check its name, and which shard polls it.\n");
            return (StatusCode::NOT_FOUND, text).into_response();
        }
    };
    let negotiated = negotiate(&headers);
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
    let waiting = accounts.iter().filter(|account| !is_ready(account.account())).count();
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

/// Returns whether an account has been polled by this process, or serves a listing of an earlier run.
fn is_ready(account: &Account) -> bool {
    let snapshot = account.snapshot();
    snapshot.polls.count() > 0 || snapshot.listing_at(Instant::now()).is_some()
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
            route_prefix: &state.route_prefix,
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
