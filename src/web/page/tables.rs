//! The tables of numbers and fees by country.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::country_counts::CountryCounts;
use super::format;
use crate::inventory::{InventorySummary, Money};

/// A table with a row per country.
#[derive(Debug, Default)]
pub(super) struct CountryTable {
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<CountryRow>,
}

#[derive(Debug)]
pub(super) struct CountryRow {
    /// The country, or `total`.
    pub(super) name: String,
    /// One cell per column.
    pub(super) cells: Vec<String>,
}

/// Returns the table of how many numbers each country has, by status.
pub(super) fn number_table(overview: &InventorySummary) -> CountryTable {
    let counts = CountryCounts::new(overview);
    let total = (counts.rows.len() > 1).then(|| ("total".to_owned(), counts.column_sums(&counts.rows)));
    let cells = |row: Vec<u64>| {
        let sum = row.iter().sum();
        row.into_iter().chain([sum]).map(format::count).collect()
    };
    CountryTable {
        columns: counts.statuses.iter().map(ToString::to_string).chain(["total".to_owned()]).collect(),
        rows: counts.rows.into_iter().chain(total).map(|(name, row)| CountryRow { name, cells: cells(row) }).collect(),
    }
}

/// Returns the table of the monthly fees of each country, by currency. Currencies are never added together.
pub(super) fn fee_table(overview: &InventorySummary) -> CountryTable {
    let mut countries: BTreeMap<&str, BTreeMap<&str, &Money>> = BTreeMap::new();
    for ([country, currency], amount) in &overview.monthly_fees {
        countries.entry(country).or_default().insert(currency, amount);
    }
    let totals = total_fees(overview);
    let cell = |amount: Option<&Money>| amount.map(format::amount).unwrap_or_default();
    let rows = countries.iter().map(|(country, amounts)| CountryRow {
        name: (*country).to_owned(),
        cells: totals.keys().map(|currency| cell(amounts.get(&**currency).copied())).collect(),
    });
    let total = (countries.len() > 1)
        .then(|| CountryRow { name: "total".to_owned(), cells: totals.values().map(format::amount).collect() });
    CountryTable { columns: totals.keys().map(ToString::to_string).collect(), rows: rows.chain(total).collect() }
}

/// Returns the monthly fees of all numbers, by currency.
pub(super) fn total_fees(overview: &InventorySummary) -> BTreeMap<Arc<str>, Money> {
    let mut totals: BTreeMap<Arc<str>, Money> = BTreeMap::new();
    for ([_, currency], amount) in &overview.monthly_fees {
        *totals.entry(currency.clone()).or_default() += amount.clone();
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::super::country_counts::sample_overview;
    use super::*;

    #[test]
    fn tables_end_with_the_totals() {
        let numbers = number_table(&sample_overview(2));
        assert_eq!(numbers.columns, ["active", "pending", "suspended", "porting", "total"]);
        assert_eq!(numbers.rows[2].cells, ["30", "0", "6", "3", "39"]);
        let fees = fee_table(&sample_overview(2));
        assert_eq!(fees.columns, ["EUR", "USD"]);
        assert_eq!(fees.rows[2].cells, ["0.50", "3.00"]);
    }
}
