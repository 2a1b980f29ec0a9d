//! Points in time as users write and read them.

use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::duration;

/// Formats how long ago `at` was, to the second.
#[must_use]
pub fn ago(at: SystemTime, now: SystemTime) -> String {
    // If the clock was set back, `at` may be in the future.
    match now.duration_since(at).unwrap_or_default().as_secs() {
        0 => "just now".to_owned(),
        seconds => format!("{} ago", duration::format(Duration::from_secs(seconds))),
    }
}

/// Formats a time by RFC 3339, to the second, in UTC.
#[must_use]
pub fn to_seconds(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(representable(at)).to_string()
}

/// Formats a time by RFC 3339, to the millisecond, in UTC.
#[must_use]
pub fn to_milliseconds(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(representable(at)).to_string()
}

/// Returns the time itself, or the nearest one that the format can express: it has the years 1970 to 9999.
fn representable(at: SystemTime) -> SystemTime {
    at.clamp(SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799))
}

/// Parses a time in RFC 3339, or a date, which is the start of that day in UTC. Returns `None` for any other text.
#[must_use]
pub fn parse(text: &str) -> Option<SystemTime> {
    let midnight = format!("{text}T00:00:00Z");
    let text = if text.len() == "2026-11-24".len() { &midnight } else { text };
    OffsetDateTime::parse(text, &Rfc3339).ok().map(SystemTime::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_relative_to_now() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        assert_eq!(ago(now, now), "just now");
        assert_eq!(ago(now + Duration::from_secs(5), now), "just now");
        assert_eq!(ago(now - Duration::from_secs(90), now), "1m 30s ago");
    }

    #[test]
    fn times_beyond_the_format_are_formatted_as_its_limits() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_786_000_000_250);
        assert_eq!(to_seconds(at), "2026-08-06T07:06:40Z");
        assert_eq!(to_milliseconds(at), "2026-08-06T07:06:40.250Z");
        assert_eq!(to_milliseconds(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000Z");
        assert_eq!(to_seconds(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40)), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn dates_are_days_in_utc() {
        let time = |text| parse(text).map(to_seconds);
        assert_eq!(time("2026-11-24"), Some("2026-11-24T00:00:00Z".to_owned()));
        assert_eq!(time("2026-11-24T08:30:00+02:00"), Some("2026-11-24T06:30:00Z".to_owned()));
        for invalid in ["", "2026-11-31", "24.11.2026", "2026-11-24T08:30", "yesterday", "tomorrow!", "täglich"] {
            assert_eq!(parse(invalid), None, "{invalid}");
        }
    }
}
