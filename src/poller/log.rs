//! The log messages of polls.

use tracing::{debug, info, warn};

use super::account::LastPoll;
use crate::duration;
use crate::inventory::{Change, Listing, ListingDifference, NumberChange};
use crate::tryvox::Failure;

/// Logs each change of a number at debug level, and one message with the counts.
pub(super) fn log_changes(account: &str, difference: &ListingDifference) {
    if difference.count() == 0 {
        return;
    }
    for change in &difference.changes {
        let NumberChange { e164, .. } = change;
        match &change.change {
            Change::Added => debug!(account, %e164, "number added"),
            Change::Removed => debug!(account, %e164, "number removed"),
            Change::Status { from, to } => {
                debug!(account, %e164, from = &**from, to = &**to, "number status changed");
            }
            Change::Fee { from, to } => debug!(account, %e164, %from, %to, "number monthly fee changed"),
            Change::Currency { from: (from_fee, from), to: (to_fee, to) } => {
                let (from, to) = (format_args!("{from_fee} {from}"), format_args!("{to_fee} {to}"));
                debug!(account, %e164, %from, %to, "number monthly fee changed");
            }
            Change::Assignment { from, to } => debug!(account, %e164, %from, %to, "number assignment changed"),
        }
    }
    let omitted = difference.count() - difference.changes.len() as u64;
    if omitted > 0 {
        debug!(account, omitted, "further number changes omitted");
    }
    let changes_to = |status: &str| -> u64 {
        difference.status_changes.iter().filter(|([_, to], _)| **to == *status).map(|(_, count)| count).sum()
    };
    info!(
        account,
        added = difference.added,
        removed = difference.removed,
        suspended = changes_to("suspended"),
        activated = changes_to("active"),
        fee_increases = difference.fee_increases,
        fee_decreases = difference.fee_decreases,
        currency_changes = difference.currency_changes,
        assignment_changes = difference.assignment_changes,
        "numbers changed"
    );
}

/// Logs a successful poll: at debug level if the account was up before and the listing is complete.
pub(super) fn log_success(account: &str, was_up: bool, listing: &Listing, poll: LastPoll) {
    let Listing { inventory, reported, .. } = listing;
    let (numbers, invalid_records, pages) = (inventory.listed, inventory.invalid, poll.pages);
    let duration = tracing::field::display(duration::format(poll.duration));
    if was_up && listing.discrepancy() == 0 {
        debug!(account, numbers, invalid_records, reported, pages, duration, "poll succeeded");
    } else {
        info!(account, numbers, invalid_records, reported, pages, duration, "poll succeeded");
    }
}

/// Logs a failed poll; `inventory` is `none`, `served` or `stale`, the state of the last valid listing.
pub(super) fn log_failure(account: &str, failure: &Failure, inventory: &str, poll: LastPoll) {
    let duration = tracing::field::display(duration::format(poll.duration));
    warn!(
        account,
        reason = failure.reason.as_str(),
        error = %failure,
        inventory,
        pages = poll.pages,
        duration,
        "poll failed"
    );
}
