//! What the simulated API answers.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::extract::{Query, Request};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, DATE, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio_util::sync::CancellationToken;

use super::account::{Filter, SimulatedAccount};
use super::apply::{self, ConnectionClosed};
use super::fault::{Fault, FaultKind, Faults};

/// The key that a simulated account accepts when nobody chose another; it is no secret.
pub const DEFAULT_KEY: &str = "demo-key-not-a-secret";

/// What is read of a list of faults.
const MAX_FAULTS: usize = 64 << 10;

/// A simulated API.
#[derive(Debug)]
pub struct Simulator {
    /// What each account has, by its id.
    pub accounts: BTreeMap<String, RwLock<SimulatedAccount>>,
    /// The `Authorization` header that it accepts.
    pub authorization: HeaderValue,
    /// What an answer takes.
    pub latency: Duration,
    /// What it does wrong.
    pub faults: Faults,
    /// Its clock.
    pub now: fn() -> SystemTime,
    /// How often it was asked for numbers.
    pub requests: AtomicU64,
}

/// A page before it is written.
#[derive(Debug)]
pub(super) struct Numbers {
    pub(super) records: Vec<String>,
    pub(super) total: i64,
    pub(super) per_page: usize,
    pub(super) page: usize,
    pub(super) total_pages: usize,
}

/// What is asked for, checked.
struct Asked {
    filter: Filter,
    page: usize,
    per_page: usize,
}

impl Simulator {
    /// The answer to a request.
    ///
    /// # Errors
    /// When there is to be none and the connection is to be cut.
    pub async fn answer(&self, request: Request) -> Result<Response, ConnectionClosed> {
        let mut segments = request.uri().path().split('/').skip(1);
        let path = [(); 4].map(|()| segments.next().unwrap_or_default().to_owned());
        match (request.method(), path.each_ref().map(String::as_str), segments.next()) {
            (_, ["-", "faults", "", ""], None) => Ok(self.control(request).await),
            (&Method::GET, ["v1", "account", account_id, "numbers"], None) => {
                let (head, _) = request.into_parts();
                self.numbers(account_id, &head).await
            }
            _ => Ok(error(StatusCode::NOT_FOUND, "not_found", "No such resource.")),
        }
    }

    /// Lets the accounts live until `stop`.
    pub async fn live(&self, every: Duration, stop: CancellationToken) {
        let mut beat = tokio::time::interval(every);
        beat.tick().await;
        while stop.run_until_cancelled(beat.tick()).await.is_some() {
            for world in self.accounts.values() {
                world.write().unwrap_or_else(PoisonError::into_inner).live((self.now)());
            }
        }
    }

    async fn numbers(&self, account_id: &str, request: &Parts) -> Result<Response, ConnectionClosed> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if !self.latency.is_zero() {
            tokio::time::sleep(self.latency).await;
        }
        let query = Query::<HashMap<String, String>>::try_from_uri(&request.uri);
        let asked = Asked::read(query.map(|Query(query)| query).unwrap_or_default());
        let fault = self.faults.strike(account_id, asked.as_ref().map_or(1, |asked| asked.page));
        let mut response = match fault.as_ref().and_then(|kind| apply::instead(kind, (self.now)())) {
            Some(instead) => instead.await?,
            None if request.headers.get(AUTHORIZATION) != Some(&self.authorization) => {
                let refusal = error(StatusCode::UNAUTHORIZED, "unauthorized", "The API key is missing or not valid.");
                ([(WWW_AUTHENTICATE, "Bearer")], refusal).into_response()
            }
            None => match (self.accounts.get(account_id), asked) {
                (None, _) => error(StatusCode::NOT_FOUND, "not_found", "No such account."),
                (_, Err(message)) => error(StatusCode::BAD_REQUEST, "invalid_parameter", message),
                (Some(world), Ok(asked)) => {
                    apply::body(fault.as_ref(), self.page(world, &asked, fault.as_ref()).json())
                }
            },
        };
        if let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date((self.now)())) {
            response.headers_mut().insert(DATE, date);
        }
        Ok(response)
    }

    fn page(&self, owned: &RwLock<SimulatedAccount>, asked: &Asked, fault: Option<&FaultKind>) -> Numbers {
        let world = owned.read().unwrap_or_else(PoisonError::into_inner);
        let numbers = apply::page(fault, asked.page, asked.per_page, |page, per_page| {
            let skip = (page - 1).saturating_mul(per_page);
            let (total, records) = world.records(&asked.filter, skip, per_page);
            Numbers {
                records: records.into_iter().map(str::to_owned).collect(),
                total: i64::try_from(total).unwrap_or(i64::MAX),
                per_page,
                page,
                total_pages: total.div_ceil(per_page),
            }
        });
        drop(world);
        if fault == Some(&FaultKind::Shift) {
            owned.write().unwrap_or_else(PoisonError::into_inner).shift((self.now)());
        }
        numbers
    }

    /// Shows and changes the faults: for tests, and for those who want to see an exporter in apply.
    async fn control(&self, request: Request) -> Response {
        match *request.method() {
            Method::POST | Method::PUT => {
                let text = axum::body::to_bytes(request.into_body(), MAX_FAULTS).await.unwrap_or_default();
                match Fault::list(&String::from_utf8_lossy(&text)) {
                    Ok(faults) => self.faults.set(faults),
                    Err(message) => return error(StatusCode::BAD_REQUEST, "invalid_fault", &message),
                }
            }
            Method::DELETE => self.faults.set(Vec::new()),
            Method::GET => {}
            _ => return error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "GET, POST, PUT or DELETE."),
        }
        let faults: Vec<_> = self.faults.left().iter().map(ToString::to_string).collect();
        let requests = self.requests.load(Ordering::Relaxed);
        json(serde_json::json!({ "faults": faults, "requests": requests }).to_string())
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
}

impl Numbers {
    fn json(&self) -> String {
        format!(
            r#"{{"data":[{}],"pagination":{{"total":{},"count":{},"per_page":{},"current_page":{},"total_pages":{}}}}}"#,
            self.records.join(","),
            self.total,
            self.records.len(),
            self.per_page,
            self.page,
            self.total_pages,
        )
    }
}

pub(super) fn json(body: impl Into<Body>) -> Response {
    ([(CONTENT_TYPE, "application/json")], body.into()).into_response()
}

pub(super) fn error(status: StatusCode, code: &str, message: &str) -> Response {
    let body = serde_json::json!({ "error": { "code": code, "message": message } });
    (status, json(body.to_string())).into_response()
}
