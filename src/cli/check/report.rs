//! The report of a check, in the form of `--output=json`; `docs/check.md` describes the fields.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use crate::inventory::{GroupTotals, Inventory, Money};
use crate::metrics::render_listing;
use crate::poller::{Listing, Poller};
use crate::tryvox::{Failure, STATUSES};

/// The documented types.
const TYPES: [&str; 3] = ["local", "toll_free", "mobile"];
/// The documented capabilities.
const CAPABILITIES: [&str; 3] = ["voice", "sms", "mms"];

/// About how many series an account has besides those of its listing.
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
    /// What is unexpected in the listing.
    pub(super) problems: Vec<String>,
    /// What to change in the configuration.
    pub(super) advice: Vec<String>,
    /// About how many time series the account has in Prometheus.
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
        let (_, pages) = poller.account.progress();
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
        if duration > interval {
            let needed = humantime::format_duration(Duration::from_secs(duration.as_secs() + 1));
            report
                .advice
                .push(format!("listing takes longer than the interval: set --poll.interval to more than {needed}"));
        } else if duration > interval.mul_f64(0.8) {
            report.advice.push("listing takes most of the interval: make --poll.interval longer".to_owned());
        }
        if pages == 0 {
            return report;
        }
        let rate = f64::from(pages) / interval.as_secs_f64();
        report
            .advice
            .push(format!("{pages} pages each interval need a rate limit of at least {rate:.1} requests a second"));
        report
    }

    /// Adds what the listing has and what is unexpected in it.
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
            self.problems.push(format!("{count} record(s) could not be read: {kind}"));
        }
        for (label, values) in undocumented(inventory) {
            let values: Vec<_> = values.into_iter().collect();
            self.problems.push(format!("not documented, and kept as written: {label} {}", values.join(", ")));
        }
        if listing.discrepancy() > 0 {
            self.problems.push(format!(
                "the API reports {} numbers and lists {}, {} of them invalid",
                listing.reported,
                inventory.listed + inventory.invalid,
                inventory.invalid
            ));
        }
        let rendered = render_listing(poller.account.name(), listing, None);
        self.series += rendered.iter().flat_map(|family| &**family.bytes()).filter(|byte| **byte == b'\n').count();
    }
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
