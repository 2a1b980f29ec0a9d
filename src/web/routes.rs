//! What is served at which path.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use crate::metrics::{self, Exporter};
use crate::poller::Account;

/// All that the pages are made of.
#[derive(Debug)]
pub struct Site {
    /// The accounts, in the order of the exposition.
    pub accounts: Vec<Arc<Account>>,
    /// What the process says of itself.
    pub exporter: Exporter,
    /// The path of the metrics.
    pub telemetry_path: String,
}

/// The pages of a site. Another path is 404, another method 405.
pub fn router(site: Arc<Site>) -> Router {
    Router::new()
        .route(&site.telemetry_path, get(scrape))
        .route("/", get(landing))
        .route("/-/healthy", get(async || "tryvox-exporter is healthy.\n"))
        .route("/-/ready", get(ready))
        .with_state(site)
}

async fn scrape(State(site): State<Arc<Site>>) -> Response {
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::scrape(&site.accounts, &site.exporter)).into_response()
}

async fn ready(State(site): State<Arc<Site>>) -> Response {
    let waiting = site.accounts.iter().filter(|account| account.published().polls.last.is_none()).count();
    if waiting == 0 {
        "tryvox-exporter is ready.\n".into_response()
    } else {
        let text = format!("tryvox-exporter is not ready: the first poll of {waiting} account(s) has not ended.\n");
        (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
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
