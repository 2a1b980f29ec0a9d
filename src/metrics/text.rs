//! Text that is rendered once and served often.

use std::sync::OnceLock;

use bytes::Bytes;

use super::encoding::{CompressionLevel, Compressors, Encoding};

/// A text and its compressed forms, each made at most once, when it is first requested.
#[derive(Debug)]
pub struct CachedText {
    text: Bytes,
    /// By [`Encoding::COMPRESSED`].
    compressed: [OnceLock<Bytes>; Encoding::COMPRESSED.len()],
}

impl CachedText {
    /// Returns the text without compression.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.text
    }

    /// Returns the text in an encoding, as a part of a body: see [`BodyEncoder`](super::body::BodyEncoder).
    pub(super) fn encoded(&self, encoding: Encoding, level: CompressionLevel, compressors: &mut Compressors) -> &Bytes {
        let Some(index) = Self::index(encoding) else { return &self.text };
        let compress = || compressors.compress(&self.text, encoding, level).into_boxed_slice().into();
        self.compressed[index].get_or_init(compress)
    }

    /// Returns whether the compressed form has been requested.
    pub(super) fn has_compressed(&self, encoding: Encoding) -> bool {
        Self::index(encoding).is_some_and(|index| self.compressed[index].get().is_some())
    }

    /// Returns the index of a compressed form.
    fn index(encoding: Encoding) -> Option<usize> {
        Encoding::COMPRESSED.iter().position(|compressed| *compressed == encoding)
    }
}

impl From<String> for CachedText {
    fn from(text: String) -> Self {
        // A boxed slice has no spare capacity, which would be kept as long as the text.
        let text = text.into_boxed_str().into_boxed_bytes().into();
        Self { text, compressed: [const { OnceLock::new() }; Encoding::COMPRESSED.len()] }
    }
}
