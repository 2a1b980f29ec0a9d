//! Texts that are written once and read often.

use std::sync::OnceLock;

/// A text, and what its readers make of it: each of [`Text::WAYS`] ways at most once.
#[derive(Debug, Default)]
pub struct Text {
    text: String,
    packed: [OnceLock<Vec<u8>>; Self::WAYS],
}

impl Text {
    /// The ways to pack a text; what they are is for its readers to say.
    pub const WAYS: usize = 2;

    /// The text as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text packed in a way, by the first who asks for that.
    pub fn packed(&self, way: usize, pack: impl FnOnce(&str) -> Vec<u8>) -> &[u8] {
        self.packed[way].get_or_init(|| pack(&self.text))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self { text, packed: [const { OnceLock::new() }; Self::WAYS] }
    }
}
