//! What an account has: filled from a listing when its poll ends.

use std::sync::Arc;

use super::encoding::{Encoding, Level, Workshop};
use super::exposition::{Format, Samples};
use super::family::Metric;
use crate::inventory::{GroupTotals, LabelTable, Money};
use crate::poller::{Encoded, Listing, Text};

const NUMBERS: &str = "numbers";
const MONEY: &str = "units of the currency";
const SECONDS: &str = "seconds since the epoch";

type OfListing = Metric<Listing>;

/// The families of the inventory, in the order of the exposition.
pub static INVENTORY: &[Metric<Listing>] = &[
    OfListing::gauge(
        "tryvox_numbers",
        &["account", "country", "type", "status"],
        "Phone numbers of the last good listing.",
        |listed, samples| {
            let groups: Vec<_> = listed.inventory.groups.iter().collect();
            for currencies in groups.chunk_by(|(a, _), (b, _)| a[..3] == b[..3]) {
                let ([country, kind, status, _], _) = currencies[0];
                let numbers: u64 = currencies.iter().map(|(_, sum)| sum.numbers).sum();
                samples.push([country, kind, status], numbers);
            }
        },
    )
    .about(NUMBERS, "sum by (country) (tryvox_numbers{status=\"suspended\"}) > 0"),
    OfListing::gauge(
        "tryvox_monthly_fees",
        &["account", "country", "type", "status", "currency"],
        "GroupTotals of the monthly fees of the numbers of the last good listing, in units of the currency.",
        |listed, samples| fees(&listed.inventory.groups, samples, |sum| &sum.monthly_fees),
    )
    .about(MONEY, "sum by (account, currency) (tryvox_monthly_fees)"),
    OfListing::gauge(
        "tryvox_setup_fees",
        &["account", "country", "type", "status", "currency"],
        "GroupTotals of the setup fees, paid once, of the numbers of the last good listing, in units of the currency.",
        |listed, samples| fees(&listed.inventory.groups, samples, |sum| &sum.setup_fees),
    )
    .about(MONEY, "sum by (currency) (tryvox_setup_fees)"),
    OfListing::gauge(
        "tryvox_capability_numbers",
        &["account", "capability", "status"],
        "Phone numbers of the last good listing by capability; a number counts once for each that it has.",
        |listed, samples| counts(&listed.inventory.capabilities, samples),
    )
    .about(NUMBERS, "sum by (capability) (tryvox_capability_numbers{status=\"active\"})"),
    OfListing::gauge(
        "tryvox_assignment_numbers",
        &["account", "assignment", "status"],
        "Phone numbers of the last good listing by what they lead to: trunk, application, both or none.",
        |listed, samples| {
            let groups: Vec<_> = listed.inventory.assignments.iter().collect();
            for currencies in groups.chunk_by(|(a, _), (b, _)| a[..2] == b[..2]) {
                let ([assignment, status, _], _) = currencies[0];
                let numbers: u64 = currencies.iter().map(|(_, sum)| sum.numbers).sum();
                samples.push([assignment, status], numbers);
            }
        },
    )
    .about(NUMBERS, "sum by (account) (tryvox_assignment_numbers{assignment=\"none\"})"),
    OfListing::gauge(
        "tryvox_assignment_monthly_fees",
        &["account", "assignment", "status", "currency"],
        "GroupTotals of the monthly fees of the numbers of the last good listing by what they lead to, in units of the currency.",
        |listed, samples| fees(&listed.inventory.assignments, samples, |sum| &sum.monthly_fees),
    )
    .about(MONEY, "sum by (currency) (tryvox_assignment_monthly_fees{assignment=\"none\"})"),
    OfListing::gauge(
        "tryvox_region_numbers",
        &["account", "country", "region", "status"],
        "Phone numbers of the last good listing by region; only with --collector.region.",
        |listed, samples| counts(&listed.inventory.regions, samples),
    )
    .about(NUMBERS, "topk(10, sum by (country, region) (tryvox_region_numbers))"),
    OfListing::gauge(
        "tryvox_trunk_numbers",
        &["account", "trunk_id", "status"],
        "Phone numbers of the last good listing by trunk, which is empty for none; only with --collector.trunk.",
        |listed, samples| counts(&listed.inventory.trunks, samples),
    )
    .about(NUMBERS, "sum by (trunk_id) (tryvox_trunk_numbers{status!=\"active\"})"),
    OfListing::gauge(
        "tryvox_application_numbers",
        &["account", "application_id", "status"],
        "Phone numbers of the last good listing by application, which is empty for none; only with \
         --collector.application.",
        |listed, samples| counts(&listed.inventory.applications, samples),
    )
    .about(NUMBERS, "sum by (application_id) (tryvox_application_numbers)"),
    OfListing::gauge(
        "tryvox_oldest_update_timestamp_seconds",
        &["account", "status"],
        "When the number of the last good listing that was not updated for longest was updated, in seconds since the \
         epoch.",
        |listed, samples| {
            for (status, updated) in &listed.inventory.oldest_update {
                samples.push([status], u64::from(*updated));
            }
        },
    )
    .about(SECONDS, "time() - tryvox_oldest_update_timestamp_seconds{status=\"pending\"} > 86400"),
    OfListing::gauge(
        "tryvox_newest_creation_timestamp_seconds",
        &["account"],
        "When the newest number of the last good listing was bought, in seconds since the epoch.",
        |listed, samples| {
            if let Some(created) = listed.inventory.newest_creation {
                samples.push([], u64::from(created));
            }
        },
    )
    .about(SECONDS, "time() - tryvox_newest_creation_timestamp_seconds"),
    OfListing::gauge(
        "tryvox_number_info",
        &["account", "e164", "country", "type", "region", "status", "trunk_id", "application_id"],
        "1 for each phone number of the last good listing in a status of --collector.number.statuses.",
        |listed, samples| {
            for row in &listed.inventory.numbers {
                let e164 = row.e164.to_string();
                let labels = [&row.country, &row.kind, &row.region, &row.status, &row.trunk, &row.application];
                let [country, kind, region, status, trunk, application] = labels.map(|label| &**label);
                samples.push([&e164, country, kind, region, status, trunk, application], 1_u64);
            }
        },
    )
    .about("", "tryvox_number_info{status=\"suspended\"}"),
    OfListing::gauge(
        "tryvox_number_monthly_fee",
        &["account", "e164", "currency"],
        "Monthly fee of a phone number that has series of its own, in units of the currency.",
        |listed, samples| {
            for row in &listed.inventory.numbers {
                samples.push([&*row.e164.to_string(), &*row.currency], row.monthly_fee.to_f64());
            }
        },
    )
    .about(MONEY, "topk(10, tryvox_number_monthly_fee)"),
    OfListing::gauge(
        "tryvox_number_updated_timestamp_seconds",
        &["account", "e164"],
        "When a phone number that has series of its own was last updated, in seconds since the epoch.",
        |listed, samples| {
            for row in &listed.inventory.numbers {
                if let Some(updated) = row.updated_at {
                    samples.push([&*row.e164.to_string()], u64::from(updated));
                }
            }
        },
    )
    .about(SECONDS, "time() - tryvox_number_updated_timestamp_seconds > 7 * 86400"),
    OfListing::gauge(
        "tryvox_number_series_truncated",
        &["account"],
        "Phone numbers that --collector.number.limit leaves without series of their own.",
        |listed, samples| {
            if let Some(truncated) = listed.inventory.truncated_numbers {
                samples.push([], truncated);
            }
        },
    )
    .about(NUMBERS, "tryvox_number_series_truncated > 0"),
    OfListing::gauge(
        "tryvox_listed_numbers",
        &["account"],
        "Distinct phone numbers in the last good listing.",
        |listed, samples| samples.push([], listed.inventory.listed),
    )
    .about(NUMBERS, "sum(tryvox_listed_numbers)"),
    OfListing::gauge(
        "tryvox_reported_numbers",
        &["account"],
        "Phone numbers that the API said there are when it gave the last good listing.",
        |listed, samples| samples.push([], listed.reported),
    )
    .about(NUMBERS, "tryvox_reported_numbers - tryvox_listed_numbers - tryvox_invalid_records != 0"),
];

