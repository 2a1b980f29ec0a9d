//! The report of a check, in the form of `--output=json`; `docs/check.md` describes the fields.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::group::GroupReport;
use super::problems::problems;
use super::savings::{ExpensiveGroup, Savings, SavingsReport, expensive_groups};
use super::{format_elapsed, plural};
use crate::config::Options;
use crate::duration;
use crate::inventory::{ChangeCounters, GroupTotals, Listing, Money};
use crate::metrics::render_listing;
use crate::poller::{ListingOutcome, Poller};

/// Number of series of an account besides those that depend on its listing and its configuration.
const POLLING_SERIES: usize = 52;

/// How many times a poll lists an account if the listing is inconsistent.
const LISTINGS_PER_POLL: f64 = 3.0;

/// The reports of all accounts.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) accounts: Vec<AccountReport>,
    /// The names of the accounts that could not be listed, whose numbers are missing from the fields below.
    pub(super) failed_accounts: Vec<String>,
    pub(super) totals: Totals,
    /// What numbers cost that may not be needed.
    pub(super) savings: SavingsReport,
    /// The groups with the highest monthly fees of each currency.
    pub(super) expensive_groups: Vec<ExpensiveGroup>,
}

/// Sums over groups of numbers, by currency. Amounts are decimals in strings, so that they stay exact.
#[derive(Debug, Default, Serialize)]
pub(super) struct Totals {
    pub(super) numbers: u64,
    pub(super) monthly_fees: BTreeMap<String, String>,
    pub(super) setup_fees: BTreeMap<String, String>,
}

/// The report of one account.
#[derive(Debug, Serialize)]
pub(super) struct AccountReport {
    pub(super) account: String,
    pub(super) ok: bool,
    /// Why there is no valid listing.
    pub(super) error: Option<FailureReport>,
    pub(super) numbers: u64,
    pub(super) reported: u64,
    pub(super) pages: u32,
    pub(super) seconds: f64,
    pub(super) interval_seconds: f64,
    pub(super) groups: Vec<GroupReport>,
    pub(super) totals: Totals,
    /// What numbers cost that may not be needed; `None` without a listing.
    pub(super) savings: Option<SavingsReport>,
    /// Unexpected properties of the listing.
    pub(super) problems: Vec<String>,
    /// Recommended changes to the configuration.
    pub(super) advice: Vec<String>,
    /// Approximate number of time series of the account.
    pub(super) series: usize,
    #[serde(skip)]
    /// The totals by currency, exact.
    totals_by_currency: BTreeMap<String, GroupTotals>,
    #[serde(skip)]
    exact_savings: Savings,
}

