//! Timestamps: text goes in, a Unix timestamp in seconds comes out.

use std::collections::BTreeSet;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::deviation::Deviation;

/// Parses an RFC 3339 timestamp, the profile of ISO 8601 that the API's documentation shows, from 1970 to 2106. Fractions
/// of a second are cut off.
pub(super) fn parse(text: &str) -> Option<u32> {
    let seconds = match parse_utc(text.as_bytes()) {
        Some(seconds) => seconds,
        // This parser accepts any other separator, which RFC 3339 permits but ISO 8601 does not.
        None if matches!(text.as_bytes().get(10), Some(b'T' | b't')) => {
            u64::try_from(OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp()).ok()?
        }
        None => return None,
    };
    u32::try_from(seconds).ok().filter(|seconds| *seconds < u32::MAX)
}

/// Parses a timestamp of the years 1970 to 2106 in the most common form, `2025-11-02T17:40:12Z`, perhaps with a fraction. A
/// general parser takes longer. A leap second is the second before it, whenever it is. Returns seconds
/// since the epoch, or `None` if the text has another form or is not valid.
fn parse_utc(text: &[u8]) -> Option<u64> {
    const SECONDS_PER_DAY: u64 = 86_400;
    const DAYS_BEFORE_MONTH: [u64; 13] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365];

    let (date, rest) = text.split_first_chunk()?;
    let (time, rest) = rest.split_first_chunk()?;
    let ([y1, _, y2, _, _, month, _, _], [day, _, _, hour, _, _, minute, _]) =
        (pairs(*date, *b"0000-00-")?, pairs(*time, *b"00T00:00")?);
    let [b':', s1 @ b'0'..=b'6', s2 @ b'0'..=b'9', fraction @ .., b'Z'] = rest else { return None };
    let is_fraction = matches!(fraction, [] | [b'.', _, ..]) && fraction.iter().skip(1).all(u8::is_ascii_digit);
    let (year, second) = (y1 * 100 + y2, u64::from(s1 - b'0') * 10 + u64::from(s2 - b'0'));

    // Every fourth of these years except 2100 is a leap year.
    let is_leap_year = year % 4 == 0 && year != 2100;
    let [before, after] = *DAYS_BEFORE_MONTH.get(usize::try_from(month).ok()?.checked_sub(1)?..)?.first_chunk()?;
    let days_in_month = after - before + u64::from(is_leap_year && month == 2);
    let is_time = is_fraction && hour < 24 && minute < 60 && second <= 60;
    if !is_time || !(1..=days_in_month).contains(&day) || !(1970..=2106).contains(&year) {
        return None;
    }
    let leap_days = (year - 1969) / 4 - u64::from(year > 2100) + u64::from(is_leap_year && month > 2);
    let days = (year - 1970) * 365 + leap_days + before + day - 1;
    Some(days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second.min(59))
}

/// Reads all pairs of neighboring digits of a text at once. The text must have a digit where the form has a zero, and be
/// equal to the form elsewhere. The number at an index is that of the digits there and after it, if both are digits.
fn pairs(text: [u8; 8], form: [u8; 8]) -> Option<[u64; 8]> {
    const HIGHEST: u64 = 0x8080_8080_8080_8080;

    // A digit becomes its value, and any other byte that is as in the form becomes zero.
    let values = u64::from_le_bytes(text) ^ u64::from_le_bytes(form);
    // Added to these, a value that is too high reaches the highest bit of its byte.
    let limits = form.map(|byte| if byte == b'0' { 0x7f - 9 } else { 0x7f });
    let is_valid = (values | ((values & !HIGHEST) + u64::from_le_bytes(limits))) & HIGHEST == 0;
    is_valid.then(|| (values * 10 + (values >> 8)).to_le_bytes().map(u64::from))
}

/// Parses what [`parse`] does and also a space instead of the `T`, no time zone, which is read as UTC, and offsets
/// like `+0000` and `+00`. Adds the differences to `deviations`.
pub(super) fn parse_lenient(text: &str, deviations: &mut BTreeSet<Deviation>) -> Option<u32> {
    if let Some(time) = parse(text) {
        return Some(time);
    }
    let (date, separator, rest) = (text.get(..10)?, text.get(10..11)?, text.get(11..)?);
    let zone_start = rest.find(|c: char| !(c.is_ascii_digit() || c == ':' || c == '.')).unwrap_or(rest.len());
    let (time_of_day, zone) = rest.split_at(zone_start);
    let mut found = Vec::new();
    match separator {
        "T" | "t" => {}
        " " => found.push(Deviation::TimestampWithSpace),
        _ => return None,
    }
    let (zone, deviation) = match zone.strip_prefix(' ').unwrap_or(zone).as_bytes() {
        [] => ("Z".to_owned(), Some(Deviation::TimestampWithoutZone)),
        [b'Z' | b'z'] => ("Z".to_owned(), None),
        [_, _, _, b':', _, _] => (zone.trim_start().to_owned(), None),
        [sign, hours @ .., m, n] if hours.len() == 2 => {
            (offset(*sign, hours, &[*m, *n]), Some(Deviation::TimestampWithShortOffset))
        }
        [sign, hours @ ..] if hours.len() == 2 => {
            (offset(*sign, hours, b"00"), Some(Deviation::TimestampWithShortOffset))
        }
        _ => return None,
    };
    found.extend(deviation);
    let time = parse(&format!("{date}T{time_of_day}{zone}"))?;
    deviations.extend(found);
    Some(time)
}

