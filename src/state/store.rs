//! A state file in use by this process.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use super::core::Core;
use super::database::Database;
use super::files::resolve;
use super::queue::Queue;
use super::report::Report;
use super::writer::{self, Shared};
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
