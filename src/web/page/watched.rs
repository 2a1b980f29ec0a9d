//! The table of watched numbers: those that do not work come first.

use super::account::PageAccount;
use super::format;
use crate::inventory::WatchedStatus;
use crate::plural;

/// Maximum number of rows of the table.
const MAX_ROWS: usize = 20;

/// The status of a watched number when it works.
const ACTIVE: &str = "active";

/// Shown for a status that is not known yet.
const UNKNOWN: &str = "unknown";

/// The watched numbers of all accounts.
#[derive(Debug, Default)]
pub(super) struct WatchedTable {
    /// The first rows of the table.
    pub(super) rows: Vec<WatchedRow>,
    /// How many watched numbers are of accounts with a valid listing.
    pub(super) known: usize,
    /// How many of those are not active, or whose status is not known yet.
    pub(super) inactive: usize,
    /// How many watched numbers are of other accounts.
    unknown: usize,
}

/// A watched number.
#[derive(Debug)]
pub(super) struct WatchedRow {
    pub(super) name: String,
    pub(super) number: String,
    pub(super) status: String,
    pub(super) account: String,
    /// `None` if that is not known.
    pub(super) is_assigned: Option<bool>,
}

impl WatchedRow {
    fn new(account: &str, status: &WatchedStatus) -> Self {
        Self {
            name: status.number.name.to_string(),
            number: status.number.e164.to_string(),
            status: status.status.as_deref().unwrap_or(UNKNOWN).to_owned(),
            account: account.to_owned(),
            is_assigned: status.is_assigned,
        }
    }

    pub(super) fn css_class(&self) -> &'static str {
        match (&*self.status, self.is_assigned) {
            (ACTIVE, Some(true)) => "good",
            (ACTIVE | "pending", _) => "warn",
            _ => "bad",
        }
    }
}

impl WatchedTable {
    /// Collects the watched numbers of the accounts. Those that are not active come first, then those that are not
    /// assigned; otherwise they keep their order.
    pub(super) fn new(accounts: &[PageAccount<'_>]) -> Self {
        let configured: usize = accounts.iter().map(PageAccount::watched_numbers).sum();
        let statuses =
            accounts.iter().flat_map(|account| account.watched().iter().map(|status| (account.name(), status)));
        Self::of_statuses(statuses.collect(), configured)
    }

    /// Returns the table of the statuses in the valid listings, with the names of their accounts; `configured` numbers are
    /// watched.
    fn of_statuses(mut statuses: Vec<(&str, &WatchedStatus)>, configured: usize) -> Self {
        let is_active = |status: &WatchedStatus| status.status.as_deref() == Some(ACTIVE);
        statuses.sort_by_key(|(_, status)| (is_active(status), status.is_assigned == Some(true)));
        Self {
            known: statuses.len(),
            inactive: statuses.iter().filter(|(_, status)| !is_active(status)).count(),
            unknown: configured.saturating_sub(statuses.len()),
            rows: statuses.iter().take(MAX_ROWS).map(|(account, status)| WatchedRow::new(account, status)).collect(),
        }
    }

    /// Returns whether no numbers are watched.
    pub(super) fn is_empty(&self) -> bool {
        self.known + self.unknown == 0
    }

    /// Describes which watched numbers are in the table, and which are not.
    pub(super) fn description(&self) -> String {
        let count = |numbers: usize| format::count_of(numbers as u64, "watched number", "watched numbers");
        let known = match self.known {
            0 => None,
            1 => Some("1 watched number.".to_owned()),
            known if known == self.rows.len() => Some(format!("{}, those that are not active first.", count(known))),
            known => Some(format!("{} of {}, those that are not active first.", self.rows.len(), count(known))),
        };
        let unknown = (self.unknown > 0).then(|| {
            let verb = plural::choose(self.unknown as u64, "has", "have");
            format!("{} {verb} no known status: the account has no valid listing.", count(self.unknown))
        });
        [known, unknown].into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::WatchedNumber;

    fn status(number: u64, status: &str, is_assigned: bool) -> WatchedStatus {
        let number = WatchedNumber { e164: format!("+1800555{number:04}").parse().unwrap(), name: "line".into() };
        WatchedStatus { number, status: Some(status.into()), is_assigned: Some(is_assigned) }
    }

    fn table(statuses: &[WatchedStatus], configured: usize) -> WatchedTable {
        WatchedTable::of_statuses(statuses.iter().map(|status| ("production", status)).collect(), configured)
    }

    #[test]
    fn numbers_that_do_not_work_come_first() {
        let statuses = [
            status(1, "active", true),
            status(2, "missing", false),
            status(3, "active", false),
            status(4, "pending", true),
            status(5, "active", true),
            WatchedStatus { status: None, is_assigned: None, ..status(6, "", false) },
        ];
        let table = table(&statuses, 6);
        let rows: Vec<_> = table.rows.iter().map(|row| (&row.number[11..], &*row.status, row.css_class())).collect();
        let expected = [
            ("2", "missing", "bad"),
            ("6", "unknown", "bad"),
            ("4", "pending", "warn"),
            ("3", "active", "warn"),
            ("1", "active", "good"),
            ("5", "active", "good"),
        ];
        assert_eq!(rows, expected);
        assert_eq!((table.known, table.inactive), (6, 3));
        assert_eq!(table.description(), "6 watched numbers, those that are not active first.");
    }

    #[test]
    fn many_numbers_are_counted() {
        let mut statuses = vec![status(0, "active", true); 1999];
        statuses.push(status(1, "porting", true));
        let table = table(&statuses, 2001);
        assert_eq!((table.rows.len(), &*table.rows[0].status, table.inactive), (MAX_ROWS, "porting", 1));
        assert_eq!(
            table.description(),
            "20 of 2,000 watched numbers, those that are not active first. 1 watched number has no known status: the \
             account has no valid listing."
        );
    }

    #[test]
    fn numbers_of_accounts_without_a_listing_are_counted() {
        assert!(table(&[], 0).is_empty());
        let unknown = table(&[], 2);
        assert!(!unknown.is_empty());
        assert!(unknown.description().starts_with("2 watched numbers have no known status: "));
    }
}
