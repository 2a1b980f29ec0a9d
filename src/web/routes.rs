//! What is served at which path.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::future::BoxFuture;

use super::negotiate::negotiate;
use crate::metrics::{Exporter, Scrape};
use crate::poller::Fleet;

/// All that the pages are made of.
#[derive(Debug)]
pub struct Site {
    /// The accounts.
    pub fleet: Arc<Fleet>,
    /// What the process says of itself.
    pub exporter: Arc<Exporter>,
    /// The path of the metrics.
    pub telemetry_path: String,
    /// Reads the configuration again; none where that is not allowed.
    pub reload: Option<Reload>,
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
pub fn router(site: Arc<Site>) -> Router {
    Router::new()
        .route(&site.telemetry_path, get(scrape))
        .route("/", get(landing))
        .route("/-/healthy", get(async || "tryvox-exporter is healthy.\n"))
        .route("/-/ready", get(ready))
        .route("/-/reload", post(reload).put(reload))
        .with_state(site)
}

/// A scrape of so many bytes is put together where it keeps no other answer waiting.
const HEAVY: usize = 1 << 20;

async fn scrape(State(site): State<Arc<Site>>, headers: HeaderMap) -> Response {
    let (format, coding) = negotiate(&headers);
    let accounts = site.fleet.accounts();
    let scrape = Scrape::new(&accounts, &site.exporter);
    let body = if scrape.weight() < HEAVY {
        scrape.pack(format, coding)
    } else {
        drop(scrape);
        let packed = move || Scrape::new(&accounts, &site.exporter).pack(format, coding);
        match tokio::task::spawn_blocking(packed).await {
            Ok(body) => body,
            // It panicked, and what that means is for the caller to say; or the end has come.
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
            },
        }
    };
    let mut response =
        ([(CONTENT_TYPE, format.content_type()), (VARY, "Accept, Accept-Encoding")], body).into_response();
    if let Some(name) = coding.name() {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(name));
    }
    response
}

async fn ready(State(site): State<Arc<Site>>) -> Response {
    let accounts = site.fleet.accounts();
    let waiting = accounts.iter().filter(|account| account.published().polls.last.is_none()).count();
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

async fn reload(State(site): State<Arc<Site>>) -> Response {
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

async fn landing(State(site): State<Arc<Site>>) -> Html<String> {
    Html(format!(
        "<!DOCTYPE html>\n\
         <html lang=\"en\">\n\
         <head><meta charset=\"utf-8\"><title>tryvox-exporter</title></head>\n\
         <body>\n\
         <h1>tryvox-exporter</h1>\n\
         <p>Version {version}, revision {revision}. Prometheus metrics of the phone numbers rented from TryVox.</p>\n\
         <ul>\n\
         <li><a href=\"{path}\">Metrics</a></li>\n\
         <li><a href=\"/-/healthy\">Healthy</a></li>\n\
         <li><a href=\"/-/ready\">Ready</a></li>\n\
         </ul>\n\
         </body>\n\
         </html>\n",
        version = env!("CARGO_PKG_VERSION"),
        revision = env!("TRYVOX_EXPORTER_REVISION"),
        path = site.telemetry_path,
    ))
}
