//! Equality and hashes of short texts. For equality, the standard library calls `memcmp`, which compares one byte at a time in
//! musl and took a tenth of the time of a poll.

use std::hash::Hasher;
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

/// Hashes a text in words, which takes half as long as the standard library's way. Equal texts have equal hashes.
pub(crate) fn hash(text: &[u8], state: &mut impl Hasher) {
    let word = |chunk: Option<&[u8; 4]>| chunk.map_or(0, |chunk| u64::from(u32::from_le_bytes(*chunk)));
    let length = text.len() as u64;
    match text.len() {
        // Up to seven bytes and the length fit in one word.
        0..4 => state.write_u64(text.iter().fold(length, |word, byte| word << 8 | u64::from(*byte))),
        4..8 => {
            let (first, last) = (word(text.first_chunk()), word(text.last_chunk()));
            state.write_u64(length << 56 | last << (8 * (length - 4)) | first);
        }
        _ => {
            state.write_u64(length);
            text.as_chunks::<8>()
                .0
                .iter()
                .chain(text.last_chunk())
                .for_each(|w| state.write_u64(u64::from_le_bytes(*w)));
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
    use std::hash::BuildHasher;

    use foldhash::fast::FixedState;

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
    fn hashes_differ_if_the_length_or_any_byte_does() {
        let hash = |text: &[u8]| {
            let mut state = FixedState::default().build_hasher();
            hash(text, &mut state);
            state.finish()
        };
        let mut hashes = HashSet::new();
        for length in 0..40 {
            let mut text = vec![b'a'; length];
            assert!(hashes.insert(hash(&text)), "length {length}");
            for index in 0..length {
                text[index] = b'b';
                assert!(hashes.insert(hash(&text)), "byte {index} of {length}");
                text[index] = b'a';
            }
        }
    }
}
