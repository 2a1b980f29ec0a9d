//! Why a request, and with it a poll, failed: the reason for the metrics, the details for the log, and advice for the
//! operator.

use std::error::Error;
use std::fmt;
use std::io;

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
    /// The body exceeds the maximum size of a page, or has too many records.
    TooLarge,
    /// The pages do not add up to one listing.
    Inconsistent,
    /// Too many records of the listing are invalid.
    InvalidRecords,
    /// The API key could not be read.
    ApiKey,
    /// A bug in this program.
    Internal,
}

impl FailureReason {
    /// All reasons, in the order of their declaration: `ALL[reason as usize] == reason`.
    pub const ALL: [Self; 16] = [
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
        Self::InvalidRecords,
        Self::ApiKey,
        Self::Internal,
    ];

    /// The reasons for which a request can be retried; [`FailureReason::Unauthorized`] only if there is a new key,
    /// [`FailureReason::HttpStatus`] only for 408 and 425.
    pub const RETRIED: [Self; 8] = [
        Self::Timeout,
        Self::Connect,
        Self::Tls,
        Self::Unauthorized,
        Self::RateLimited,
        Self::ServerError,
        Self::HttpStatus,
        Self::Decode,
    ];

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
            Self::InvalidRecords => "invalid_records",
            Self::ApiKey => "api_key",
            Self::Internal => "internal",
        }
    }

    /// Returns whether new connections may help: there was no proper response, or one that a server can give that should
    /// no longer be used, because the name of the API has moved to another address.
    #[must_use]
    pub fn may_be_due_to_connections(self) -> bool {
        matches!(self, Self::Timeout | Self::Connect | Self::Tls | Self::ServerError | Self::HttpStatus | Self::Decode)
    }

    /// Returns what the reason means and what to do about it.
    #[must_use]
    pub fn advice(self) -> Advice {
        let (summary, remedy) = match self {
            Self::Timeout => (
                "The API did not respond in time.",
                "If this persists for one request, check the network and raise --tryvox.timeout. If the whole poll does \
                 not finish, raise --tryvox.rate-limit or --poll.interval.",
            ),
            Self::Connect => (
                "The connection to the API failed.",
                "Check --tryvox.url, and DNS, proxy and firewall on the exporter's host.",
            ),
            Self::Tls => (
                "The TLS handshake with the API failed.",
                "Check --tryvox.url, the system clock and the trusted CA certificates.",
            ),
            Self::Unauthorized => (
                "The API rejected the API key.",
                "Write a valid key to the account's key file; it is read again soon. A key from an environment \
                 variable, or one that systemd passes as a credential, needs a restart.",
            ),
            Self::Forbidden => (
                "The API key is not permitted to list this account.",
                "Grant the key this permission in the TryVox console, or use another key.",
            ),
            Self::NotFound => ("The API has no account with this ID.", "Check account_id and --tryvox.url."),
            Self::RateLimited => (
                "The API limits the request rate.",
                "Lower --tryvox.rate-limit or raise --poll.interval. The next poll waits for as long as the API requests.",
            ),
            Self::ServerError => {
                ("The API failed with a server error.", "The next poll tries again. If this persists, contact TryVox.")
            }
            Self::HttpStatus => (
                "The API responded with an unexpected status.",
                "Check that --tryvox.url is the TryVox API, and check any proxy in between.",
            ),
            Self::Redirect => (
                "The API responded with a redirect.",
                "Redirects are not followed, so that the API key is not sent to another host. If the new address \
                 belongs to TryVox, set --tryvox.url to it.",
            ),
            Self::Decode => (
                "The response is truncated or is not the expected JSON.",
                "Check that --tryvox.url is the TryVox API and not a proxy that responds with a page of its own.",
            ),
            Self::TooLarge => (
                "The response exceeds the maximum size.",
                "Lower --tryvox.per-page, and check that --tryvox.url is the TryVox API.",
            ),
            Self::Inconsistent => (
                "The pages do not form a consistent listing.",
                "The next poll tries again. If this persists, raise --poll.max-discrepancy or contact TryVox.",
            ),
            Self::InvalidRecords => (
                "Too many records of the listing are invalid; the last valid listing is kept.",
                "The API may have changed: the error says what is wrong with the records. Look for a newer release of \
                 tryvox-exporter, and report it to TryVox.",
            ),
            Self::ApiKey => (
                "The API key cannot be read.",
                "Fix the cause as the error says. A systemd credential, in /run/credentials, and an environment \
                 variable need a restart; any other file is read again within seconds.",
            ),
            Self::Internal => {
                ("The poll failed because of a bug in tryvox-exporter.", "Please report it together with the log.")
            }
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
    /// The cause, and the remedy if there is one. The client removes the API key from it.
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

/// Returns an error and its causes, outermost first.
pub(super) fn error_chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn Error + 'static) = *error;
        // The `source` of an `io::Error` skips the error that it wraps.
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

/// Returns the message of the innermost cause, which describes the error; the others only locate it.
pub(super) fn root_cause(error: &(dyn Error + 'static)) -> String {
    error_chain(error).last().unwrap_or(error).to_string()
}
