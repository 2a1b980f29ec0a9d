//! Rendering of a listing, once for each listing rather than for each scrape.

use std::sync::Arc;

use super::encoding::{CompressionLevel, Compressors, Encoding};
use super::exposition::Samples;
use super::format::Format;
use super::inventory_families::INVENTORY;
use super::metric::Metric;
use super::text::CachedText;
use crate::inventory::CollectorOptions;
use crate::inventory::Listing;

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
    let texts = INVENTORY.iter().enumerate();
    texts
        .map(|(index, metric)| render_family(account, metric, listing, previous.get(index), &mut compressors))
        .collect()
}

/// Renders the families that follow from the configuration and the numbers of a listing; the others stay as they are.
pub(super) fn with_configured(account: &str, listing: &Listing, previous: &RenderedListing) -> RenderedListing {
    let mut compressors = Compressors::default();
    let mut render = |(metric, text): (&Metric<Listing>, &Arc<CachedText>)| {
        if CONFIGURED.iter().any(|prefix| metric.family.name.starts_with(prefix)) {
            render_family(account, metric, listing, Some(text), &mut compressors)
        } else {
            text.clone()
        }
    };
    INVENTORY.iter().zip(previous).map(&mut render).collect()
}

/// The beginnings of the names of families that follow from the configuration and the numbers of a listing.
const CONFIGURED: [&str; 2] = ["tryvox_owner_", "tryvox_watched_number_"];

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
    ("tryvox_number_", |options| !options.number_statuses.is_empty()),
];

/// Removes the samples of collectors that are disabled.
pub(super) fn without_disabled(listing: RenderedListing, options: &CollectorOptions) -> RenderedListing {
    let is_disabled =
        |name: &str| COLLECTORS.iter().any(|(prefix, is_enabled)| name.starts_with(prefix) && !is_enabled(options));
    let keep = |(metric, text): (&Metric<Listing>, Arc<CachedText>)| {
        if is_disabled(metric.family.name) && !text.bytes().is_empty() { Arc::new(String::new().into()) } else { text }
    };
    INVENTORY.iter().zip(listing).map(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Inventory;

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
}