/// Writes the offset of a time zone with a colon.
fn offset(sign: u8, hours: &[u8], minutes: &[u8]) -> String {
    let text = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
    format!("{}{}:{}", char::from(sign), text(hours), text(minutes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    #[test]
    fn every_accepted_notation_gives_the_same_second() {
        use Deviation::{TimestampWithShortOffset, TimestampWithSpace, TimestampWithoutZone};
        let notations: [(&str, &[Deviation]); 16] = [
            ("2025-11-02T17:40:12Z", &[]),
            ("2025-11-02T17:40:12.999Z", &[]),
            ("2025-11-02T17:40:12.999999999+00:00", &[]),
            ("2025-11-02T19:40:12+02:00", &[]),
            ("2025-11-02 17:40:12Z", &[TimestampWithSpace]),
            ("2025-11-02 17:40:12.5", &[TimestampWithSpace, TimestampWithoutZone]),
            ("2025-11-02T17:40:12", &[TimestampWithoutZone]),
            ("2025-11-02T17:40:12.123456", &[TimestampWithoutZone]),
            ("2025-11-02T17:40:12+0000", &[TimestampWithShortOffset]),
            ("2025-11-02T17:40:12-0000", &[TimestampWithShortOffset]),
            ("2025-11-02T17:40:12+00", &[TimestampWithShortOffset]),
            ("2025-11-02T23:10:12+0530", &[TimestampWithShortOffset]),
            ("2025-11-02T12:40:12-05", &[TimestampWithShortOffset]),
            ("2025-11-02 17:40:12+0000", &[TimestampWithSpace, TimestampWithShortOffset]),
            ("2025-11-02 17:40:12 +0000", &[TimestampWithSpace, TimestampWithShortOffset]),
            ("2025-11-02 17:40:12.000+00:00", &[TimestampWithSpace]),
        ];
        for (text, expected) in notations {
            let mut deviations = BTreeSet::new();
            let time = parse_lenient(text, &mut deviations);
            assert_eq!(time, Some(1_762_105_212), "{text}");
            assert_eq!(deviations.into_iter().collect::<Vec<_>>(), expected, "{text}");
            assert_eq!(parse(text).is_some(), expected.is_empty(), "{text}");
        }
    }

    #[test]
    fn every_day_is_that_of_the_calendar() {
        // From 1970 to 2106, at some time of the day.
        for days in 0..49_700 {
            let seconds = days * 86_400 + days % 86_400;
            let text = crate::timestamp::to_seconds(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.into()));
            assert_eq!(parse(&text), Some(seconds), "{text}");
            assert_eq!(parse(&text.replace('Z', "+00:00")), Some(seconds), "{text}");
        }
        for (text, is_valid) in [
            ("2024-02-29T00:00:00Z", true),
            ("2016-12-31T23:59:60Z", true),
            ("2025-04-30T12:34:60Z", true),
            ("2025-04-30T12:34:56.1Z", true),
            ("2025-04-30T12:34:56.000000001Z", true),
            ("2025-04-30T12:34:56.Z", false),
            ("2025-04-30T12:34:56.1.2Z", false),
            ("2025-04-30T12:34:56ZZ", false),
            ("2025-02-29T00:00:00Z", false),
            ("2100-02-29T00:00:00Z", false),
            ("2025-00-01T00:00:00Z", false),
            ("2025-13-01T00:00:00Z", false),
            ("2025-04-31T00:00:00Z", false),
            ("2025-04-00T00:00:00Z", false),
            ("2025-04-30T24:00:00Z", false),
            ("2025-04-30T23:60:00Z", false),
            ("2025-04-30T23:59:61Z", false),
            ("2025-04-30T2/:59:00Z", false),
            ("2025-04-30T2::59:00Z", false),
            ("2025.04-30T12:34:56Z", false),
            ("2025-04/30T12:34:56Z", false),
            ("2025-04-30U12:34:56Z", false),
            ("2025-04-30T12;34:56Z", false),
            ("2025-04-30T12:34;56Z", false),
            ("2025-04-30T12:34:56[", false),
            ("202é-4-30T12:34:56Z", false),
            ("2025-04-30T12:34:5é", false),
            ("2106-02-07T06:28:14Z", true),
            ("2106-02-07T06:28:15Z", false),
            ("2107-01-01T00:00:00Z", false),
        ] {
            assert_eq!(parse(text).is_some(), is_valid, "{text}");
        }
        assert_eq!(parse("2025-04-30T12:34:60Z"), parse("2025-04-30T12:34:59Z"));
        assert_eq!(parse("2025-04-30T12:34:56.999Z"), parse("2025-04-30T12:34:56Z"));
    }

    #[test]
    fn anything_else_is_no_timestamp_and_no_deviation() {
        for text in [
            "",
            "yesterday",
            "1762105212",
            "2025-11-02",
            "2025-11-02T17:40",
            "2025-13-02T17:40:12",
            "2025-02-30 17:40:12",
            "2025-11-02_17:40:12",
            "2025-11-02T17:40:12 UTC",
            "2025-11-02T17:40:12+0",
            "2025-11-02T17:40:12+000",
            "2025-11-02T17:40:12+00000",
            "2025-11-02T17:40:12+9900",
            "2025-11-02T17:40:12é",
            "2025-11-02T17:40:12+é0",
            "2025-11-0é 17:40:12",
            "02/11/2025 17:40:12",
            "0001-01-01T00:00:00Z",
            "1969-12-31T23:59:59.5Z",
            "2200-01-01T00:00:00Z",
        ] {
            let mut deviations = BTreeSet::new();
            assert_eq!(parse_lenient(text, &mut deviations), None, "{text}");
            assert!(deviations.is_empty(), "{text}");
        }
    }
}
