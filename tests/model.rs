//! Compares every inventory family with a naive model after each poll of an account that changes at random.
//!
//! The model computes all gauges from the account's numbers, and the change counters from each pair of
//! successive listings. Some records are invalid. It shares no code with the exporter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::header::HeaderValue;
use reqwest::{StatusCode, Url};
use tokio_util::sync::CancellationToken;
use tryvox_exporter::inventory::{CollectorOptions, OwnerMatcher, Owners, WatchedNumber};
use tryvox_exporter::metrics::{AccountMetrics, ConfigStatus, ExporterMetrics, INVENTORY};
use tryvox_exporter::tryvox::{ApiKey, ApiResponse, Failure, Transport};

use crate::common::api::{MockApi, page};
use crate::common::expected::Series;
use crate::common::harness::{HarnessOptions, build_poller, scrape_account};
use crate::common::{KEY, Scrape, ServerProcess, seed};

/// Maximum number of numbers with per-number series.
const NUMBER_LIMIT: usize = 5;
/// Statuses of the numbers that have per-number series.
const NUMBER_STATUSES: [&str; 2] = ["suspended", "pending"];

/// A phone number in the model. Fees are in thousandths, times are Unix timestamps.
#[derive(Debug, Clone)]
struct ModelNumber {
    country: &'static str,
    kind: &'static str,
    region: Option<&'static str>,
    status: &'static str,
    capabilities: Vec<&'static str>,
    fee: i64,
    setup: i64,
    currency: &'static str,
    trunk: Option<u8>,
    application: Option<u8>,
    created: u32,
    updated: u32,
    /// Whether the record can be read.
    is_valid: bool,
}

/// The numbers of an account by E.164 number.
type ModelAccount = BTreeMap<u64, ModelNumber>;

/// What is known of a number after a listing.
#[derive(Debug, Clone)]
struct KnownNumber {
    /// The last record that could be read; `None` if there was none since the first listing.
    last: Option<ModelNumber>,
    /// Whether the record in the last listing can be read.
    is_valid: bool,
}

/// What is known of the numbers of an account after a listing.
type KnownAccount = BTreeMap<u64, KnownNumber>;

/// Returns what is known after another listing. A number whose first record is invalid was there before the first listing,
/// or is not known to exist before it can be read.
fn known_after(before: Option<&KnownAccount>, account: &ModelAccount) -> KnownAccount {
    let known = |(e164, number): (&u64, &ModelNumber)| {
        let last = match before.map(|before| before.get(e164)) {
            _ if number.is_valid => Some(number.clone()),
            Some(before) => before?.last.clone(),
            None => None,
        };
        Some((*e164, KnownNumber { last, is_valid: number.is_valid }))
    };
    account.iter().filter_map(known).collect()
}

/// The owners and watched numbers of the configuration.
#[derive(Debug, Clone, Default)]
struct ModelConfig {
    /// Whether the owners are those of [`owner`].
    has_owners: bool,
    /// Numbers that are watched, each with its own number as its name: its status and whether it is assigned, if known.
    watched: BTreeMap<u64, Option<(&'static str, bool)>>,
}

impl ModelConfig {
    /// Updates what is known of the watched numbers. If records are invalid, one that is not listed may exist.
    fn see(&mut self, account: &ModelAccount) {
        let is_exact = account.values().all(|number| number.is_valid);
        for (e164, known) in &mut self.watched {
            match account.get(e164) {
                Some(number) if number.is_valid => {
                    *known = Some((number.status, number.trunk.is_some() || number.application.is_some()));
                }
                None if is_exact => *known = Some(("missing", false)),
                _ => {}
            }
        }
    }
}

/// Returns the owner of a number.
fn owner(e164: u64, number: &ModelNumber) -> &'static str {
    let text = e164.to_string();
    if number.country == "US" && (text.starts_with('1') || text.starts_with("23") || text == "3000000") {
        "america"
    } else if number.trunk == Some(1) || number.application == Some(2) {
        "switchboard"
    } else if text.starts_with('1') || number.trunk == Some(1) {
        "ones"
    } else if number.country == "DE" {
        "germany"
    } else {
        ""
    }
}

