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

/// Parses a comma-separated list of texts that `is_valid` accepts; duplicates are dropped. As in CSV, a text in double
/// quotes may have commas, and its own quotes are doubled.
///
/// # Errors
/// If a text is not valid; `expected` completes the sentence "x is …". If a quote is not closed.
pub fn list(text: &str, is_valid: fn(&str) -> bool, expected: &str) -> Result<List<String>, String> {
    let (mut values, mut rest) = (List::new(), Some(text));
    while let Some(text) = rest {
        let value;
        (value, rest) = first_value(text)?;
        if !is_valid(&value) {
            return Err(format!("{value:?} is {expected}"));
        }
        if !values.contains(&value) {
            values.push(value);
        }
    }
    Ok(values)
}

/// Returns the first text of a list, and the rest of the list behind the comma.
fn first_value(text: &str) -> Result<(String, Option<&str>), String> {
    let Some(mut quoted) = text.trim_start().strip_prefix('"') else {
        let (value, rest) = text.split_once(',').map_or((text, None), |(value, rest)| (value, Some(rest)));
        return Ok((value.trim().to_owned(), rest));
    };
    let mut value = String::new();
    while let Some((part, rest)) = quoted.split_once('"') {
        value.push_str(part);
        if let Some(rest) = rest.strip_prefix('"') {
            value.push('"');
            quoted = rest;
            continue;
        }
        return match rest.trim_start() {
            "" => Ok((value, None)),
            rest => match rest.strip_prefix(',') {
                Some(rest) => Ok((value, Some(rest))),
                None => Err(format!("{rest:?} follows a closing quote; put a comma before it, or double the quote")),
            },
        };
    }
    Err("a quote is not closed; close it, or double a quote that belongs to the value".to_owned())
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
    fn values_in_quotes_may_have_commas_quotes_and_spaces() {
        let parse = |text: &str| list(text, |_| true, "").map(|values| values.join("|"));
        for (text, expected) in [
            ("a, b ,a", "a|b"),
            ("", ""),
            (",a,", "|a"),
            (r#""Smith, Inc",b"#, "Smith, Inc|b"),
            (r#"a, "b,c" , "d""#, "a|b,c|d"),
            (r#"" a ","""","say ""hi"", x""#, r#" a |"|say "hi", x"#),
            (r#"5" pipe,"",x"#, r#"5" pipe||x"#),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(expected), "{text}");
        }
        for (text, words) in [
            (r#""Smith, Inc"#, "a quote is not closed"),
            (r#"a,"b"""#, "a quote is not closed"),
            (r#""b" c,d"#, "follows a closing quote"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
        assert!(list(r#"a,"""#, |text| !text.is_empty(), "empty").is_err());
    }

    #[test]
    fn integers_keep_to_their_range() {
        let parse = integer(1..=100_u8);
        assert_eq!(parse("100"), Ok(100));
        for invalid in ["0", "101", "-1", "1.5", "many", ""] {
            assert_eq!(parse(invalid), Err("must be a whole number from 1 to 100".to_owned()), "{invalid}");
        }
    }
}
