//! The HTTP side of the simulator.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::world::{Filter, World};

/// The key that a simulated account accepts when nobody chose another; it is no secret.
pub const DEFAULT_KEY: &str = "demo-key-not-a-secret";

/// A simulated API with one account.
#[derive(Debug)]
pub struct Simulator {
    /// The id of the account.
    pub account_id: String,
    /// The `Authorization` header that it accepts.
    pub authorization: HeaderValue,
    /// What an answer takes.
    pub latency: Duration,
    /// What the account has.
    pub world: RwLock<World>,
}

impl Simulator {
    /// Answers on a socket until `stop`.
    ///
    /// # Errors
    /// When the socket fails.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) -> std::io::Result<()> {
        let router = Router::new()
            .route("/v1/account/{account_id}/numbers", get(numbers))
            .fallback(async || error(StatusCode::NOT_FOUND, "not_found", "No such resource."))
            .with_state(self);
        // An answer leaves at once, or what is measured is Nagle's algorithm.
        let listener = listener.tap_io(|stream| _ = stream.set_nodelay(true));
        axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
    }

    /// Lets the account live until `stop`.
    pub async fn live(self: Arc<Self>, every: Duration, stop: CancellationToken) {
        let mut beat = tokio::time::interval(every);
        beat.tick().await;
        while stop.run_until_cancelled(beat.tick()).await.is_some() {
            self.world.write().unwrap_or_else(PoisonError::into_inner).live(SystemTime::now());
        }
    }
}

/// What is asked for, checked.
struct Asked {
    filter: Filter,
    page: usize,
    per_page: usize,
}

async fn numbers(
    State(simulator): State<Arc<Simulator>>,
    Path(account_id): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    if !simulator.latency.is_zero() {
        tokio::time::sleep(simulator.latency).await;
    }
    if headers.get(AUTHORIZATION) != Some(&simulator.authorization) {
        let refusal = error(StatusCode::UNAUTHORIZED, "unauthorized", "The API key is missing or not valid.");
        return ([(WWW_AUTHENTICATE, "Bearer")], refusal).into_response();
    }
    if account_id != simulator.account_id {
        return error(StatusCode::NOT_FOUND, "not_found", "No such account.");
    }
    match Asked::read(query) {
        Ok(asked) => {
            let world = simulator.world.read().unwrap_or_else(PoisonError::into_inner);
            ([(CONTENT_TYPE, "application/json")], asked.answer(&world)).into_response()
        }
        Err(message) => error(StatusCode::BAD_REQUEST, "invalid_parameter", message),
    }
}

impl Asked {
    fn read(mut query: HashMap<String, String>) -> Result<Self, &'static str> {
        let filter = Filter { country: query.remove("country"), status: query.remove("status") };
        let alpha2 = |code: &String| code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase());
        if !filter.country.as_ref().is_none_or(alpha2) {
            return Err("country must be an ISO 3166-1 alpha-2 code.");
        }
        if !filter.status.as_deref().is_none_or(|status| matches!(status, "active" | "pending" | "suspended")) {
            return Err("status must be one of active, pending, suspended.");
        }
        let mut number = |name, default| query.remove(name).map_or(Ok(default), |text| text.parse::<usize>());
        let page = number("page", 1).ok().filter(|page| *page >= 1).ok_or("page must be at least 1.")?;
        let per_page =
            number("per_page", 20).ok().filter(|size| (1..=100).contains(size)).ok_or("per_page must be 1 to 100.")?;
        Ok(Self { filter, page, per_page })
    }

    fn answer(&self, world: &World) -> String {
        let skip = (self.page - 1).saturating_mul(self.per_page);
        let (total, records) = world.records(&self.filter, skip, self.per_page);
        format!(
            r#"{{"data":[{}],"pagination":{{"total":{total},"count":{},"per_page":{},"current_page":{},"total_pages":{}}}}}"#,
            records.join(","),
            records.len(),
            self.per_page,
            self.page,
            total.div_ceil(self.per_page),
        )
    }
}

fn error(status: StatusCode, code: &str, message: &str) -> Response {
    let body = serde_json::json!({ "error": { "code": code, "message": message } });
    (status, [(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