/// Returns the same owners as [`owner`].
fn owners() -> Owners {
    let numbers = |numbers: &[&str]| numbers.iter().map(|number| number.parse().unwrap()).collect();
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
    let matcher = |name: &str| OwnerMatcher { name: name.into(), ..OwnerMatcher::default() };
    Owners::new(vec![
        OwnerMatcher { countries: ids(&["US"]), numbers: numbers(&["+1*", "+23*", "+3000000"]), ..matcher("america") },
        OwnerMatcher { trunks: ids(&["trk_1"]), applications: ids(&["app_2"]), ..matcher("switchboard") },
        OwnerMatcher { numbers: numbers(&["+1*"]), trunks: ids(&["trk_1"]), ..matcher("ones") },
        OwnerMatcher { countries: ids(&["DE"]), ..matcher("germany") },
    ])
}

fn choose<T: Copy>(rng: &mut Rng, values: &[T]) -> T {
    values[rng.usize(..values.len())]
}

fn optional_id(rng: &mut Rng) -> Option<u8> {
    rng.bool().then(|| rng.u8(0..4))
}

fn random_status(rng: &mut Rng) -> &'static str {
    choose(rng, &["active", "active", "active", "suspended", "suspended", "pending", "porting"])
}

/// Returns a random number, created up to 1,000 seconds before `time`.
fn random_number(rng: &mut Rng, time: u32) -> ModelNumber {
    let capabilities = ["voice", "sms", "mms", "fax"];
    ModelNumber {
        country: choose(rng, &["US", "CA", "DE", "JP"]),
        kind: choose(rng, &["local", "toll_free", "mobile"]),
        region: [None, Some("Québec"), Some("a \"quoted\" \\ one"), Some("東京都")][rng.usize(..4)],
        status: random_status(rng),
        capabilities: capabilities.into_iter().filter(|_| rng.bool()).collect(),
        fee: rng.i64(0..3000),
        setup: rng.i64(0..2) * 500,
        currency: choose(rng, &["USD", "EUR"]),
        trunk: optional_id(rng),
        application: optional_id(rng),
        created: time - rng.u32(0..1000),
        updated: time,
        is_valid: rng.u8(0..10) > 0,
    }
}

/// Purchases, releases or updates one number at random.
fn change_account(rng: &mut Rng, account: &mut ModelAccount, time: u32) {
    let chosen = account.keys().nth(rng.usize(..account.len().max(1))).copied();
    match (rng.u8(0..11), chosen) {
        (0 | 1, _) | (_, None) => {
            account.insert(rng.u64(1_000_000..9_999_999), random_number(rng, time));
        }
        (2, Some(e164)) => {
            account.remove(&e164);
        }
        (change, Some(e164)) => {
            let number = account.get_mut(&e164).unwrap();
            number.updated = time;
            match change {
                3 | 4 => number.status = random_status(rng),
                5 => number.fee = rng.i64(0..3000),
                6 => number.trunk = optional_id(rng),
                7 => number.application = optional_id(rng),
                8 => number.country = choose(rng, &["US", "CA", "DE", "JP"]),
                9 => number.currency = choose(rng, &["USD", "EUR"]),
                _ => number.is_valid = !number.is_valid,
            }
        }
    }
    // A listing without valid records fails.
    if account.values().all(|number| !number.is_valid) {
        account.values_mut().take(1).for_each(|number| number.is_valid = true);
    }
}

/// Writes thousandths as a decimal number.
fn decimal(amount: i64) -> String {
    format!("{}.{:03}", amount / 1000, amount % 1000)
}

/// Writes the id of a trunk or an application; empty if there is none.
fn id_text(prefix: &str, id: Option<u8>) -> String {
    id.map(|id| format!("{prefix}_{id}")).unwrap_or_default()
}

