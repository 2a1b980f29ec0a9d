//! The journal of changes, read by anyone.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::inventory::{ChangeKind, ChangeRecord};

/// A change of a number, as recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedChange {
    /// When the poll that found it ended.
    pub at: SystemTime,
    /// The name of the account.
    pub account: String,
    /// The change.
    pub change: ChangeRecord,
}

/// Which changes to read.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeFilter {
    /// Only changes at this time or later.
    pub since: SystemTime,
    /// Only changes of these accounts; all if it is empty.
    pub accounts: Vec<String>,
    /// Only changes of these kinds; all if it is empty.
    pub kinds: Vec<ChangeKind>,
}

/// Why a journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file does not exist.
    #[error("placeholder")]
    Missing(PathBuf),
}

/// The journal of a state file, which may be in use by an exporter, or a copy of one.
#[derive(Debug)]
pub struct Journal {}

impl Journal {
    /// Opens the journal of a state file for reading.
    ///
    /// # Errors
    /// If the file does not exist, is not a state file, or cannot be read.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        _ = path;
        Ok(Self {})
    }

    /// Calls `on_change` with each change that the filter selects, the earliest first, until it returns an error.
    ///
    /// # Errors
    /// If the file cannot be read, or the error of `on_change`.
    pub fn read<E: From<JournalError>>(
        &self,
        filter: &ChangeFilter,
        on_change: impl FnMut(RecordedChange) -> Result<(), E>,
    ) -> Result<(), E> {
        _ = (filter, on_change);
        Ok(())
    }
}
