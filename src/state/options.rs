//! The options of the state file.

use std::path::PathBuf;
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
    #[arg(id = "state.retention", long, value_name = "DURATION", default_value = "400d", value_parser = duration::parse_positive)]
    pub retention: Duration,
}