fn rfc3339(seconds: u32) -> String {
    let time = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.into());
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Returns the record of a number as the API lists it.
fn record(e164: u64, number: &ModelNumber) -> serde_json::Value {
    let or_null = |text: String| if text.is_empty() { serde_json::Value::Null } else { text.into() };
    let fee = |amount| {
        if number.is_valid { serde_json::from_str::<serde_json::Value>(&decimal(amount)).unwrap() } else { "?".into() }
    };
    serde_json::json!({
        "e164": format!("+{e164}"), "country": number.country, "type": number.kind, "region": number.region,
        "status": number.status, "capabilities": number.capabilities, "monthly_fee": fee(number.fee),
        "setup_fee": fee(number.setup), "currency": number.currency, "trunk_id": or_null(id_text("trk", number.trunk)),
        "application_id": or_null(id_text("app", number.application)), "created_at": rfc3339(number.created),
        "updated_at": rfc3339(number.updated),
    })
}

/// Responds with pages of the account as it is at the time of each request.
#[derive(Debug)]
struct ModelTransport(Arc<Mutex<ModelAccount>>);

impl Transport for ModelTransport {
    fn get(&self, url: Url, _: HeaderValue) -> BoxFuture<'_, Result<ApiResponse, Failure>> {
        let parameter =
            |name: &str| url.query_pairs().find(|(key, _)| key == name).unwrap().1.parse::<usize>().unwrap();
        let (page, per_page) = (parameter("page"), parameter("per_page"));
        let account = self.0.lock().unwrap();
        let data: Vec<_> = account
            .iter()
            .skip((page - 1) * per_page)
            .take(per_page)
            .map(|(e164, number)| record(*e164, number))
            .collect();
        let pages = account.len().div_ceil(per_page);
        let body = serde_json::json!({"data": data, "pagination": {"total": account.len(), "total_pages": pages}});
        let body = Bytes::from(body.to_string()).into();
        async move { Ok(ApiResponse { status: StatusCode::OK, headers: [].into_iter().collect(), body }) }.boxed()
    }
}

/// Escapes a label value as the exposition format requires.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"")
}

/// Sums of series in thousandths; they become doubles only at the end, so no sum is rounded.
#[derive(Default)]
struct Sums(BTreeMap<String, i128>);

impl Sums {
    fn add(&mut self, family: &str, labels: &[(&str, &str)], amount: i128) {
        let labels: Vec<_> = labels.iter().map(|(name, value)| format!(",{name}=\"{}\"", escape(value))).collect();
        let labels = labels.concat();
        *self.0.entry(format!("{family}{{account=\"acc_demo\"{labels}}}")).or_default() += amount;
    }

    fn set(&mut self, family: &str, labels: &[(&str, &str)], amount: i128) {
        let mut series = Self::default();
        series.add(family, labels, amount);
        self.0.extend(series.0);
    }

    fn series(&self) -> Series {
        self.0.iter().map(|(series, sum)| (series.clone(), format!("{sum}e-3").parse().unwrap())).collect()
    }
}

