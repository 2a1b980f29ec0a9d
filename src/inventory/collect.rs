//! What is asked of an inventory.

use std::sync::Arc;

use super::STATUSES;

/// The tables to make, and their limits.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct Collect {
    /// The statuses that are always there, at 0 where no number has them.
    pub statuses: Vec<Arc<str>>,
    /// Count by capability.
    pub capability: bool,
    /// Count by assignment.
    pub assignment: bool,
    /// Find the oldest update and the newest creation.
    pub lifecycle: bool,
    /// Count by region.
    pub region: bool,
    /// Count by trunk.
    pub trunk: bool,
    /// Count by application.
    pub application: bool,
    /// Numbers in these statuses have series of their own.
    pub number_statuses: Vec<String>,
    /// So many of them.
    pub number_limit: usize,
    /// The most distinct values of a label that comes from the API.
    pub label_limit: usize,
}

impl Default for Collect {
    fn default() -> Self {
        Self {
            statuses: STATUSES.map(Arc::from).to_vec(),
            capability: true,
            assignment: true,
            lifecycle: true,
            region: false,
            trunk: false,
            application: false,
            number_statuses: vec!["suspended".to_owned()],
            number_limit: 1000,
            label_limit: 300,
        }
    }
}

impl Collect {
    /// What is asked of a number in this status.
    pub(super) fn of_status(&self, status: &str) -> Asked {
        let series = self.number_statuses.iter().any(|asked| asked == status);
        Asked {
            series,
            place: series || self.region || self.trunk || self.application,
            updated: series || self.lifecycle,
        }
    }
}

/// What somebody asks of a number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// Series of its own, if there are not too many.
    pub(super) series: bool,
    /// Where it is.
    pub(super) place: bool,
    /// When it was updated.
    pub(super) updated: bool,
}
