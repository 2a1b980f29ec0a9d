//! The bar chart of numbers by country and status, as attributes of SVG elements.

use super::country_counts::CountryCounts;
use super::format;
use crate::inventory::InventorySummary;
use crate::tryvox::STATUSES;

/// Maximum number of bars; the countries with the fewest numbers share the last one.
const MAX_BARS: usize = 12;
/// Where bars begin, in percent of the chart's width.
const BAR_START: f64 = 14.0;
/// The length of the longest bar, in percent of the chart's width.
const MAX_BAR_LENGTH: f64 = 68.0;
/// Maximum length of a label, in characters; more does not fit in front of a bar.
const MAX_LABEL_LENGTH: usize = 7;
/// Distance from one bar to the next, in pixels.
const BAR_DISTANCE: usize = 28;

/// A chart of horizontal bars, each divided by status.
#[derive(Debug, Default)]
pub(super) struct Chart {
    pub(super) title: String,
    /// In pixels.
    pub(super) height: usize,
    pub(super) legend: Vec<LegendEntry>,
    pub(super) bars: Vec<ChartBar>,
}

#[derive(Debug)]
pub(super) struct LegendEntry {
    pub(super) name: String,
    /// The CSS class.
    pub(super) class: &'static str,
}

#[derive(Debug)]
pub(super) struct ChartBar {
    pub(super) name: String,
    pub(super) value: String,
    /// The top of the bar, in pixels.
    pub(super) y: usize,
    /// The baseline of the label and the value, in pixels.
    pub(super) text_y: usize,
    pub(super) segments: Vec<BarSegment>,
}

/// The part of a bar that stands for one status.
#[derive(Debug)]
pub(super) struct BarSegment {
    /// The CSS class.
    pub(super) class: &'static str,
    /// The left end, in percent of the chart's width.
    pub(super) x: String,
    /// In percent of the chart's width.
    pub(super) width: String,
}

impl Chart {
    /// Returns the chart of an overview; without numbers it has no bars.
    pub(super) fn new(overview: &InventorySummary) -> Self {
        let mut counts = CountryCounts::new(overview);
        if counts.rows.len() > MAX_BARS {
            let others = counts.rows.split_off(MAX_BARS - 1);
            counts.rows.push((format!("{} more", others.len()), counts.column_sums(&others)));
        }
        let CountryCounts { statuses, rows } = &counts;
        let sum = |row: &[u64]| row.iter().sum::<u64>();
        let largest = rows.iter().map(|(_, row)| sum(row)).max().unwrap_or(0).max(1);
        #[expect(clippy::cast_precision_loss, reason = "a length on a screen")]
        let length = |numbers: u64| numbers as f64 / largest as f64 * MAX_BAR_LENGTH;
        let bars = rows.iter().enumerate().map(|(index, (name, row))| {
            let mut preceding = 0;
            let shown = statuses.iter().zip(row).filter(|(_, numbers)| **numbers > 0);
            let segments = shown.map(|(status, numbers)| {
                let x = format!("{:.3}", BAR_START + length(preceding));
                preceding += numbers;
                BarSegment { class: status_class(status), x, width: format!("{:.3}", length(*numbers)) }
            });
            let segments = segments.collect();
            let (y, text_y) = (index * BAR_DISTANCE + 4, index * BAR_DISTANCE + 18);
            ChartBar { name: shorten_label(name), value: format::count(sum(row)), y, text_y, segments }
        });
        let totals = counts.column_sums(rows);
        let shares = statuses.iter().zip(&totals).map(|(status, total)| format!("{} {status}", format::count(*total)));
        let shares = shares.collect::<Vec<_>>().join(", ");
        let numbers = format::count_of(sum(&totals), "number", "numbers");
        let entry = |status: &str| LegendEntry { name: status.to_owned(), class: status_class(status) };
        Self {
            title: format!("{numbers}: {shares}. The table below lists each country."),
            height: rows.len() * BAR_DISTANCE,
            legend: statuses.iter().map(|status| entry(status)).collect(),
            bars: bars.collect(),
        }
    }
}

fn shorten_label(label: &str) -> String {
    match label.char_indices().nth(MAX_LABEL_LENGTH) {
        Some((end, _)) => format!("{}…", &label[..end]),
        None => label.to_owned(),
    }
}

/// Returns the CSS class of a status.
fn status_class(status: &str) -> &'static str {
    STATUSES.into_iter().find(|known| *known == status).unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::super::country_counts::sample_overview;
    use super::*;

    #[test]
    fn chart_has_the_largest_countries_and_includes_all_numbers() {
        let chart = Chart::new(&sample_overview(40));
        assert_eq!(chart.bars.len(), MAX_BARS);
        assert_eq!((&*chart.bars[0].name, &*chart.bars[0].value), ("C39", "520"));
        assert_eq!(chart.bars[MAX_BARS - 1].name, "29 more");
        let classes: Vec<_> = chart.bars[0].segments.iter().map(|segment| segment.class).collect();
        assert_eq!(classes, ["active", "suspended", "other"]);
        assert!(chart.title.starts_with("10,660 numbers: 8,200 active, 0 pending, 1,640 suspended, 820 porting."));
        for bar in &chart.bars {
            let length: f64 = bar.segments.iter().map(|segment| segment.width.parse::<f64>().unwrap()).sum();
            assert!(length < MAX_BAR_LENGTH + 0.01, "{bar:?}");
        }
    }

    #[test]
    fn chart_without_numbers_has_no_bars() {
        assert!(Chart::new(&InventorySummary::default()).bars.is_empty());
    }

    #[test]
    fn long_labels_are_shortened() {
        assert_eq!(shorten_label("Öland and more"), "Öland a…");
    }
}
