//! Phone numbers by country and status, as the table and the chart of them show.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::inventory::InventorySummary;
use crate::tryvox::STATUSES;

/// How many numbers each country has, by status.
pub(super) struct CountryCounts {
    /// The documented statuses in their order, then any others.
    pub(super) statuses: Vec<Arc<str>>,
    /// Countries with their counts in the order of `statuses`; those with the most numbers first.
    pub(super) rows: Vec<(String, Vec<u64>)>,
}

impl CountryCounts {
    /// Counts the numbers of an overview.
    pub(super) fn new(overview: &InventorySummary) -> Self {
        let mut statuses: Vec<Arc<str>> = STATUSES.map(Arc::from).to_vec();
        for [_, status] in overview.numbers.keys() {
            if !statuses.contains(status) {
                statuses.push(status.clone());
            }
        }
        let mut countries: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for ([country, status], numbers) in &overview.numbers {
            let row = countries.entry(country).or_insert_with(|| vec![0; statuses.len()]);
            if let Some(column) = statuses.iter().position(|other| other == status) {
                row[column] += numbers;
            }
        }
        let mut rows: Vec<_> = countries.into_iter().map(|(country, row)| (country.to_owned(), row)).collect();
        rows.sort_by_key(|(_, row)| std::cmp::Reverse(row.iter().sum::<u64>()));
        Self { statuses, rows }
    }

    /// Returns the sum of each column of `rows`.
    pub(super) fn column_sums(&self, rows: &[(String, Vec<u64>)]) -> Vec<u64> {
        let mut sums = vec![0; self.statuses.len()];
        for (_, row) in rows {
            sums.iter_mut().zip(row).for_each(|(sum, numbers)| *sum += numbers);
        }
        sums
    }
}

/// Returns an overview of countries `C00`, `C01`, …, each with a documented and an unknown status and two currencies.
#[cfg(test)]
pub(super) fn sample_overview(countries: usize) -> InventorySummary {
    let mut overview = InventorySummary::default();
    for country in 0..countries {
        let name: Arc<str> = format!("C{country:02}").into();
        for (status, numbers) in [("active", 10), ("suspended", 2), ("porting", 1)] {
            overview.numbers.insert([name.clone(), status.into()], numbers * (country as u64 + 1));
        }
        for (currency, amount) in [("USD", "1.5"), ("EUR", "0.25")] {
            overview.monthly_fees.insert([name.clone(), currency.into()], amount.parse().unwrap());
        }
    }
    overview
}