/// Returns the series that every inventory family must have.
fn expected_inventory(account: &ModelAccount, config: &ModelConfig) -> Series {
    let mut sums = Sums::default();
    let reported = account.len();
    let account: ModelAccount =
        account.iter().filter(|(_, number)| number.is_valid).map(|(e164, number)| (*e164, number.clone())).collect();
    for (name, amount) in [("listed", account.len()), ("reported", reported)] {
        sums.add(&format!("tryvox_{name}_numbers"), &[], amount as i128 * 1000);
    }
    sums.add("tryvox_invalid_records", &[], (reported - account.len()) as i128 * 1000);
    for field in ["region", "trunk_id", "application_id", "capabilities", "created_at", "updated_at"] {
        sums.add("tryvox_unreadable_fields", &[("field", field)], 0);
    }
    for (e164, number) in &account {
        let group = [("country", number.country), ("type", number.kind)];
        let documented = ["active", "pending", "suspended"];
        let undocumented = Some(number.status).filter(|status| !documented.contains(status));
        for status in documented.into_iter().chain(undocumented) {
            let count = i128::from(status == number.status) * 1000;
            let labels = [group[0], group[1], ("status", status)];
            let with_currency = [labels[0], labels[1], labels[2], ("currency", number.currency)];
            let fees = |amount: i64| i128::from(amount) * count / 1000;
            sums.add("tryvox_numbers", &labels, count);
            sums.add("tryvox_monthly_fees", &with_currency, fees(number.fee));
            sums.add("tryvox_setup_fees", &with_currency, fees(number.setup));
        }
        let status = ("status", number.status);
        for capability in &number.capabilities {
            sums.add("tryvox_capability_numbers", &[("capability", capability), status], 1000);
        }
        let assignment = match (number.trunk, number.application) {
            (Some(_), Some(_)) => "both",
            (Some(_), None) => "trunk",
            (None, Some(_)) => "application",
            (None, None) => "none",
        };
        let assignment = ("assignment", assignment);
        sums.add("tryvox_assignment_numbers", &[assignment, status], 1000);
        let currency = ("currency", number.currency);
        sums.add("tryvox_assignment_monthly_fees", &[assignment, status, currency], number.fee.into());
        let region = ("region", number.region.unwrap_or(""));
        sums.add("tryvox_region_numbers", &[group[0], region, status], 1000);
        sums.add("tryvox_region_monthly_fees", &[group[0], region, status, currency], number.fee.into());
        let (trunk, application) = (id_text("trk", number.trunk), id_text("app", number.application));
        let owner = config.has_owners.then(|| owner(*e164, number));
        for (by, label) in [
            ("trunk", Some(("trunk_id", &*trunk))),
            ("application", Some(("application_id", &*application))),
            ("owner", owner.map(|owner| ("owner", owner))),
        ] {
            let Some(label) = label else { continue };
            sums.add(&format!("tryvox_{by}_numbers"), &[label, status], 1000);
            sums.add(&format!("tryvox_{by}_monthly_fees"), &[label, status, currency], number.fee.into());
        }
    }
    for (watched, known) in &config.watched {
        let text = format!("+{watched}");
        let status = known.map(|(status, _)| status);
        let labels = [("e164", &*text), ("name", &*text)];
        for value in ["active", "pending", "suspended", "missing"].into_iter().chain(status) {
            let amount = if Some(value) == status { 1000 } else { 0 };
            let series = [labels[0], labels[1], ("status", value)];
            sums.set("tryvox_watched_number_status", &series, amount);
        }
        if let Some((_, is_assigned)) = known {
            sums.add("tryvox_watched_number_assigned", &labels, i128::from(*is_assigned) * 1000);
        }
    }

    let is_watched = |e164: &u64| config.watched.contains_key(e164);
    let mut with_series: Vec<_> =
        account.iter().filter(|(e164, number)| NUMBER_STATUSES.contains(&number.status) && !is_watched(e164)).collect();
    with_series.sort_by_key(|(e164, number)| (number.updated, **e164));
    sums.add("tryvox_number_series_truncated", &[], with_series.len().saturating_sub(NUMBER_LIMIT) as i128 * 1000);
    let watched = account.iter().filter(|(e164, _)| is_watched(e164));
    for (e164, number) in with_series.into_iter().take(NUMBER_LIMIT).chain(watched) {
        let text = format!("+{e164}");
        let (trunk, application) = (id_text("trk", number.trunk), id_text("app", number.application));
        let e164 = ("e164", &*text);
        let labels = [
            e164,
            ("country", number.country),
            ("type", number.kind),
            ("region", number.region.unwrap_or("")),
            ("status", number.status),
            ("trunk_id", &trunk),
            ("application_id", &application),
        ];
        sums.add("tryvox_number_info", &labels, 1000);
        sums.add("tryvox_number_monthly_fee", &[e164, ("currency", number.currency)], number.fee.into());
        sums.add("tryvox_number_updated_timestamp_seconds", &[e164], i128::from(number.updated) * 1000);
        sums.add("tryvox_number_created_timestamp_seconds", &[e164], i128::from(number.created) * 1000);
    }
    for status in account.values().map(|number| number.status).collect::<BTreeSet<_>>() {
        let updates = account.values().filter(|number| number.status == status).map(|number| number.updated);
        let labels = [("status", status)];
        sums.add("tryvox_oldest_update_timestamp_seconds", &labels, i128::from(updates.min().unwrap()) * 1000);
    }
    if let Some(created) = account.values().map(|number| number.created).max() {
        sums.add("tryvox_newest_creation_timestamp_seconds", &[], i128::from(created) * 1000);
    }
    sums.series()
}

