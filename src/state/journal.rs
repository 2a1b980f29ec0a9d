//! The journal of changes, as other programs than the exporter read it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rusqlite::{Connection, Row, named_params};
use rustix::fs::{Access, access};
use rustix::io::Errno;

use super::connection::{BUSY_TIMEOUT, check_owner, has_wal, is_missing_side_file, open_read_only};
use super::fault::Fault;
use super::files::with_suffix;
use super::times::to_millis;
use super::{RecordedChange, StateError, changes, schema};
use crate::inventory::ChangeKind;

/// Rows that are read at once. In between the file is free, so that a reader that pauses does not let its WAL grow.
const ROWS: u32 = 1000;

/// The position of a row, and its change; `None` if the row is invalid.
type JournalRow = ((i64, i64), Option<RecordedChange>);

/// Which changes to read.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeFilter {
    /// Only changes at this time or later.
    pub since: SystemTime,
    /// Only changes of these accounts; all if it is empty.
    pub accounts: Vec<String>,
    /// Only changes of these kinds; all if it is empty.
    pub kinds: Vec<ChangeKind>,
}

/// Why a journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file does not exist.
    #[error("cannot read state file {0}: it does not exist; set --state.file to the file of an exporter or to a copy")]
    Missing(PathBuf),
    /// The file is something else.
    #[error(
        "cannot read state file {0}: it is not a state file; set --state.file to the file of an exporter or to a copy"
    )]
    NotAStateFile(PathBuf),
    /// A newer exporter has written the file.
    #[error(
        "cannot read state file {path}: its schema version is {found}, but this program supports at most {supported}; use a newer one"
    )]
    Newer {
        /// The path of the file.
        path: PathBuf,
        /// The version of its schema.
        found: u32,
        /// The version that this program reads.
        supported: u32,
    },
    /// The changes of a copy are not complete without its WAL, which cannot be read here.
    #[error(
        "cannot read state file {0}: {0}-wal has data, but the folder is not writable; copy both files to another folder"
    )]
    WalUnreadable(PathBuf),
    /// The file is locked.
    #[error("cannot read state file {0}: it is locked by another program; try again")]
    Locked(PathBuf),
    /// The file or its folder cannot be read by this user.
    #[error("cannot read state file {0}: permission denied; run as the exporter's user or root")]
    PermissionDenied(PathBuf),
    /// The file is corrupt.
    #[error("cannot read state file {path}: {problem}; an exporter that uses it replaces it")]
    Corrupt {
        /// The path of the file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The file cannot be read.
    #[error("cannot read state file {path}: {cause}")]
    Unreadable {
        /// The path of the file.
        path: PathBuf,
        /// The cause, and the remedy.
        cause: String,
    },
}

/// The journal of a state file, which may be in use by an exporter, or a copy of one.
#[derive(Debug)]
pub struct Journal {
    connection: Connection,
    path: PathBuf,
}

impl Journal {
    /// Opens the journal of a state file for reading.
    ///
    /// # Errors
    /// If the file does not exist, is not a state file, or cannot be read.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        match path.metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(JournalError::Missing(path.to_owned())),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Err(JournalError::PermissionDenied(path.to_owned()));
            }
            Err(error) => return Err(JournalError::new(path, error.into())),
            Ok(metadata) if !metadata.is_file() || metadata.len() == 0 => {
                return Err(JournalError::NotAStateFile(path.to_owned()));
            }
            Ok(_) => {}
        }
        if [path.to_owned(), with_suffix(path, "-wal")]
            .iter()
            .any(|path| access(path, Access::READ_OK) == Err(Errno::ACCESS))
        {
            return Err(JournalError::PermissionDenied(path.to_owned()));
        }
        let connection = open_read_only(path, BUSY_TIMEOUT).map_err(|error| {
            let is_wal_unreadable = is_missing_side_file(&error) && has_wal(path);
            if is_wal_unreadable {
                JournalError::WalUnreadable(path.to_owned())
            } else {
                JournalError::new(path, error.into())
            }
        })?;
        check_owner(path, &connection).map_err(|fault| JournalError::new(path, fault))?;
        if schema::version(&connection).map_err(|error| JournalError::new(path, error.into()))? == 0 {
            return Err(JournalError::NotAStateFile(path.to_owned()));
        }
        Ok(Self { connection, path: path.to_owned() })
    }

    /// Calls `on_change` with each change that the filter selects, the earliest first, until it returns an error.
    /// Returns how many rows are skipped because they are invalid.
    ///
    /// # Errors
    /// If the file cannot be read, or the error of `on_change`.
    pub fn read<E: From<JournalError>>(
        &self,
        filter: &ChangeFilter,
        mut on_change: impl FnMut(RecordedChange) -> Result<(), E>,
    ) -> Result<u64, E> {
        let mut skipped = 0;
        // The last row that was read.
        let mut last = (to_millis(filter.since).saturating_sub(1), i64::MAX);
        loop {
            let rows = self.rows_after(last, filter).map_err(|error| JournalError::new(&self.path, error.into()))?;
            let is_last = rows.len() < ROWS as usize;
            for (position, change) in rows {
                last = position;
                match change {
                    Some(change) => on_change(change)?,
                    None => skipped += 1,
                }
            }
            if is_last {
                return Ok(skipped);
            }
        }
    }

    /// Returns the next rows after a position, with their positions; `None` for an invalid one.
    fn rows_after(&self, (time, id): (i64, i64), filter: &ChangeFilter) -> rusqlite::Result<Vec<JournalRow>> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {} FROM changes
             WHERE (time, id) > (:time, :id) AND typeof(time) = 'integer'
                 AND (:accounts IS NULL OR account IN (SELECT value FROM json_each(:accounts)))
                 AND (:kinds IS NULL OR kind IN (SELECT value FROM json_each(:kinds)))
             ORDER BY time, id LIMIT :rows",
            changes::COLUMNS
        ))?;
        let kinds: Vec<_> = filter.kinds.iter().map(|kind| kind.as_str()).collect();
        let accounts: Vec<_> = filter.accounts.iter().map(String::as_str).collect();
        let parameters = named_params! {
            ":time": time,
            ":id": id,
            ":accounts": json_array(&accounts),
            ":kinds": json_array(&kinds),
            ":rows": ROWS,
        };
        let read = |row: &Row<'_>| Ok(((row.get("time")?, row.get("id")?), changes::read(row).ok()));
        statement.query_map(parameters, read)?.collect()
    }
}

/// Returns a JSON array; `None` if there are no items.
fn json_array(items: &[&str]) -> Option<String> {
    (!items.is_empty()).then(|| serde_json::json!(items).to_string())
}

impl JournalError {
    fn new(path: &Path, fault: Fault) -> Self {
        let path = path.to_owned();
        match fault {
            Fault::Refused(StateError::Newer { path, found, supported }) => Self::Newer { path, found, supported },
            Fault::Refused(StateError::Foreign(path)) => Self::NotAStateFile(path),
            Fault::Corrupt(problem) | Fault::InvalidValue(problem) => Self::Corrupt { path, problem },
            Fault::Locked => Self::Locked(path),
            Fault::Passing { message: cause, .. } => Self::Unreadable { path, cause },
            fault => Self::Unreadable { path, cause: format!("{fault}; try again") },
        }
    }
}
