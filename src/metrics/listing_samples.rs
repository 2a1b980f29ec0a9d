//! How the tables, the numbers and the watched numbers of a listing become samples.

use std::sync::Arc;

use super::exposition::Samples;
use crate::inventory::{GroupTotals, LabelTable, Listing, MISSING, Money, NumberDetails, WatchedStatus};
use crate::tryvox::STATUSES;

/// The name of the family of the statuses.
pub(super) const WATCHED_STATUS: &str = "tryvox_watched_number_status";
/// The name of the family of whether numbers are assigned.
pub(super) const WATCHED_ASSIGNED: &str = "tryvox_watched_number_assigned";

/// Pushes a sum of fees for each group of numbers.
pub(super) fn push_fees<const N: usize>(
    table: &LabelTable<N, GroupTotals>,
    samples: &mut Samples<'_>,
    amount: fn(&GroupTotals) -> &Money,
) {
    for (labels, sum) in table {
        samples.push(values(labels), amount(sum).to_f64());
    }
}

/// Pushes the numbers of each group over all currencies. The labels are the first `M` of the table.
pub(super) fn push_numbers<const N: usize, const M: usize>(
    table: &LabelTable<N, GroupTotals>,
    samples: &mut Samples<'_>,
) {
    // Currency comes last, so groups that differ only in currency are neighbors.
    let groups: Vec<_> = table.iter().collect();
    for currencies in groups.chunk_by(|(a, _), (b, _)| a[..M] == b[..M]) {
        let labels: [&str; M] = std::array::from_fn(|label| &*currencies[0].0[label]);
        samples.push(labels, currencies.iter().map(|(_, sum)| sum.numbers).sum::<u64>());
    }
}

/// Pushes a time of each number with per-number series that has it.
pub(super) fn push_timestamps(
    listing: &Listing,
    samples: &mut Samples<'_>,
    timestamp: fn(&NumberDetails) -> Option<u32>,
) {
    for number in &listing.inventory.numbers {
        if let Some(timestamp) = timestamp(number) {
            samples.push([&*number.e164.to_string()], u64::from(timestamp));
        }
    }
}

/// Pushes the number of numbers for each set of labels.
pub(super) fn push_counts<const N: usize>(table: &LabelTable<N, u64>, samples: &mut Samples<'_>) {
    for (labels, numbers) in table {
        samples.push(values(labels), *numbers);
    }
}

/// Pushes a sample of each watched number for each documented status, for missing, and for its own status if it is known.
pub(super) fn push_watched_statuses(listing: &Listing, samples: &mut Samples<'_>) {
    for WatchedStatus { number, status, .. } in &*listing.watched {
        let (e164, status) = (number.e164.to_string(), status.as_deref());
        let known = STATUSES.into_iter().chain([MISSING]);
        let undocumented = status.filter(|status| known.clone().all(|known| known != *status));
        for value in known.chain(undocumented) {
            samples.push([&*e164, &*number.name, value], Some(value) == status);
        }
    }
}

/// Pushes a sample of each watched number of which it is known whether it is assigned.
pub(super) fn push_watched_assigned(listing: &Listing, samples: &mut Samples<'_>) {
    for WatchedStatus { number, is_assigned, .. } in &*listing.watched {
        if let Some(is_assigned) = is_assigned {
            samples.push([&*number.e164.to_string(), &*number.name], *is_assigned);
        }
    }
}

/// Borrows label values.
fn values<const N: usize>(labels: &[Arc<str>; N]) -> [&str; N] {
    labels.each_ref().map(|label| &**label)
}