/// The counters of changes between successive listings, and the statuses that were seen.
struct ModelCounters(Sums, BTreeSet<&'static str>);

impl ModelCounters {
    fn new() -> Self {
        let mut sums = Sums::default();
        for family in
            ["tryvox_numbers_added_total", "tryvox_numbers_removed_total", "tryvox_number_assignment_changes_total"]
        {
            sums.add(family, &[], 0);
        }
        for direction in ["increase", "decrease"] {
            sums.add("tryvox_number_fee_changes_total", &[("direction", direction)], 0);
        }
        let mut counters = Self(sums, ["active", "pending", "suspended"].into());
        counters.see(&KnownAccount::new());
        counters
    }

    /// Makes the labels of a listing present.
    fn see(&mut self, account: &KnownAccount) {
        let Self(sums, statuses) = self;
        let numbers = || account.values().filter_map(|known| known.last.as_ref());
        statuses.extend(numbers().map(|number| number.status));
        for from in &*statuses {
            for to in statuses.iter().filter(|to| *to != from) {
                sums.add("tryvox_number_status_changes_total", &[("from", from), ("to", to)], 0);
            }
        }
        for currency in numbers().map(|number| number.currency) {
            for cause in ["purchase", "release", "repricing", "currency", "unreadable"] {
                for direction in ["added", "removed"] {
                    let labels = [("currency", currency), ("cause", cause)];
                    sums.add(&format!("tryvox_monthly_fees_{direction}_total"), &labels, 0);
                }
            }
        }
    }

    /// Counts that the sum of a currency changed by an amount.
    fn move_fee(&mut self, currency: &str, cause: &str, amount: i64) {
        let direction = if amount < 0 { "removed" } else { "added" };
        let labels = [("currency", currency), ("cause", cause)];
        self.0.add(&format!("tryvox_monthly_fees_{direction}_total"), &labels, amount.unsigned_abs().into());
    }

    /// Counts the changes from one listing to the next.
    fn count_changes(&mut self, before: &KnownAccount, after: &KnownAccount) {
        self.see(after);
        // Only fees in records that can be read are in the sums.
        let priced = |known: Option<&KnownNumber>| known.filter(|known| known.is_valid)?.last.clone();
        for e164 in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
            let (old, new) = (before.get(e164), after.get(e164));
            let is_both = old.is_some() && new.is_some();
            match (priced(old), priced(new)) {
                (Some(old), Some(new)) if old.currency == new.currency => {
                    self.move_fee(new.currency, "repricing", new.fee - old.fee);
                }
                (old, new) => {
                    let causes = match (is_both, &old, &new) {
                        (true, Some(_), Some(_)) => ["currency"; 2],
                        (true, ..) => ["unreadable"; 2],
                        (false, ..) => ["release", "purchase"],
                    };
                    if let Some(old) = old {
                        self.move_fee(old.currency, causes[0], -old.fee);
                    }
                    if let Some(new) = new {
                        self.move_fee(new.currency, causes[1], new.fee);
                    }
                }
            }
        }
        let sums = &mut self.0;
        let removed = before.keys().filter(|e164| !after.contains_key(e164)).count();
        sums.add("tryvox_numbers_removed_total", &[], removed as i128 * 1000);
        for (e164, current) in after {
            let Some(previous) = before.get(e164) else {
                sums.add("tryvox_numbers_added_total", &[], 1000);
                continue;
            };
            let (Some(previous), Some(current)) = (&previous.last, &current.last) else { continue };
            if previous.status != current.status {
                let labels = [("from", previous.status), ("to", current.status)];
                sums.add("tryvox_number_status_changes_total", &labels, 1000);
            }
            if (previous.trunk, previous.application) != (current.trunk, current.application) {
                sums.add("tryvox_number_assignment_changes_total", &[], 1000);
            }
            if previous.currency == current.currency && previous.fee != current.fee {
                let direction = if previous.fee < current.fee { "increase" } else { "decrease" };
                sums.add("tryvox_number_fee_changes_total", &[("direction", direction)], 1000);
            }
        }
    }

    fn series(&self) -> Series {
        self.0.series()
    }
}

