//! The families of the inventory, which are rendered from a listing when its poll ends.

use super::listing_samples::{
    WATCHED_ASSIGNED, WATCHED_STATUS, push_counts, push_fees, push_numbers, push_timestamps, push_watched_assigned,
    push_watched_statuses,
};
use super::metric::Metric;
use crate::inventory::{Listing, NumberDetails};
use crate::tryvox::OptionalField;

const NUMBERS: &str = "numbers";
const MONEY: &str = "units of the currency";
const TIMESTAMP: &str = "Unix time in seconds";

/// The name of the family that has one sample of each number with per-number series.
pub(super) const NUMBER_INFO: &str = "tryvox_number_info";

type ListingMetric = Metric<Listing>;

/// Completes a HELP text with when the family is absent; the second argument is one more condition.
macro_rules! help {
    ($text:literal) => {
        concat!($text, "; absent if there is no valid listing or it is stale.")
    };
    ($text:expr, $condition:literal) => {
        concat!($text, "; absent if there is no valid listing, it is stale, or ", $condition, ".")
    };
}

/// Completes the HELP text of a per-number family with when it is absent; the second argument is one more condition.
macro_rules! number_help {
    ($text:literal $(, $condition:literal)?) => {
        concat!(
            $text,
            "; absent if ",
            $($condition,)?
            "its record is invalid, there is no valid listing, it is stale, or --collector.number.statuses is none and the \
             number is not watched."
        )
    };
}

/// Returns the HELP text of the monthly fees by a label; the second argument is as for [`help!`].
macro_rules! fees_help {
    ($by:literal, $condition:literal) => {
        help!(
            concat!(
                "Sum of the monthly fees of the phone numbers in the last valid listing by ",
                $by,
                ", in units of the currency (different currencies must not be added)"
            ),
            $condition
        )
    };
}

