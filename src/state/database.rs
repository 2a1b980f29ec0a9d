//! The SQLite database of a state file: opened, locked, checked, and moved aside if it is corrupt.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::connection::{BUSY_TIMEOUT, HEADER_SIZE, check_content, check_header, check_owner, configure};
use super::fault::Fault;
use super::files::{FileIdentity, MODE, move_aside, restrict_modes, with_suffix};
use super::lock::FileLock;
use super::reader::Reader;
use super::schema;

/// The WAL is emptied after a transaction that leaves it larger than this, in bytes.
const MAX_WAL: u64 = 4 << 20;

/// The database of a state file of this process.
#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    lock: Option<FileLock>,
    writer: Option<Writer>,
    is_closed: bool,
}

/// What opening a file has found.
#[derive(Debug)]
pub(super) struct Opened {
    /// Whether the file had to be opened, in which case it may be another file than before.
    pub(super) is_new: bool,
    /// Whether the file was removed or replaced while it was open.
    pub(super) is_replaced: bool,
}

/// A connection that can write.
#[derive(Debug)]
struct Writer {
    connection: Connection,
    identity: Option<FileIdentity>,
    /// Whether the WAL has been seen beside the file.
    has_wal: bool,
}

impl Database {
    /// Returns the database at this path, which is not opened yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, lock: None, writer: None, is_closed: false }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens or creates the file, unless it is open and still at its path.
    pub(super) fn open(&mut self, reader: &Reader) -> Result<Opened, Fault> {
        if self.is_closed {
            return Err(Fault::Passing { message: "the exporter is shutting down".to_owned(), reopen: false });
        }
        if !self.lock.as_ref().is_some_and(FileLock::is_held) {
            self.lock = None;
            self.lock = Some(FileLock::acquire(&self.path)?);
        }
        if self.writer.as_mut().is_some_and(|writer| writer.is_at(&self.path)) {
            return Ok(Opened { is_new: false, is_replaced: false });
        }
        let is_replaced = self.writer.is_some();
        self.close_connection();
        self.writer = Some(Writer::open(&self.path, reader)?);
        Ok(Opened { is_new: true, is_replaced })
    }

    /// Returns the connection that can write, if the file is open.
    pub(super) fn writer(&mut self) -> Result<&mut Connection, Fault> {
        self.writer.as_mut().map(|writer| &mut writer.connection).ok_or(Fault::Moved)
    }

    /// Empties the WAL if it is large. If the file is being read, a later call does it.
    pub(super) fn shrink_wal(&mut self) {
        let wal = with_suffix(&self.path, "-wal");
        if wal.metadata().is_ok_and(|metadata| metadata.len() > MAX_WAL) {
            self.checkpoint();
        }
    }

    fn checkpoint(&mut self) {
        let Ok(connection) = self.writer() else { return };
        // An error does no harm, because the WAL has everything; what is wrong will be noticed by the next transaction.
        _ = connection.busy_timeout(Duration::ZERO);
        _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        _ = connection.busy_timeout(BUSY_TIMEOUT);
    }

    /// Moves the file aside if it is this process's to move, and returns its new path.
    pub(super) fn move_aside(&mut self, now: SystemTime, reader: &Reader) -> Result<PathBuf, Fault> {
        self.close_connection();
        if self.lock.is_none() {
            self.lock = Some(FileLock::acquire(&self.path)?);
        }
        Ok(reader.while_closed(|| move_aside(&self.path, now))?)
    }

    /// Closes the file, so that it is opened again when it is needed.
    pub(super) fn close_connection(&mut self) {
        self.writer = None;
    }

    /// Closes the file for good.
    pub(super) fn close(&mut self) {
        self.checkpoint();
        self.close_connection();
        self.lock = None;
        self.is_closed = true;
    }
}

impl Writer {
    fn open(path: &Path, reader: &Reader) -> Result<Self, Fault> {
        // No other connection of this process may be open here, because closing the file releases their locks.
        let header = reader.while_closed(|| create(path))?;
        if !header.is_empty() {
            check_header(path, &header)?;
        }
        restrict_modes(path);

        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags)?;
        let identity = FileIdentity::of(path);
        configure(&connection, BUSY_TIMEOUT)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "journal_size_limit", MAX_WAL.cast_signed())?;
        check_owner(path, &connection)?;
        if schema::version(&connection)? == 0 {
            // The header of the file must have the application id, so it is written before there is a WAL.
            connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
            connection.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
        } else {
            check_content(path, &connection)?;
        }
        if schema::version(&connection)? < schema::VERSION {
            schema::migrate(&mut connection)?;
        }
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        Ok(Self { connection, identity, has_wal: false })
    }

    /// Returns whether the file and its WAL, which are open, are still at this path.
    fn is_at(&mut self, path: &Path) -> bool {
        let has_wal = with_suffix(path, "-wal").exists();
        let lost_wal = self.has_wal && !has_wal;
        self.has_wal = has_wal;
        if self.identity.is_none() || self.identity != FileIdentity::of(path) || lost_wal {
            return false;
        }
        let is_truncated = path.metadata().is_ok_and(|metadata| metadata.len() < HEADER_SIZE);
        if is_truncated {
            // Closing it must not write the WAL to what is left of the file.
            _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        }
        !is_truncated
    }
}

/// Creates a file if there is none, and returns its header.
fn create(path: &Path) -> std::io::Result<Vec<u8>> {
    // SQLite gives its side files the mode of the file.
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(MODE).open(path)?;
    let mut header = Vec::new();
    file.take(HEADER_SIZE).read_to_end(&mut header)?;
    Ok(header)
}
