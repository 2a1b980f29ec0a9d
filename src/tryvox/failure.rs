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

    /// The reasons for which a request is made again; [`Reason::HttpStatus`] for 408 and 425.
    pub const RETRIED: [Self; 7] =
        [Self::Timeout, Self::Connect, Self::Tls, Self::RateLimited, Self::ServerError, Self::HttpStatus, Self::Decode];

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

/// What a failure means to somebody who has to do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advice {
    /// What happened, in plain words.
    pub what: &'static str,
    /// What to do about it.
    pub to_do: &'static str,
}

impl Reason {
    /// What it means, and what to do.
    #[must_use]
    pub fn advice(self) -> Advice {
        let (what, to_do) = match self {
            Self::Timeout => (
                "The API did not answer in time.",
                "If that goes on, allow more time with --tryvox.timeout or --poll.timeout.",
            ),
            Self::Connect => (
                "There is no connection to the API.",
                "Check --tryvox.url, name resolution, proxy and firewall from where this exporter runs.",
            ),
            Self::Tls => (
                "The API's certificate is not trusted.",
                "Check --tryvox.url, this machine's clock, and the certificate authorities that it trusts.",
            ),
            Self::Unauthorized => (
                "The API does not accept the key.",
                "Write a valid key into the account's key file; the next poll reads it. One that is in the environment \
                 needs a restart.",
            ),
            Self::Forbidden => (
                "The key may not list the numbers of this account.",
                "Give the key that right in the TryVox console, or use another one.",
            ),
            Self::NotFound => (
                "The API knows no such account.",
                "Check the account id, and that --tryvox.url is where the API's paths start.",
            ),
            Self::RateLimited => (
                "The API asks for fewer requests.",
                "Lower --tryvox.rate-limit, or poll less often; the next poll waits for as long as the API asked.",
            ),
            Self::ServerError => {
                ("The API has a problem of its own.", "Wait; if it goes on, ask TryVox. The next poll tries again.")
            }
            Self::HttpStatus => (
                "The API answered with a status that has no meaning here.",
                "Check that --tryvox.url leads to the TryVox API, and what is in between.",
            ),
            Self::Redirect => (
                "The API sends elsewhere, and the key goes to no other place than was configured.",
                "If the new address is TryVox's, make it --tryvox.url.",
            ),
            Self::Decode => (
                "The answer is cut off, or is not the JSON expected.",
                "Check that --tryvox.url leads to the TryVox API, and not to the page of a proxy.",
            ),
            Self::TooLarge => (
                "An answer is larger than a page can be.",
                "Lower --tryvox.per-page, and check that --tryvox.url leads to the TryVox API.",
            ),
            Self::Inconsistent => (
                "The pages of the list do not add up to one listing.",
                "It may pass by itself; if not, raise --poll.max-discrepancy or ask TryVox.",
            ),
            Self::ApiKey => ("The account's key cannot be read.", "Check the key file's path, owner and content."),
            Self::Internal => ("A fault of this program.", "Please report it, with what the log says."),
        };
        Advice { what, to_do }
    }
}

/// Which request of a poll failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// The page that was asked for, from 1.
    pub page: u32,
    /// The how many-th time, from 1.
    pub attempt: u32,
}

/// A poll that gave no listing: what was counted, and the story for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Failure {
    /// What the metrics count.
    pub reason: Reason,
    /// The request that failed; none when it was not about one.
    pub at: Option<Attempt>,
    /// What happened, in words; never the key.
    pub cause: String,
}

impl Failure {
    /// A failure that is about no request in particular.
    pub fn new(reason: Reason, cause: impl Into<String>) -> Self {
        Self { reason, at: None, cause: cause.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Attempt { page, attempt }) = self.at {
            write!(f, "page {page}, attempt {attempt}: ")?;
        }
        f.write_str(&self.cause)
    }
}
