//! Invariants for arbitrary bytes as the body of a page: decoding, folding and rendering never panic,
//! all counts agree, and each rendered line is a valid sample. Bytes that are no page are rejected.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tryvox_exporter::inventory::{CollectorOptions, FeeMovements, Listing, ListingDifference, ListingFold};
use tryvox_exporter::metrics::render_listing;
use tryvox_exporter::tryvox::{GenerationWindow, ListingPage, PageText, STATUSES};

/// Uses the bytes as both pages of a listing and asserts the invariants.
///
/// # Panics
/// If an invariant does not hold.
pub(crate) fn listing(bytes: &[u8]) {
    let text = PageText::new(bytes);
    let Ok(mut page) = ListingPage::parse(&text, 100) else { return };
    let records = (page.records.len() + page.malformed.len()) as u64 * 2;
    assert!(records <= 400);
    let response_date = SystemTime::UNIX_EPOCH + Duration::from_secs(1_762_105_212);
    page.generated = Some(GenerationWindow::of_response(response_date, Duration::from_secs(1)));

    let mut fold =
        ListingFold::new(Arc::new(all_collectors()), Arc::default(), STATUSES.map(Arc::from).to_vec(), HashSet::new());
    let mut logged_records = 0;
    fold.add_page(1, &page, |_| logged_records += 1);
    fold.add_page(2, &page, |_| logged_records += 1);
    let (reported, folded) = (page.pagination.total, fold.finish());
    let mut states = folded.number_states;
    let difference = ListingDifference::between(&states, &states);
    assert_eq!(difference, ListingDifference::default());
    assert!(folded.unreadable_numbers.is_sorted_by(|a, b| a < b));
    states.carry_over(Some(&states.clone()), &folded.unreadable_numbers);
    assert_eq!(ListingDifference::between(&states, &states), ListingDifference::default());
    let inventory = folded.inventory.with_label_limit(3, &FeeMovements::default());

    // Invalid records of a number count on one page only.
    assert!((inventory.invalid..=records).contains(&logged_records));
    assert!(inventory.listed + inventory.invalid <= records);
    assert!(folded.unreadable_numbers.len() as u64 <= inventory.invalid);
    assert!(inventory.unreadable_fields.iter().all(|numbers| *numbers <= inventory.listed));
    assert_eq!(inventory.invalid_by_kind.values().map(|kind| kind.count).sum::<u64>(), inventory.invalid);
    assert!(inventory.invalid_by_kind.values().all(|kind| kind.example.len() <= 256));
    assert_eq!(inventory.groups.values().map(|group| group.numbers).sum::<u64>(), inventory.listed);
    let listing = Listing { inventory, reported, ..Listing::default() };
    for family in render_listing("a", &listing, None) {
        let family = std::str::from_utf8(family.bytes()).unwrap();
        for line in family.lines() {
            let (series, value) = line.rsplit_once(' ').expect(line);
            assert!(series.starts_with("tryvox_") && series.ends_with('}'), "{line}");
            assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
        }
    }
}

/// Returns options that enable every collector.
fn all_collectors() -> CollectorOptions {
    let number_statuses = ["active", "suspended", "pending", "a"].map(str::to_owned).to_vec();
    CollectorOptions {
        region: true,
        trunk: true,
        application: true,
        number_statuses,
        number_limit: 2,
        ..CollectorOptions::default()
    }
}
