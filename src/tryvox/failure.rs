//! Why a request, and with it a poll, failed: the reason for the metrics, the details for the log, and advice for the
//! operator.

use std::fmt;

/// Classifies failures: the `reason` label of `tryvox_poll_errors_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureReason {
    /// A request or the whole poll exceeded its timeout.
    Timeout,
    /// There was no connection, or it closed before the response.
    Connect,
    /// The server's certificate is not trusted, or the TLS handshake failed for another reason.
    Tls,
    /// Status 401: the API key is not accepted.
    Unauthorized,
    /// Status 403: the API key may not list this account.
    Forbidden,
    /// Status 404: the account does not exist.
    NotFound,
    /// Status 429: too many requests.
    RateLimited,
    /// Status 5xx.
    ServerError,
    /// Any other status except 200.
    HttpStatus,
    /// Status 3xx. Redirects are not followed, so that the API key is not sent anywhere else.
    Redirect,
    /// Status 200, but the body is cut off or is not the expected JSON.
    Decode,
    /// The body exceeds the maximum size of a page.
    TooLarge,
    /// The pages do not add up to one listing.
    Inconsistent,
    /// The API key could not be read.
    ApiKey,
    /// A bug in this program.
    Internal,
}

impl FailureReason {
    /// All reasons, in the order of their declaration: `ALL[reason as usize] == reason`.
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

    /// The reasons for which a request can be retried; [`FailureReason::HttpStatus`] only for 408 and 425.
    pub const RETRIED: [Self; 7] =
        [Self::Timeout, Self::Connect, Self::Tls, Self::RateLimited, Self::ServerError, Self::HttpStatus, Self::Decode];

    /// Returns the value of the `reason` label.
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

    /// Returns what the reason means and what to do about it.
    #[must_use]
    pub fn advice(self) -> Advice {
        let (summary, remedy) = match self {
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
        Advice { summary, remedy }
    }
}

/// Explains a failure to the operator who has to fix it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advice {
    /// What happened, as a sentence.
    pub summary: &'static str,
    /// What to do about it, as one or more sentences.
    pub remedy: &'static str,
}

/// Identifies an attempt at a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageAttempt {
    /// The number of the page, from 1.
    pub page: u32,
    /// The number of the attempt at this page, from 1.
    pub attempt: u32,
}

/// Why a request or a poll failed. It is displayed in logs and on the status page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Failure {
    /// The reason by which the metrics count it.
    pub reason: FailureReason,
    /// The attempt that failed; `None` if the failure is not that of a single request.
    pub attempt: Option<PageAttempt>,
    /// What happened, in words. The client removes the API key from it.
    pub cause: String,
}

impl Failure {
    /// Creates a failure that is not that of a single request.
    pub fn new(reason: FailureReason, cause: impl Into<String>) -> Self {
        Self { reason, attempt: None, cause: cause.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(PageAttempt { page, attempt }) = self.attempt {
            write!(f, "page {page}, attempt {attempt}: ")?;
        }
        f.write_str(&self.cause)
    }
}
