//! What a store and its writer share.

use std::time::{Duration, SystemTime};

use super::known::KnownAccounts;
use super::queue::Queue;
use super::reader::Reader;
use super::report::Report;

/// What the store and its writer share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) queue: Queue,
    pub(super) known: KnownAccounts,
    pub(super) reader: Reader,
    pub(super) report: Report,
    pub(super) retention: Duration,
    /// The wall clock.
    pub(super) now: fn() -> SystemTime,
}
