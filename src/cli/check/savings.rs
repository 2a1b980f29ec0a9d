//! What numbers cost that may not be needed, and which groups cost the most.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;

use super::group::GroupReport;
use crate::inventory::{GroupTotals, Inventory};

/// Maximum number of expensive groups that are reported of each currency.
const MAX_GROUPS: usize = 10;

/// What numbers cost that may not be needed. A number can count several times: an unassigned number may also be suspended.
#[derive(Debug, Default)]
pub(super) struct Savings {
    /// Numbers without trunk and application, by currency. Those whose trunk or application cannot be read may have one.
    unassigned: TotalsByCurrency,
    suspended: TotalsByCurrency,
    pending: TotalsByCurrency,
}

type TotalsByCurrency = BTreeMap<String, GroupTotals>;

/// The numbers of one kind and their monthly fees by currency, exact decimals.
#[derive(Debug, Serialize)]
pub(super) struct Saving {
    pub(super) numbers: u64,
    pub(super) monthly_fees: BTreeMap<String, String>,
}

/// The savings in the form of the report.
#[derive(Debug, Serialize)]
pub(super) struct SavingsReport {
    pub(super) unassigned: Saving,
    pub(super) suspended: Saving,
    pub(super) pending: Saving,
}

impl Savings {
    /// Returns the savings of a listing.
    pub(super) fn new(inventory: &Inventory) -> Self {
        let mut savings = Self::default();
        for ([_, _, status, currency], totals) in inventory.groups.iter().filter(|(_, totals)| totals.numbers > 0) {
            let by_currency = match &**status {
                "suspended" => &mut savings.suspended,
                "pending" => &mut savings.pending,
                _ => continue,
            };
            *by_currency.entry(currency.to_string()).or_default() += totals.clone();
        }
        for (currency, totals) in &inventory.unassigned {
            savings.unassigned.insert(currency.to_string(), totals.clone());
        }
        savings
    }

    /// Adds the savings of another account.
    pub(super) fn add(&mut self, other: &Self) {
        for (totals, others) in [
            (&mut self.unassigned, &other.unassigned),
            (&mut self.suspended, &other.suspended),
            (&mut self.pending, &other.pending),
        ] {
            for (currency, sum) in others {
                *totals.entry(currency.clone()).or_default() += sum.clone();
            }
        }
    }

    /// Returns the savings in the form of the report.
    pub(super) fn report(&self) -> SavingsReport {
        let [unassigned, suspended, pending] = [&self.unassigned, &self.suspended, &self.pending].map(Saving::new);
        SavingsReport { unassigned, suspended, pending }
    }
}

impl Saving {
    fn new(totals: &TotalsByCurrency) -> Self {
        Self {
            numbers: totals.values().map(|sum| sum.numbers).sum(),
            monthly_fees: totals
                .iter()
                .map(|(currency, sum)| (currency.clone(), sum.monthly_fees.to_string()))
                .collect(),
        }
    }
}

/// A group that costs more than others.
#[derive(Debug, Serialize)]
pub(super) struct ExpensiveGroup {
    pub(super) account: String,
    #[serde(flatten)]
    pub(super) group: GroupReport,
}

/// Returns the groups with the highest monthly fees of each currency, the most expensive first.
pub(super) fn expensive_groups<'a>(groups: impl Iterator<Item = (&'a str, &'a GroupReport)>) -> Vec<ExpensiveGroup> {
    let mut by_currency: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for (account, group) in groups {
        by_currency.entry(&group.currency).or_default().push((account, group));
    }
    let most_expensive = by_currency.into_values().flat_map(|mut groups| {
        // The sort is stable: groups that cost the same keep their order.
        groups.sort_by_key(|(_, group)| Reverse(&group.exact_monthly_fees));
        groups.into_iter().take(MAX_GROUPS)
    });
    most_expensive
        .map(|(account, group)| ExpensiveGroup { account: account.to_owned(), group: group.clone() })
        .collect()
}
