//! A state file in use by this process.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use super::core::Core;
use super::database::Database;
use super::files::resolve;
use super::queue::Queue;
use super::report::Report;
use super::{AccountKey, Save, StateOptions, StoredAccount, writer};

/// How long dropping a store waits for what is left to store.
const DROP_TIMEOUT: Duration = Duration::from_secs(2);

/// Why an exporter cannot start with a state file. Errors that may pass, like a full disk, are none.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// No file is configured.
    #[error("no state file is configured; set --state.file")]
    NoFile,
    /// The folder does not exist.
    #[error("cannot use state file {0}: its folder does not exist; create it or change --state.file")]
    MissingFolder(PathBuf),
    /// The path names a folder or a device.
    #[error("cannot use state file {0}: it is not a regular file; set --state.file to the path of a file")]
    NotAFile(PathBuf),
    /// Another exporter uses the file.
    #[error(
        "cannot use state file {0}: another exporter uses it; stop that exporter, or give each its own --state.file"
    )]
    InUse(PathBuf),
    /// The file is another application's.
    #[error(
        "cannot use state file {0}: it is the SQLite database of another application; set --state.file to another path"
    )]
    Foreign(PathBuf),
    /// A newer exporter has written the file.
    #[error(
        "cannot use state file {path}: its schema version is {found}, but this exporter supports at most {supported}; \
         use a newer exporter, or set --state.file to another path"
    )]
    Newer {
        /// The path of the file.
        path: PathBuf,
        /// The version of its schema.
        found: u32,
        /// The version that this program writes.
        supported: u32,
    },
    /// The writer cannot be started.
    #[error("cannot start the thread that writes the state file: {0}; raise the limit of threads")]
    Thread(std::io::Error),
}

impl StateError {
    /// Returns whether the configuration is invalid.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::NoFile | Self::MissingFolder(_) | Self::NotAFile(_))
    }
}

/// A state file in use by this process. Dropping it closes the file.
#[derive(Debug)]
pub struct StateStore {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What the store and its writer share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) core: Mutex<Core>,
    pub(super) queue: Queue,
    pub(super) report: Report,
    pub(super) retention: Duration,
}

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
    /// An error that may pass, like a full disk or a read-only file system, is reported by [`status`](Self::status).
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn open(options: &StateOptions, now: fn() -> SystemTime) -> Result<Self, StateError> {
        let path = resolve(options.file.as_deref().ok_or(StateError::NoFile)?)?;
        let report = Report::default();
        let core = Core::open(Database::new(path), now, &report)?;
        let (core, queue, retention) = (Mutex::new(core), Queue::default(), options.retention);
        let shared = Arc::new(Shared { core, queue, report, retention });
        let of_writer = Arc::clone(&shared);
        let builder = thread::Builder::new().name("state".to_owned());
        let writer = builder.spawn(move || writer::run(&of_writer)).map_err(StateError::Thread)?;
        Ok(Self { shared, writer: Mutex::new(Some(writer)) })
    }

    /// Returns the state of an account, if there is any of the same source.
    pub fn restore(&self, account: &AccountKey) -> Option<StoredAccount> {
        let mut core = self.shared.core.lock().unwrap_or_else(PoisonError::into_inner);
        let restored = core.restore(account, &self.shared.report)?;
        self.shared.queue.mark_seen(account.name.clone());
        Some(restored)
    }

    /// Stores the result of a poll. Returns when that is committed or has failed, or after `timeout`; in the last two
    /// cases it is stored later, when it can be. While storing is known to be slow, returns at once.
    pub fn save(&self, save: Save, timeout: Duration) {
        self.shared.queue.save(save.into(), timeout);
    }

    /// Returns how storing goes.
    #[must_use]
    pub fn status(&self) -> StateStatus {
        self.shared.report.status()
    }

    /// Stores what is left, for at most `timeout`, and closes the file. What is saved afterwards is not stored.
    pub fn close(&self, timeout: Duration) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if self.shared.queue.close(if writer.is_some() { timeout } else { Duration::ZERO })
            && let Some(writer) = writer
        {
            // It has closed the file and is about to end.
            drop(writer.join());
        }
    }
}

impl Drop for StateStore {
    fn drop(&mut self) {
        self.close(DROP_TIMEOUT);
    }
}
