//! Phone numbers: text in E.164 format goes in, a small integer comes out and prints as the same text.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Maximum number of digits of a number.
pub(super) const MAX_DIGITS: u32 = 15;

/// A phone number in the international format of ITU-T E.164: `+` and 1 to 15 digits.
///
/// The value is the integer whose decimal digits are a 1 followed by those of the number. The leading 1 keeps leading
/// zeros, so `+0123` and `+123` are two numbers, should an API ever send both. It is stored as two halves because a
/// `u64` would align every struct that contains it to 8 bytes and so add padding.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct E164 {
    high: u32,
    low: u32,
}

impl E164 {
    /// Returns the integer described at [`E164`].
    #[must_use]
    pub fn integer(self) -> u64 {
        u64::from(self.high) << 32 | u64::from(self.low)
    }

    /// Returns the number that [`E164::integer`] gives; `None` if there is none.
    #[must_use]
    pub fn from_integer(integer: u64) -> Option<Self> {
        // A 1 and 1 to 15 digits.
        let length = integer.checked_ilog10().filter(|length| (1..=MAX_DIGITS).contains(length))?;
        (integer / 10_u64.pow(length) == 1).then(|| Self::from_halves(integer))
    }

    #[expect(clippy::cast_possible_truncation, reason = "the other half holds the upper bits")]
    fn from_halves(integer: u64) -> Self {
        Self { high: (integer >> 32) as u32, low: integer as u32 }
    }
}

impl From<E164> for String {
    fn from(e164: E164) -> Self {
        e164.to_string()
    }
}

impl TryFrom<String> for E164 {
    type Error = InvalidE164;

    fn try_from(text: String) -> Result<Self, InvalidE164> {
        text.parse()
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

/// The text is not a phone number in E.164 format.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("e164 is not a plus sign and 1 to 15 digits")]
pub struct InvalidE164;

impl FromStr for E164 {
    type Err = InvalidE164;

    fn from_str(text: &str) -> Result<Self, InvalidE164> {
        let digits = text.strip_prefix('+').ok_or(InvalidE164)?;
        if !(1..=MAX_DIGITS as usize).contains(&digits.len()) {
            return Err(InvalidE164);
        }
        let (mut integer, mut are_digits) = (1, true);
        for byte in digits.bytes() {
            let digit = byte.wrapping_sub(b'0');
            are_digits &= digit < 10;
            integer = integer * 10 + u64::from(digit);
        }
        if are_digits { Ok(Self::from_halves(integer)) } else { Err(InvalidE164) }
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
        fn valid_numbers_round_trip_through_text(text in r"\+[0-9]{1,15}") {
            let e164 = text.parse::<E164>().unwrap();
            prop_assert_eq!(E164::from_integer(e164.integer()), Some(e164));
            prop_assert_eq!(e164.to_string(), text);
        }

        #[test]
        fn only_a_plus_and_1_to_15_digits_parse(text in any::<String>()) {
            let valid = text.len() > 1 && text.len() <= 16 && text.starts_with('+')
                && text[1..].bytes().all(|byte| byte.is_ascii_digit());
            prop_assert_eq!(text.parse::<E164>().is_ok(), valid);
        }
    }

    #[test]
    fn malformed_numbers_are_rejected() {
        for text in ["", "+", "1", "+1a", "+1 4", "+1234567890123456", "++1", "+١"] {
            assert_eq!(text.parse::<E164>(), Err(InvalidE164), "{text}");
        }
    }

    #[test]
    fn integers_that_are_no_number_are_rejected() {
        for integer in [0, 1, 9, 20, 99, 2_000, 1_999_999_999_999_999_999, 10_000_000_000_000_000_000, u64::MAX] {
            assert_eq!(E164::from_integer(integer), None, "{integer}");
        }
        assert_eq!(E164::from_integer(1_999_999_999_999_999).unwrap().to_string(), "+999999999999999");
    }

    #[test]
    fn leading_zeros_are_significant() {
        assert_ne!("+0123".parse::<E164>(), "+123".parse::<E164>());
    }
}
