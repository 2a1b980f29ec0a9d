//! The summary at the top of the page: a notice if accounts need attention, and tiles with totals.

use super::account::{AccountStatus, PageAccount, count_suspended};
use super::watched::WatchedTable;
use super::{format, tables};
use crate::inventory::InventorySummary;

/// Names the accounts that need attention.
#[derive(Debug)]
pub(super) struct Notice {
    pub(super) text: String,
    /// The address of a list of those accounts.
    pub(super) address: String,
    pub(super) link_text: &'static str,
}

/// A named total.
#[derive(Debug)]
pub(super) struct SummaryTile {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) note: String,
    pub(super) css_class: &'static str,
}

/// Returns the notice; `None` if no account needs attention.
pub(super) fn build_notice(accounts: &[PageAccount<'_>]) -> Option<Notice> {
    let failing: Vec<_> = accounts.iter().filter(|account| account.status.needs_attention()).collect();
    let first = failing.first()?;
    let text = match failing.len() {
        1 => {
            let summary = first.problem().map_or("The next poll is overdue.", |problem| problem.summary);
            format!("Account {} is {}. {summary}", first.name(), first.status.name().to_lowercase())
        }
        count => format!("{} accounts need attention.", format::count(count as u64)),
    };
    // The list of all accounts begins with those that need attention.
    let have_same_status = failing.iter().all(|account| account.status == first.status);
    let show = if have_same_status { first.status.query_value() } else { "all" };
    let address = format!("?show={show}#accounts");
    Some(Notice { text, address, link_text: if failing.len() == 1 { "Show account" } else { "Show accounts" } })
}

/// Returns the tiles; `overview` is that of all accounts together.
pub(super) fn build_tiles(
    accounts: &[PageAccount<'_>],
    overview: &InventorySummary,
    watched: &WatchedTable,
) -> Vec<SummaryTile> {
    let tile = |name: &str, value, note, css_class| SummaryTile { name: name.to_owned(), value, note, css_class };
    let count = |status| accounts.iter().filter(|account| account.status == status).count() as u64;
    let (up, new, total) = (count(AccountStatus::Up), count(AccountStatus::New), accounts.len() as u64);
    let note = if new > 0 { format!("{} not polled yet", format::count(new)) } else { String::new() };
    let css_class = if up + new < total {
        "bad"
    } else if new > 0 {
        "warn"
    } else {
        "good"
    };
    let value = format!("{} of {}", format::count(up), format::count(total));
    let mut tiles = vec![tile("Accounts up", value, note, css_class)];

    if watched.known > 0 {
        let [active, known] =
            [watched.known - watched.inactive, watched.known].map(|count| format::count(count as u64));
        let css_class = if watched.inactive > 0 { "bad" } else { "good" };
        tiles.push(tile("Watched numbers active", format!("{active} of {known}"), String::new(), css_class));
    }

    let numbers: u64 = overview.numbers.values().sum();
    tiles.push(tile("Numbers", format::count(numbers), String::new(), ""));

    let suspended = count_suspended(overview);
    #[expect(clippy::cast_precision_loss, reason = "a share rounded to a decimal")]
    let share = suspended as f64 * 100.0 / numbers.max(1) as f64;
    let css_class = if suspended > 0 { "bad" } else { "" };
    tiles.push(tile("Suspended", format::count(suspended), format!("{share:.1}% of numbers"), css_class));

    for (currency, amount) in tables::total_fees(overview) {
        tiles.push(tile(&format!("Monthly fees, {currency}"), format::amount(&amount), String::new(), ""));
    }
    tiles
}
