//! Connections to the SQLite database of a state file, and checks of what it is.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::ffi::{SQLITE_IOERR_SHMMAP, SQLITE_IOERR_SHMOPEN, SQLITE_IOERR_SHMSIZE};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::fault::Fault;
use super::files::with_suffix;
use super::{StateError, schema};

/// How long a statement waits for another program that writes; less than a poll waits for its save.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// The journal of a file larger than this, in bytes, is not checked when the file is opened, because that takes long.
const MAX_FULL_CHECK: u64 = 256 << 20;

/// What every SQLite database begins with.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// The size of the header of a database, and where the header has the application id.
pub(super) const HEADER_SIZE: u64 = 100;
const HEADER_APPLICATION_ID: usize = 68;

/// Opens a database for reading only.
pub(super) fn open_read_only(path: &Path, busy_timeout: Duration) -> rusqlite::Result<Connection> {
    match open_with(path, "mode=ro", busy_timeout) {
        // SQLite needs to write a side file even to read, unless it is promised that nothing writes to the file. Changes
        // in a WAL would be missing.
        Err(error) if is_missing_side_file(&error) && !has_wal(path) => {
            open_with(path, IMMUTABLE, busy_timeout).map_err(|_| error)
        }
        result => result,
    }
}

/// Returns whether a database cannot be opened because its side files cannot be created.
pub(super) fn is_missing_side_file(error: &rusqlite::Error) -> bool {
    let rusqlite::Error::SqliteFailure(failure, _) = error else { return false };
    matches!(failure.code, ErrorCode::CannotOpen | ErrorCode::ReadOnly)
        || [SQLITE_IOERR_SHMOPEN, SQLITE_IOERR_SHMSIZE, SQLITE_IOERR_SHMMAP].contains(&failure.extended_code)
}

/// The parameter of a database that is read as if nothing wrote to it, and without its side files.
const IMMUTABLE: &str = "immutable=1";

/// Opens a database for reading only, with a parameter of SQLite's URIs.
fn open_with(path: &Path, parameter: &str, busy_timeout: Duration) -> rusqlite::Result<Connection> {
    let invalid = || rusqlite::Error::InvalidPath(path.to_owned());
    let absolute = std::path::absolute(path).map_err(|_| invalid())?;
    let url = url::Url::from_file_path(absolute).map_err(|()| invalid())?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let opened = Connection::open_with_flags(format!("{url}?{parameter}"), flags);
    // The message would have the URI.
    let connection = opened.map_err(|error| match error {
        rusqlite::Error::SqliteFailure(failure, _) => rusqlite::Error::SqliteFailure(failure, None),
        error => error,
    })?;
    configure(&connection, busy_timeout)?;
    schema::version(&connection)?;
    Ok(connection)
}

/// Sets what every connection needs, mainly to be safe with a file that another program has prepared.
pub(super) fn configure(connection: &Connection, busy_timeout: Duration) -> rusqlite::Result<()> {
    connection.busy_timeout(busy_timeout)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.pragma_update(None, "cell_size_check", true)
}

/// Checks, without SQLite, that a file is a database, and that it is not another application's.
pub(super) fn check_header(path: &Path, header: &[u8]) -> Result<(), Fault> {
    if !header.starts_with(MAGIC) || (header.len() as u64) < HEADER_SIZE {
        return Err(Fault::Corrupt("it is not a SQLite database".to_owned()));
    }
    if header.get(HEADER_APPLICATION_ID..HEADER_APPLICATION_ID + 4) == Some(&schema::APPLICATION_ID.to_be_bytes()) {
        return Ok(());
    }
    // Another application's file is left untouched, so it must not be opened for writing.
    check_owner(path, &open_with(path, IMMUTABLE, BUSY_TIMEOUT)?)
}

/// Checks the application of a file, and that its schema is not newer than this program.
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
pub(super) fn check_content(path: &Path, connection: &Connection) -> Result<(), Fault> {
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
