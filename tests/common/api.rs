//! An API that a test scripts: it answers what the test says and remembers what it was asked.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use tokio::net::TcpListener;

/// What a request asked for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    /// The `page` of the query.
    pub(crate) page: usize,
}

type ApiResponse = dyn Fn(Asked) -> BoxFuture<'static, Response> + Send + Sync;

/// A running API.
#[derive(Clone)]
pub(crate) struct Api(Arc<Shared>);

struct Shared {
    address: std::net::SocketAddr,
    answer: Box<ApiResponse>,
    asked: Mutex<Vec<Asked>>,
    in_flight: AtomicUsize,
    most_in_flight: AtomicUsize,
}

impl Api {
    /// Starts an API on a free port.
    pub(crate) async fn start<F>(answer: impl Fn(Asked) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = Self(Arc::new(Shared {
            address: listener.local_addr().unwrap(),
            answer: Box::new(move |asked| Box::pin(answer(asked))),
            asked: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            most_in_flight: AtomicUsize::new(0),
        }));
        let router = Router::new().fallback(handle).with_state(api.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        api
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.0.address)
    }

    /// All requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.0.asked.lock().unwrap().clone()
    }

    /// The most requests that were in flight at one time.
    pub(crate) fn most_in_flight(&self) -> usize {
        self.0.most_in_flight.load(Ordering::SeqCst)
    }
}

async fn handle(State(Api(shared)): State<Api>, request: Request) -> Response {
    let uri = request.uri().clone();
    let query = uri.query().unwrap_or_default();
    let page = query.split('&').find_map(|pair| pair.strip_prefix("page=")).and_then(|page| page.parse().ok());
    let asked = {
        let mut all = shared.asked.lock().unwrap();
        let headers = request.headers().clone();
        let asked = Asked { page: page.unwrap_or(0), headers, uri };
        all.push(asked.clone());
        asked
    };
    let now = shared.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
    shared.most_in_flight.fetch_max(now, Ordering::SeqCst);
    let answer = (shared.answer)(asked).await;
    shared.in_flight.fetch_sub(1, Ordering::SeqCst);
    answer
}

/// A record with this number, status, and fees as they are written.
pub(crate) fn record(e164: &str, status: &str, monthly_fee: &str, currency: &str) -> String {
    format!(
        r#"{{"e164":"{e164}","country":"US","type":"local","region":null,"status":"{status}","capabilities":["voice"],
        "monthly_fee":{monthly_fee},"setup_fee":0,"currency":"{currency}","trunk_id":null,"application_id":null,
        "created_at":"2025-03-11T09:24:00Z","updated_at":"2025-11-02T17:40:12Z"}}"#
    )
}

/// A page of these records.
pub(crate) fn page(records: &[String], total: usize, page: usize, total_pages: usize) -> Response {
    let body = format!(
        r#"{{"data":[{}],"pagination":{{"total":{total},"count":{},"per_page":100,"current_page":{page},"total_pages":{total_pages}}}}}"#,
        records.join(","),
        records.len(),
    );
    ([("content-type", "application/json")], body).into_response()
}

/// A listing of one page with one number.
pub(crate) fn one_number() -> Response {
    page(&[record("+14155550123", "active", "1.15", "USD")], 1, 1, 1)
}
