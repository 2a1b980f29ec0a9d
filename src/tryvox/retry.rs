//! Decides whether and when an attempt at a page is repeated.
//!
//! Everything here is a function of its arguments: the caller passes the time and the randomness in, and does the
//! waiting.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::failure::{Failure, FailureReason};
use super::response::ApiResponse;

/// Maximum number of attempts at a page.
pub(super) const MAX_ATTEMPTS: u32 = 4;

/// Maximum backoff before the second attempt; it doubles with each further attempt.
const INITIAL_BACKOFF: Duration = Duration::from_millis(200);

/// Maximum backoff before any attempt.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// A failed attempt at a page.
#[derive(Debug)]
pub(super) struct AttemptError {
    /// Why the attempt failed.
    pub(super) failure: Failure,
    /// Whether another attempt can succeed.
    pub(super) is_retryable: bool,
    /// The minimum time before the next request, from `Retry-After`. Always `None` if the error is not retryable.
    pub(super) retry_after: Option<Duration>,
}

impl From<Failure> for AttemptError {
    /// Wraps the failure of a request that got no response, or a 200 response that is not a page.
    fn from(failure: Failure) -> Self {
        let is_retryable = matches!(
            failure.reason,
            FailureReason::Timeout | FailureReason::Connect | FailureReason::Tls | FailureReason::Decode
        );
        Self { failure, is_retryable, retry_after: None }
    }
}

impl AttemptError {
    /// Returns the error that a response with a status other than 200 stands for. A date in `Retry-After` is relative
    /// to `now`.
    pub(super) fn from_status(response: &ApiResponse, now: SystemTime) -> Self {
        let is_retryable = matches!(response.status.as_u16(), 408 | 425 | 429 | 500..=599);
        let retry_after = response.retry_after(now).filter(|_| is_retryable);
        Self { failure: response.status_failure(), is_retryable, retry_after }
    }

    /// Returns how long all requests of the account must pause after this error.
    ///
    /// A 429 without `Retry-After` pauses them for the `backoff`: otherwise the requests for other pages would run
    /// into the same limit one by one.
    pub(super) fn account_pause(&self, backoff: Duration) -> Option<Duration> {
        let is_rate_limited = self.failure.reason == FailureReason::RateLimited;
        self.retry_after.or(is_rate_limited.then_some(backoff))
    }

    /// Decides what follows this error, which ended the attempt with this number, counted from 1.
    pub(super) fn decide(&self, attempt: u32, times: RetryTimes) -> RetryDecision {
        if !self.is_retryable {
            RetryDecision::GiveUp
        } else if times.paused_until > times.deadline {
            RetryDecision::GiveUpPaused
        } else if attempt >= MAX_ATTEMPTS || times.retry_at > times.deadline {
            RetryDecision::GiveUp
        } else {
            RetryDecision::Retry
        }
    }
}

/// The points in time that a decision depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct RetryTimes {
    /// When the backoff ends.
    pub(super) retry_at: Instant,
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
    /// No further attempt: it cannot help, this one was the last, or the next would start after the deadline.
    GiveUp,
    /// No further attempt: the account's requests are paused until after the deadline.
    GiveUpPaused,
}

/// Returns the time between the end of an attempt, counted from 1, and the start of the next: exponential backoff with
/// full jitter (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>). The `jitter` is a random
/// number from 0 to 1.
pub(super) fn backoff(attempt: u32, jitter: f64) -> Duration {
    let doubled = INITIAL_BACKOFF.saturating_mul(1 << attempt.saturating_sub(1).min(16));
    doubled.min(MAX_BACKOFF).mul_f64(jitter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_maximum() {
        let longest: Vec<_> = (1..=7).map(|attempt| backoff(attempt, 1.0).as_millis()).collect();
        assert_eq!(longest, [200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(backoff(3, 0.0), Duration::ZERO);
        assert_eq!(backoff(3, 0.5), Duration::from_millis(400));
    }

    #[test]
    fn retries_stop_at_the_last_attempt_and_at_the_deadline() {
        let now = Instant::now();
        let (soon, deadline, late) =
            (now + Duration::from_secs(1), now + Duration::from_secs(2), now + Duration::from_secs(3));
        let decide = |reason, attempt, retry_at, paused_until| {
            AttemptError::from(Failure::new(reason, ""))
                .decide(attempt, RetryTimes { retry_at, paused_until, deadline })
        };
        assert_eq!(decide(FailureReason::Timeout, MAX_ATTEMPTS - 1, soon, now), RetryDecision::Retry);
        assert_eq!(decide(FailureReason::Timeout, MAX_ATTEMPTS, soon, now), RetryDecision::GiveUp);
        assert_eq!(decide(FailureReason::Timeout, 1, late, now), RetryDecision::GiveUp);
        assert_eq!(decide(FailureReason::Timeout, 1, soon, late), RetryDecision::GiveUpPaused);
        assert_eq!(decide(FailureReason::TooLarge, 1, soon, late), RetryDecision::GiveUp);
    }

    #[test]
    fn rate_limit_without_retry_after_pauses_the_account_for_the_backoff() {
        let (backoff, wait) = (Duration::from_millis(200), Duration::from_secs(7));
        let mut error = AttemptError::from(Failure::new(FailureReason::RateLimited, ""));
        assert_eq!(error.account_pause(backoff), Some(backoff));
        error.retry_after = Some(wait);
        assert_eq!(error.account_pause(backoff), Some(wait));
        assert_eq!(AttemptError::from(Failure::new(FailureReason::Timeout, "")).account_pause(backoff), None);
    }
}
