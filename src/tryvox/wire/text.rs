//! The body of a page as text: bytes go in, text that records can borrow from comes out.

use std::borrow::Cow;

/// The text of a body, without a byte order mark.
///
/// Each byte that is not UTF-8 is replaced by a placeholder of the same length, so that the rest of the page can be
/// parsed. The records that have such a byte are found by comparison with the body.
#[derive(Debug)]
pub struct PageText<'a> {
    /// The body without a byte order mark.
    body: &'a [u8],
    /// As long as `body`.
    text: Cow<'a, str>,
    has_byte_order_mark: bool,
}

/// The byte order mark in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Replaces a byte that is not UTF-8. It is not part of JSON outside strings.
const PLACEHOLDER: u8 = b'?';

impl<'a> PageText<'a> {
    /// Returns the text of a body, which borrows from it if all of it is UTF-8.
    #[must_use]
    pub fn new(body: &'a [u8]) -> Self {
        let stripped = body.strip_prefix(BYTE_ORDER_MARK);
        let (body, has_byte_order_mark) = (stripped.unwrap_or(body), stripped.is_some());
        // Checking UTF-8 once for the whole body is faster than once per string.
        let text = match std::str::from_utf8(body) {
            Ok(text) => text.into(),
            Err(_) => with_placeholders(body).into(),
        };
        Self { body, text, has_byte_order_mark }
    }

    pub(super) fn has_byte_order_mark(&self) -> bool {
        self.has_byte_order_mark
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether all of the body is UTF-8.
    pub(super) fn is_utf8(&self) -> bool {
        matches!(self.text, Cow::Borrowed(_))
    }

    /// Returns whether a part of the text has no placeholders. The part must be borrowed from the text.
    pub(super) fn is_intact(&self, part: &str) -> bool {
        let start = part.as_ptr().addr().wrapping_sub(self.text.as_ptr().addr());
        let original = self.body.get(start..).and_then(|rest| rest.get(..part.len()));
        self.is_utf8() || original == Some(part.as_bytes())
    }
}

/// Returns the body with each byte that is not UTF-8 replaced.
fn with_placeholders(body: &[u8]) -> String {
    let mut text = String::with_capacity(body.len());
    for chunk in body.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::from(PLACEHOLDER)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_bytes_are_replaced_one_by_one_and_found_again() {
        for (body, expected) in [
            (&b"abc"[..], "abc"),
            (b"\xef\xbb\xbfabc", "abc"),
            (b"a\xffc", "a?c"),
            (b"a\xe2\x82\"c", "a??\"c"),
            ("a\u{20ac}c".as_bytes(), "a\u{20ac}c"),
            (b"a\xc3\xa9\xc3", "a\u{e9}?"),
            (b"\xed\xa0\x80c", "???c"),
        ] {
            let text = PageText::new(body);
            assert_eq!(text.as_str(), expected);
            assert_eq!(text.is_utf8(), std::str::from_utf8(body).is_ok());
            for (index, character) in expected.char_indices() {
                let part = &text.as_str()[index..index + character.len_utf8()];
                assert_eq!(text.is_intact(part), character != '?', "{expected} at {index}");
            }
        }
        let text = PageText::new(b"?\xff");
        assert_eq!((text.is_intact(&text.as_str()[..1]), text.is_intact(text.as_str())), (true, false));
    }
}
