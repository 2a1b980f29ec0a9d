//! Tables and the chart: an overview in, rows out.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::words;
use crate::inventory::{InventorySummary, Money};
use crate::tryvox::STATUSES;

/// So many countries have a bar of their own; the rest share one.
const BARS: usize = 12;
/// Where bars begin and how long the longest is, in hundredths of the chart's width.
const BARS_FROM: f64 = 14.0;
const BARS_WIDTH: f64 = 68.0;
/// What there is room for before them, in characters.
const MAX_NAME: usize = 7;
/// From one bar to the next, in pixels.
const BAR_STEP: usize = 28;

/// Rows of texts under columns of names.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Row>,
}

#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) cells: Vec<String>,
}

/// Bars, each in parts.
#[derive(Debug, Default)]
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) height: usize,
    pub(super) legend: Vec<Entry>,
    pub(super) bars: Vec<Bar>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) class: &'static str,
}

#[derive(Debug)]
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) y: usize,
    pub(super) text_y: usize,
    pub(super) parts: Vec<Part>,
}

/// Where it begins and how long it is, in hundredths of the chart's width.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) class: &'static str,
    pub(super) x: String,
    pub(super) width: String,
}

/// The numbers of countries, by status, those with the most first.
struct Countries {
    statuses: Vec<Arc<str>>,
    rows: Vec<(String, Vec<u64>)>,
}