/// Why an account could not be listed.
#[derive(Debug, Serialize)]
pub(super) struct FailureReport {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Report {
    pub(super) fn new(accounts: Vec<AccountReport>) -> Self {
        let mut totals: BTreeMap<String, GroupTotals> = BTreeMap::new();
        for (currency, sum) in accounts.iter().flat_map(|account| &account.totals_by_currency) {
            *totals.entry(currency.clone()).or_default() += sum.clone();
        }
        let totals = Totals { numbers: accounts.iter().map(|account| account.numbers).sum(), ..Totals::new(&totals) };
        let mut savings = Savings::default();
        for account in &accounts {
            savings.add(&account.exact_savings);
        }
        let groups = accounts.iter().flat_map(|account| account.groups.iter().map(|group| (&*account.account, group)));
        let expensive_groups = expensive_groups(groups);
        let failed = accounts.iter().filter(|account| !account.ok).map(|account| account.account.clone());
        Self { failed_accounts: failed.collect(), totals, savings: savings.report(), expensive_groups, accounts }
    }
}

impl Totals {
    fn new(by_currency: &BTreeMap<String, GroupTotals>) -> Self {
        let amounts = |amount: fn(&GroupTotals) -> &Money| {
            by_currency.iter().map(|(currency, sum)| (currency.clone(), amount(sum).to_string())).collect()
        };
        Self {
            numbers: by_currency.values().map(|sum| sum.numbers).sum(),
            monthly_fees: amounts(|sum| &sum.monthly_fees),
            setup_fees: amounts(|sum| &sum.setup_fees),
        }
    }
}

impl AccountReport {
    /// Creates the report of an account that took `duration` to list; `options` are those of the process.
    pub(super) fn new(poller: &Poller, outcome: ListingOutcome, duration: Duration, options: &Options) -> Self {
        let ListingOutcome { result, pages, attempts } = outcome;
        let account = poller.account.name().to_owned();
        let interval = poller.account.interval();
        let mut report = Self {
            account,
            ok: result.is_ok(),
            error: None,
            numbers: 0,
            reported: 0,
            pages,
            seconds: duration.as_secs_f64(),
            interval_seconds: interval.as_secs_f64(),
            groups: Vec::new(),
            totals: Totals::default(),
            savings: None,
            problems: Vec::new(),
            advice: Vec::new(),
            series: POLLING_SERIES + poller.account.config().budget.len(),
            totals_by_currency: BTreeMap::new(),
            exact_savings: Savings::default(),
        };
        match result {
            Ok((listing, changes)) => report.add_listing(poller, listing, &changes),
            Err(failure) => {
                report.error = Some(FailureReport { reason: failure.reason.as_str(), message: failure.to_string() });
            }
        }
        // A listing that failed may have more pages than were read.
        let known_pages = poller.account.progress().total;
        let polling = Polling {
            duration,
            pages: known_pages.max(pages.div_ceil(attempts.max(1))),
            interval,
            has_own_interval: poller.account.config().poll.interval != options.poll.interval,
            rate_limit: poller.account.config().tryvox.rate_limit,
            has_own_rate_limit: poller.account.config().tryvox.rate_limit.to_bits()
                != options.tryvox.rate_limit.to_bits(),
        };
        report.advice.extend(polling.advice());
        report
    }

    /// Adds the contents of the listing and its problems.
    fn add_listing(&mut self, poller: &Poller, listing: Listing, changes: &ChangeCounters) {
        let inventory = &listing.inventory;
        (self.numbers, self.reported) = (inventory.listed, listing.reported);
        for (labels, sum) in inventory.groups.iter().filter(|(_, sum)| sum.numbers > 0) {
            let group = GroupReport::new(labels, sum);
            *self.totals_by_currency.entry(group.currency.clone()).or_default() += sum.clone();
            self.groups.push(group);
        }
        self.totals = Totals::new(&self.totals_by_currency);
        self.exact_savings = Savings::new(inventory);
        self.savings = Some(self.exact_savings.report());
        self.problems.extend(problems(&listing));
        let label_limit = poller.account.config().collector.label_limit;
        let limited = Listing { inventory: listing.inventory.with_label_limit(label_limit, &changes.fees), ..listing };
        let rendered = render_listing(poller.account.name(), &limited, None);
        self.series += rendered.iter().flat_map(|family| &**family.bytes()).filter(|byte| **byte == b'\n').count();
        // Fees are counted as added and as removed.
        self.series += changes.statuses.len() + 2 * changes.fees.iter().count();
    }
}

/// What decides whether the polls of an account fit its interval.
struct Polling {
    /// How long listing the account took.
    duration: Duration,
    /// Pages of one listing.
    pages: u32,
    interval: Duration,
    /// Whether the account has an interval of its own in the configuration file.
    has_own_interval: bool,
    /// Requests per second, 0 for unlimited.
    rate_limit: f64,
    /// Whether the account has a rate limit of its own in the configuration file.
    has_own_rate_limit: bool,
}

impl Polling {
    /// Returns advice if polls do not fit the interval.
    fn advice(&self) -> Option<String> {
        let setting = |is_own, flag: &str, field: &str| {
            if is_own { format!("{field} of the account in the configuration file") } else { flag.to_owned() }
        };
        let set_interval = |interval| {
            let option = setting(self.has_own_interval, "--poll.interval", "interval");
            format!("{option} to at least {}", duration::format(interval))
        };
        let set_rate_limit = |rate_limit| {
            let option = setting(self.has_own_rate_limit, "--tryvox.rate-limit", "rate_limit");
            format!("{option} to at least {rate_limit}")
        };
        let interval = duration::format(self.interval);
        let slow = format!("listing took {} of the interval of {interval}", format_elapsed(self.duration));
        match (self.sufficient_interval(), self.sufficient_rate_limit()) {
            (None, None) => None,
            (Some(interval), None) => Some(format!("{slow}; set {}", set_interval(interval))),
            (None, Some(rate_limit)) => {
                let pages = plural(self.pages.into(), "page");
                Some(format!(
                    "{pages} in an interval of {interval} leave little time for retries at {} requests per second; set \
                     {}",
                    self.rate_limit,
                    set_rate_limit(rate_limit)
                ))
            }
            (Some(interval), Some(rate_limit)) => {
                let paced =
                    Duration::from_secs_f64((f64::from(self.pages) * LISTINGS_PER_POLL / self.rate_limit).ceil());
                let (interval, rate_limit) = (set_interval(interval.max(paced)), set_rate_limit(rate_limit));
                Some(format!("{slow}; set {interval}, or {rate_limit}"))
            }
        }
    }

