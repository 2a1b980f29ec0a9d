//! The families of the inventory, which are rendered from a listing when its poll ends.

use std::sync::Arc;

use super::exposition::Samples;
use super::metric::Metric;
use crate::inventory::{GroupTotals, LabelTable, Money, NumberDetails};
use crate::poller::Listing;

const NUMBERS: &str = "numbers";
const MONEY: &str = "units of the currency";
const SECONDS: &str = "seconds since the epoch";

type ListingMetric = Metric<Listing>;

/// The families of the inventory, in the order of the exposition.
pub static INVENTORY: &[ListingMetric] = &[
    ListingMetric::gauge(
        "tryvox_numbers",
        &["account", "country", "type", "status"],
        "Phone numbers of the last good listing.",
        |listing, samples| {
            let groups: Vec<_> = listing.inventory.groups.iter().collect();
            for currencies in groups.chunk_by(|(a, _), (b, _)| a[..3] == b[..3]) {
                let ([country, kind, status, _], _) = currencies[0];
                let numbers: u64 = currencies.iter().map(|(_, sum)| sum.numbers).sum();
                samples.push([country, kind, status], numbers);
            }
        },
    )
    .about(NUMBERS, "sum by (country) (tryvox_numbers{status=\"suspended\"}) > 0"),
    ListingMetric::gauge(
        "tryvox_monthly_fees",
        &["account", "country", "type", "status", "currency"],
        "Sum of the monthly fees of the numbers of the last good listing, in units of the currency.",
        |listing, samples| push_fees(&listing.inventory.groups, samples, |sum| &sum.monthly_fees),
    )
    .about(MONEY, "sum by (account, currency) (tryvox_monthly_fees)"),
    ListingMetric::gauge(
        "tryvox_setup_fees",
        &["account", "country", "type", "status", "currency"],
        "Sum of the setup fees, paid once, of the numbers of the last good listing, in units of the currency.",
        |listing, samples| push_fees(&listing.inventory.groups, samples, |sum| &sum.setup_fees),
    )
    .about(MONEY, "sum by (currency) (tryvox_setup_fees)"),
    ListingMetric::gauge(
        "tryvox_capability_numbers",
        &["account", "capability", "status"],
        "Phone numbers of the last good listing by capability; a number counts once for each that it has.",
        |listing, samples| push_counts(&listing.inventory.capabilities, samples),
    )
    .about(NUMBERS, "sum by (capability) (tryvox_capability_numbers{status=\"active\"})"),
    ListingMetric::gauge(
        "tryvox_assignment_numbers",
        &["account", "assignment", "status"],
        "Phone numbers of the last good listing by what they lead to: trunk, application, both or none.",
        |listing, samples| {
            let groups: Vec<_> = listing.inventory.assignments.iter().collect();
            for currencies in groups.chunk_by(|(a, _), (b, _)| a[..2] == b[..2]) {
                let ([assignment, status, _], _) = currencies[0];
                let numbers: u64 = currencies.iter().map(|(_, sum)| sum.numbers).sum();
                samples.push([assignment, status], numbers);
            }
        },
    )
    .about(NUMBERS, "sum by (account) (tryvox_assignment_numbers{assignment=\"none\"})"),
    ListingMetric::gauge(
        "tryvox_assignment_monthly_fees",
        &["account", "assignment", "status", "currency"],
        "Sum of the monthly fees of the numbers of the last good listing by what they lead to, in units of the currency.",
        |listing, samples| push_fees(&listing.inventory.assignments, samples, |sum| &sum.monthly_fees),
    )
    .about(MONEY, "sum by (currency) (tryvox_assignment_monthly_fees{assignment=\"none\"})"),
    ListingMetric::gauge(
        "tryvox_region_numbers",
        &["account", "country", "region", "status"],
        "Phone numbers of the last good listing by region; only with --collector.region.",
        |listing, samples| push_counts(&listing.inventory.regions, samples),
    )
    .about(NUMBERS, "topk(10, sum by (country, region) (tryvox_region_numbers))"),
    ListingMetric::gauge(
        "tryvox_trunk_numbers",
        &["account", "trunk_id", "status"],
        "Phone numbers of the last good listing by trunk, which is empty for none; only with --collector.trunk.",
        |listing, samples| push_counts(&listing.inventory.trunks, samples),
    )
    .about(NUMBERS, "sum by (trunk_id) (tryvox_trunk_numbers{status!=\"active\"})"),
    ListingMetric::gauge(
        "tryvox_application_numbers",
        &["account", "application_id", "status"],
        "Phone numbers of the last good listing by application, which is empty for none; only with \
         --collector.application.",
        |listing, samples| push_counts(&listing.inventory.applications, samples),
    )
    .about(NUMBERS, "sum by (application_id) (tryvox_application_numbers)"),
    ListingMetric::gauge(
        "tryvox_oldest_update_timestamp_seconds",
        &["account", "status"],
        "When the number of the last good listing that was not updated for longest was updated, in seconds since the \
         epoch.",
        |listing, samples| {
            for (status, updated) in &listing.inventory.oldest_update {
                samples.push([status], u64::from(*updated));
            }
        },
    )
    .about(SECONDS, "time() - tryvox_oldest_update_timestamp_seconds{status=\"pending\"} > 86400"),
    ListingMetric::gauge(
        "tryvox_newest_creation_timestamp_seconds",
        &["account"],
        "When the newest number of the last good listing was bought, in seconds since the epoch.",
        |listing, samples| {
            if let Some(created) = listing.inventory.newest_creation {
                samples.push([], u64::from(created));
            }
        },
    )
    .about(SECONDS, "time() - tryvox_newest_creation_timestamp_seconds"),
    ListingMetric::gauge(
        "tryvox_number_info",
        &["account", "e164", "country", "type", "region", "status", "trunk_id", "application_id"],
        "1 for each phone number of the last good listing in a status of --collector.number.statuses.",
        |listing, samples| {
            for number in &listing.inventory.numbers {
                let e164 = number.e164.to_string();
                let NumberDetails { country, kind, region, status, trunk, application, .. } = number;
                samples.push([&e164, country, kind, region, status, trunk, application], 1_u64);
            }
        },
    )
    .about("", "tryvox_number_info{status=\"suspended\"}"),
    ListingMetric::gauge(
        "tryvox_number_monthly_fee",
        &["account", "e164", "currency"],
        "Monthly fee of a phone number that has series of its own, in units of the currency.",
        |listing, samples| {
            for number in &listing.inventory.numbers {
                samples.push([&*number.e164.to_string(), &*number.currency], number.monthly_fee.to_f64());
            }
        },
    )
    .about(MONEY, "topk(10, tryvox_number_monthly_fee)"),
    ListingMetric::gauge(
        "tryvox_number_updated_timestamp_seconds",
        &["account", "e164"],
        "When a phone number that has series of its own was last updated, in seconds since the epoch.",
        |listing, samples| {
            for number in &listing.inventory.numbers {
                if let Some(updated) = number.updated_at {
                    samples.push([&*number.e164.to_string()], u64::from(updated));
                }
            }
        },
    )
    .about(SECONDS, "time() - tryvox_number_updated_timestamp_seconds > 7 * 86400"),
    ListingMetric::gauge(
        "tryvox_number_series_truncated",
        &["account"],
        "Phone numbers that --collector.number.limit leaves without series of their own.",
        |listing, samples| {
            if let Some(truncated) = listing.inventory.truncated_numbers {
                samples.push([], truncated);
            }
        },
    )
    .about(NUMBERS, "tryvox_number_series_truncated > 0"),
    ListingMetric::gauge(
        "tryvox_listed_numbers",
        &["account"],
        "Distinct phone numbers in the last good listing.",
        |listing, samples| samples.push([], listing.inventory.listed),
    )
    .about(NUMBERS, "sum(tryvox_listed_numbers)"),
    ListingMetric::gauge(
        "tryvox_reported_numbers",
        &["account"],
        "Phone numbers that the API said there are when it gave the last good listing.",
        |listing, samples| samples.push([], listing.reported),
    )
    .about(NUMBERS, "tryvox_reported_numbers - tryvox_listed_numbers - tryvox_invalid_records != 0"),
];

/// Pushes a sum of fees for each group of numbers.
fn push_fees<const N: usize>(
    table: &LabelTable<N, GroupTotals>,
    samples: &mut Samples<'_>,
    amount: fn(&GroupTotals) -> &Money,
) {
    for (labels, sum) in table {
        samples.push(values(labels), amount(sum).to_f64());
    }
}

/// Pushes the number of numbers for each set of labels.
fn push_counts<const N: usize>(table: &LabelTable<N, u64>, samples: &mut Samples<'_>) {
    for (labels, numbers) in table {
        samples.push(values(labels), *numbers);
    }
}

/// Borrows label values.
fn values<const N: usize>(labels: &[Arc<str>; N]) -> [&str; N] {
    labels.each_ref().map(|label| &**label)
}
