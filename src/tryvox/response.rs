//! A response of the API, and what its status and headers mean. Bodies are parsed in `wire` and `message`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, LOCATION};

use super::body::ResponseBody;
use super::failure::{Failure, FailureReason};
use super::message;
use super::redaction::Redactor;

/// Upper bound of the wait that a response requests, so that a nonsensical value does not stop polling for good.
const MAX_WAIT: Duration = Duration::from_hours(24);

/// The headers that say when a rate limit is reset, and those that say how many requests are left until then.
const RESET_HEADERS: [(&str, &str); 2] =
    [("RateLimit-Reset", "ratelimit-remaining"), ("X-RateLimit-Reset", "x-ratelimit-remaining")];

/// From this value on, a reset header is a time since the epoch and not a number of seconds.
const FIRST_EPOCH_RESET: f64 = 1e9;

/// From this value on, a time since the epoch is in milliseconds.
const FIRST_EPOCH_MILLISECONDS: f64 = 1e12;

/// Maximum length of the target of a redirect in an error, in characters.
const MAX_TARGET: usize = 200;

/// A response of the API whose body is still being received.
#[derive(Debug)]
pub struct ApiResponse {
    /// The HTTP status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: ResponseBody,
}

/// A response of the API that has been received.
#[derive(Debug)]
pub(super) struct CompleteResponse {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// The body of a 200 response, or why it could not be read; the beginning of any other body.
    pub(super) body: Result<Bytes, Failure>,
}

/// The wait before the next request that a response requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RequestedWait {
    pub(super) duration: Duration,
    /// The name of the header that says so.
    pub(super) header: &'static str,
}

impl CompleteResponse {
    /// Returns when the API generated the response, by the API's own clock.
    pub(super) fn date(&self) -> Option<SystemTime> {
        httpdate::parse_http_date(self.headers.get(DATE)?.to_str().ok()?).ok()
    }

    /// Returns the minimum time before the next request, at most 24 hours: `Retry-After` in seconds, also fractional, or
    /// as a date (RFC 9110, section 10.2.3). Without it, `RateLimit-Reset` or `X-RateLimit-Reset` in seconds or as a Unix
    /// timestamp, unless the response is no 429 and says that requests remain: some APIs send these headers with every
    /// response. Dates are relative to `now`.
    pub(super) fn requested_wait(&self, now: SystemTime) -> Option<RequestedWait> {
        let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let retry_after = self.header("retry-after").and_then(|text| {
            parse_seconds(text).or_else(|| {
                let date = httpdate::parse_http_date(text).ok()?;
                Some(date.duration_since(now).unwrap_or_default().as_secs_f64())
            })
        });
        let resets = RESET_HEADERS.into_iter().filter_map(|(header, remaining)| {
            let is_exhausted = self.header(remaining).is_none_or(|remaining| remaining == "0");
            let applies = self.status == StatusCode::TOO_MANY_REQUESTS || is_exhausted;
            let reset = parse_seconds(self.header(header)?).filter(|_| applies)?;
            let seconds = match reset {
                FIRST_EPOCH_MILLISECONDS.. => (reset / 1000.0 - since_epoch).max(0.0),
                FIRST_EPOCH_RESET.. => (reset - since_epoch).max(0.0),
                _ => reset,
            };
            Some((header, seconds))
        });
        let (header, seconds) = retry_after.map(|seconds| ("Retry-After", seconds)).into_iter().chain(resets).next()?;
        let duration = Duration::try_from_secs_f64(seconds).unwrap_or(MAX_WAIT).min(MAX_WAIT);
        Some(RequestedWait { duration, header })
    }

    /// Returns the failure that a status other than 200 stands for, with the API's own message.
    pub(super) fn status_failure(&self, redactor: &Redactor) -> Failure {
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
            Some(target) if reason == FailureReason::Redirect => {
                let target = String::from_utf8_lossy(target.as_bytes());
                format!(" to {:?}", redactor.quote(&target.chars().take(MAX_TARGET).collect::<String>()))
            }
            _ => String::new(),
        };
        let message = self.body.as_ref().ok().and_then(|body| message::parse(body, redactor));
        let message = message.map(|message| format!(" {message:?}")).unwrap_or_default();
        Failure::new(reason, format!("HTTP {}{target}{message}: {meaning}", self.status.as_u16()))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok().map(str::trim)
    }
}

/// Parses a number of seconds: digits, and perhaps a fraction.
fn parse_seconds(text: &str) -> Option<f64> {
    let is_decimal = text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|_| is_decimal)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000_000;

    fn wait(status: u16, headers: &[(&'static str, &str)]) -> Option<(&'static str, f64)> {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let response =
            CompleteResponse { status: StatusCode::from_u16(status).unwrap(), headers, body: Ok(Bytes::new()) };
        let wait = response.requested_wait(UNIX_EPOCH + Duration::from_secs(NOW));
        wait.map(|wait| (wait.header, wait.duration.as_secs_f64()))
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        for (text, seconds) in [
            ("7", 7.0),
            (" 0 ", 0.0),
            ("2.5", 2.5),
            ("Sun, 09 Sep 2001 01:47:10 GMT", 30.0),
            ("Sun, 09 Sep 2001 01:46:00 GMT", 0.0),
            ("99999999999999999999999", 86_400.0),
        ] {
            assert_eq!(wait(503, &[("retry-after", text)]), Some(("Retry-After", seconds)), "{text}");
        }
        for invalid in ["", "soon", "-1", "1e3", ".5", "1.2.3", "inf", "Sun, 99 Sep 2001"] {
            assert_eq!(wait(503, &[("retry-after", invalid)]), None, "{invalid}");
        }
        assert_eq!(wait(503, &[]), None);
    }

    #[test]
    fn reset_of_an_exhausted_rate_limit_is_seconds_or_a_timestamp() {
        for header in ["RateLimit-Reset", "X-RateLimit-Reset"] {
            let name = header.to_ascii_lowercase().leak();
            for (text, seconds) in
                [("30", 30.0), ("1.5", 1.5), ("1000000042", 42.0), ("1000000042500", 42.5), ("999999999999", 86_400.0)]
            {
                assert_eq!(wait(429, &[(name, text)]), Some((header, seconds)), "{text}");
            }
            assert_eq!(wait(429, &[(name, "1000000000")]), Some((header, 0.0)));
            assert_eq!(wait(429, &[(name, "30"), ("retry-after", "7")]), Some(("Retry-After", 7.0)));
            assert_eq!(wait(503, &[(name, "30")]), Some((header, 30.0)));
        }
        for (status, remaining, header) in [
            (429, "7", Some(("X-RateLimit-Reset", 30.0))),
            (503, "0", Some(("X-RateLimit-Reset", 30.0))),
            (503, "7", None),
        ] {
            assert_eq!(wait(status, &[("x-ratelimit-remaining", remaining), ("x-ratelimit-reset", "30")]), header);
        }
    }
}
