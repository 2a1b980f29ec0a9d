//! The small part of an inventory that the status page shows.

use std::ops::AddAssign;

use super::{Inventory, LabelTable, Money};

/// Counts and costs by few labels, of one account or summed over several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InventorySummary {
    /// Distinct numbers by country and status.
    pub numbers: LabelTable<2, u64>,
    /// Exact sums of the monthly fees by country and currency, in units of the currency.
    pub monthly_fees: LabelTable<2, Money>,
}

impl InventorySummary {
    /// Summarizes an inventory. Groups without numbers are left out.
    #[must_use]
    pub fn new(inventory: &Inventory) -> Self {
        let mut summary = Self::default();
        for ([country, _, status, currency], totals) in inventory.groups.iter().filter(|(_, totals)| totals.numbers > 0)
        {
            *summary.numbers.entry([country.clone(), status.clone()]).or_default() += totals.numbers;
            *summary.monthly_fees.entry([country.clone(), currency.clone()]).or_default() +=
                totals.monthly_fees.clone();
        }
        summary
    }
}

impl AddAssign<&Self> for InventorySummary {
    fn add_assign(&mut self, other: &Self) {
        for (labels, numbers) in &other.numbers {
            *self.numbers.entry(labels.clone()).or_default() += numbers;
        }
        for (labels, fees) in &other.monthly_fees {
            *self.monthly_fees.entry(labels.clone()).or_default() += fees.clone();
        }
    }
}
