//! The SQLite database of a state file: opened, locked, checked, and moved aside if it is corrupt.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::fault::Fault;
use super::files::{FileIdentity, MODE, move_aside, restrict_modes, with_suffix};
use super::lock::FileLock;
use super::{StateError, schema};

/// How long a statement waits for another program that writes; less than a poll waits for its save.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// The journal of a file larger than this, in bytes, is not checked when the file is opened, because that takes long.
const MAX_FULL_CHECK: u64 = 256 << 20;

/// What every SQLite database begins with.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// The size of the header of a database, and where the header has the application id.
const HEADER_SIZE: u64 = 100;
const HEADER_APPLICATION_ID: usize = 68;

/// The WAL is emptied after a transaction that leaves it larger than this, in bytes.
const MAX_WAL: u64 = 4 << 20;

/// The database of a state file of this process.
#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    lock: Option<FileLock>,
    writer: Option<Writer>,
    /// A connection that can only read, while there is none that can write.
    reader: Option<Connection>,
    is_closed: bool,
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
        Self { path, lock: None, writer: None, reader: None, is_closed: false }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens or creates the file, unless it is open and still at its path. Returns whether it had to be opened, in which
    /// case it may be another file than before.
    pub(super) fn open(&mut self) -> Result<bool, Fault> {
        if self.is_closed {
            return Err(Fault::Passing { message: "the exporter is shutting down".to_owned(), reopen: false });
        }
        if !self.lock.as_ref().is_some_and(FileLock::is_held) {
            self.lock = None;
            self.lock = Some(FileLock::acquire(&self.path)?);
        }
        if self.writer.as_mut().is_some_and(|writer| writer.is_at(&self.path)) {
            return Ok(false);
        }
        self.close_connections();
        self.writer = Some(Writer::open(&self.path)?);
        Ok(true)
    }

    /// Opens the file for reading only, if that is possible.
    pub(super) fn open_reader(&mut self) -> Result<(), Fault> {
        if self.path.metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            return Ok(());
        }
        let (reader, _) = open_read_only(&self.path)?;
        check_owner(&self.path, &reader)?;
        check_content(&self.path, &reader)?;
        self.reader = Some(reader);
        Ok(())
    }

    /// Returns the connection that can write, if the file is open.
    pub(super) fn writer(&mut self) -> Result<&mut Connection, Fault> {
        self.writer.as_mut().map(|writer| &mut writer.connection).ok_or(Fault::Moved)
    }

    /// Returns a connection for reading, if there is any.
    pub(super) fn reader(&self) -> Option<&Connection> {
        self.writer.as_ref().map(|writer| &writer.connection).or(self.reader.as_ref())
    }

    /// Empties the WAL if it is large. Waits for nobody: if the file is being read, a later call does it.
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
    pub(super) fn move_aside(&mut self, now: SystemTime) -> Result<PathBuf, Fault> {
        self.close_connections();
        if self.lock.is_none() {
            self.lock = Some(FileLock::acquire(&self.path)?);
        }
        Ok(move_aside(&self.path, now)?)
    }

    /// Closes the file, so that it is opened again when it is needed.
    pub(super) fn close_connections(&mut self) {
        self.writer = None;
        self.reader = None;
    }

    /// Closes the file for good.
    pub(super) fn close(&mut self) {
        self.checkpoint();
        self.close_connections();
        self.lock = None;
        self.is_closed = true;
    }
}

impl Writer {
    fn open(path: &Path) -> Result<Self, Fault> {
        // SQLite gives its side files the mode of the file. No other connection of this process may be open here,
        // because closing `file` releases their locks.
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(MODE).open(path)?;
        let size = file.metadata()?.len();
        let mut header = Vec::new();
        file.by_ref().take(HEADER_SIZE).read_to_end(&mut header)?;
        drop(file);
        if size > 0 {
            check_header(path, &header)?;
        }
        restrict_modes(path);

        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags)?;
        let identity = FileIdentity::of(path);
        configure(&connection)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "journal_size_limit", MAX_WAL.cast_signed())?;
        check_owner(path, &connection)?;
        if schema::version(&connection)? == 0 {
            // The header of the file must say whose it is, so it is written before there is a WAL.
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
        self.identity.is_some() && self.identity == FileIdentity::of(path) && !lost_wal
    }
}

