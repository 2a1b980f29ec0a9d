//! The report of a check, in the form of `--output=json`; `docs/check.md` describes the fields.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use super::plural;
use crate::duration;
use crate::inventory::{GroupTotals, Inventory, Money};
use crate::metrics::render_listing;
use crate::poller::{Listing, Poller};
use crate::tryvox::{Failure, STATUSES};

/// The documented types.
const TYPES: [&str; 3] = ["local", "toll_free", "mobile"];
/// The documented capabilities.
const CAPABILITIES: [&str; 3] = ["voice", "sms", "mms"];

/// Approximate number of series of an account besides those of its listing.
const POLLING_SERIES: usize = 70;

/// The reports of all accounts.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) accounts: Vec<AccountReport>,
    pub(super) totals: Totals,
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
    /// Unexpected properties of the listing.
    pub(super) problems: Vec<String>,
    /// Recommended changes to the configuration.
    pub(super) advice: Vec<String>,
    /// Approximate number of time series of the account.
    pub(super) series: usize,
    #[serde(skip)]
    /// The totals by currency, exact.
    totals_by_currency: BTreeMap<String, GroupTotals>,
}

/// Why an account could not be listed.
#[derive(Debug, Serialize)]
pub(super) struct FailureReport {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// The numbers with the same country, type, status and currency.
#[derive(Debug, Serialize)]
pub(super) struct GroupReport {
    pub(super) country: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) status: String,
    pub(super) currency: String,
    pub(super) numbers: u64,
    pub(super) monthly_fees: String,
    pub(super) setup_fees: String,
}

