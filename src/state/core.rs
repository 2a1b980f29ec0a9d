//! The state file and what this process has stored in it: saves go in, transactions come out.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, TransactionBehavior};

use super::database::Database;
use super::fault::Fault;
use super::pending::Pending;
use super::report::Report;
use super::stored::{self, Stored};
use super::times::to_millis;
use super::{AccountKey, StateError, StoredAccount, accounts, prune, restore};

/// The numbers of an account that has not been saved for this long are no longer kept in memory.
const FORGET_AFTER: Duration = Duration::from_hours(24);

/// How often work on a corrupt or replaced file is tried with a new one.
const ATTEMPTS: usize = 3;

/// A state file and what this process has stored in it.
#[derive(Debug)]
pub(super) struct Core {
    database: Database,
    contents: Contents,
    now: fn() -> SystemTime,
}

/// What this process has read from the file or written to it.
#[derive(Debug, Default)]
struct Contents {
    accounts: HashMap<String, Stored>,
    /// Whether the file still has that. It does not if it was opened again, because it may be another one.
    is_written: bool,
}

impl Contents {
    /// Returns what is stored of the source of an account.
    fn get(&self, pending: &Pending) -> Option<&Stored> {
        self.accounts.get(&pending.account.name).filter(|stored| stored.source == pending.account.source)
    }

    /// Notes that the file may not have what is stored any more.
    fn forget(&mut self) {
        self.is_written = self.accounts.is_empty();
        self.accounts.values_mut().for_each(Stored::forget_restored_listing);
    }
}

/// Saves that wait, by the name of their account.
pub(super) type Batch = HashMap<String, Pending>;

impl Core {
    /// Opens a state file. An error that may pass is reported, and the file is opened for reading if that is possible.
    pub(super) fn open(database: Database, now: fn() -> SystemTime, report: &Report) -> Result<Self, StateError> {
        let mut core = Self { database, contents: Contents::default(), now };
        match core.with_file(report, |_, _| Ok(())) {
            Ok(()) => {}
            Err(Fault::Refused(error)) => return Err(error),
            Err(fault) => {
                report.write_failed(core.path(), &fault.to_string());
                // Other errors are already reported.
                if let Err(Fault::Refused(error)) = core.database.open_reader() {
                    return Err(error);
                }
            }
        }
        Ok(core)
    }

    pub(super) fn path(&self) -> &Path {
        self.database.path()
    }

    /// Does something with the open file. If that is corrupt or has been replaced, it is done with a new one.
    fn with_file<T>(
        &mut self,
        report: &Report,
        mut work: impl FnMut(&mut Connection, &Contents) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        for _ in 0..ATTEMPTS {
            let result = self.open_again().and_then(|()| work(self.database.writer()?, &self.contents));
            let Err(fault) = result else { return result };
            if fault.needs_reopening() {
                self.database.close_connections();
            }
            match fault {
                Fault::Corrupt(problem) => self.move_aside(report, &problem)?,
                Fault::Moved => {}
                fault => return Err(fault),
            }
        }
        Err(Fault::Moved)
    }

    fn open_again(&mut self) -> Result<(), Fault> {
        if self.database.open()? {
            self.contents.forget();
        }
        Ok(())
    }

    fn move_aside(&mut self, report: &Report, problem: &str) -> Result<(), Fault> {
        let target = self.database.move_aside((self.now)())?;
        report.moved_aside(self.database.path(), problem, &target);
        Ok(())
    }

    /// Returns the stored state of an account of the same source.
    pub(super) fn restore(&mut self, account: &AccountKey, report: &Report) -> Option<StoredAccount> {
        let now = (self.now)();
        let restored = match restore::restore(self.database.reader()?, account, now) {
            Ok(restored) => restored?,
            Err(Fault::Corrupt(problem)) => {
                // What could not be read is lost; the others are saved again after their next poll.
                if let Err(fault) = self.move_aside(report, &problem) {
                    report.read_failed(self.database.path(), &account.name, &problem);
                    report.write_failed(self.database.path(), &fault.to_string());
                }
                return None;
            }
            Err(fault) => {
                report.read_failed(self.database.path(), &account.name, &fault.to_string());
                return None;
            }
        };
        if let Some(problem) = &restored.problem {
            report.read_failed(self.database.path(), &account.name, problem);
        }
        self.contents.accounts.insert(account.name.clone(), restored.stored);
        Some(restored.account)
    }

    /// Writes everything that waits in one transaction.
    pub(super) fn write(&mut self, batch: &Batch, seen: &HashSet<String>, report: &Report) -> Result<(), Fault> {
        let now = to_millis((self.now)());
        let updates = self.with_file(report, |connection, contents| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut updates = Vec::with_capacity(batch.len());
            for (name, pending) in batch {
                let stored = contents.get(pending);
                updates.push((name.clone(), stored::write(&transaction, stored, contents.is_written, pending, now)?));
            }
            if !contents.is_written {
                for (name, stored) in contents.accounts.iter().filter(|(name, _)| !batch.contains_key(*name)) {
                    stored.write_again(&transaction, name, now)?;
                }
            }
            for name in seen {
                accounts::mark_seen(&transaction, name, now)?;
            }
            transaction.commit()?;
            Ok(updates)
        })?;
        self.contents.is_written = true;
        self.contents.accounts.extend(updates);
        report.written(self.database.path(), (self.now)());
        Ok(())
    }

    /// Does one step of what has to be done from time to time. Returns whether there is more to do.
    pub(super) fn maintain(&mut self, retention: Duration, report: &Report) -> Result<bool, Fault> {
        let now = (self.now)();
        self.contents.accounts.retain(|_, stored| stored.since.elapsed() < FORGET_AFTER);
        self.with_file(report, |connection, _| prune::step(connection, now, retention))
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
