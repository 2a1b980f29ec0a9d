//! What is tried again, and when.

use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::{Failure, Reason};

/// How often a page is asked for, at most.
pub(super) const ATTEMPTS: u32 = 4;

/// The longest pause before a second attempt; it doubles with each one that follows.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// An API that asks for more patience than this has something else in mind.
const LONGEST_HOLD: Duration = Duration::from_hours(24);

/// A request that gave no page.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) failure: Failure,
    /// Whether another attempt makes sense.
    pub(super) again: bool,
    /// What the API asks to wait for.
    pub(super) retry_after: Option<Duration>,
}

impl From<Failure> for Refused {
    /// A request without an answer, or whose answer was no page.
    fn from(failure: Failure) -> Self {
        let again = matches!(failure.reason, Reason::Timeout | Reason::Connect | Reason::Tls | Reason::Decode);
        Self { failure, again, retry_after: None }
    }
}

impl Refused {
    /// An answer with a status other than 200. `now` is the time that a date in `Retry-After` is
    /// relative to.
    pub(super) fn by_status(status: StatusCode, headers: &HeaderMap, failure: Failure, now: SystemTime) -> Self {
        let again = matches!(status.as_u16(), 408 | 425 | 429 | 500..=599);
        Self { failure, again, retry_after: retry_after(headers, now).filter(|_| again) }
    }
}

/// The pause before the attempt that follows `attempt`, from 1: exponential, with full jitter
/// (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>). `dice` is in 0..1.
pub(super) fn pause(attempt: u32, dice: f64) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << attempt.saturating_sub(1).min(16));
    doubled.min(LONGEST_PAUSE).mul_f64(dice)
}

/// What `Retry-After` asks to wait for: seconds or a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are more seconds than anybody waits.
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default()
    };
    Some(wait.min(LONGEST_HOLD))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn pauses_double_up_to_five_seconds() {
        let longest: Vec<_> = (1..=7).map(|attempt| pause(attempt, 1.0).as_millis()).collect();
        assert_eq!(longest, [200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(pause(3, 0.0), Duration::ZERO);
        assert_eq!(pause(3, 0.5), Duration::from_millis(400));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers, now)
        };
        assert_eq!(read("7"), Some(Duration::from_secs(7)));
        assert_eq!(read(" 0 "), Some(Duration::ZERO));
        assert_eq!(read("Sun, 09 Sep 2001 01:47:10 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(read("Sun, 09 Sep 2001 01:46:00 GMT"), Some(Duration::ZERO));
        assert_eq!(read("99999999999999999999999"), Some(LONGEST_HOLD));
        for odd in ["", "soon", "-1", "1.5", "Sun, 99 Sep 2001"] {
            assert_eq!(read(odd), None, "{odd}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
