//! Times, counts, amounts and events as the page shows them.

use std::time::SystemTime;

use crate::inventory::{ChangeKind, ChangeRecord, Money};
use crate::plural;
use crate::poller::{ChangeEvent, FailureStreak};
pub(super) use crate::timestamp::{ago, to_seconds as timestamp};

/// Formats a count with thousands separators.
pub(super) fn count(count: u64) -> String {
    group_thousands(&count.to_string())
}

/// Formats an amount exactly, with at least two decimals and thousands separators.
pub(super) fn amount(amount: &Money) -> String {
    let text = amount.to_string();
    let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
    format!("{}.{decimals:0<2}", group_thousands(whole))
}

fn group_thousands(digits: &str) -> String {
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

/// Formats a count with the singular or plural of a noun.
pub(super) fn count_of(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", self::count(count), plural::choose(count, one, many))
}

/// Describes a change of a number, or counts changes that have no event of their own.
pub(super) fn describe_change(event: &ChangeEvent) -> String {
    let Some(change) = &event.change else {
        return count_of(event.count, "more change", "more changes");
    };
    let ChangeRecord { e164, .. } = change;
    let property = match change.kind {
        ChangeKind::Added => return format!("{e164} added"),
        ChangeKind::Removed => return format!("{e164} removed"),
        ChangeKind::Status => "status",
        ChangeKind::Fee => "monthly fee",
        ChangeKind::Assignment => "assignment",
    };
    // Amounts have the same format as elsewhere on the page; a currency follows if it changed.
    let value = |value: &Option<String>| {
        let text = value.as_deref().unwrap_or_default();
        let (fee, currency) = text.split_at(text.find(' ').unwrap_or(text.len()));
        match fee.parse() {
            Ok(fee) if change.kind == ChangeKind::Fee => format!("{}{currency}", amount(&fee)),
            _ => text.to_owned(),
        }
    };
    format!("{property} of {e164} changed from {} to {}", value(&change.from), value(&change.to))
}

/// Describes why polls failed, and how often in a row.
pub(super) fn describe_failures(failures: &FailureStreak, now: SystemTime) -> String {
    let FailureStreak { since, times, failure, .. } = failures;
    let reason = failure.reason.as_str();
    let times = if *times > 1 {
        format!(" ({} in a row, first {})", count_of(*times, "failure", "failures"), ago(*since, now))
    } else {
        String::new()
    };
    format!("{reason}: {failure}{times}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_keep_all_digits() {
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
