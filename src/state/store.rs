//! A state file in use by this process.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use super::files::resolve;
use super::known::KnownAccounts;
use super::queue::Queue;
use super::reader::Reader;
use super::report::Report;
use super::restore;
use super::shared::Shared;
use super::state_file::StateFile;
use super::writer;
use super::{AccountKey, Save, StateError, StateOptions, StateStatus, StoredAccount};

/// How long dropping a store waits for what is left to store.
const DROP_TIMEOUT: Duration = Duration::from_secs(2);

/// A state file in use by this process. Dropping it closes the file.
#[derive(Debug)]
pub struct StateStore {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
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
        let shared = Arc::new(Shared {
            queue: Queue::default(),
            known: KnownAccounts::default(),
            reader: Reader::new(path.clone()),
            report: Report::default(),
            retention: options.retention,
            now,
        });
        let file = StateFile::open(path, &shared)?;
        let writer_shared = Arc::clone(&shared);
        let builder = thread::Builder::new().name("state".to_owned());
        let writer = builder.spawn(move || writer::run(file, &writer_shared)).map_err(StateError::Thread)?;
        Ok(Self { shared, writer: Mutex::new(Some(writer)) })
    }

    /// Returns the state of an account, if there is any of the same source. Does not wait for a write.
    pub fn restore(&self, account: &AccountKey) -> Option<StoredAccount> {
        let restored = restore::restore(&self.shared, account)?;
        self.shared.queue.mark_seen(account.name.clone());
        Some(restored)
    }

    /// Stores the result of a poll. Returns when that is committed or has failed, or after `timeout`; in the last two
    /// cases it is stored later, when it can be. While storing is known to be slow, returns at once.
    pub fn save(&self, save: Save, timeout: Duration) {
        if self.shared.queue.save(save.into(), timeout) {
            self.shared.report.combined(self.shared.reader.path());
        }
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
