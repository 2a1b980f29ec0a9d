//! Decides whether and when an attempt at a page is repeated.
//!
//! Everything here is a function of its arguments: the caller passes the time and the randomness in, and does the
//! waiting.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::failure::{Failure, FailureReason};
use super::redaction::Redactor;
use super::response::{CompleteResponse, RequestedWait};

/// Maximum backoff after the first failure; it doubles with each further one.
const INITIAL_BACKOFF: Duration = Duration::from_millis(200);

/// Maximum backoff after any failure.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// A failed attempt at a page.
#[derive(Debug)]
pub(super) struct AttemptError {
    /// Why the attempt failed.
    pub(super) failure: Failure,
    /// Whether another attempt can succeed.
    pub(super) is_retryable: bool,
    /// The wait that the API requests. Always `None` if the error is not retryable.
    pub(super) requested_wait: Option<RequestedWait>,
}

impl From<Failure> for AttemptError {
    /// Wraps the failure of a request that got no response, or a 200 response that is not a page.
    fn from(failure: Failure) -> Self {
        let is_retryable = matches!(
            failure.reason,
            FailureReason::Timeout | FailureReason::Connect | FailureReason::Tls | FailureReason::Decode
        );
        Self { failure, is_retryable, requested_wait: None }
    }
}

impl AttemptError {
    /// Returns the error that a response with a status other than 200 stands for. Dates in its headers are relative to
    /// `now`.
    pub(super) fn from_status(response: &CompleteResponse, now: SystemTime, redactor: &Redactor) -> Self {
        let is_retryable = matches!(response.status.as_u16(), 408 | 425 | 429 | 500..=599);
        let requested_wait = response.requested_wait(now).filter(|_| is_retryable);
        Self { failure: response.status_failure(redactor), is_retryable, requested_wait }
    }

    /// Decides what follows this error.
    pub(super) fn decide(&self, times: RetryTimes) -> RetryDecision {
        if !self.is_retryable {
            RetryDecision::GiveUp
        } else if times.paused_until > times.deadline {
            RetryDecision::GiveUpPaused
        } else if times.now >= times.give_up_at || times.retry_at > times.deadline {
            RetryDecision::GiveUp
        } else {
            RetryDecision::Retry
        }
    }
}

/// The points in time that a decision depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct RetryTimes {
    /// When the attempt failed.
    pub(super) now: Instant,
    /// When the backoff ends.
    pub(super) retry_at: Instant,
    /// When the page has been retried for as long as it may be.
    pub(super) give_up_at: Instant,
    /// When the account's requests may resume; in the past if they are not paused.
    pub(super) paused_until: Instant,
    /// When the poll ends.
    pub(super) deadline: Instant,
}

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetryDecision {
    /// Another attempt after the backoff.
    Retry,
    /// No further attempt: it cannot help, the page was retried for long enough, or the deadline would have passed.
    GiveUp,
    /// No further attempt: the account's requests are paused until after the deadline.
    GiveUpPaused,
}

/// Returns the time between a failure, counted from 1, and the next attempt: exponential backoff with equal jitter, so
/// that accounts do not retry in step and none retries at once
/// (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>). The `jitter` is a random number from 0
/// to 1.
pub(super) fn backoff(failures: u32, jitter: f64) -> Duration {
    let doubled = INITIAL_BACKOFF.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(MAX_BACKOFF).mul_f64(f64::midpoint(1.0, jitter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_maximum() {
        let longest: Vec<_> = (1..=7).map(|failures| backoff(failures, 1.0).as_millis()).collect();
        assert_eq!(longest, [200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(backoff(3, 0.0), Duration::from_millis(400));
        assert_eq!(backoff(u32::MAX, 0.5), Duration::from_millis(3750));
    }

    #[test]
    fn retries_stop_after_the_time_for_retries_and_at_the_deadline() {
        let now = Instant::now();
        let second = |seconds| now + Duration::from_secs(seconds);
        let times =
            RetryTimes { now, retry_at: second(1), give_up_at: second(1), paused_until: now, deadline: second(2) };
        let decide = |reason, times| AttemptError::from(Failure::new(reason, "")).decide(times);
        assert_eq!(decide(FailureReason::Timeout, times), RetryDecision::Retry);
        let late = RetryTimes { give_up_at: now, ..times };
        assert_eq!(decide(FailureReason::Timeout, late), RetryDecision::GiveUp);
        let beyond_deadline = RetryTimes { retry_at: second(3), ..times };
        assert_eq!(decide(FailureReason::Timeout, beyond_deadline), RetryDecision::GiveUp);
        let paused = RetryTimes { paused_until: second(3), ..times };
        assert_eq!(decide(FailureReason::Timeout, paused), RetryDecision::GiveUpPaused);
        assert_eq!(decide(FailureReason::TooLarge, paused), RetryDecision::GiveUp);
    }
}
