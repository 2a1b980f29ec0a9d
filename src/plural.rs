//! Nouns that agree with a count.

/// Returns the form of a noun that goes with a count: `one` for 1, `many` for any other.
#[must_use]
pub fn choose<'a>(count: u64, one: &'a str, many: &'a str) -> &'a str {
    if count == 1 { one } else { many }
}

#[cfg(test)]
mod tests {
    use super::choose;

    #[test]
    fn only_one_is_singular() {
        assert_eq!([0, 1, 2].map(|count| choose(count, "page", "pages")), ["pages", "page", "pages"]);
    }
}
