//! Equality of short texts. The standard library calls `memcmp` for it, which compares one byte at a time in musl and took a
//! tenth of the time of a poll.

use std::sync::Arc;

use indexmap::Equivalent;

/// Returns whether two texts are equal.
pub(crate) fn equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    // The words at both ends overlap unless the length is a multiple of their size.
    match a.len() {
        0..4 => a.iter().zip(b).all(|(a, b)| a == b),
        4..8 => a.first_chunk::<4>() == b.first_chunk() && a.last_chunk::<4>() == b.last_chunk(),
        _ => {
            let (words_of_a, words_of_b) = (a.as_chunks::<8>().0, b.as_chunks::<8>().0);
            words_of_a.iter().zip(words_of_b).all(|(a, b)| a == b) && a.last_chunk::<8>() == b.last_chunk()
        }
    }
}

/// A text that is looked up in a table of short texts.
#[derive(Debug, Hash)]
pub(crate) struct ShortText<'a>(pub(crate) &'a str);

impl Equivalent<Arc<str>> for ShortText<'_> {
    fn equivalent(&self, stored: &Arc<str>) -> bool {
        equal(self.0.as_bytes(), stored.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::equal;

    #[test]
    fn texts_are_equal_if_all_bytes_are() {
        let text: Vec<u8> = (0..40).collect();
        for length in 0..text.len() {
            let mut other = text[..length].to_vec();
            assert!(equal(&text[..length], &other));
            assert!(!equal(&text[..=length], &other) && !equal(&other, &text[..=length]));
            for index in 0..length {
                other[index] ^= 0x80;
                assert!(!equal(&text[..length], &other), "byte {index} of {length}");
                other[index] ^= 0x80;
            }
        }
    }
}
