//! A phone number as an integer.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// A number in the international format of ITU-T E.164: `+` and 1 to 15 digits.
///
/// It is kept in 8 bytes, as the integer of its digits behind a 1, so that `+0123` and `+123`,
/// should an API ever say both, stay two numbers. They are halves so that nothing beside them is padded.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct E164 {
    high: u32,
    low: u32,
}

impl E164 {
    fn integer(self) -> u64 {
        u64::from(self.high) << 32 | u64::from(self.low)
    }
}

impl Ord for E164 {
    fn cmp(&self, other: &Self) -> Ordering {
        self.integer().cmp(&other.integer())
    }
}

impl PartialOrd for E164 {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The text is not `+` and 1 to 15 digits.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("e164 is not `+` and 1 to 15 digits")]
pub struct InvalidE164;

impl FromStr for E164 {
    type Err = InvalidE164;

    fn from_str(text: &str) -> Result<Self, InvalidE164> {
        let digits = text.strip_prefix('+').ok_or(InvalidE164)?;
        if !(1..=15).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidE164);
        }
        let packed: u64 = digits.bytes().fold(1, |packed, digit| packed * 10 + u64::from(digit - b'0'));
        #[expect(clippy::cast_possible_truncation, reason = "the rest is in the other half")]
        Ok(Self { high: (packed >> 32) as u32, low: packed as u32 })
    }
}

impl fmt::Display for E164 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}", &self.integer().to_string()[1..])
    }
}

impl fmt::Debug for E164 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_valid_number_reads_back_as_it_was(text in r"\+[0-9]{1,15}") {
            prop_assert_eq!(text.parse::<E164>().unwrap().to_string(), text);
        }

        #[test]
        fn nothing_else_is_a_number(text in any::<String>()) {
            let valid = text.len() > 1 && text.len() <= 16 && text.starts_with('+')
                && text[1..].bytes().all(|byte| byte.is_ascii_digit());
            prop_assert_eq!(text.parse::<E164>().is_ok(), valid);
        }
    }

    #[test]
    fn the_edges_of_the_format() {
        for bad in ["", "+", "1", "+1a", "+1 4", "+1234567890123456", "++1", "+١"] {
            assert_eq!(bad.parse::<E164>(), Err(InvalidE164), "{bad}");
        }
        assert_ne!("+0123".parse::<E164>(), "+123".parse::<E164>());
    }
}
