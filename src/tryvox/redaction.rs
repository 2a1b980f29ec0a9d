//! Removes API keys from text that comes from outside this program.

use secrecy::ExposeSecret;

use super::key::ApiKey;

/// Maximum length of a redacted text, in characters.
const MAX_CHARS: usize = 500;

/// Replaces a key.
const REPLACEMENT: &str = "<key>";

/// Replaces a text that has a part of a key.
const OMITTED: &str = "omitted, as it has a part of the API key";

/// Length of the parts of a key that are not shown, in letters and digits. Shorter ones are parts of words.
const PART: usize = 8;

/// Knows the keys that must not be shown.
#[derive(Debug)]
pub(super) struct Redactor(Vec<ApiKey>);

impl Redactor {
    /// Creates a redactor for these keys.
    pub(super) fn new(mut keys: Vec<ApiKey>) -> Self {
        // A key may contain another one.
        keys.sort_by_key(|key| std::cmp::Reverse(key.secret().expose_secret().len()));
        Self(keys)
    }

    /// Returns a text with each key replaced, and not longer than an error message should be.
    pub(super) fn redact(&self, text: &str) -> String {
        let replace = |text: String, key: &ApiKey| text.replace(key.secret().expose_secret(), REPLACEMENT);
        let text = self.0.iter().fold(text.to_owned(), replace);
        match text.char_indices().nth(MAX_CHARS) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }

    /// Returns a text that the other side wrote in a form that is safe to quote: each key is replaced, and a text that
    /// has a part of one, or one in pieces, is omitted as a whole.
    pub(super) fn quote(&self, text: &str) -> String {
        let text = self.redact(text);
        let squeezed = squeeze(&text.replace(REPLACEMENT, " "));
        if self.0.iter().any(|key| has_part(&squeezed, key)) { OMITTED.to_owned() } else { text }
    }
}

/// Returns whether a squeezed text has a part of the key, whatever stood between its characters.
fn has_part(squeezed: &str, key: &ApiKey) -> bool {
    let key: Vec<char> = squeeze(key.secret().expose_secret()).chars().collect();
    let part = PART.max(key.len() / 4).min(key.len());
    // Shorter keys would be found in any text.
    part >= PART / 2 && key.windows(part).any(|part| squeezed.contains(&part.iter().collect::<String>()))
}

/// Returns the letters and digits of a text, in lower case.
fn squeeze(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor(keys: &[&str]) -> Redactor {
        Redactor::new(keys.iter().map(|key| ApiKey::new(&(*key).into()).unwrap()).collect())
    }

    #[test]
    fn redacted_text_is_short_and_without_the_keys() {
        assert_eq!(redactor(&["sesame"]).redact("open sesame, sesame!"), "open <key>, <key>!");
        assert_eq!(redactor(&["sesame"]).redact(&"é".repeat(600)).chars().count(), MAX_CHARS + 1);
        assert_eq!(redactor(&["sesame", "sesame-tail"]).redact("old sesame-tail"), "old <key>");
    }

    #[test]
    fn quoted_text_has_no_part_of_a_key() {
        let redactor = redactor(&["sk_live_S3cr3tKey0123456789"]);
        for text in [
            "cut sk_live_S3cr",
            "split sk_live_S3 cr3tKey0123456789",
            "invisible sk_live_S3c\u{ad}r3tKey0123456789",
            "entity sk&#95;live&#95;S3cr3tKey0123456789",
            "percent sk%5flive%5fS3cr3tKey0123456789",
            "upper case SK_LIVE_S3CR3TKEY0123456789",
            "end cr3tKey0123456789",
        ] {
            assert_eq!(redactor.quote(text), OMITTED, "{text}");
        }
        assert_eq!(redactor.quote("bad key sk_live_S3cr3tKey0123456789, sk_live_…"), "bad key <key>, sk_live_…");
        // A short key is only replaced.
        assert_eq!(self::redactor(&["k"]).quote("locked"), "loc<key>ed");
    }
}
