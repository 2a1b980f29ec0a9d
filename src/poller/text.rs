//! Texts that are written once and read often.

use std::sync::OnceLock;

use bytes::Bytes;

/// A text, and what its readers make of it: each of [`Text::WAYS`] ways at most once.
#[derive(Debug, Default)]
pub struct Text {
    text: Bytes,
    packed: [OnceLock<Bytes>; Self::WAYS],
}

impl Text {
    /// The ways to pack a text; what they are is for its readers to say.
    pub const WAYS: usize = 2;

    /// The text as it was written.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.text
    }

    /// The text packed in a way, by the first who asks for that.
    pub fn packed(&self, way: usize, pack: impl FnOnce(&[u8]) -> Vec<u8>) -> &Bytes {
        self.packed[way].get_or_init(|| pack(&self.text).into_boxed_slice().into())
    }

    /// Whether somebody has asked for the text packed in that way.
    #[must_use]
    pub fn is_packed(&self, way: usize) -> bool {
        self.packed[way].get().is_some()
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        // It is kept for long, and what it does not need is not.
        let text = text.into_boxed_str().into_boxed_bytes().into();
        Self { text, packed: [const { OnceLock::new() }; Self::WAYS] }
    }
}
