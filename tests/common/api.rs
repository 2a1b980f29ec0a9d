//! A mock of the API: the test provides a handler for its requests, and can look at all requests
//! that were received.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use tokio::net::TcpListener;

/// A request that the API received.
#[derive(Debug, Clone)]
pub(crate) struct ApiRequest {
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    /// The `page` of the query; 0 if there is none.
    pub(crate) page: usize,
}

type Handler = dyn Fn(ApiRequest) -> BoxFuture<'static, Response> + Send + Sync;

/// A running API.
#[derive(Clone)]
pub(crate) struct MockApi(Arc<Shared>);

struct Shared {
    address: std::net::SocketAddr,
    handler: Box<Handler>,
    requests: Mutex<Vec<ApiRequest>>,
    in_flight: AtomicUsize,
    max_in_flight: AtomicUsize,
}

impl MockApi {
    /// Starts an API on a free port.
    pub(crate) async fn start<F>(handler: impl Fn(ApiRequest) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = Self(Arc::new(Shared {
            address: listener.local_addr().unwrap(),
            handler: Box::new(move |request| Box::pin(handler(request))),
            requests: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            max_in_flight: AtomicUsize::new(0),
        }));
        let router = Router::new().fallback(handle).with_state(api.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        api
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.0.address)
    }

    /// Returns all requests so far, in the order in which they were received.
    pub(crate) fn requests(&self) -> Vec<ApiRequest> {
        self.0.requests.lock().unwrap().clone()
    }

    /// Returns the highest number of requests that were in flight simultaneously.
    pub(crate) fn max_in_flight(&self) -> usize {
        self.0.max_in_flight.load(Ordering::SeqCst)
    }
}

async fn handle(State(MockApi(shared)): State<MockApi>, request: Request) -> Response {
    let uri = request.uri().clone();
    let query = uri.query().unwrap_or_default();
    let page = query.split('&').find_map(|pair| pair.strip_prefix("page=")).and_then(|page| page.parse().ok());
    let request = ApiRequest { page: page.unwrap_or(0), headers: request.headers().clone(), uri };
    shared.requests.lock().unwrap().push(request.clone());
    let in_flight = shared.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
    shared.max_in_flight.fetch_max(in_flight, Ordering::SeqCst);
    let response = (shared.handler)(request).await;
    shared.in_flight.fetch_sub(1, Ordering::SeqCst);
    response
}

/// Returns a record with this number, status, monthly fee (as JSON) and currency.
pub(crate) fn record(e164: &str, status: &str, monthly_fee: &str, currency: &str) -> String {
    format!(
        r#"{{"e164":"{e164}","country":"US","type":"local","region":null,"status":"{status}","capabilities":["voice"],
        "monthly_fee":{monthly_fee},"setup_fee":0,"currency":"{currency}","trunk_id":null,"application_id":null,
        "created_at":"2025-03-11T09:24:00Z","updated_at":"2025-11-02T17:40:12Z"}}"#
    )
}

/// Returns a page with these records, with these values in its `pagination`.
pub(crate) fn page(records: &[String], total: usize, page: usize, total_pages: usize) -> Response {
    let body = format!(
        r#"{{"data":[{}],"pagination":{{"total":{total},"count":{},"per_page":100,"current_page":{page},"total_pages":{total_pages}}}}}"#,
        records.join(","),
        records.len(),
    );
    ([("content-type", "application/json")], body).into_response()
}

/// Returns a listing of one page with one number.
pub(crate) fn one_number() -> Response {
    page(&[record("+14155550123", "active", "1.15", "USD")], 1, 1, 1)
}
