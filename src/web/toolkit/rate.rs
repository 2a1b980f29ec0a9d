//! `rate_limit`: a token bucket like that of `golang.org/x/time/rate`, and Go's notation of durations.

use std::time::{Duration, Instant};

/// Allows `burst` requests at once, and one more per interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RateLimit {
    /// Above 0.
    pub(super) interval: Duration,
    /// 0 allows no request at all.
    pub(super) burst: u32,
}

/// A token bucket; each request takes a token.
#[derive(Debug)]
pub(super) struct TokenBucket {
    limit: RateLimit,
    /// When the bucket is full again if no token is taken.
    full_at: Instant,
}

impl TokenBucket {
    /// Returns a full bucket.
    pub(super) fn new(limit: RateLimit, now: Instant) -> Self {
        Self { limit, full_at: now }
    }

    /// Takes a token. Returns whether there was one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let RateLimit { interval, burst } = self.limit;
        let full_at = self.full_at.max(now) + interval;
        let is_allowed = full_at <= now + interval.saturating_mul(burst);
        if is_allowed {
            self.full_at = full_at;
        }
        is_allowed
    }
}

/// Parses a duration like Go's `time.ParseDuration`, for example `1.5s` or `1m30s`. A number without a unit is in
/// nanoseconds, as in the toolkit's file.
///
/// # Errors
/// If the text is not a duration, or one longer than a year.
pub(super) fn go_duration(text: &str) -> Result<Duration, String> {
    let invalid = || "is not a duration; write it like 1s, 250ms or 1m30s".to_owned();
    let mut rest = text;
    if let Ok(nanoseconds) = text.parse() {
        return Ok(Duration::from_nanos(nanoseconds));
    }
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(invalid)?;
        let unit = rest[number..].find(|c: char| c.is_ascii_digit() || c == '.').map_or(rest.len(), |end| number + end);
        let value: f64 = rest[..number].parse().map_err(|_| invalid())?;
        let seconds = match &rest[number..unit] {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(invalid()),
        };
        let part = Duration::try_from_secs_f64(value * seconds).map_err(|_| invalid())?;
        sum = sum.checked_add(part).ok_or_else(invalid)?;
        rest = &rest[unit..];
    }
    // The limit keeps sums of durations from overflowing.
    if text.is_empty() || sum > Duration::from_hours(24 * 365) { Err(invalid()) } else { Ok(sum) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_allows_a_burst_and_then_one_request_per_interval() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(RateLimit { interval: Duration::from_secs(1), burst: 3 }, start);
        let mut take = |milliseconds| bucket.take(start + Duration::from_millis(milliseconds));
        assert_eq!(
            [0, 0, 0, 0, 999, 1000, 1001, 2000, 9000, 9000, 9000, 9000].map(&mut take),
            [true, true, true, false, false, true, false, true, true, true, true, false]
        );
    }

    #[test]
    fn go_durations_are_parsed() {
        for (text, milliseconds) in
            [("1s", 1000), ("1.5s", 1500), ("250ms", 250), ("1m30s", 90_000), ("1000000", 1), ("0", 0), ("0s", 0)]
        {
            assert_eq!(go_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for invalid in ["", "s", "1x", "-1s", "1s2", ".", "1..2s", "99999999999h", "1 s"] {
            assert!(go_duration(invalid).is_err(), "{invalid}");
        }
        assert_eq!(go_duration("1"), Ok(Duration::from_nanos(1)));
    }
}
