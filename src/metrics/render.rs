//! Rendering of a listing, once for each listing rather than for each scrape.

use std::collections::HashSet;
use std::sync::Arc;

use super::encoding::{CompressionLevel, Compressors, Encoding};
use super::exposition::{Samples, label_value};
use super::format::Format;
use super::inventory_families::{INVENTORY, NUMBER_INFO};
use super::metric::Metric;
use super::text::CachedText;
use crate::inventory::{CollectorOptions, Listing, WatchedNumber};

/// The samples of a listing: one text for each family of [`INVENTORY`], empty if the family has no samples. They have
/// no headers, and gauges look the same in all formats.
pub type RenderedListing = Vec<Arc<CachedText>>;

/// Renders a listing.
///
/// A family whose text is the same as in the `previous` rendering shares it. Any other is compressed at once in the
/// encodings in which it was requested before, so that no scrape has to wait for that.
#[must_use]
pub fn render_listing(account: &str, listing: &Listing, previous: Option<&RenderedListing>) -> RenderedListing {
    let mut compressors = Compressors::default();
    let previous = previous.map_or(&[][..], Vec::as_slice);
    let mut render = |(index, metric)| render_family(account, metric, listing, previous.get(index), &mut compressors);
    INVENTORY.iter().enumerate().map(&mut render).collect()
}

/// Renders the families whose names begin with one of these prefixes; the others stay as they are.
pub(super) fn with_families(
    account: &str,
    prefixes: &[&str],
    listing: &Listing,
    previous: &RenderedListing,
) -> RenderedListing {
    let mut compressors = Compressors::default();
    let mut render = |(metric, text): (&Metric<Listing>, &Arc<CachedText>)| {
        if prefixes.iter().any(|prefix| metric.family.name.starts_with(prefix)) {
            render_family(account, metric, listing, Some(text), &mut compressors)
        } else {
            text.clone()
        }
    };
    INVENTORY.iter().zip(previous).map(&mut render).collect()
}

/// Name prefix of the families of owners.
pub(super) const OWNERS: &str = "tryvox_owner_";

/// Name prefix of the families of watched numbers.
pub(super) const WATCHED: &str = "tryvox_watched_number_";

fn render_family(
    account: &str,
    metric: &Metric<Listing>,
    listing: &Listing,
    previous: Option<&Arc<CachedText>>,
    compressors: &mut Compressors,
) -> Arc<CachedText> {
    let mut text = String::new();
    (metric.fill)(listing, &mut Samples::new(&metric.family, Some(account), Format::Text, &mut text));
    if let Some(unchanged) = previous.filter(|previous| previous.bytes() == text.as_bytes()) {
        return unchanged.clone();
    }
    let text = CachedText::from(text);
    for encoding in Encoding::COMPRESSED {
        if previous.is_some_and(|previous| previous.has_compressed(encoding)) {
            text.encoded(encoding, CompressionLevel::Small, compressors);
        }
    }
    Arc::new(text)
}

