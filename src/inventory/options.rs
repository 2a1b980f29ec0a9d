//! The `--collector.…` options: which tables an inventory has.

use clap::ArgAction;

use crate::options::{List, defaults, integer, list};

/// Which tables to make of a listing, and their limits.
#[derive(Debug, Clone, PartialEq, clap::Args)]
#[command(next_help_heading = "Collectors")]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct CollectorOptions {
    /// Count numbers by capability
    #[arg(id = "collector.capability", long, value_name = "BOOL", default_value = "true", action = ArgAction::Set)]
    pub capability: bool,
    /// Count numbers and fees by assignment: trunk, application, both or none
    #[arg(id = "collector.assignment", long, value_name = "BOOL", default_value = "true", action = ArgAction::Set)]
    pub assignment: bool,
    /// Export the oldest update by status and the newest creation
    #[arg(id = "collector.lifecycle", long, value_name = "BOOL", default_value = "true", action = ArgAction::Set)]
    pub lifecycle: bool,
    /// Count numbers by region
    #[arg(id = "collector.region", long, value_name = "BOOL", default_value = "false", action = ArgAction::Set)]
    pub region: bool,
    /// Count numbers by trunk
    #[arg(id = "collector.trunk", long, value_name = "BOOL", default_value = "false", action = ArgAction::Set)]
    pub trunk: bool,
    /// Count numbers by application
    #[arg(id = "collector.application", long, value_name = "BOOL", default_value = "false", action = ArgAction::Set)]
    pub application: bool,
    /// Statuses whose numbers get per-number series, comma-separated; none disables them
    #[arg(
        id = "collector.number.statuses",
        long,
        value_name = "STATUSES",
        default_value = "suspended",
        value_parser = number_statuses
    )]
    pub number_statuses: List<String>,
    /// Maximum number of per-number series per account; the least recently updated numbers are kept
    #[arg(
        id = "collector.number.limit",
        long,
        value_name = "N",
        default_value = "1000",
        value_parser = integer(0..=1_000_000_usize)
    )]
    pub number_limit: usize,
    /// Maximum distinct values per API-provided label and account; the most frequent are kept, the rest is `other`
    #[arg(
        id = "collector.label-limit",
        long,
        value_name = "N",
        default_value = "300",
        value_parser = integer(1..=100_000_usize)
    )]
    pub label_limit: usize,
}

/// Parses statuses, undocumented ones included; `none` is the empty list.
fn number_statuses(text: &str) -> Result<List<String>, String> {
    if text.trim() == "none" {
        return Ok(List::new());
    }
    let is_valid = |status: &str| !status.is_empty() && status != "none" && !status.chars().any(char::is_control);
    list(text, is_valid, "not a status; write it like suspended or suspended,pending, or none")
}

impl Default for CollectorOptions {
    fn default() -> Self {
        defaults()
    }
}
