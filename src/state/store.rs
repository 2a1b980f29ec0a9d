//! A state file in use by this process.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::{AccountKey, Save, StateOptions, StoredAccount};

/// Why an exporter cannot start with a state file. Errors that may pass, like a full disk, are none.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The folder does not exist.
    #[error("placeholder")]
    MissingFolder(PathBuf),
}

/// A state file in use by this process.
#[derive(Debug)]
pub struct StateStore {}

/// How storing goes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct StateStatus {
    /// Errors so far.
    pub errors: u64,
    /// When the last transaction was committed.
    pub last_write_at: Option<SystemTime>,
}

impl StateStore {
    /// Opens or creates a state file and starts its writer. `now` is the wall clock.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn open(options: &StateOptions, now: fn() -> SystemTime) -> Result<Self, StateError> {
        _ = (options, now);
        Ok(Self {})
    }

    /// Returns the state of an account, if there is any of the same source.
    pub fn restore(&self, account: &AccountKey) -> Option<StoredAccount> {
        _ = account;
        None
    }

    /// Stores the result of a poll. Returns when that is committed or has failed, or after `timeout`; in the last two
    /// cases it is stored later, when it can be.
    pub fn save(&self, save: Save, timeout: Duration) {
        _ = (save, timeout);
    }

    /// Returns how storing goes.
    #[must_use]
    pub fn status(&self) -> StateStatus {
        StateStatus::default()
    }

    /// Stores what is left, for at most `timeout`, and closes the file.
    pub fn close(&self, timeout: Duration) {
        _ = timeout;
    }
}
