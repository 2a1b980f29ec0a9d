//! The state file of the writer: saves go in, transactions come out.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, TransactionBehavior};

use super::database::Database;
use super::fault::Fault;
use super::queue::PendingWrites;
use super::shared::Shared;
use super::times::to_millis;
use super::update::Update;
use super::{StateError, accounts, prune};

/// How often work on a corrupt or replaced file is tried with a new one.
const ATTEMPTS: usize = 3;

/// A state file that is written.
#[derive(Debug)]
pub(super) struct StateFile {
    database: Database,
    /// Whether the file has what is known. It does not if it was opened again, because it may be another one.
    is_written: bool,
}

impl StateFile {
    /// Opens a state file. An error that may pass is reported, and the file is opened for reading if that is possible.
    pub(super) fn open(path: PathBuf, shared: &Shared) -> Result<Self, StateError> {
        let mut file = Self { database: Database::new(path), is_written: false };
        match file.with_connection(shared, |_, _| Ok(())) {
            Ok(()) => {}
            Err(Fault::Refused(error)) => return Err(error),
            Err(fault) => {
                shared.report.write_failed(file.database.path(), &fault.to_string());
                // Other errors are reported when an account cannot be restored.
                if let Err(Fault::Refused(error)) = shared.reader.open_checked() {
                    return Err(error);
                }
            }
        }
        Ok(file)
    }

    /// Does something with the open file. If that is corrupt or has been replaced, it is done with a new one.
    fn with_connection<T>(
        &mut self,
        shared: &Shared,
        mut work: impl FnMut(&mut Connection, bool) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        for _ in 0..ATTEMPTS {
            let result = self.open_again(shared).and_then(|()| work(self.database.writer()?, self.is_written));
            let Err(fault) = result else { return result };
            let was_open = self.database.writer().is_ok();
            if fault.needs_reopening() {
                self.database.close_connection();
            }
            match fault {
                Fault::Corrupt(problem) => {
                    let target = self.database.move_aside((shared.now)(), &shared.reader)?;
                    shared.report.moved_aside(self.database.path(), &problem, &target);
                }
                Fault::Moved if was_open => shared.report.replaced(self.database.path()),
                Fault::Moved => {}
                fault => return Err(fault),
            }
        }
        Err(Fault::Moved)
    }

    fn open_again(&mut self, shared: &Shared) -> Result<(), Fault> {
        if let Some(problem) = shared.reader.take_corruption() {
            return Err(Fault::Corrupt(problem));
        }
        let opened = self.database.open(&shared.reader)?;
        if opened.is_replaced {
            shared.report.replaced(self.database.path());
        }
        if opened.is_new {
            self.is_written = shared.known.is_empty();
            shared.known.forget_restored_listings();
        }
        Ok(())
    }

    /// Writes everything that waits in one transaction.
    pub(super) fn write(&mut self, writes: &PendingWrites, shared: &Shared) -> Result<(), Fault> {
        let now = (shared.now)();
        let updated = self.with_connection(shared, |connection, is_written| {
            // Other programs can write meanwhile.
            let mut updates = Vec::with_capacity(writes.saves.len());
            for pending in writes.saves.values() {
                updates.push(Update::of_save(connection, &shared.known, is_written, pending, now)?);
            }
            let known = if is_written { Vec::new() } else { shared.known.all() };
            for (name, known) in known.iter().filter(|(name, _)| !writes.saves.contains_key(name)) {
                updates.push(Update::of_known(name, known)?);
            }

            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for update in &updates {
                update.write(&transaction, to_millis(now))?;
            }
            for name in &writes.seen {
                accounts::mark_seen(&transaction, name, to_millis(now))?;
            }
            transaction.commit()?;
            let saved = updates.into_iter().map(Update::into_known);
            Ok(saved.filter(|(name, _)| writes.saves.contains_key(name)).collect::<Vec<_>>())
        })?;
        self.is_written = true;
        shared.known.extend(updated);
        shared.report.written(self.database.path(), (shared.now)());
        Ok(())
    }

    /// Does one step of what has to be done from time to time. Returns whether there is more to do.
    pub(super) fn maintain(&mut self, retention: Duration, shared: &Shared) -> Result<bool, Fault> {
        let now: SystemTime = (shared.now)();
        shared.known.forget_old();
        self.with_connection(shared, |connection, _| prune::step(connection, now, retention))
    }

    /// Empties the WAL if it is large.
    pub(super) fn shrink_wal(&mut self) {
        self.database.shrink_wal();
    }

    /// Closes the file for good.
    pub(super) fn close(&mut self) {
        self.database.close();
    }
}
