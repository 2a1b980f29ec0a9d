//! The options of the state file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::duration;

/// What survives a restart, and where.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "State")]
pub struct StateOptions {
    /// SQLite database that keeps inventories, counters and recorded changes across restarts; by default nothing is kept
    #[arg(id = "state.file", long, value_name = "PATH")]
    pub file: Option<PathBuf>,
    /// How long recorded changes are kept
    #[arg(id = "state.retention", long, value_name = "DURATION", default_value = "400d", value_parser = duration::parse_retention)]
    pub retention: Duration,
}

impl StateOptions {
    /// Returns what is wrong with the folder of the state file, if anything is.
    #[must_use]
    pub fn folder_problem(&self) -> Option<String> {
        let folder = folder_of(self.file.as_ref()?);
        (!folder.is_dir()).then(|| format!("folder {} does not exist; create it", folder.display()))
    }
}

/// Returns the folder that contains a file.
pub(super) fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
