//! What of a listing fits on a page.

use std::ops::AddAssign;

use super::{Inventory, Money, Table};

/// How many numbers there are and what they cost, by little; of one account or of several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overview {
    /// Distinct numbers, by country and status.
    pub numbers: Table<2, u64>,
    /// The exact sum of the monthly fees, by country and currency, in units of the currency.
    pub monthly_fees: Table<2, Money>,
}

impl Overview {
    /// The overview of a listing.
    #[must_use]
    pub fn of(inventory: &Inventory) -> Self {
        let mut overview = Self::default();
        for ([country, _, status, currency], sum) in inventory.groups.iter().filter(|(_, sum)| sum.numbers > 0) {
            *overview.numbers.entry([country.clone(), status.clone()]).or_default() += sum.numbers;
            *overview.monthly_fees.entry([country.clone(), currency.clone()]).or_default() += sum.monthly_fees.clone();
        }
        overview
    }
}

impl AddAssign<&Self> for Overview {
    fn add_assign(&mut self, other: &Self) {
        for (labels, numbers) in &other.numbers {
            *self.numbers.entry(labels.clone()).or_default() += numbers;
        }
        for (labels, fees) in &other.monthly_fees {
            *self.monthly_fees.entry(labels.clone()).or_default() += fees.clone();
        }
    }
}
