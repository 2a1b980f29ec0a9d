//! Why a state file cannot be used at all.

use std::path::PathBuf;

/// Why an exporter cannot start with a state file. Errors that may pass, like a full disk, are none.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// No file is configured.
    #[error("no state file is configured; set --state.file")]
    NoFile,
    /// The folder does not exist.
    #[error("cannot use state file {0}: its folder does not exist; create it or change --state.file")]
    MissingFolder(PathBuf),
    /// The path names a folder or a device.
    #[error("cannot use state file {0}: it is not a regular file; set --state.file to the path of a file")]
    NotAFile(PathBuf),
    /// Another exporter uses the file.
    #[error(
        "cannot use state file {0}: another exporter uses it; stop that exporter, or give each its own --state.file"
    )]
    InUse(PathBuf),
    /// The file is another application's.
    #[error(
        "cannot use state file {0}: it is the SQLite database of another application; set --state.file to another path"
    )]
    Foreign(PathBuf),
    /// A newer exporter has written the file.
    #[error(
        "cannot use state file {path}: its schema version is {found}, but this exporter supports at most {supported}; \
         use a newer exporter, or set --state.file to another path"
    )]
    Newer {
        /// The path of the file.
        path: PathBuf,
        /// The version of its schema.
        found: u32,
        /// The version that this program writes.
        supported: u32,
    },
    /// The writer cannot be started.
    #[error("cannot start the thread that writes the state file: {0}; raise the limit of threads")]
    Thread(std::io::Error),
}

impl StateError {
    /// Returns whether the configuration is invalid.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::NoFile | Self::MissingFolder(_) | Self::NotAFile(_))
    }
}
