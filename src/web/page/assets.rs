//! The page's style sheet and script, and the response headers that allow these and no others.

use std::sync::LazyLock;

use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, X_CONTENT_TYPE_OPTIONS};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};

pub(super) const STYLE: &str = include_str!("style.css");
pub(super) const SCRIPT: &str = include_str!("script.js");

/// The Content Security Policy: nothing from other hosts, and no style or script but the page's own, which are
/// identified by their hashes (<https://www.w3.org/TR/CSP3/>).
static POLICY: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let hash = |text: &str| STANDARD.encode(digest(&SHA256, text.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; img-src data:; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    HeaderValue::from_str(&policy).ok()
});

/// Returns the headers of the response that has the page.
pub(in crate::web) fn headers() -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let constant = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("referrer-policy"), "no-referrer"),
    ];
    let constant = constant.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value)));
    constant.chain(POLICY.clone().map(|policy| (CONTENT_SECURITY_POLICY, policy)))
}
