//! Patterns of phone numbers: one number, or all numbers with a prefix.

use std::fmt;
use std::str::FromStr;

use super::E164;
use super::e164::MAX_DIGITS;

/// A phone number, or all numbers with a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NumberPattern {
    /// One number, written like `+18005550100`.
    Exact(E164),
    /// All numbers that begin with these digits, written like `+1415555*`; the number itself is one of them.
    Prefix(E164),
}

/// The text is not a pattern of numbers.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("must be a number like +18005550100 or a prefix like +1415555*")]
pub struct InvalidNumberPattern;

impl FromStr for NumberPattern {
    type Err = InvalidNumberPattern;

    fn from_str(text: &str) -> Result<Self, InvalidNumberPattern> {
        let parse = |text: &str| text.parse().map_err(|_| InvalidNumberPattern);
        match text.strip_suffix('*') {
            Some(prefix) => Ok(Self::Prefix(parse(prefix)?)),
            None => Ok(Self::Exact(parse(text)?)),
        }
    }
}

impl fmt::Display for NumberPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(e164) => write!(f, "{e164}"),
            Self::Prefix(e164) => write!(f, "{e164}*"),
        }
    }
}

/// The place of a pattern among others: all patterns that a prefix covers follow it directly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PatternPlace {
    /// The digits, completed by zeros to the maximum length, after a 1 that keeps leading zeros.
    aligned: u64,
    digits: u32,
    is_exact: bool,
    /// The first value of `aligned` that no longer begins with the digits.
    end: u64,
}

impl NumberPattern {
    pub(super) fn place(self) -> PatternPlace {
        let (e164, is_exact) = match self {
            Self::Exact(e164) => (e164, true),
            Self::Prefix(e164) => (e164, false),
        };
        let digits = e164.integer().ilog10();
        let unit = 10_u64.pow(MAX_DIGITS - digits);
        let aligned = e164.integer() * unit;
        PatternPlace { aligned, digits, is_exact, end: aligned + unit }
    }

    /// Returns whether this matches every number that `other` matches.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.place().covers(other.place())
    }
}

impl PatternPlace {
    /// Returns whether the pattern matches every number that `other` matches.
    pub(super) fn covers(self, other: Self) -> bool {
        if self.is_exact {
            return self == other;
        }
        self.digits <= other.digits && (self.aligned..self.end).contains(&other.aligned)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Patterns of which many cover others, with up to 15 digits.
    fn pattern() -> impl Strategy<Value = String> {
        let digits = (0..15_usize, "[01]").prop_map(|(length, last)| format!("{}{last}", &"00000000000000"[..length]));
        (digits, any::<bool>()).prop_map(|(digits, is_prefix)| format!("+{digits}{}", if is_prefix { "*" } else { "" }))
    }

    /// Returns whether one pattern covers another, by the words of the documentation.
    fn covers(one: &str, other: &str) -> bool {
        match one.strip_suffix('*') {
            Some(prefix) => other.trim_end_matches('*').starts_with(prefix),
            None => one == other,
        }
    }

    proptest! {
        #[test]
        fn pattern_covers_another_exactly_if_it_matches_all_of_its_numbers(one in pattern(), other in pattern()) {
            let [parsed, parsed_other] = [&one, &other].map(|text| text.parse::<NumberPattern>().unwrap());
            prop_assert_eq!(parsed.covers(parsed_other), covers(&one, &other), "{} {}", one, other);
        }

        #[test]
        fn patterns_follow_the_prefixes_that_cover_them_directly(mut patterns in prop::collection::vec(pattern(), 0..40)) {
            patterns.sort_by_key(|text| text.parse::<NumberPattern>().unwrap().place());
            patterns.dedup();
            for (index, pattern) in patterns.iter().enumerate() {
                prop_assert!(!patterns[..index].iter().any(|earlier| covers(pattern, earlier)), "{:?}", patterns);
                let covered: Vec<_> = patterns[index..].iter().map(|later| covers(pattern, later)).collect();
                prop_assert!(covered.is_sorted_by_key(|is_covered| !is_covered), "{:?}", patterns);
            }
        }
    }

    #[test]
    fn patterns_are_numbers_or_prefixes() {
        for valid in ["+1", "+1*", "+18005550100", "+123456789012345*"] {
            assert_eq!(valid.parse::<NumberPattern>().unwrap().to_string(), valid);
        }
        for invalid in ["", "*", "+", "+*", "1415*", "+1**", "+1*2", "+1 4", "+1234567890123456*"] {
            assert_eq!(invalid.parse::<NumberPattern>(), Err(InvalidNumberPattern), "{invalid}");
        }
    }
}