/// The families of the inventory, in the order of the exposition.
pub static INVENTORY: &[ListingMetric] = &[
    ListingMetric::gauge(
        "tryvox_numbers",
        &["account", "country", "type", "status"],
        help!("Number of phone numbers in the last valid listing"),
        |listing, samples| push_numbers::<_, 3>(&listing.inventory.groups, samples),
    )
    .unit(NUMBERS)
    .example("Countries with suspended numbers", "sum by (country) (tryvox_numbers{status=\"suspended\"}) > 0"),
    ListingMetric::gauge(
        "tryvox_monthly_fees",
        &["account", "country", "type", "status", "currency"],
        help!(
            "Sum of the monthly fees of the phone numbers in the last valid listing, in units of the currency \
             (different currencies must not be added)"
        ),
        |listing, samples| push_fees(&listing.inventory.groups, samples, |sum| &sum.monthly_fees),
    )
    .unit(MONEY)
    .example("Monthly fees of each account by currency", "sum by (account, currency) (tryvox_monthly_fees)"),
    ListingMetric::gauge(
        "tryvox_setup_fees",
        &["account", "country", "type", "status", "currency"],
        help!(
            "Sum of the one-time setup fees of the phone numbers in the last valid listing, in units of the currency \
             (different currencies must not be added)"
        ),
        |listing, samples| push_fees(&listing.inventory.groups, samples, |sum| &sum.setup_fees),
    )
    .unit(MONEY)
    .example("Setup fees of all accounts by currency", "sum by (currency) (tryvox_setup_fees)"),
    ListingMetric::gauge(
        "tryvox_capability_numbers",
        &["account", "capability", "status"],
        help!(
            "Number of phone numbers in the last valid listing by capability (a number counts once for each of its \
             capabilities)",
            "--collector.capability is false"
        ),
        |listing, samples| push_counts(&listing.inventory.capabilities, samples),
    )
    .unit(NUMBERS)
    .example("Active numbers by capability", "sum by (capability) (tryvox_capability_numbers{status=\"active\"})"),
    ListingMetric::gauge(
        "tryvox_assignment_numbers",
        &["account", "assignment", "status"],
        help!(
            "Number of phone numbers in the last valid listing by assignment: trunk, application, both or none (an id that \
             cannot be read counts as absent)",
            "--collector.assignment is false"
        ),
        |listing, samples| push_numbers::<_, 2>(&listing.inventory.assignments, samples),
    )
    .unit(NUMBERS)
    .example("Unassigned numbers of each account", "sum by (account) (tryvox_assignment_numbers{assignment=\"none\"})"),
    ListingMetric::gauge(
        "tryvox_assignment_monthly_fees",
        &["account", "assignment", "status", "currency"],
        fees_help!("assignment", "--collector.assignment is false"),
        |listing, samples| push_fees(&listing.inventory.assignments, samples, |sum| &sum.monthly_fees),
    )
    .unit(MONEY)
    .example(
        "Monthly fees of unassigned numbers by currency",
        "sum by (currency) (tryvox_assignment_monthly_fees{assignment=\"none\"})",
    ),
    ListingMetric::gauge(
        "tryvox_region_numbers",
        &["account", "country", "region", "status"],
        help!(
            "Number of phone numbers in the last valid listing by region (the label is empty for numbers without one)",
            "--collector.region is not set"
        ),
        |listing, samples| push_numbers::<_, 3>(&listing.inventory.regions, samples),
    )
    .unit(NUMBERS)
    .opt_in()
    .example("Ten regions with the most numbers", "topk(10, sum by (country, region) (tryvox_region_numbers))"),
    ListingMetric::gauge(
        "tryvox_region_monthly_fees",
        &["account", "country", "region", "status", "currency"],
        fees_help!("region", "--collector.region is not set"),
        |listing, samples| push_fees(&listing.inventory.regions, samples, |sum| &sum.monthly_fees),
    )
    .unit(MONEY)
    .opt_in()
    .example(
        "Ten most expensive regions of each currency",
        "topk by (currency) (10, sum by (country, region, currency) (tryvox_region_monthly_fees))",
    ),
    ListingMetric::gauge(
        "tryvox_trunk_numbers",
        &["account", "trunk_id", "status"],
        help!(
            "Number of phone numbers in the last valid listing by trunk (the label is empty for numbers without one)",
            "--collector.trunk is not set"
        ),
        |listing, samples| push_numbers::<_, 2>(&listing.inventory.trunks, samples),
    )
    .unit(NUMBERS)
    .opt_in()
    .example(
        "Numbers of each trunk that are not active",
        "sum by (trunk_id) (tryvox_trunk_numbers{status!=\"active\"})",
    ),
    ListingMetric::gauge(
        "tryvox_trunk_monthly_fees",
        &["account", "trunk_id", "status", "currency"],
        fees_help!("trunk", "--collector.trunk is not set"),
        |listing, samples| push_fees(&listing.inventory.trunks, samples, |sum| &sum.monthly_fees),
    )
    .unit(MONEY)
    .opt_in()
    .example("Monthly fees of each trunk by currency", "sum by (trunk_id, currency) (tryvox_trunk_monthly_fees)"),
    ListingMetric::gauge(
        "tryvox_application_numbers",
        &["account", "application_id", "status"],
        help!(
            "Number of phone numbers in the last valid listing by application (the label is empty for numbers \
             without one)",
            "--collector.application is not set"
        ),
        |listing, samples| push_numbers::<_, 2>(&listing.inventory.applications, samples),
    )
    .unit(NUMBERS)
    .opt_in()
    .example("Numbers of each application", "sum by (application_id) (tryvox_application_numbers)"),
    ListingMetric::gauge(
        "tryvox_application_monthly_fees",
        &["account", "application_id", "status", "currency"],
        fees_help!("application", "--collector.application is not set"),
        |listing, samples| push_fees(&listing.inventory.applications, samples, |sum| &sum.monthly_fees),
    )
    .unit(MONEY)
    .opt_in()
    .example(
        "Monthly fees of each application by currency",
        "sum by (application_id, currency) (tryvox_application_monthly_fees)",
    ),
    ListingMetric::gauge(
        "tryvox_owner_numbers",
        &["account", "owner", "status"],
        help!(
            "Number of phone numbers in the last valid listing by owner (the label is empty for numbers without \
             one); only owners that have numbers in the account",
            "no owners are configured"
        ),
        |listing, samples| push_numbers::<_, 2>(&listing.owners, samples),
    )
    .unit(NUMBERS)
    .opt_in()
    .example("Numbers of each owner", "sum by (owner) (tryvox_owner_numbers)"),
    ListingMetric::gauge(
        "tryvox_owner_monthly_fees",
        &["account", "owner", "status", "currency"],
        fees_help!("owner", "no owners are configured"),
        |listing, samples| push_fees(&listing.owners, samples, |sum| &sum.monthly_fees),
    )
    .unit(MONEY)
    .opt_in()
    .example("Monthly fees of each owner by currency", "sum by (owner, currency) (tryvox_owner_monthly_fees)"),
    ListingMetric::gauge(
        WATCHED_STATUS,
        &["account", "e164", "name", "status"],
        help!(
            "Whether a watched number has the status (1) or not (0); missing means that the account does not have \
             the number, and all are 0 until a listing has its status",
            "the number is not watched"
        ),
        push_watched_statuses,
    )
    .opt_in()
    .example("Watched numbers that are not active", "tryvox_watched_number_status{status=\"active\"} == 0"),
    ListingMetric::gauge(
        WATCHED_ASSIGNED,
        &["account", "e164", "name"],
        "Whether a watched number has a trunk or an application (1) or not (0); absent if no listing has its assignment \
         yet, there is no valid listing, it is stale, or the number is not watched.",
        push_watched_assigned,
    )
    .opt_in()
    .example("Watched numbers without trunk and application", "tryvox_watched_number_assigned == 0"),
    ListingMetric::gauge(
        "tryvox_oldest_update_timestamp_seconds",
        &["account", "status"],
        "Unix timestamp in seconds of the oldest updated_at of any phone number with this status in the last valid \
         listing; absent if no number has one, there is no valid listing, it is stale, or --collector.lifecycle is \
         false.",
        |listing, samples| {
            for (status, updated) in &listing.inventory.oldest_update {
                samples.push([status], u64::from(*updated));
            }
        },
    )
    .unit(TIMESTAMP)
    .example(
        "Accounts with a number that has been pending for more than a day",
        "time() - tryvox_oldest_update_timestamp_seconds{status=\"pending\"} > 86400",
    ),
    ListingMetric::gauge(
        "tryvox_newest_creation_timestamp_seconds",
        &["account"],
        "Unix timestamp in seconds of the newest created_at of any phone number in the last valid listing; absent if \
         no number has one, there is no valid listing, it is stale, or --collector.lifecycle is false.",
        |listing, samples| {
            if let Some(created) = listing.inventory.newest_creation {
                samples.push([], u64::from(created));
            }
        },
    )
    .unit(TIMESTAMP)
    .example("Time since the last purchase, in seconds", "time() - tryvox_newest_creation_timestamp_seconds"),
    ListingMetric::info(
        NUMBER_INFO,
        &["account", "e164", "country", "type", "region", "status", "trunk_id", "application_id"],
        number_help!(
            "Properties of a phone number with per-number series (see --collector.number.statuses and watch), as \
             labels of the value 1"
        ),
        |listing, samples| {
            for number in &listing.inventory.numbers {
                let e164 = number.e164.to_string();
                let NumberDetails { country, kind, region, status, trunk, application, .. } = number;
                samples.push([&e164, country, kind, region, status, trunk, application], 1_u64);
            }
        },
    )
    .example("Suspended numbers with their properties", "tryvox_number_info{status=\"suspended\"}"),
    ListingMetric::gauge(
        "tryvox_number_monthly_fee",
        &["account", "e164", "currency"],
        number_help!(
            "Monthly fee of a phone number with per-number series, in units of the currency (different currencies must \
             not be added)"
        ),
        |listing, samples| {
            for number in &listing.inventory.numbers {
                samples.push([&*number.e164.to_string(), &*number.currency], number.monthly_fee.to_f64());
            }
        },
    )
    .unit(MONEY)
    .example("Ten most expensive numbers of each currency", "topk by (currency) (10, tryvox_number_monthly_fee)"),
    ListingMetric::gauge(
        "tryvox_number_updated_timestamp_seconds",
        &["account", "e164"],
        number_help!(
            "Unix timestamp in seconds of the updated_at of a phone number with per-number series",
            "the number has none, "
        ),
        |listing, samples| push_timestamps(listing, samples, |number| number.updated_at),
    )
    .unit(TIMESTAMP)
    .example("Numbers not updated for a week", "time() - tryvox_number_updated_timestamp_seconds > 7 * 86400"),
    ListingMetric::gauge(
        "tryvox_number_created_timestamp_seconds",
        &["account", "e164"],
        number_help!(
            "Unix timestamp in seconds of the created_at of a phone number with per-number series",
            "the number has none, "
        ),
        |listing, samples| push_timestamps(listing, samples, |number| number.created_at),
    )
    .unit(TIMESTAMP)
    .example(
        "Numbers with per-number series that were purchased within a week",
        "time() - tryvox_number_created_timestamp_seconds < 7 * 86400",
    ),
    ListingMetric::gauge(
        "tryvox_number_series_truncated",
        &["account"],
        help!(
            "Number of phone numbers without per-number series because of --collector.number.limit",
            "--collector.number.statuses is none"
        ),
        |listing, samples| {
            if let Some(truncated) = listing.inventory.truncated_numbers {
                samples.push([], truncated);
            }
        },
    )
    .unit(NUMBERS)
    .example("Accounts that exceed the limit of per-number series", "tryvox_number_series_truncated > 0"),
    ListingMetric::gauge(
        "tryvox_listed_numbers",
        &["account"],
        help!("Number of distinct phone numbers in the last valid listing"),
        |listing, samples| samples.push([], listing.inventory.listed),
    )
    .unit(NUMBERS)
    .example("Numbers of all accounts", "sum(tryvox_listed_numbers)"),
    ListingMetric::gauge(
        "tryvox_reported_numbers",
        &["account"],
        help!("Number of phone numbers that the API reported for the last valid listing (pagination.total)"),
        |listing, samples| samples.push([], listing.reported),
    )
    .unit(NUMBERS)
    .example(
        "Accounts whose listing differs from the reported total, and by how many records",
        "tryvox_reported_numbers - tryvox_listed_numbers - tryvox_invalid_records != 0",
    ),
    ListingMetric::gauge(
        "tryvox_invalid_records",
        &["account"],
        help!("Number of invalid records in the last valid listing, which are skipped"),
        |listing, samples| samples.push([], listing.inventory.invalid),
    )
    .unit("records")
    .example("Accounts with invalid records", "tryvox_invalid_records > 0"),
    ListingMetric::gauge(
        "tryvox_unreadable_fields",
        &["account", "field"],
        help!(
            "Number of phone numbers in the last valid listing with an optional field that cannot be read and counts \
             as absent, by field"
        ),
        |listing, samples| {
            for (field, numbers) in OptionalField::ALL.into_iter().zip(listing.inventory.unreadable_fields) {
                samples.push([field.as_str()], numbers);
            }
        },
    )
    .unit(NUMBERS)
    .example("Fields that cannot be read, by account", "tryvox_unreadable_fields > 0"),
];
