//! The status page: what an operator wants to know before anything else, in one page that needs
//! nothing from elsewhere.

mod figures;
mod view;
mod words;

use std::fmt::Write;
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use askama::Template;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, X_CONTENT_TYPE_OPTIONS};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use tokio::time::Instant;

use crate::metrics::ConfigStatus;
use crate::poller::Account;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// Nothing from elsewhere, no code but the page's own, which is known by its hash
/// (<https://www.w3.org/TR/CSP3/>).
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

/// The headers of the page.
pub(super) fn headers() -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let fixed = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("referrer-policy"), "no-referrer"),
    ];
    let fixed = fixed.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value)));
    fixed.chain(POLICY.clone().map(|policy| (CONTENT_SECURITY_POLICY, policy)))
}

/// What a visitor asks for, in the query of the address; what makes no sense there is as if it were
/// not there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    /// Accounts whose names contain this, whatever the case of its letters.
    q: String,
    /// Accounts in this state.
    show: String,
    /// The page of accounts, from 1.
    page: String,
}

impl Asked {
    fn is_narrowed(&self) -> bool {
        !self.q.is_empty() || !matches!(&*self.show, "" | "all")
    }

    /// The address of a page of the same accounts.
    fn link(&self, page: usize) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("q", &self.q), ("show", &self.show)] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        query.append_pair("page", &page.to_string());
        format!("/?{}#accounts", query.finish())
    }
}

/// What the page is made of.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    pub(super) accounts: &'a [Arc<Account>],
    pub(super) configured: ConfigStatus,
    pub(super) telemetry_path: &'a str,
    pub(super) reload: bool,
    pub(super) started: Instant,
}

/// The page, as of now.
pub(super) fn render(subject: &Subject<'_>, asked: Asked) -> String {
    let page = view::Page::new(subject, asked, Instant::now(), SystemTime::now());
    let mut text = String::with_capacity(64 << 10);
    // Writing to memory does not fail.
    _ = page.render_into(&mut text);
    _ = text.write_char('\n');
    text
}