    /// Returns the interval to set if listing takes too long for the present one.
    fn sufficient_interval(&self) -> Option<Duration> {
        // Twice the duration leaves room for retries and for a slower API.
        let is_short = self.duration > self.interval.mul_f64(0.8);
        is_short.then(|| Duration::from_secs(self.duration.as_secs() + 1) * 2)
    }

    /// Returns the rate limit to set if the present one leaves too little time within the interval.
    fn sufficient_rate_limit(&self) -> Option<f64> {
        let sufficient = f64::from(self.pages) * LISTINGS_PER_POLL / self.interval.as_secs_f64();
        let is_low = self.rate_limit != 0.0 && self.rate_limit < sufficient;
        // Rounded up to a tenth, so that it is never 0.0.
        is_low.then(|| (sufficient * 10.0).ceil() / 10.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An account at 20 requests per second whose poll takes a second of five minutes.
    const POLLING: Polling = Polling {
        duration: Duration::from_secs(1),
        pages: 13,
        interval: Duration::from_mins(5),
        has_own_interval: false,
        rate_limit: 20.0,
        has_own_rate_limit: false,
    };

    #[test]
    fn advice_is_given_only_if_the_interval_or_the_rate_limit_is_too_low() {
        assert_eq!(Polling { duration: Duration::from_secs(200), ..POLLING }.advice(), None);
        let advice = Polling { duration: Duration::from_secs(299), ..POLLING }.advice().unwrap();
        assert!(advice.ends_with("4m 59s of the interval of 5m; set --poll.interval to at least 10m"), "{advice}");
        for (pages, rate_limit) in [(0, 20.0), (13, 20.0), (13, 0.2), (1_000_000, 0.0)] {
            assert_eq!(Polling { pages, rate_limit, ..POLLING }.advice(), None);
        }
        for (pages, rate_limit, expected) in [(1, 0.005, "0.1"), (13, 0.05, "0.2"), (1000, 5.0, "10")] {
            let advice = Polling { pages, rate_limit, ..POLLING }.advice().unwrap();
            assert!(advice.ends_with(&format!("; set --tryvox.rate-limit to at least {expected}")), "{advice}");
        }
    }

    #[test]
    fn advice_offers_a_choice_if_interval_and_rate_limit_are_too_low() {
        let slow = Polling {
            duration: Duration::from_millis(4_040),
            pages: 20,
            interval: Duration::from_secs(5),
            rate_limit: 5.0,
            ..POLLING
        };
        assert_eq!(
            slow.advice().unwrap(),
            "listing took 4.04s of the interval of 5s; set --poll.interval to at least 12s, or --tryvox.rate-limit to at \
             least 12"
        );
        let advice = Polling { has_own_interval: true, has_own_rate_limit: true, ..slow }.advice().unwrap();
        let expected = "set interval of the account in the configuration file to at least 12s, or rate_limit of the \
                        account in the configuration file to at least 12";
        assert!(advice.ends_with(expected), "{advice}");
    }
}
