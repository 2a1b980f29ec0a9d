//! What the fold of a listing stores of each number.

use super::E164;

/// What the fold stores of a number. All numbers of an account are in memory at once, so every byte counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct ListedNumber {
    pub(super) e164: E164,
    pub(super) page: u32,
    /// An index into the classes of the fold.
    pub(super) class: u32,
    /// An index into the optional labels of the fold.
    pub(super) optional_labels: u32,
    /// Unix timestamp in seconds, or [`UNKNOWN_TIME`].
    pub(super) created_at: u32,
    /// Unix timestamp in seconds, or [`UNKNOWN_TIME`].
    pub(super) updated_at: u32,
}

const _: () = assert!(size_of::<ListedNumber>() == 28);

impl ListedNumber {
    /// Returns the key that sorts by number and then by page: a single integer, because comparing one needs no branches.
    pub(super) fn order(&self) -> u128 {
        u128::from(self.e164.integer()) << u32::BITS | u128::from(self.page)
    }

    /// Returns the key that sorts the least recently updated numbers first.
    pub(super) fn update_order(&self) -> (u32, E164) {
        (self.updated_at, self.e164)
    }
}

/// Stands for a time that the API did not send, that no collector needs, or that is not between 1970 and 2106.
pub(super) const UNKNOWN_TIME: u32 = u32::MAX;

/// Removes all but the last of each run of items with the same number.
pub(super) fn dedup_keeping_last<T>(items: &mut Vec<T>, e164: impl Fn(&T) -> E164) {
    // `dedup_by_key` keeps the first of each run.
    items.reverse();
    items.dedup_by_key(|item| e164(item));
    items.reverse();
}

/// Returns the Unix timestamp in seconds, unless it is [`UNKNOWN_TIME`].
pub(super) fn known_time(seconds: u32) -> Option<u32> {
    Some(seconds).filter(|seconds| *seconds != UNKNOWN_TIME)
}