/// Returns all series of several families.
fn series_of(scrape: &Scrape, names: &[&str]) -> Series {
    names.iter().flat_map(|name| scrape.family(name)).collect()
}

const CHANGE_COUNTERS: [&str; 7] = [
    "tryvox_numbers_added_total",
    "tryvox_numbers_removed_total",
    "tryvox_number_status_changes_total",
    "tryvox_number_fee_changes_total",
    "tryvox_number_assignment_changes_total",
    "tryvox_monthly_fees_added_total",
    "tryvox_monthly_fees_removed_total",
];

fn inventory_families() -> Vec<&'static str> {
    INVENTORY.iter().map(|metric| metric.family.name).collect()
}

/// Tests the binary over sockets, with fewer changes. All numbers are on one page, so that no change
/// happens within a listing.
#[tokio::test]
async fn binary_matches_the_model_over_sockets() {
    let mut rng = Rng::with_seed(seed());
    let account = Arc::new(Mutex::new(ModelAccount::new()));
    let listed = account.clone();
    let api = MockApi::start(move |_| {
        let records: Vec<_> =
            listed.lock().unwrap().iter().map(|(e164, number)| record(*e164, number).to_string()).collect();
        async move { page(&records, records.len(), 1, 1) }
    })
    .await;
    let mut time = 1_700_000_000;
    for _ in 0..40 {
        change_account(&mut rng, &mut account.lock().unwrap(), time);
    }
    let statuses = format!("--collector.number.statuses={}", NUMBER_STATUSES.join(","));
    let limit = format!("--collector.number.limit={NUMBER_LIMIT}");
    let arguments = [
        "--poll.interval=100ms",
        "--poll.timeout=30s",
        "--poll.max-discrepancy=1",
        "--tryvox.rate-limit=0",
        "--collector.region",
        "--collector.trunk",
        "--collector.application",
        &statuses,
        &limit,
    ];
    let mut exporter = ServerProcess::exporter(&api.url(), &arguments).await;
    exporter.wait_for_polls(1).await;
    let mut counters = ModelCounters::new();
    let mut before = known_after(None, &account.lock().unwrap());
    counters.see(&before);
    for _ in 0..8 {
        let now = {
            // Keep the lock, so that no listing has only some of the changes.
            let mut account = account.lock().unwrap();
            for _ in 0..rng.usize(0..10) {
                time += 7;
                change_account(&mut rng, &mut account, time);
            }
            account.clone()
        };
        let polls = exporter.polls();
        // The next poll may have started before the changes, the one after it has not.
        exporter.wait_for_polls(polls + 2).await;
        let known = known_after(Some(&before), &now);
        counters.count_changes(&before, &known);
        let scraped = exporter.scrape().await;
        assert_eq!(series_of(&scraped, &inventory_families()), expected_inventory(&now, &ModelConfig::default()));
        assert_eq!(series_of(&scraped, &CHANGE_COUNTERS), counters.series());
        before = known;
    }
}

