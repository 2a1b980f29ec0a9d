//! The start of a period that reaches until now.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use crate::timestamp;

/// The start of a period that reaches until now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// This long before now.
    Ago(Duration),
    /// At this time.
    At(SystemTime),
}

impl Since {
    /// Returns the start as a time, the beginning of 1970 or later.
    #[must_use]
    pub fn resolve(self, now: SystemTime) -> SystemTime {
        let start = match self {
            Self::Ago(duration) => now.checked_sub(duration).unwrap_or(SystemTime::UNIX_EPOCH),
            Self::At(time) => time,
        };
        start.max(SystemTime::UNIX_EPOCH)
    }
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let duration = humantime::parse_duration(text).ok().map(Self::Ago);
        duration.or_else(|| timestamp::parse(text).map(Self::At)).ok_or_else(|| {
            "is neither a duration nor a time; write it like 7d, 2026-11-24 or 2026-11-24T08:00:00Z".to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_start_at_a_time_or_a_duration_before_now() {
        let now = timestamp::parse("2026-11-26").unwrap();
        let start = |text: &str| text.parse::<Since>().map(|since| timestamp::to_seconds(since.resolve(now)));
        for (text, expected) in [
            ("7d", "2026-11-19T00:00:00Z"),
            ("1h 30m", "2026-11-25T22:30:00Z"),
            ("500y", "1970-01-01T00:00:00Z"),
            ("2026-11-24", "2026-11-24T00:00:00Z"),
            ("0001-01-01", "1970-01-01T00:00:00Z"),
            ("2026-11-24T08:00:00Z", "2026-11-24T08:00:00Z"),
        ] {
            assert_eq!(start(text), Ok(expected.to_owned()), "{text}");
        }
        assert!(start("Tuesday").unwrap_err().contains("7d"));
    }
}
