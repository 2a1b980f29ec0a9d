//! What can go wrong with a state file, by what is to be done about it.

use std::io;

use rusqlite::ffi::{SQLITE_ERROR, SQLITE_READONLY_DBMOVED};
use rusqlite::{Error, ErrorCode};

use super::StateError;

/// Why something could not be done with a state file.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The file has to be moved aside.
    #[error("{0}")]
    Corrupt(String),
    /// Another file is at the path, or none, so it has to be opened again.
    #[error("the file was removed or replaced")]
    Moved,
    /// A stored value cannot be used, but the others can.
    #[error("{0}")]
    InvalidValue(String),
    /// The file must not be written.
    #[error(transparent)]
    Refused(#[from] StateError),
    /// Another program has locked the file.
    #[error("it is locked by another program; end that program")]
    Locked,
    /// The cause and the remedy of an error that may pass.
    #[error("{message}")]
    Passing {
        message: String,
        /// Whether the file has to be opened again to recover.
        reopen: bool,
    },
}

impl Fault {
    /// Returns whether the file has to be opened again before it is used again.
    pub(super) fn needs_reopening(&self) -> bool {
        match self {
            Self::Corrupt(_) | Self::Moved | Self::Refused(_) => true,
            Self::InvalidValue(_) | Self::Locked => false,
            Self::Passing { reopen, .. } => *reopen,
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let Error::SqliteFailure(failure, _) = &error else {
            return Self::InvalidValue(error.to_string());
        };
        let remedy = match failure.code {
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => return Self::Corrupt(error.to_string()),
            _ if failure.extended_code == SQLITE_READONLY_DBMOVED => return Self::Moved,
            // The tables and columns are checked nowhere else.
            _ if failure.extended_code == SQLITE_ERROR && error.to_string().starts_with("no such") => {
                return Self::Corrupt(error.to_string());
            }
            ErrorCode::DiskFull => "free space on the disk",
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => return Self::Locked,
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen => {
                "make the file and its folder writable for the exporter"
            }
            _ => "check the disk and the file system",
        };
        let reopen = !matches!(failure.code, ErrorCode::DiskFull | ErrorCode::OutOfMemory);
        Self::Passing { message: format!("{error}; {remedy}"), reopen }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        let remedy = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free space on the disk",
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::NotFound => {
                "make the file and its folder writable for the exporter"
            }
            _ => "check the disk and the file system",
        };
        Self::Passing { message: format!("{error}; {remedy}"), reopen: true }
    }
}
