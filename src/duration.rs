//! Durations as users write and read them: humantime's notation, everywhere.

use std::time::Duration;

/// The longest duration that an option accepts; sums of such durations are far from overflowing.
const MAX: Duration = Duration::from_hours(24 * 365);

/// Parses a duration, 0 included.
///
/// # Errors
/// If the text is not a duration, or one longer than a year.
pub fn parse(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration <= MAX => Ok(duration),
        Ok(_) => Err("must be at most a year".to_owned()),
        Err(_) => Err("is not a duration; write it like 30s or 5m".to_owned()),
    }
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
}