/// Opens a database for reading only. Returns whether its WAL, if there is any, is ignored.
pub(super) fn open_read_only(path: &Path) -> Result<(Connection, bool), Fault> {
    match open_with(path, "mode=ro") {
        Ok(connection) => Ok((connection, false)),
        // SQLite needs to write a side file even to read, unless it is promised that nothing writes to the file.
        Err(error) => Ok((open_with(path, IMMUTABLE).map_err(|_| error)?, true)),
    }
}

/// The parameter of a database that is read as if nothing wrote to it, and without its side files.
const IMMUTABLE: &str = "immutable=1";

/// Opens a database for reading only, with a parameter of SQLite's URIs.
fn open_with(path: &Path, parameter: &str) -> Result<Connection, Fault> {
    let url = url::Url::from_file_path(std::path::absolute(path)?).map_err(|()| Fault::Moved)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(format!("{url}?{parameter}"), flags)?;
    configure(&connection)?;
    schema::version(&connection)?;
    Ok(connection)
}

/// Sets what every connection needs, mainly to be safe with a file that somebody else has prepared.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.pragma_update(None, "cell_size_check", true)
}

/// Checks, without SQLite, that a file is a database, and that it is not another application's.
fn check_header(path: &Path, header: &[u8]) -> Result<(), Fault> {
    if !header.starts_with(MAGIC) || (header.len() as u64) < HEADER_SIZE {
        return Err(Fault::Corrupt("it is not a SQLite database".to_owned()));
    }
    if header.get(HEADER_APPLICATION_ID..HEADER_APPLICATION_ID + 4) == Some(&schema::APPLICATION_ID.to_be_bytes()) {
        return Ok(());
    }
    // Another application's file is left untouched, so it must not be opened for writing.
    check_owner(path, &open_with(path, IMMUTABLE)?)
}

/// Checks whose file it is, and that its schema is not newer than this program.
pub(super) fn check_owner(path: &Path, connection: &Connection) -> Result<(), Fault> {
    let version = schema::version(connection)?;
    if schema::application_id(connection)? != schema::APPLICATION_ID {
        let tables = schema::tables(connection)?;
        return match tables.is_empty() {
            true if version == 0 => Ok(()),
            false if !schema::TABLES.iter().all(|table| tables.iter().any(|name| name == table)) => {
                Err(StateError::Foreign(path.to_owned()).into())
            }
            _ => Err(Fault::Corrupt("its application_id is wrong".to_owned())),
        };
    }
    match version {
        0 | schema::MAX_VERSION.. => Err(Fault::Corrupt("its user_version is wrong".to_owned())),
        1..=schema::VERSION => Ok(()),
        found => Err(StateError::Newer { path: path.to_owned(), found, supported: schema::VERSION }.into()),
    }
}

/// Checks the structure of the file. The content of a listing has its own checksum.
fn check_content(path: &Path, connection: &Connection) -> Result<(), Fault> {
    let is_large = path.metadata().is_ok_and(|metadata| metadata.len() > MAX_FULL_CHECK);
    let checks: &[&str] = if is_large {
        &["PRAGMA quick_check(accounts)", "PRAGMA quick_check(listings)"]
    } else {
        &["PRAGMA quick_check(1)"]
    };
    for check in checks {
        let result: String = connection.query_row(check, [], |row| row.get(0))?;
        if result != "ok" {
            return Err(Fault::Corrupt(result));
        }
    }
    Ok(())
}

/// Returns whether a file has data in a WAL beside it.
pub(super) fn has_wal(path: &Path) -> bool {
    with_suffix(path, "-wal").metadata().is_ok_and(|metadata| metadata.len() > 0)
}
