//! A complete listing of an account.

use serde::{Deserialize, Serialize};

use super::Inventory;

/// One complete read of an account's numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// What the records add up to.
    pub inventory: Inventory,
    /// The number of numbers that the API reported.
    pub reported: u64,
}

impl Listing {
    /// Returns by how many the records listed, invalid ones included, differ from the number that the API reported.
    #[must_use]
    pub fn discrepancy(&self) -> u64 {
        (self.inventory.listed + self.inventory.invalid).abs_diff(self.reported)
    }
}
