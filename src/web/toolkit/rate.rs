//! `rate_limit`: a token bucket, as `golang.org/x/time/rate` has it.

use std::time::{Duration, Instant};

/// So many requests at once, and one more each interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RateLimit {
    /// Above 0.
    pub(super) interval: Duration,
    /// At least 1.
    pub(super) burst: u32,
}

/// The requests that may come.
#[derive(Debug)]
pub(super) struct Bucket {
    limit: RateLimit,
    /// When it would be full, were no request to come.
    full_at: Instant,
}

impl Bucket {
    /// A bucket that is full.
    pub(super) fn new(limit: RateLimit, now: Instant) -> Self {
        Self { limit, full_at: now }
    }

    /// Takes one out, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let RateLimit { interval, burst } = self.limit;
        let full_at = self.full_at.max(now) + interval;
        let allowed = full_at <= now + interval.saturating_mul(burst);
        if allowed {
            self.full_at = full_at;
        }
        allowed
    }
}

/// A duration as Go's `time.ParseDuration` reads it, like `1.5s` or `1m30s`; a number alone is in
/// nanoseconds, as in the toolkit's file.
pub(super) fn go_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "is not a duration; write it like 1s, 250ms or 1m30s".to_owned();
    let mut rest = text;
    if let Ok(nanoseconds) = text.parse() {
        return Ok(Duration::from_nanos(nanoseconds));
    }
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let unit = rest[number..].find(|c: char| c.is_ascii_digit() || c == '.').map_or(rest.len(), |end| number + end);
        let value: f64 = rest[..number].parse().map_err(|_| wrong())?;
        let seconds = match &rest[number..unit] {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        let part = Duration::try_from_secs_f64(value * seconds).map_err(|_| wrong())?;
        sum = sum.checked_add(part).ok_or_else(wrong)?;
        rest = &rest[unit..];
    }
    // A longer one is none that anybody means, and sums of it would overflow.
    if text.is_empty() || sum > Duration::from_hours(24 * 365) { Err(wrong()) } else { Ok(sum) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_one_each_interval() {
        let start = Instant::now();
        let mut bucket = Bucket::new(RateLimit { interval: Duration::from_secs(1), burst: 3 }, start);
        let mut allowed = |milliseconds| bucket.take(start + Duration::from_millis(milliseconds));
        assert_eq!(
            [0, 0, 0, 0, 999, 1000, 1001, 2000, 9000, 9000, 9000, 9000].map(&mut allowed),
            [true, true, true, false, false, true, false, true, true, true, true, false]
        );
    }

    #[test]
    fn durations_are_go_s() {
        for (text, milliseconds) in
            [("1s", 1000), ("1.5s", 1500), ("250ms", 250), ("1m30s", 90_000), ("1000000", 1), ("0", 0), ("0s", 0)]
        {
            assert_eq!(go_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for bad in ["", "s", "1", "1x", "-1s", "1s2", ".", "1..2s", "99999999999h", "1 s"] {
            // `1` is a nanosecond.
            assert_eq!(go_duration(bad).is_err(), bad != "1", "{bad}");
        }
    }
}
