//! Durations as users write and read them: humantime's notation, everywhere.

use std::time::Duration;

/// The longest duration that an option accepts; sums of such durations are far from overflowing.
const MAX: Duration = Duration::from_hours(24 * 365);

/// Parses a duration, 0 included.
///
/// # Errors
/// If the text is not a duration, or one longer than a year.
pub fn parse(text: &str) -> Result<Duration, String> {
    parse_at_most(text, MAX, "a year")
}

/// Parses a duration that is longer than 0.
///
/// # Errors
/// Like [`parse`], and if the duration is 0.
pub fn parse_positive(text: &str) -> Result<Duration, String> {
    match parse(text)? {
        Duration::ZERO => Err("must be longer than 0; write it like 30s or 5m".to_owned()),
        duration => Ok(duration),
    }
}

/// Parses how long something is kept: a duration that is longer than 0 and may be longer than a year.
///
/// # Errors
/// If the text is not a duration, or one of 0 or longer than ten years.
pub fn parse_retention(text: &str) -> Result<Duration, String> {
    match parse_at_most(text, MAX * 10, "ten years")? {
        Duration::ZERO => Err("must be longer than 0; write it like 400d".to_owned()),
        duration => Ok(duration),
    }
}

fn parse_at_most(text: &str, max: Duration, max_text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration <= max => Ok(duration),
        Ok(_) => Err(format!("must be at most {max_text}")),
        Err(_) => Err("is not a duration; write it like 30s or 5m".to_owned()),
    }
}

/// Formats a duration in at most two units, like `2h 5m`, `1m 30s` or `250ms`; what is smaller is cut off.
#[must_use]
pub fn format(duration: Duration) -> String {
    let precision = match duration.as_secs() {
        0..60 => Duration::from_millis(1),
        60..3_600 => Duration::from_secs(1),
        3_600..86_400 => Duration::from_mins(1),
        _ => Duration::from_hours(1),
    };
    let remainder = Duration::from_nanos_u128(duration.as_nanos() % precision.as_nanos());
    let text = humantime::format_duration(duration.saturating_sub(remainder)).to_string();
    // From 30 days on, months and years precede days and hours.
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_use_humantime_notation() {
        assert_eq!(parse_positive("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("0s"), Ok(Duration::ZERO));
        for invalid in ["0s", "soon", "5", "-1s", "", "2y", "99999999999999999999h"] {
            assert!(parse_positive(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn retention_may_be_longer_than_a_year() {
        assert_eq!(parse_retention("400d"), Ok(Duration::from_hours(400 * 24)));
        for invalid in ["0s", "11y", "long", ""] {
            assert!(parse_retention(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn formatted_durations_have_at_most_two_units() {
        for (milliseconds, text) in [
            (0, "0s"),
            (250, "250ms"),
            (1_000, "1s"),
            (1_250, "1s 250ms"),
            (59_999, "59s 999ms"),
            (60_000, "1m"),
            (90_999, "1m 30s"),
            (3_605_000, "1h"),
            (7_500_000, "2h 5m"),
            (90_059_000, "1day 1h"),
            (40 * 86_400_000 + 1, "1month 9days"),
        ] {
            assert_eq!(format(Duration::from_millis(milliseconds)), text);
        }
        assert_eq!(format(Duration::from_nanos(12_345_678)), "12ms");
        assert_eq!(format(Duration::from_nanos(999)), "0s");
        assert!(format(Duration::MAX).contains("years"));
    }
}
