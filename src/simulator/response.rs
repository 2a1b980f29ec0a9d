//! Responses of the simulated API: a page of numbers, JSON, an error in the API's format, or none at all.

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

/// A fault left the request without a response; the server has to close the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionClosed {
    /// The connection has to be closed.
    #[error("the connection is cut on purpose")]
    Cut,
    /// The connection has to be reset.
    #[error("the connection is reset on purpose")]
    Reset,
}

/// One page of numbers and what it says about the listing. A fault may make the two contradict each other.
#[derive(Debug)]
pub(super) struct SimulatedPage {
    /// The JSON of each record.
    pub(super) records: Vec<String>,
    /// Records on all pages.
    pub(super) total: i64,
    pub(super) per_page: usize,
    /// The page's own number; the first page is 1.
    pub(super) page: usize,
    pub(super) total_pages: usize,
}

impl SimulatedPage {
    /// Returns the response body.
    pub(super) fn to_json(&self) -> String {
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

/// Returns a response with status 200 and a JSON body.
pub(super) fn json_response(body: impl Into<Body>) -> Response {
    ([(CONTENT_TYPE, "application/json")], body.into()).into_response()
}

/// Returns an error response in the API's format.
pub(super) fn error_response(status: StatusCode, code: &str, message: &str) -> Response {
    let body = serde_json::json!({ "error": { "code": code, "message": message } });
    (status, json_response(body.to_string())).into_response()
}
