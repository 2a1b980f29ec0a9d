//! Indexes into tables, which take half of a `usize`.

/// Converts an index, which always fits: memory is exhausted before 2³² entries.
pub(super) fn index(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
