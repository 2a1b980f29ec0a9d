//! The tables of recent changes and recent errors.

use std::time::SystemTime;

use super::account::PageAccount;
use super::format;

/// Maximum number of rows of a table.
const MAX_EVENTS: usize = 12;

/// A row of a table of events.
#[derive(Debug)]
pub(super) struct EventRow {
    pub(super) time: String,
    pub(super) ago: String,
    pub(super) account: String,
    pub(super) text: String,
}

/// Returns the latest changes of all accounts, the latest first.
pub(super) fn recent_changes(accounts: &[PageAccount<'_>], now: SystemTime) -> Vec<EventRow> {
    let changes = accounts
        .iter()
        .flat_map(|account| account.snapshot.history.changes.iter().map(move |change| (account, change.at, change)));
    latest_events(changes, format::describe_change, now)
}

/// Returns the latest failures of all accounts, the latest first.
pub(super) fn recent_errors(accounts: &[PageAccount<'_>], now: SystemTime) -> Vec<EventRow> {
    let failures = accounts.iter().flat_map(|account| {
        account.snapshot.history.failures.iter().map(move |failures| (account, failures.at, failures))
    });
    latest_events(failures, |failures| format::describe_failures(failures, now), now)
}

/// Returns the rows of the latest events; events of the same time keep their order.
fn latest_events<'a, T: 'a>(
    events: impl Iterator<Item = (&'a PageAccount<'a>, SystemTime, &'a T)>,
    describe: impl Fn(&T) -> String,
    now: SystemTime,
) -> Vec<EventRow> {
    let mut events: Vec<_> = events.collect();
    events.sort_by_key(|(_, at, _)| std::cmp::Reverse(*at));
    let row = |(account, at, event): (&PageAccount<'_>, SystemTime, &T)| EventRow {
        time: format::timestamp(at),
        ago: format::ago(at, now),
        account: account.name().to_owned(),
        text: describe(event),
    };
    events.into_iter().take(MAX_EVENTS).map(row).collect()
}
