//! A complete listing of an account.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Inventory, OwnerTotals, WatchedStatus};

/// One complete read of an account's numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// What the records add up to.
    pub inventory: Inventory,
    /// The number of numbers that the API reported.
    pub reported: u64,
    /// Whether pages reported different numbers of numbers, so that the listing may lack some even if it has as many.
    #[serde(default)]
    pub has_unstable_total: bool,
    /// Totals by owner. Not serialized, because they follow from the numbers and the configuration.
    #[serde(skip)]
    pub owners: OwnerTotals,
    /// The watched numbers.
    #[serde(default)]
    pub watched: Arc<[WatchedStatus]>,
}

impl Listing {
    /// Returns by how many the records listed, invalid ones included, differ from the number that the API reported.
    #[must_use]
    pub fn discrepancy(&self) -> u64 {
        (self.inventory.listed + self.inventory.invalid).abs_diff(self.reported)
    }

    /// Returns whether the listing has as many numbers as every page reported, all of whose records are valid, so that a
    /// number that is not in it does not exist.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.inventory.invalid == 0 && self.discrepancy() == 0 && !self.has_unstable_total
    }
}