fn fees<const N: usize>(
    table: &LabelTable<N, GroupTotals>,
    samples: &mut Samples<'_>,
    amount: fn(&GroupTotals) -> &Money,
) {
    for (labels, sum) in table {
        samples.push(texts(labels), amount(sum).to_f64());
    }
}

fn counts<const N: usize>(table: &LabelTable<N, u64>, samples: &mut Samples<'_>) {
    for (labels, numbers) in table {
        samples.push(texts(labels), *numbers);
    }
}

fn texts<const N: usize>(labels: &[Arc<str>; N]) -> [&str; N] {
    labels.each_ref().map(|label| &**label)
}

/// Writes a listing down, a text for each of [`INVENTORY`]. One that is as `before` is that text; another
/// is packed at once in those codings that somebody asked for before, so that no scrape has to wait.
#[must_use]
pub fn render_listing(account: &str, listed: &Listing, before: Option<&Encoded>) -> Encoded {
    let mut workshop = Workshop::default();
    let before = before.map_or(&[][..], Vec::as_slice);
    let texts = INVENTORY.iter().enumerate().map(|(family, metric)| {
        let mut text = String::new();
        // Gauges are written alike in every format.
        (metric.fill)(listed, &mut Samples::new(&metric.family, Some(account), Format::Text, &mut text));
        let before = before.get(family);
        if let Some(before) = before.filter(|before| before.bytes() == text.as_bytes()) {
            return before.clone();
        }
        let text = Text::from(text);
        for coding in Encoding::PACKING {
            if before.is_some_and(|before| coding.is_asked(before)) {
                coding.pack(&text, Level::Kept, &mut workshop);
            }
        }
        Arc::new(text)
    });
    texts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Inventory;

    #[test]
    fn what_is_as_before_is_not_written_again_and_what_is_not_is_packed_at_once() {
        let listing = |listed| Listing { inventory: Inventory { listed, ..Inventory::default() }, reported: 7 };
        let of = |name: &str| INVENTORY.iter().position(|metric| metric.family.name == name).unwrap();
        let [listed, reported] = ["tryvox_listed_numbers", "tryvox_reported_numbers"].map(of);
        let before = render_listing("a", &listing(7), None);
        assert!(!Encoding::Gzip.is_asked(&before[listed]), "nobody asked for it");
        Encoding::Gzip.pack(&before[listed], Level::Kept, &mut Workshop::default());

        let after = render_listing("a", &listing(8), Some(&before));
        assert!(Arc::ptr_eq(&after[reported], &before[reported]));
        assert_eq!(&after[listed].bytes()[..], b"tryvox_listed_numbers{account=\"a\"} 8\n");
        assert!(Encoding::Gzip.is_asked(&after[listed]) && !Encoding::Zstd.is_asked(&after[listed]));
    }
}
