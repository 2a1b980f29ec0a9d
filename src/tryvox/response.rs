//! A response of the API, and what its status and headers mean. Bodies are parsed in `wire`.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, LOCATION, RETRY_AFTER};

use super::failure::{Failure, FailureReason};

/// Upper bound of `Retry-After`, so that a nonsensical value does not stop polling for good.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(24);

/// A response of the API.
#[derive(Debug)]
pub struct ApiResponse {
    /// The HTTP status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body of a 200 response, or why it could not be read. Other bodies are not read and are empty here.
    pub body: Result<Bytes, Failure>,
}

impl ApiResponse {
    /// Returns when the API generated the response, by the API's own clock.
    pub(super) fn date(&self) -> Option<SystemTime> {
        httpdate::parse_http_date(self.headers.get(DATE)?.to_str().ok()?).ok()
    }

    /// Returns the minimum time before the next request: `Retry-After` in seconds or as a date (RFC 9110,
    /// section 10.2.3), at most 24 hours. A date is relative to `now`.
    pub(super) fn retry_after(&self, now: SystemTime) -> Option<Duration> {
        let text = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        let wait = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            // Digits that overflow exceed the maximum, too.
            Duration::from_secs(text.parse().unwrap_or(u64::MAX))
        } else {
            httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default()
        };
        Some(wait.min(MAX_RETRY_AFTER))
    }

    /// Returns the failure that a status other than 200 stands for.
    pub(super) fn status_failure(&self) -> Failure {
        let (reason, meaning) = match self.status.as_u16() {
            401 => {
                (FailureReason::Unauthorized, "the API rejected the API key; replace it if it was rotated or revoked")
            }
            403 => {
                (FailureReason::Forbidden, "the API key is not permitted to list this account; check its permissions")
            }
            404 => (FailureReason::NotFound, "no such account; check account_id and --tryvox.url"),
            429 => (FailureReason::RateLimited, "too many requests; lower --tryvox.rate-limit"),
            300..=399 => (FailureReason::Redirect, "redirects are not followed; check --tryvox.url"),
            500..=599 => (FailureReason::ServerError, "server error; if it persists, contact TryVox"),
            _ => (FailureReason::HttpStatus, "unexpected status; check that --tryvox.url is the TryVox API"),
        };
        let target = match self.headers.get(LOCATION) {
            Some(target) if reason == FailureReason::Redirect => format!(" to {target:?}"),
            _ => String::new(),
        };
        Failure::new(reason, format!("HTTP {}{target}: {meaning}", self.status.as_u16()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let response = |headers| ApiResponse { status: StatusCode::TOO_MANY_REQUESTS, headers, body: Ok(Bytes::new()) };
        let retry_after = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            response(headers).retry_after(now)
        };
        assert_eq!(retry_after("7"), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(" 0 "), Some(Duration::ZERO));
        assert_eq!(retry_after("Sun, 09 Sep 2001 01:47:10 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("Sun, 09 Sep 2001 01:46:00 GMT"), Some(Duration::ZERO));
        assert_eq!(retry_after("99999999999999999999999"), Some(MAX_RETRY_AFTER));
        for invalid in ["", "soon", "-1", "1.5", "Sun, 99 Sep 2001"] {
            assert_eq!(retry_after(invalid), None, "{invalid}");
        }
        assert_eq!(response(HeaderMap::new()).retry_after(now), None);
    }
}
