//! Helpers to read JSON values one by one.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{Deserializer, Error};
use serde_json::value::RawValue;

/// A first field that makes a struct readable from an object only.
///
/// Without it, `serde` also reads an array of the fields in the order of their declaration, which the API does not
/// document. No key has its name.
#[derive(Debug, Default, PartialEq)]
pub(super) struct ObjectOnly;

impl<'de> Deserialize<'de> for ObjectOnly {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::custom("expected an object"))
    }
}

/// Deserializes the value of a field that is present, so that `null` differs from a missing field.
pub(super) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Returns the type of a JSON value, with its article. It is used in messages instead of the value, which may be long
/// and may contain anything.
pub(super) fn type_name(json: &RawValue) -> &'static str {
    match json.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// Returns whether a JSON value is `null`.
pub(super) fn is_null(json: &RawValue) -> bool {
    json.get() == "null"
}

/// Returns the text of a JSON string; `None` if the value is not a string or cannot be decoded.
pub(super) fn text(json: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

    serde_json::from_str(json.get()).ok().map(|Text(text)| text)
}

/// Returns how many bytes precede the first quote, backslash or control character, which end a string or need decoding.
pub(super) fn plain_length(text: &[u8]) -> usize {
    /// The lowest bit of each byte.
    const LOWEST: u64 = u64::MAX / 0xff;

    let (words, rest) = text.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // Flipping the second bit makes the quote 0x20, so it and the control characters are less than 0x21. The highest bit
        // of the first byte that is less, and of the first backslash, becomes 1. A borrow can only make later bytes wrong, and
        // `!word` excludes bytes from 0x80 on.
        let less = (word ^ (LOWEST * 0x02)).wrapping_sub(LOWEST * 0x21);
        let backslash = (word ^ (LOWEST * u64::from(b'\\'))).wrapping_sub(LOWEST);
        let found = (less | backslash) & !word & (LOWEST << 7);
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let is_plain = |byte: &&u8| !matches!(byte, 0..0x20 | b'"' | b'\\');
    text.len() - rest.len() + rest.iter().take_while(is_plain).count()
}
