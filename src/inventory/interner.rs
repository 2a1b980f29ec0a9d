//! An interner for label values: strings go in, small ids come out, and every id gives its string back.
//!
//! A listing has few distinct label values, so a number can refer to them by 4-byte ids, which also compare and hash
//! faster than strings. Ids are valid only for the interner that returned them, and nothing is ever removed.

use std::ops::Index;
use std::sync::Arc;

use foldhash::fast::RandomState;
use indexmap::IndexSet;

use super::index::index;
use crate::short_text::ShortText;

/// Distinct strings, numbered in the order in which they were first interned. The first one is empty.
#[derive(Debug)]
pub(super) struct StringInterner(IndexSet<Arc<str>, RandomState>);

/// Refers to a string of a [`StringInterner`]. Two ids are equal if and only if their strings are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct StringId(u32);

impl StringId {
    /// The id of the empty string in every interner.
    pub(super) const EMPTY: Self = Self(0);
}

impl Default for StringInterner {
    fn default() -> Self {
        Self(IndexSet::from_iter([Arc::from("")]))
    }
}

impl StringInterner {
    /// Returns the id of a string, adding the string if it is new.
    pub(super) fn intern(&mut self, text: &str) -> StringId {
        StringId(index(self.0.get_index_of(&ShortText(text)).unwrap_or_else(|| self.0.insert_full(text.into()).0)))
    }
}

impl Index<StringId> for StringInterner {
    type Output = Arc<str>;

    /// Returns the string of an id. Panics if the id is another interner's.
    fn index(&self, StringId(index): StringId) -> &Arc<str> {
        &self.0[index as usize]
    }
}