#[tokio::test(start_paused = true)]
async fn every_family_matches_the_model_after_each_poll() {
    let inventory = inventory_families();
    let mut rng = Rng::with_seed(seed());
    let mut seen = BTreeSet::new();
    for _ in 0..40 {
        let account = Arc::new(Mutex::new(ModelAccount::new()));
        // Long ago, so that no number seems to be purchased during a poll.
        let mut time = 1_700_000_000;
        for _ in 0..rng.usize(0..120) {
            change_account(&mut rng, &mut account.lock().unwrap(), time);
        }
        let collector = CollectorOptions {
            region: true,
            trunk: true,
            application: true,
            number_statuses: NUMBER_STATUSES.map(str::to_owned).to_vec(),
            number_limit: NUMBER_LIMIT,
            ..CollectorOptions::default()
        };
        let options = HarnessOptions { seed: rng.u64(..), collector, ..HarnessOptions::default() };
        let mut poller =
            build_poller(&options, ApiKey::new(&KEY.into()).unwrap(), Arc::new(ModelTransport(account.clone())));
        let (metrics, stop) = (AccountMetrics::attach(&mut poller), CancellationToken::new());
        let exporter = Arc::new(ExporterMetrics::new(ConfigStatus {
            is_valid: true,
            loaded_at: (poller.now)(),
            shard: 0,
            total_shards: 1,
        }));
        let mut watched: BTreeSet<_> = account.lock().unwrap().keys().copied().filter(|_| rng.u8(0..20) == 0).collect();
        watched.insert(rng.u64(1_000_000..9_999_999));
        let mut config =
            ModelConfig { has_owners: true, watched: watched.into_iter().map(|e164| (e164, None)).collect() };
        let mut poller_config = (*poller.account.config()).clone();
        poller_config.owners = Arc::new(owners());
        poller_config.poll.max_discrepancy = 1.0;
        let watch =
            |e164: &u64| WatchedNumber { e164: format!("+{e164}").parse().unwrap(), name: format!("+{e164}").into() };
        poller_config.watch = config.watched.keys().map(watch).collect();
        poller.reconfigure(poller_config);
        tokio::spawn(poller.run(stop.clone()));

        let mut counters = ModelCounters::new();
        let (mut before, mut first): (Option<KnownAccount>, Option<usize>) = (None, None);
        for poll in 0..10_u32 {
            // Halfway between two polls; the first poll starts immediately.
            tokio::time::sleep(options.interval / 2).await;
            let now = account.lock().unwrap().clone();
            let known = known_after(before.as_ref(), &now);
            match &before {
                Some(before) => counters.count_changes(before, &known),
                None => counters.see(&known),
            }
            config.see(&now);
            let scraped = scrape_account(&metrics, &exporter);
            assert_eq!(scraped.successful_polls(), f64::from(poll) + 1.0);
            let series = series_of(&scraped, &inventory);
            assert_eq!(series, expected_inventory(&now, &config), "poll {poll}");
            assert_eq!(series_of(&scraped, &CHANGE_COUNTERS), counters.series(), "poll {poll}");
            seen.extend(series.keys().map(|series| series.split('{').next().unwrap().to_owned()));
            if poll == 9 {
                scraped.lint();
            }
            // Numbers added less numbers removed is how much the account has grown.
            let growth = scraped.account_value("tryvox_numbers_added_total", "")
                - scraped.account_value("tryvox_numbers_removed_total", "");
            let first = *first.get_or_insert(known.len());
            assert_eq!(first as f64 + growth, known.len() as f64);
            before = Some(known);

            for _ in 0..rng.usize(0..15) {
                time += 7;
                change_account(&mut rng, &mut account.lock().unwrap(), time);
            }
            tokio::time::sleep(options.interval / 2).await;
        }
        stop.cancel();
    }
    let expected: BTreeSet<_> = inventory.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(seen, expected, "families with series in at least one scrape");
}
