//! Times as a state file has them: Unix timestamps in milliseconds.

use std::time::{Duration, SystemTime};

/// The first second of the year 10000, as a Unix timestamp.
const YEAR_10000: u64 = 253_402_300_800;

/// Returns a time in milliseconds, rounded down.
pub(super) fn to_millis(time: SystemTime) -> i64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => millis(since),
        Err(error) => -millis(error.duration()),
    }
}

/// Returns the time that [`to_millis`] gave; `None` if there is no such time.
pub(super) fn from_millis(millis: i64) -> Option<SystemTime> {
    let distance = Duration::from_millis(millis.unsigned_abs());
    if millis < 0 { SystemTime::UNIX_EPOCH.checked_sub(distance) } else { SystemTime::UNIX_EPOCH.checked_add(distance) }
}

/// Returns a duration in milliseconds.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Returns a time in seconds for the name of a file, for example `20260114T080910Z`.
pub(super) fn file_name(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()).min(YEAR_10000 - 1);
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    humantime::format_rfc3339_seconds(time).to_string().replace(['-', ':'], "")
}