impl Countries {
    fn of(overview: &InventorySummary) -> Self {
        // The documented ones in their order, then what else there is.
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
}

/// How many numbers each country has, by status.
pub(super) fn numbers(overview: &InventorySummary) -> Table {
    let Countries { statuses, rows } = Countries::of(overview);
    let mut all = vec![0; statuses.len()];
    for (_, row) in &rows {
        all.iter_mut().zip(row).for_each(|(all, numbers)| *all += numbers);
    }
    let total = (rows.len() > 1).then(|| ("all".to_owned(), all));
    let cells = |row: Vec<u64>| {
        let sum = row.iter().sum();
        row.into_iter().chain([sum]).map(words::count).collect()
    };
    Table {
        columns: statuses.iter().map(ToString::to_string).chain(["all".to_owned()]).collect(),
        rows: rows.into_iter().chain(total).map(|(name, row)| Row { name, cells: cells(row) }).collect(),
    }
}

/// The same as bars.
pub(super) fn chart(overview: &InventorySummary) -> Chart {
    let Countries { statuses, mut rows } = Countries::of(overview);
    if rows.len() > BARS {
        let rest = rows.split_off(BARS - 1);
        let name = format!("{} more", rest.len());
        let mut sums = vec![0; statuses.len()];
        for (_, row) in rest {
            sums.iter_mut().zip(row).for_each(|(sum, numbers)| *sum += numbers);
        }
        rows.push((name, sums));
    }
    let sum = |row: &[u64]| row.iter().sum::<u64>();
    let longest = rows.iter().map(|(_, row)| sum(row)).max().unwrap_or(0).max(1);
    #[expect(clippy::cast_precision_loss, reason = "a length on a screen")]
    let length = |numbers: u64| numbers as f64 / longest as f64 * BARS_WIDTH;
    let bars = rows.iter().enumerate().map(|(index, (name, row))| {
        let mut before = 0;
        let parts = statuses.iter().zip(row).filter(|(_, numbers)| **numbers > 0).map(|(status, numbers)| {
            let x = format!("{:.3}", BARS_FROM + length(before));
            before += numbers;
            Part { class: class(status), x, width: format!("{:.3}", length(*numbers)) }
        });
        let parts = parts.collect();
        let (y, text_y) = (index * BAR_STEP + 4, index * BAR_STEP + 18);
        Bar { name: short(name), value: words::count(sum(row)), y, text_y, parts }
    });
    let bars: Vec<_> = bars.collect();
    let total: u64 = rows.iter().map(|(_, row)| sum(row)).sum();
    let shares = statuses.iter().enumerate().map(|(column, status)| {
        let numbers = rows.iter().map(|(_, row)| row[column]).sum();
        format!("{} {status}", words::count(numbers))
    });
    let shares = shares.collect::<Vec<_>>().join(", ");
    Chart {
        title: format!("{}: {shares}. The table below has each country.", words::plural(total, "number", "numbers")),
        height: bars.len() * BAR_STEP,
        legend: statuses.iter().map(|status| Entry { name: status.to_string(), class: class(status) }).collect(),
        bars,
    }
}

/// What the numbers of each country cost a month; currencies are never added together.
pub(super) fn fees(overview: &InventorySummary) -> Table {
    let mut columns: Vec<Arc<str>> = Vec::new();
    let mut countries: BTreeMap<&str, BTreeMap<&str, &Money>> = BTreeMap::new();
    for ([country, currency], amount) in &overview.monthly_fees {
        if !columns.contains(currency) {
            columns.push(currency.clone());
        }
        countries.entry(country).or_default().insert(currency, amount);
    }
    columns.sort();
    let cell = |amount: Option<&Money>| amount.map(words::amount).unwrap_or_default();
    let rows = countries.iter().map(|(country, amounts)| Row {
        name: (*country).to_owned(),
        cells: columns.iter().map(|currency| cell(amounts.get(&**currency).copied())).collect(),
    });
    let totals = totals(overview);
    let all =
        Row { name: "all".to_owned(), cells: columns.iter().map(|currency| cell(totals.get(currency))).collect() };
    let all = (countries.len() > 1).then_some(all);
    let rows = rows.chain(all).collect();
    Table { columns: columns.iter().map(ToString::to_string).collect(), rows }
}

/// What all numbers cost a month, by currency.
pub(super) fn totals(overview: &InventorySummary) -> BTreeMap<Arc<str>, Money> {
    let mut totals: BTreeMap<Arc<str>, Money> = BTreeMap::new();
    for ([_, currency], amount) in &overview.monthly_fees {
        *totals.entry(currency.clone()).or_default() += amount.clone();
    }
    totals
}

/// A name that fits in front of a bar; the table has all of it.
fn short(name: &str) -> String {
    match name.char_indices().nth(MAX_NAME) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

fn class(status: &str) -> &'static str {
    STATUSES.into_iter().find(|known| *known == status).unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overview(countries: usize) -> InventorySummary {
        let mut overview = InventorySummary::default();
        for country in 0..countries {
            let name: Arc<str> = format!("C{country:02}").into();
            for (status, numbers) in [("active", 10), ("suspended", 2), ("odd", 1)] {
                overview.numbers.insert([name.clone(), status.into()], numbers * (country as u64 + 1));
            }
            for (currency, amount) in [("USD", "1.5"), ("EUR", "0.25")] {
                overview.monthly_fees.insert([name.clone(), currency.into()], amount.parse().unwrap());
            }
        }
        overview
    }

    #[test]
    fn a_chart_has_the_largest_countries_and_all_numbers() {
        let chart = chart(&overview(40));
        assert_eq!(chart.bars.len(), BARS);
        assert_eq!((&*chart.bars[0].name, &*chart.bars[0].value), ("C39", "520"));
        assert_eq!(chart.bars[BARS - 1].name, "29 more");
        let classes: Vec<_> = chart.bars[0].parts.iter().map(|part| part.class).collect();
        assert_eq!(classes, ["active", "suspended", "other"]);
        assert!(chart.title.starts_with("10,660 numbers: 8,200 active, 0 pending, 1,640 suspended, 820 odd."));
        // No bar is longer than there is room.
        for bar in &chart.bars {
            let end: f64 = bar.parts.iter().map(|part| part.width.parse::<f64>().unwrap()).sum();
            assert!(end < BARS_WIDTH + 0.01, "{bar:?}");
        }
    }

    #[test]
    fn tables_end_with_all() {
        let numbers = numbers(&overview(2));
        assert_eq!(numbers.columns, ["active", "pending", "suspended", "odd", "all"]);
        assert_eq!(numbers.rows[2].cells, ["30", "0", "6", "3", "39"]);
        let fees = fees(&overview(2));
        assert_eq!(fees.columns, ["EUR", "USD"]);
        assert_eq!(fees.rows[2].cells, ["0.50", "3.00"]);
        assert!(chart(&InventorySummary::default()).bars.is_empty());
        assert_eq!(short("Öland and more"), "Öland a…");
    }
}
