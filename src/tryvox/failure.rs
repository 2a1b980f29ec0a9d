//! Why a poll failed.

use std::fmt;

/// The reasons that `tryvox_poll_errors_total` tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A request, or the whole poll, took longer than it may.
    Timeout,
    /// No connection, or it broke before an answer.
    Connect,
    /// A connection, but not a trusted one.
    Tls,
    /// 401: the key is not accepted.
    Unauthorized,
    /// 403: the key may not list this account.
    Forbidden,
    /// 404: there is no such account.
    NotFound,
    /// 429: too many requests.
    RateLimited,
    /// 5xx.
    ServerError,
    /// Any other status that is not 200.
    HttpStatus,
    /// 3xx: never followed, so that the key goes nowhere else.
    Redirect,
    /// 200, but the body is cut or is not the JSON expected.
    Decode,
    /// The body is larger than a page can be.
    TooLarge,
    /// The pages do not add up to one listing.
    Inconsistent,
    /// The key could not be read.
    ApiKey,
    /// A fault of this program.
    Internal,
}

impl Reason {
    /// Every reason, in the order of their declaration.
    pub const ALL: [Self; 15] = [
        Self::Timeout,
        Self::Connect,
        Self::Tls,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::RateLimited,
        Self::ServerError,
        Self::HttpStatus,
        Self::Redirect,
        Self::Decode,
        Self::TooLarge,
        Self::Inconsistent,
        Self::ApiKey,
        Self::Internal,
    ];

    /// The value of the `reason` label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::RateLimited => "rate_limited",
            Self::ServerError => "server_error",
            Self::HttpStatus => "http_status",
            Self::Redirect => "redirect",
            Self::Decode => "decode",
            Self::TooLarge => "too_large",
            Self::Inconsistent => "inconsistent",
            Self::ApiKey => "api_key",
            Self::Internal => "internal",
        }
    }
}

/// A poll that gave no listing: what was counted, and the story for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Failure {
    /// What the metrics count.
    pub reason: Reason,
    /// The page that was asked for, from 1; none when it was not about a page.
    pub page: Option<u32>,
    /// What happened, in words; never the key.
    pub cause: String,
}

impl Failure {
    /// A failure that is about no page.
    pub fn new(reason: Reason, cause: impl Into<String>) -> Self {
        Self { reason, page: None, cause: cause.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(page) = self.page {
            write!(f, "page {page}: ")?;
        }
        f.write_str(&self.cause)
    }
}
