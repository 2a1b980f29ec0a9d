//! What a check found, as `--output=json` writes it: `docs/check.md` describes the fields.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use crate::inventory::{GroupTotals, Inventory, Money};
use crate::metrics::render_listing;
use crate::poller::{Listing, Poller};
use crate::tryvox::{Failure, STATUSES};

/// The types and capabilities that the API documents.
const TYPES: [&str; 3] = ["local", "toll_free", "mobile"];
const CAPABILITIES: [&str; 3] = ["voice", "sms", "mms"];

/// Series that an account has whatever is in it, about.
const OTHER_SERIES: usize = 70;

/// All accounts.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) accounts: Vec<AccountReport>,
    pub(super) totals: Totals,
}

/// What all accounts have together. Amounts are decimals as texts, so that nothing is lost.
#[derive(Debug, Default, Serialize)]
pub(super) struct Totals {
    pub(super) numbers: u64,
    pub(super) monthly_fees: BTreeMap<String, String>,
    pub(super) setup_fees: BTreeMap<String, String>,
}

/// One account.
#[derive(Debug, Serialize)]
pub(super) struct AccountReport {
    pub(super) account: String,
    pub(super) ok: bool,
    /// Why there is no listing.
    pub(super) error: Option<Problem>,
    pub(super) numbers: u64,
    pub(super) reported: u64,
    pub(super) pages: u32,
    pub(super) seconds: f64,
    pub(super) interval_seconds: f64,
    pub(super) groups: Vec<Group>,
    pub(super) totals: Totals,
    /// What is odd about the listing, and what to do.
    pub(super) problems: Vec<String>,
    pub(super) advice: Vec<String>,
    /// Time series that this account gives Prometheus.
    pub(super) series: usize,
    #[serde(skip)]
    sums: BTreeMap<String, GroupTotals>,
}

/// A failure.
#[derive(Debug, Serialize)]
pub(super) struct Problem {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// Numbers that have country, type, status and currency in common.
#[derive(Debug, Serialize)]
pub(super) struct Group {
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
        let mut sums: BTreeMap<String, GroupTotals> = BTreeMap::new();
        for (currency, sum) in accounts.iter().flat_map(|account| &account.sums) {
            *sums.entry(currency.clone()).or_default() += sum.clone();
        }
        let totals = Totals { numbers: accounts.iter().map(|account| account.numbers).sum(), ..Totals::of(&sums) };
        Self { accounts, totals }
    }
}

impl Totals {
    fn of(sums: &BTreeMap<String, GroupTotals>) -> Self {
        let amounts = |amount: fn(&GroupTotals) -> &Money| {
            sums.iter().map(|(currency, sum)| (currency.clone(), amount(sum).to_string())).collect()
        };
        Self {
            numbers: sums.values().map(|sum| sum.numbers).sum(),
            monthly_fees: amounts(|sum| &sum.monthly_fees),
            setup_fees: amounts(|sum| &sum.setup_fees),
        }
    }
}

impl AccountReport {
    pub(super) fn new(poller: &Poller, listing: Result<Listing, Failure>, took: Duration) -> Self {
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
            seconds: took.as_secs_f64(),
            interval_seconds: interval.as_secs_f64(),
            groups: Vec::new(),
            totals: Totals::default(),
            problems: Vec::new(),
            advice: Vec::new(),
            series: OTHER_SERIES,
            sums: BTreeMap::new(),
        };
        match listing {
            Ok(listed) => report.describe(poller, &listed),
            Err(failure) => {
                report.error = Some(Problem { reason: failure.reason.as_str(), message: failure.to_string() });
            }
        }
        if took > interval {
            let needed = humantime::format_duration(Duration::from_secs(took.as_secs() + 1));
            report
                .advice
                .push(format!("listing takes longer than the interval: set --poll.interval to more than {needed}"));
        } else if took > interval.mul_f64(0.8) {
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

    fn describe(&mut self, poller: &Poller, listed: &Listing) {
        let inventory = &listed.inventory;
        (self.numbers, self.reported) = (inventory.listed, listed.reported);
        for ([country, kind, status, currency], sum) in inventory.groups.iter().filter(|(_, sum)| sum.numbers > 0) {
            *self.sums.entry(currency.to_string()).or_default() += sum.clone();
            self.groups.push(Group {
                country: country.to_string(),
                kind: kind.to_string(),
                status: status.to_string(),
                currency: currency.to_string(),
                numbers: sum.numbers,
                monthly_fees: sum.monthly_fees.to_string(),
                setup_fees: sum.setup_fees.to_string(),
            });
        }
        self.totals = Totals::of(&self.sums);
        for (kind, count) in &inventory.invalid_by_kind {
            self.problems.push(format!("{count} record(s) could not be read: {kind}"));
        }
        for (label, values) in unknown(inventory) {
            let values: Vec<_> = values.into_iter().collect();
            self.problems.push(format!("not documented, and kept as written: {label} {}", values.join(", ")));
        }
        if listed.discrepancy() > 0 {
            self.problems.push(format!(
                "the API reports {} numbers and lists {}, {} of them invalid",
                listed.reported,
                inventory.listed + inventory.invalid,
                inventory.invalid
            ));
        }
        let encoded = render_listing(poller.account.name(), listed, None);
        self.series += encoded.iter().flat_map(|family| &**family.bytes()).filter(|byte| **byte == b'\n').count();
    }
}

/// Values of a listing that the API does not document, by what they are of.
fn unknown(inventory: &Inventory) -> BTreeMap<&'static str, BTreeSet<&str>> {
    let kinds = inventory.groups.keys().map(|[_, kind, ..]| ("type", &**kind, &TYPES));
    let statuses = inventory.groups.keys().map(|[_, _, status, _]| ("status", &**status, &STATUSES));
    let capabilities = inventory.capabilities.keys().map(|[name, _]| ("capability", &**name, &CAPABILITIES));
    let mut unknown: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (label, value, documented) in kinds.chain(statuses).chain(capabilities) {
        if !documented.contains(&value) {
            unknown.entry(label).or_default().insert(value);
        }
    }
    unknown
}
