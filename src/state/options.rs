//! The options of the state file.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::StateError;
use super::files::{folder_of, resolve};
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
    /// Returns what is wrong with the path of the state file, if anything is.
    #[must_use]
    pub fn folder_problem(&self) -> Option<String> {
        let file = self.file.as_ref()?;
        match resolve(file) {
            Err(StateError::MissingFolder(_)) => {
                let folder = folder_of(file);
                Some(if folder.is_dir() {
                    format!("the folder that {} links to does not exist; create it", file.display())
                } else {
                    format!("folder {} does not exist; create it", folder.display())
                })
            }
            Err(StateError::NotAFile(_)) => {
                Some(format!("{} is not a regular file; set the path of a file", file.display()))
            }
            _ => None,
        }
    }
}
