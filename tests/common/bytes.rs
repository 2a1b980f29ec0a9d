//! What must hold for any bytes that an API sends as a page: no panic, and what is made of them is
//! one listing, written as Prometheus reads it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tryvox_exporter::inventory::{CollectorOptions, ListingDifference, ListingFold};
use tryvox_exporter::metrics::render_listing;
use tryvox_exporter::poller::Listing;
use tryvox_exporter::tryvox::{Page, STATUSES, WriteWindow};

/// Reads the bytes as the two pages of a listing and checks what comes of it.
pub(crate) fn listing(bytes: &[u8]) {
    let Ok(mut page) = Page::read(bytes) else { return };
    let records = (page.records.len() as u64 + page.unreadable.count) * 2;
    let answered = SystemTime::UNIX_EPOCH + Duration::from_secs(1_762_105_212);
    page.written = Some(WriteWindow::answered(answered, Duration::from_secs(1)));

    let mut fold = ListingFold::new(Arc::new(everything()), STATUSES.map(Arc::from).to_vec(), HashSet::new());
    let mut complaints = 0;
    fold.add_page(1, &page, |_| complaints += 1);
    fold.add_page(2, &page, |_| complaints += 1);
    let (reported, folded) = (page.pagination.total, fold.finish());
    let difference = ListingDifference::between(&folded.number_states, &folded.number_states);
    assert_eq!(difference, ListingDifference::default());
    let inventory = folded.inventory.with_label_limit(3);

    assert!(complaints <= inventory.invalid);
    assert!(inventory.listed + inventory.invalid <= records);
    assert_eq!(inventory.groups.values().map(|group| group.numbers).sum::<u64>(), inventory.listed);
    let listed = Listing { inventory, reported };
    for family in render_listing("a", &listed, None) {
        let family = std::str::from_utf8(family.bytes()).unwrap();
        for line in family.lines() {
            let (series, value) = line.rsplit_once(' ').expect(line);
            assert!(series.starts_with("tryvox_") && series.ends_with('}'), "{line}");
            assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
        }
    }
}

/// Every collector there is.
fn everything() -> CollectorOptions {
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
