//! Equality and hashes of short texts. For equality, the standard library calls `memcmp`, which compares one byte at a time in
//! musl and took a tenth of the time of a poll.

use std::sync::Arc;

use indexmap::Equivalent;

/// 2⁶⁴ divided by the golden ratio. The upper bits of a product with it depend on all bits of the other factor.
pub(crate) const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;

/// Returns whether two texts are equal.
pub(crate) fn equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    // The last word may overlap the one before it.
    match a.len() {
        0 => true,
        1 => a.first() == b.first(),
        2..4 => a.first_chunk::<2>() == b.first_chunk() && a.last_chunk::<2>() == b.last_chunk(),
        4..8 => a.first_chunk::<4>() == b.first_chunk() && a.last_chunk::<4>() == b.last_chunk(),
        _ => {
            let (words_of_a, words_of_b) = (a.as_chunks::<8>().0, b.as_chunks::<8>().0);
            words_of_a.iter().zip(words_of_b).all(|(a, b)| a == b) && a.last_chunk::<8>() == b.last_chunk()
        }
    }
}

/// Maximum length in bytes of the texts whose digests are unambiguous.
pub(crate) const MAX_EXACT_DIGEST: usize = 7;

/// Returns a digest of a text, for comparisons and hashes. Texts of at most [`MAX_EXACT_DIGEST`] bytes have equal digests only if
/// they are equal. Longer texts never have the digest of such a text, and have equal digests only if their lengths are equal
/// (below 32 KiB).
pub(crate) fn digest(text: &[u8]) -> u64 {
    let length = text.len() as u64;
    // Both ends overlap, and are equal where they do.
    let join = |size: u64, first: u64, last: u64| length << 56 | last << (8 * (length - size)) | first;
    let two = |bytes: Option<&[u8; 2]>| bytes.map_or(0, |bytes| u16::from_le_bytes(*bytes).into());
    let four = |bytes: Option<&[u8; 4]>| bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes).into());
    match text.len() {
        0..2 => length << 56 | text.first().map_or(0, |byte| u64::from(*byte)),
        2..4 => join(2, two(text.first_chunk()), two(text.last_chunk())),
        4..=MAX_EXACT_DIGEST => join(4, four(text.first_chunk()), four(text.last_chunk())),
        _ => {
            let words = text.as_chunks::<8>().0.iter().chain(text.last_chunk()).map(|word| u64::from_le_bytes(*word));
            let mixed = words.fold(0_u64, |mixed, word| (mixed.rotate_left(5) ^ word).wrapping_mul(GOLDEN_RATIO));
            1 << 63 | (length & 0x7fff) << 48 | mixed >> 16
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
    use std::collections::HashSet;

    use super::*;

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

    #[test]
    fn digests_differ_if_the_length_or_any_byte_does() {
        let mut digests = HashSet::new();
        for length in 0..600 {
            let mut text = vec![b'a'; length];
            assert!(digests.insert(digest(&text)), "length {length}");
            assert_eq!(digest(&text) >> 63 == 1, length > MAX_EXACT_DIGEST, "length {length}");
            for index in 0..length.min(40) {
                for byte in [0, b'b'] {
                    text[index] = byte;
                    assert!(digests.insert(digest(&text)), "byte {index} of {length}");
                }
                text[index] = b'a';
            }
        }
    }
}
