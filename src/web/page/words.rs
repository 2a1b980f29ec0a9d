//! How durations, moments and amounts read.

use std::time::{Duration, SystemTime};

use crate::inventory::{Money, NumberChange};
use crate::poller::{ChangeEvent, FailureStreak};

/// A duration in at most two units.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let two = |large: u64, large_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {large_unit}"),
        _ => format!("{large} {large_unit} {small} {small_unit}"),
    };
    match seconds {
        0 if duration.subsec_millis() > 0 => format!("{} ms", duration.subsec_millis()),
        0..10 if duration.subsec_millis() >= 100 => format!("{}.{} s", seconds, duration.subsec_millis() / 100),
        0..60 => format!("{seconds} s"),
        60..3_600 => two(seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// How long ago, to the second.
pub(super) fn ago(at: SystemTime, now: SystemTime) -> String {
    // A clock that was set back makes no difference of what was just now.
    match now.duration_since(at).unwrap_or_default().as_secs() {
        0 => "just now".to_owned(),
        seconds => format!("{} ago", duration(Duration::from_secs(seconds))),
    }
}

/// A moment as RFC 3339 writes it, to the second.
pub(super) fn moment(at: SystemTime) -> String {
    // Of what is beyond the year 9999 nothing can be written.
    let latest = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    humantime::format_rfc3339_seconds(at.clamp(SystemTime::UNIX_EPOCH, latest)).to_string()
}

/// A count with its thousands apart.
pub(super) fn count(count: u64) -> String {
    grouped(&count.to_string())
}

/// An amount with all of its digits, of cents at least, and its thousands apart.
pub(super) fn amount(amount: &Money) -> String {
    let text = amount.to_string();
    let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
    format!("{}.{decimals:0<2}", grouped(whole))
}

fn grouped(digits: &str) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let mut text = sign.to_owned();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A word for so many of something.
pub(super) fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", self::count(count), if count == 1 { one } else { many })
}

/// What happened to a number, or to several.
pub(super) fn changed(changed: &ChangeEvent) -> String {
    match &changed.change {
        Some(NumberChange::Added(e164)) => format!("{e164} is new"),
        Some(NumberChange::Removed(e164)) => format!("{e164} is gone"),
        Some(NumberChange::Status(e164, from, to)) => format!("{e164} was {from}, is {to}"),
        Some(NumberChange::Fee(e164, from, to)) => format!("{e164} cost {}, costs {}", amount(from), amount(to)),
        None => format!("and {} more", plural(changed.count, "change", "changes")),
    }
}

/// Why polls failed, and how often.
pub(super) fn failed(failed: &FailureStreak, now: SystemTime) -> String {
    let FailureStreak { since, times, failure, .. } = failed;
    let (what, reason) = (failure.reason.advice().summary, failure.reason.as_str());
    let times =
        if *times > 1 { format!(" {times} times in a row, first {}.", ago(*since, now)) } else { String::new() };
    format!("{what} ({reason}: {failure}){times}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        for (milliseconds, text) in [
            (0, "0 s"),
            (5, "5 ms"),
            (1_000, "1 s"),
            (1_250, "1.2 s"),
            (59_999, "59 s"),
            (60_000, "1 min"),
            (61_000, "1 min 1 s"),
            (3_600_000, "1 h"),
            (7_500_000, "2 h 5 min"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(duration(Duration::from_millis(milliseconds)), text);
        }
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        assert_eq!(ago(now, now), "just now");
        assert_eq!(ago(now + Duration::from_secs(5), now), "just now");
        assert_eq!(ago(now - Duration::from_secs(90), now), "1 min 30 s ago");
    }

    #[test]
    fn amounts_keep_their_digits() {
        for (digits, text) in [
            ("0", "0.00"),
            ("1.1", "1.10"),
            ("1234.567", "1,234.567"),
            ("115000", "115,000.00"),
            ("-1234.5", "-1,234.50"),
        ] {
            assert_eq!(amount(&digits.parse().unwrap()), text);
        }
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    }
}
