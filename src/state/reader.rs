//! The connection that restores accounts: it does not wait for the connection that writes.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::connection::{check_content, check_owner, open_read_only};
use super::fault::Fault;
use super::files::FileIdentity;
use super::schema;

/// How long reading waits for another program that locks the file.
const BUSY_TIMEOUT: Duration = Duration::from_millis(100);

/// Time until a file that could not be opened is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// A connection that only reads. Opening the file for writing closes it.
#[derive(Debug)]
pub(super) struct Reader {
    path: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    open: Option<(Connection, Option<FileIdentity>)>,
    /// When the file could not be opened, and why.
    failure: Option<(Instant, String)>,
    /// What is wrong with the file, if it is corrupt.
    corruption: Option<String>,
    is_closed: bool,
}

impl Reader {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, inner: Mutex::default() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens and checks a file that cannot be opened for writing.
    pub(super) fn open_checked(&self) -> Result<(), Fault> {
        let mut inner = self.lock();
        match inner.connection(&self.path)? {
            Some(connection) => check_content(&self.path, connection),
            None => Ok(()),
        }
    }

    /// Reads something from the file; `None` if there is no file, or it is empty.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<Option<T>, Fault> {
        let mut inner = self.lock();
        let Some(connection) = inner.connection(&self.path)? else { return Ok(None) };
        let result = read(connection);
        if let Err(fault) = &result {
            if let Fault::Corrupt(problem) = fault {
                inner.corruption = Some(problem.clone());
            }
            if fault.needs_reopening() {
                inner.open = None;
            }
        }
        result.map(Some)
    }

    /// Closes the connection and does something while it cannot be opened.
    pub(super) fn while_closed<T>(&self, work: impl FnOnce() -> T) -> T {
        let mut inner = self.lock();
        inner.open = None;
        inner.failure = None;
        work()
    }

    /// Returns what is wrong with the file, if reading has found that it is corrupt.
    pub(super) fn take_corruption(&self) -> Option<String> {
        self.lock().corruption.take()
    }

    /// Closes the file for good.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        inner.open = None;
        inner.is_closed = true;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn connection(&mut self, path: &Path) -> Result<Option<&Connection>, Fault> {
        let metadata = match path.metadata() {
            Ok(metadata) if metadata.len() > 0 && !self.is_closed => metadata,
            // No other error means that there is no file.
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => return Ok(None),
        };
        let identity = Some(FileIdentity::new(&metadata));
        self.open = self.open.take().filter(|(_, opened)| *opened == identity);
        if self.open.is_none() {
            if let Some((at, message)) = &self.failure
                && at.elapsed() < RETRY_INTERVAL
            {
                return Err(Fault::Passing { message: message.clone(), reopen: true });
            }
            match open(path) {
                Ok(connection) => self.open = Some((connection, identity)),
                Err(fault) => {
                    self.failure = Some((Instant::now(), fault.to_string()));
                    if let Fault::Corrupt(problem) = &fault {
                        self.corruption = Some(problem.clone());
                    }
                    return Err(fault);
                }
            }
        }
        let connection = self.open.as_ref().map(|(connection, _)| connection);
        match connection {
            // The schema is not written yet.
            Some(connection) if schema::version(connection)? == 0 => Ok(None),
            connection => Ok(connection),
        }
    }
}

fn open(path: &Path) -> Result<Connection, Fault> {
    let connection = open_read_only(path, BUSY_TIMEOUT)?;
    check_owner(path, &connection)?;
    Ok(connection)
}
