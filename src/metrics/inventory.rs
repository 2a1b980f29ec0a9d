//! What an account has: filled from a listing when its poll ends.

use super::encode::Samples;
use super::family::Metric;
use crate::inventory::{Group, GroupKey, Money};
use crate::poller::{Encoded, Listed};

/// The families of section "Inventory", in the order of the exposition.
pub static INVENTORY: &[Metric<Listed>] = &[
    Metric::gauge(
        "tryvox_numbers",
        &["account", "country", "type", "status"],
        "Phone numbers of the last good listing.",
        |listed, samples| {
            let groups: Vec<_> = listed.inventory.groups.iter().collect();
            let same =
                |a: &GroupKey, b: &GroupKey| (&a.country, &a.kind, &a.status) == (&b.country, &b.kind, &b.status);
            for currencies in groups.chunk_by(|(a, _), (b, _)| same(a, b)) {
                let (key, _) = currencies[0];
                let numbers: u64 = currencies.iter().map(|(_, group)| group.numbers).sum();
                samples.push([&key.country, &key.kind, &key.status], numbers);
            }
        },
    ),
    Metric::gauge(
        "tryvox_monthly_fees",
        &["account", "country", "type", "status", "currency"],
        "Sum of the monthly fees of the numbers of the last good listing, in units of the currency.",
        |listed, samples| fees(listed, samples, |group| &group.monthly_fees),
    ),
    Metric::gauge(
        "tryvox_setup_fees",
        &["account", "country", "type", "status", "currency"],
        "Sum of the setup fees, paid once, of the numbers of the last good listing, in units of the currency.",
        |listed, samples| fees(listed, samples, |group| &group.setup_fees),
    ),
    Metric::gauge(
        "tryvox_listed_numbers",
        &["account"],
        "Distinct phone numbers in the last good listing.",
        |listed, samples| samples.push([], listed.inventory.listed),
    ),
    Metric::gauge(
        "tryvox_reported_numbers",
        &["account"],
        "Phone numbers that the API said there are when it gave the last good listing.",
        |listed, samples| samples.push([], listed.reported),
    ),
];

fn fees(listed: &Listed, samples: &mut Samples<'_>, amount: fn(&Group) -> &Money) {
    for (key, group) in &listed.inventory.groups {
        samples.push([&key.country, &key.kind, &key.status, &key.currency], amount(group).to_f64());
    }
}

/// Writes a listing down, a chunk for each of [`INVENTORY`].
#[must_use]
pub fn encode_listing(account: &str, listed: &Listed) -> Encoded {
    INVENTORY
        .iter()
        .map(|metric| {
            let mut chunk = String::new();
            (metric.fill)(listed, &mut Samples::new(&metric.family, Some(account), &mut chunk));
            chunk
        })
        .collect()
}