impl Report {
    pub(super) fn new(accounts: Vec<AccountReport>) -> Self {
        let mut totals: BTreeMap<String, GroupTotals> = BTreeMap::new();
        for (currency, sum) in accounts.iter().flat_map(|account| &account.totals_by_currency) {
            *totals.entry(currency.clone()).or_default() += sum.clone();
        }
        let totals = Totals { numbers: accounts.iter().map(|account| account.numbers).sum(), ..Totals::new(&totals) };
        Self { accounts, totals }
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
    /// Creates the report of an account that took `duration` to list.
    pub(super) fn new(poller: &Poller, listing: Result<Listing, Failure>, duration: Duration) -> Self {
        let account = poller.account.name().to_owned();
        let interval = poller.account.interval();
        let pages = poller.account.progress().total;
        let mut report = Self {
            account,
            ok: listing.is_ok(),
            error: None,
            numbers: 0,
            reported: 0,
            pages,
            seconds: duration.as_secs_f64(),
            interval_seconds: interval.as_secs_f64(),
            groups: Vec::new(),
            totals: Totals::default(),
            problems: Vec::new(),
            advice: Vec::new(),
            series: POLLING_SERIES,
            totals_by_currency: BTreeMap::new(),
        };
        match listing {
            Ok(listing) => report.add_listing(poller, &listing),
            Err(failure) => {
                report.error = Some(FailureReport { reason: failure.reason.as_str(), message: failure.to_string() });
            }
        }
        report.advice.extend(interval_advice(duration, interval));
        report.advice.extend(rate_limit_advice(pages, interval, poller.config.tryvox.rate_limit));
        report
    }

    /// Adds the contents of the listing and its problems.
    fn add_listing(&mut self, poller: &Poller, listing: &Listing) {
        let inventory = &listing.inventory;
        (self.numbers, self.reported) = (inventory.listed, listing.reported);
        for ([country, kind, status, currency], sum) in inventory.groups.iter().filter(|(_, sum)| sum.numbers > 0) {
            *self.totals_by_currency.entry(currency.to_string()).or_default() += sum.clone();
            self.groups.push(GroupReport {
                country: country.to_string(),
                kind: kind.to_string(),
                status: status.to_string(),
                currency: currency.to_string(),
                numbers: sum.numbers,
                monthly_fees: sum.monthly_fees.to_string(),
                setup_fees: sum.setup_fees.to_string(),
            });
        }
        self.totals = Totals::new(&self.totals_by_currency);
        for (kind, count) in &inventory.invalid_by_kind {
            self.problems.push(format!("{}: {}", plural(*count, "invalid record"), describe_invalid(kind)));
        }
        for (label, values) in undocumented(inventory) {
            let values: Vec<_> = values.into_iter().collect();
            self.problems.push(format!("undocumented {label}, kept as it is: {}", values.join(", ")));
        }
        if listing.discrepancy() > 0 {
            self.problems.push(format!(
                "the API reports {} numbers but lists {} ({} of them invalid)",
                listing.reported,
                inventory.listed + inventory.invalid,
                inventory.invalid
            ));
        }
        let rendered = render_listing(poller.account.name(), listing, None);
        self.series += rendered.iter().flat_map(|family| &**family.bytes()).filter(|byte| **byte == b'\n').count();
    }
}

/// Describes a category of invalid records, as returned by
/// [`InvalidRecord::kind`](crate::inventory::InvalidRecord::kind).
fn describe_invalid(kind: &str) -> String {
    match kind {
        "shape" => "a required field is missing or has the wrong type".to_owned(),
        "fee" => "a fee is not a valid amount".to_owned(),
        field => format!("{field} is empty, too long or malformed"),
    }
}

/// Returns advice if listing an account takes too long for its interval.
fn interval_advice(duration: Duration, interval: Duration) -> Option<String> {
    if duration <= interval.mul_f64(0.8) {
        return None;
    }
    // Twice the duration leaves room for retries and for a slower API.
    let recommended = Duration::from_secs(duration.as_secs() + 1) * 2;
    let (duration, interval) = (duration::format(duration), duration::format(interval));
    let recommended = duration::format(recommended);
    Some(format!(
        "listing took {duration} of the interval of {interval}; set --poll.interval to at least {recommended}"
    ))
}

/// Returns advice if the rate limit, in requests per second and 0 for none, leaves too little time to list this many
/// pages again within the interval, as a poll does up to twice if the listing is inconsistent.
fn rate_limit_advice(pages: u32, interval: Duration, rate_limit: f64) -> Option<String> {
    let recommended = f64::from(pages) * 3.0 / interval.as_secs_f64();
    if rate_limit == 0.0 || rate_limit >= recommended {
        return None;
    }
    // Rounded up to a tenth, so that it is never 0.0.
    let recommended = (recommended * 10.0).ceil() / 10.0;
    let (pages, interval) = (plural(pages.into(), "page"), duration::format(interval));
    Some(format!(
        "{pages} in an interval of {interval} leave little time for retries at {rate_limit} requests per second; set \
         --tryvox.rate-limit to at least {recommended}"
    ))
}

/// Returns the values of a listing that the API does not document, by label.
fn undocumented(inventory: &Inventory) -> BTreeMap<&'static str, BTreeSet<&str>> {
    let kinds = inventory.groups.keys().map(|[_, kind, ..]| ("type", &**kind, &TYPES));
    let statuses = inventory.groups.keys().map(|[_, _, status, _]| ("status", &**status, &STATUSES));
    let capabilities = inventory.capabilities.keys().map(|[name, _]| ("capability", &**name, &CAPABILITIES));
    let mut undocumented: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (label, value, documented) in kinds.chain(statuses).chain(capabilities) {
        if !documented.contains(&value) {
            undocumented.entry(label).or_default().insert(value);
        }
    }
    undocumented
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_is_given_only_if_the_interval_or_the_rate_limit_is_too_low() {
        let interval = Duration::from_mins(5);
        assert_eq!(interval_advice(Duration::from_secs(200), interval), None);
        let advice = interval_advice(Duration::from_secs(299), interval).unwrap();
        assert!(advice.ends_with("4m 59s of the interval of 5m; set --poll.interval to at least 10m"), "{advice}");
        for (pages, rate_limit) in [(0, 20.0), (13, 20.0), (13, 0.2), (1_000_000, 0.0)] {
            assert_eq!(rate_limit_advice(pages, interval, rate_limit), None);
        }
        for (pages, rate_limit, expected) in [(1, 0.005, "0.1"), (13, 0.05, "0.2"), (1000, 5.0, "10")] {
            let advice = rate_limit_advice(pages, interval, rate_limit).unwrap();
            assert!(advice.ends_with(&format!("--tryvox.rate-limit to at least {expected}")), "{advice}");
        }
    }
}
