//! What the option groups share.
//!
//! Each option is declared once, as a field of a struct that derives [`clap::Args`], next to the code that uses
//! it: [`TryvoxOptions`](crate::tryvox::TryvoxOptions), [`CollectorOptions`](crate::inventory::CollectorOptions),
//! [`SimulatorOptions`](crate::simulator::SimulatorOptions) and the groups in [`config`](crate::config). The value of
//! an option is one text, from a flag, the environment or the file, and its value parser makes one value of that
//! text, lists included. Every error of a parser says what would be valid.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A list that one text holds, separated by commas. The alias keeps clap from reading it as an option with
/// several values.
pub type List<T> = Vec<T>;

/// Parses a comma-separated list of texts that `is_valid` accepts; duplicates are dropped.
///
/// # Errors
/// If a text is not valid; `expected` completes the sentence "x is …".
pub fn list(text: &str, is_valid: fn(&str) -> bool, expected: &str) -> Result<List<String>, String> {
    let mut values = List::new();
    for value in text.split(',').map(str::trim) {
        if !is_valid(value) {
            return Err(format!("{value:?} is {expected}"));
        }
        if !values.iter().any(|other| other == value) {
            values.push(value.to_owned());
        }
    }
    Ok(values)
}

/// Returns a parser of whole numbers within a range.
pub fn integer<N>(range: RangeInclusive<N>) -> impl Fn(&str) -> Result<N, String> + Clone + Send + Sync + 'static
where
    N: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text: &str| {
        text.parse()
            .ok()
            .filter(|number| range.contains(number))
            .ok_or_else(|| format!("must be a whole number from {} to {}", range.start(), range.end()))
    }
}

/// Returns an option group in which each option has its default.
#[must_use]
pub fn defaults<T: clap::Args>() -> T {
    let matches = T::augment_args(clap::Command::new("defaults")).get_matches_from(["defaults"]);
    T::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_keep_to_their_range() {
        let parse = integer(1..=100_u8);
        assert_eq!(parse("100"), Ok(100));
        for invalid in ["0", "101", "-1", "1.5", "many", ""] {
            assert_eq!(parse(invalid), Err("must be a whole number from 1 to 100".to_owned()), "{invalid}");
        }
    }
}
