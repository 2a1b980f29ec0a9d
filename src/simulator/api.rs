//! The simulated API: requests in, responses out, on a socket or without one.
//!
//! [`Simulator::respond`] authenticates a request for numbers, reads the page from its account and lets a fault change
//! the response. `/-/faults` shows and changes the faults in effect. Requests never change an account, except that the
//! fault [`FaultKind::Shift`] does so after a page was read.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::extract::{Query, Request};
use axum::http::header::{AUTHORIZATION, DATE, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{MissedTickBehavior, sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::account::SimulatedAccount;
use super::apply;
use super::connection::SimulatedConnection;
use super::fault::{Fault, Faults};
use super::fault_kind::FaultKind;
use super::query::NumbersQuery;
use super::response::{ConnectionClosed, SimulatedPage, error_response, json_response};

/// The API key that simulated accounts accept unless another one is configured. It is not a secret.
pub const DEFAULT_KEY: &str = "demo-key-not-a-secret";

/// The maximum size of a list of faults in a request body, in bytes.
const MAX_FAULTS_BODY: usize = 64 << 10;

/// Delay before the next connection is accepted after an error.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// A simulated API with any number of accounts.
#[derive(Debug)]
pub struct Simulator {
    /// The accounts by their ids.
    pub accounts: BTreeMap<String, RwLock<SimulatedAccount>>,
    /// The only `Authorization` header accepted, the same for all accounts.
    pub authorization: HeaderValue,
    /// The delay before each response to a request for numbers.
    pub latency: Duration,
    /// The faults in effect.
    pub faults: Faults,
    /// The clock for `Date` headers and for changes to accounts.
    pub now: fn() -> SystemTime,
    /// Number of requests for numbers received, successful or not.
    pub requests: AtomicU64,
}

impl Simulator {
    /// Accepts connections and responds to their requests until `stop` is cancelled.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let mut has_failed = false;
        while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((stream, _)) => {
                    has_failed = false;
                    // Without this, Nagle's algorithm delays responses and distorts benchmarks. It fails if the client
                    // has gone; reading fails then, too.
                    _ = stream.set_nodelay(true);
                    let (simulator, stop) = (self.clone(), stop.clone());
                    tokio::spawn(async move { stop.run_until_cancelled(simulator.serve_connection(stream)).await });
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // Usually the process is out of file descriptors, which is temporary. It is logged once.
                    if !std::mem::replace(&mut has_failed, true) {
                        warn!(%error, "accept failed, retrying; raise the limit of open files if it was reached");
                    }
                    stop.run_until_cancelled(sleep(ACCEPT_RETRY_DELAY)).await;
                }
            }
        }
    }

    async fn serve_connection(self: Arc<Self>, stream: TcpStream) {
        let handle = SimulatedConnection::default();
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let (simulator, mut request) = (self.clone(), request.map(Body::new));
            request.extensions_mut().insert(handle.clone());
            async move { simulator.respond(request).await }
        });
        let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        // Any other error is dropped: the client sees a failed connection, and a fault may have closed it on purpose.
        let result = (&mut connection).await;
        let cause = result.as_ref().err().and_then(Error::source).and_then(<dyn Error>::downcast_ref);
        if cause == Some(&ConnectionClosed::Reset) {
            // Without lingering, closing a socket resets its connection. If this fails, it is closed as usual.
            _ = SockRef::from(connection.into_parts().io.inner()).set_linger(Some(Duration::ZERO));
        }
    }

    /// Returns the response to a request. Its [`SimulatedConnection`], if it has one, is in its extensions.
    ///
    /// # Errors
    /// If a fault closes the connection without a response.
    pub async fn respond(&self, request: Request) -> Result<Response, ConnectionClosed> {
        let connection = SimulatedConnection::of(request.extensions());
        let response = self.respond_unless_hung(request).await;
        connection.wait_if_hung().await;
        response
    }

    async fn respond_unless_hung(&self, request: Request) -> Result<Response, ConnectionClosed> {
        let mut segments = request.uri().path().split('/').skip(1);
        let path = [(); 4].map(|()| segments.next().unwrap_or_default().to_owned());
        match (request.method(), path.each_ref().map(String::as_str), segments.next()) {
            (_, ["-", "faults", "", ""], None) => Ok(self.respond_with_faults(request).await),
            (&Method::GET, ["v1", "account", account_id, "numbers"], None) => {
                let (head, _) = request.into_parts();
                self.respond_with_numbers(account_id, &head).await
            }
            _ => Ok(error_response(StatusCode::NOT_FOUND, "not_found", "No such resource.")),
        }
    }

    /// Changes a few numbers of each account at every `interval` until `stop` is cancelled.
    pub async fn change_accounts(&self, interval: Duration, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(interval);
        // Even if changes take longer than the interval, there is time for requests between them.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick is immediate.
        ticks.tick().await;
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            for account in self.accounts.values() {
                account.write().unwrap_or_else(PoisonError::into_inner).change((self.now)());
            }
        }
    }

    async fn respond_with_numbers(&self, account_id: &str, request: &Parts) -> Result<Response, ConnectionClosed> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if !self.latency.is_zero() {
            tokio::time::sleep(self.latency).await;
        }
        // Such a request triggers no fault.
        SimulatedConnection::of(&request.extensions).wait_if_hung().await;
        let parameters = Query::<HashMap<String, String>>::try_from_uri(&request.uri);
        let query = NumbersQuery::parse(parameters.map(|Query(parameters)| parameters).unwrap_or_default());
        let fault = self.faults.trigger(account_id, query.as_ref().map_or(1, |query| query.page));
        let replacement = match &fault {
            Some(fault) => apply::replace_response(fault, request, (self.now)()).await?,
            None => None,
        };
        let mut response = match replacement {
            Some(replacement) => replacement,
            None if request.headers.get(AUTHORIZATION) != Some(&self.authorization) => {
                let message = "The API key is missing or invalid.";
                let rejection = error_response(StatusCode::UNAUTHORIZED, "unauthorized", message);
                ([(WWW_AUTHENTICATE, "Bearer")], rejection).into_response()
            }
            None => match (self.accounts.get(account_id), query) {
                (None, _) => error_response(StatusCode::NOT_FOUND, "not_found", "No such account."),
                (_, Err(message)) => error_response(StatusCode::BAD_REQUEST, "invalid_parameter", message),
                (Some(account), Ok(query)) => {
                    apply::send_page(fault.as_ref(), &self.read_page(account, &query, fault.as_ref()))
                }
            },
        };
        if let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date((self.now)())) {
            response.headers_mut().insert(DATE, date);
        }
        Ok(response)
    }

    fn read_page(
        &self,
        account: &RwLock<SimulatedAccount>,
        query: &NumbersQuery,
        fault: Option<&FaultKind>,
    ) -> SimulatedPage {
        let numbers = account.read().unwrap_or_else(PoisonError::into_inner);
        let page = apply::alter_page(fault, query.page, query.per_page, |page, per_page| {
            let skip = (page - 1).saturating_mul(per_page);
            let (total, records) = numbers.select(&query.filter, skip, per_page);
            SimulatedPage {
                records: records.into_iter().map(str::to_owned).collect(),
                total: i64::try_from(total).unwrap_or(i64::MAX),
                per_page,
                page,
                total_pages: total.div_ceil(per_page),
            }
        });
        drop(numbers);
        if fault == Some(&FaultKind::Shift) {
            account.write().unwrap_or_else(PoisonError::into_inner).move_page_boundaries((self.now)());
        }
        page
    }

    /// Shows the faults in effect and the number of requests, after changing the faults if the method says so. Tests
    /// use it, and so do users who want to watch a client cope with faults.
    async fn respond_with_faults(&self, request: Request) -> Response {
        match *request.method() {
            Method::POST | Method::PUT => {
                let text = axum::body::to_bytes(request.into_body(), MAX_FAULTS_BODY).await.unwrap_or_default();
                match Fault::parse_list(&String::from_utf8_lossy(&text)) {
                    Ok(faults) => self.faults.set(faults),
                    Err(message) => return error_response(StatusCode::BAD_REQUEST, "invalid_fault", &message),
                }
            }
            Method::DELETE => self.faults.set(Vec::new()),
            Method::GET => {}
            _ => {
                let message = "Use GET, POST, PUT or DELETE.";
                return error_response(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
            }
        }
        let faults: Vec<_> = self.faults.remaining().iter().map(ToString::to_string).collect();
        let requests = self.requests.load(Ordering::Relaxed);
        json_response(serde_json::json!({ "faults": faults, "requests": requests }).to_string())
    }
}