/// The families that a collector makes, by the beginning of their names, and whether it is enabled.
type CollectorFamilies = (&'static str, fn(&CollectorOptions) -> bool);

const COLLECTORS: [CollectorFamilies; 8] = [
    ("tryvox_capability_", |options| options.capability),
    ("tryvox_assignment_", |options| options.assignment),
    ("tryvox_region_", |options| options.region),
    ("tryvox_trunk_", |options| options.trunk),
    ("tryvox_application_", |options| options.application),
    ("tryvox_oldest_update_", |options| options.lifecycle),
    ("tryvox_newest_creation_", |options| options.lifecycle),
    ("tryvox_number_series_truncated", |options| !options.number_statuses.is_empty()),
];

/// Removes the samples of collectors that are disabled.
pub(super) fn without_disabled(listing: RenderedListing, options: &CollectorOptions) -> RenderedListing {
    let is_disabled =
        |name: &str| COLLECTORS.iter().any(|(prefix, is_enabled)| name.starts_with(prefix) && !is_enabled(options));
    let keep = |(metric, text): (&Metric<Listing>, Arc<CachedText>)| {
        let is_removed = !text.bytes().is_empty() && is_disabled(metric.family.name);
        if is_removed { Arc::new(String::new().into()) } else { text }
    };
    INVENTORY.iter().zip(listing).map(keep).collect()
}

/// Removes the per-number series of numbers that are not watched and have a status that is not selected.
pub(super) fn without_unselected(
    listing: RenderedListing,
    options: &CollectorOptions,
    watched: &[WatchedNumber],
) -> RenderedListing {
    let unselected = unselected_numbers(&listing, options, watched);
    if unselected.is_empty() {
        return listing;
    }
    let keep = |(metric, text): (&Metric<Listing>, Arc<CachedText>)| {
        if text.bytes().is_empty() || !has_number_series(metric) {
            return text;
        }
        let samples = String::from_utf8_lossy(text.bytes());
        let is_kept = |sample: &&str| label(sample, "e164").is_none_or(|e164| !unselected.contains(&e164));
        Arc::new(samples.split_inclusive('\n').filter(is_kept).collect::<String>().into())
    };
    INVENTORY.iter().zip(listing).map(keep).collect()
}

/// Returns whether a family has samples of single numbers, apart from those that only watched numbers have.
fn has_number_series(metric: &Metric<Listing>) -> bool {
    metric.family.labels.contains(&"e164") && !metric.family.name.starts_with(WATCHED)
}

/// Returns the numbers that have per-number series, but are not watched and have a status that is not selected.
fn unselected_numbers(
    listing: &RenderedListing,
    options: &CollectorOptions,
    watched: &[WatchedNumber],
) -> HashSet<String> {
    let info = INVENTORY.iter().zip(listing).find(|(metric, _)| metric.family.name == NUMBER_INFO);
    let Some((_, text)) = info.filter(|(_, text)| !text.bytes().is_empty()) else { return HashSet::new() };
    let watched: HashSet<String> = watched.iter().map(|number| number.e164.to_string()).collect();
    let samples = String::from_utf8_lossy(text.bytes());
    let is_selected =
        |sample: &str| label(sample, "status").is_some_and(|status| options.number_statuses.contains(&status));
    let unselected = samples.lines().filter(|sample| !is_selected(sample)).filter_map(|sample| label(sample, "e164"));
    unselected.filter(|e164| !watched.contains(e164)).collect()
}

/// Returns the value of a label of a sample that is not the first label.
fn label(sample: &str, name: &str) -> Option<String> {
    // Quotes in label values are escaped, so this is in none of them.
    let (_, value) = sample.split_once(&*format!(",{name}=\""))?;
    label_value(value).map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{Inventory, NumberDetails};

    #[test]
    fn unchanged_families_are_shared_and_changed_ones_compressed_as_requested_before() {
        let listing = |listed| Listing {
            inventory: Inventory { listed, ..Inventory::default() },
            reported: 7,
            ..Listing::default()
        };
        let index = |name: &str| INVENTORY.iter().position(|metric| metric.family.name == name).unwrap();
        let [listed, reported] = ["tryvox_listed_numbers", "tryvox_reported_numbers"].map(index);
        let first = render_listing("a", &listing(7), None);
        assert!(!first[listed].has_compressed(Encoding::Gzip), "it has not been requested");
        first[listed].encoded(Encoding::Gzip, CompressionLevel::Small, &mut Compressors::default());

        let second = render_listing("a", &listing(8), Some(&first));
        assert!(Arc::ptr_eq(&second[reported], &first[reported]));
        assert_eq!(&second[listed].bytes()[..], b"tryvox_listed_numbers{account=\"a\"} 8\n");
        assert!(second[listed].has_compressed(Encoding::Gzip) && !second[listed].has_compressed(Encoding::Zstd));
    }

    #[test]
    fn per_number_series_of_watched_numbers_need_no_collector() {
        let number = |e164: &str| NumberDetails {
            e164: e164.parse().unwrap(),
            country: "US".into(),
            kind: "local".into(),
            region: r#",e164="+11""#.into(),
            status: "suspended".into(),
            trunk: "".into(),
            application: "".into(),
            currency: "USD".into(),
            monthly_fee: "1".parse().unwrap(),
            updated_at: Some(1),
            created_at: None,
        };
        let numbers = vec![number("+11"), number("+12")];
        let inventory = Inventory { numbers, truncated_numbers: Some(0), ..Inventory::default() };
        let rendered = render_listing(r#"a,e164="+12","#, &Listing { inventory, ..Listing::default() }, None);
        let watched = [WatchedNumber { e164: "+11".parse().unwrap(), name: "hotline".into() }];
        let lines = |listing: &RenderedListing| -> Vec<String> {
            let families =
                INVENTORY.iter().zip(listing).filter(|(metric, _)| metric.family.name.starts_with("tryvox_number_"));
            families
                .flat_map(|(_, text)| {
                    String::from_utf8_lossy(text.bytes()).lines().map(str::to_owned).collect::<Vec<_>>()
                })
                .collect()
        };
        let all = lines(&rendered);
        assert_eq!(all.len(), 3 * 2 + 1);
        let shown = |listing, options: &CollectorOptions, watched: &[_]| {
            without_disabled(without_unselected(listing, options, watched), options)
        };
        let enabled = shown(rendered.clone(), &CollectorOptions::default(), &watched);
        assert_eq!(lines(&enabled), all);
        let suspended = shown(rendered.clone(), &CollectorOptions::default(), &[]);
        assert_eq!(lines(&suspended), all, "the status is selected");
        let pending = CollectorOptions { number_statuses: vec!["pending".to_owned()], ..CollectorOptions::default() };
        let only_watched = shown(rendered.clone(), &pending, &watched);
        assert_eq!(lines(&only_watched).len(), 3 + 1, "{:?}", lines(&only_watched));
        let none = CollectorOptions { number_statuses: Vec::new(), ..CollectorOptions::default() };
        let mut kept = all;
        kept.retain(|line| line.contains(",e164=\"+11\""));
        assert_eq!(kept.len(), 3);
        let disabled = shown(rendered.clone(), &none, &watched);
        assert_eq!(lines(&disabled), kept);
        assert!(lines(&shown(rendered, &none, &[])).is_empty());
        let again = shown(disabled.clone(), &none, &watched);
        assert!(
            again.iter().zip(&disabled).all(|(again, before)| Arc::ptr_eq(again, before)),
            "compressed forms are kept"
        );
    }
}
