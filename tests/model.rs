//! Random lives of numbers through the whole program: every family equals, after each poll, what a
//! naive model counts, and the counters go with the gauges.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::header::HeaderValue;
use reqwest::{StatusCode, Url};
use tokio_util::sync::CancellationToken;
use tryvox_exporter::inventory::CollectorOptions;
use tryvox_exporter::metrics::{AccountMetrics, ConfigStatus, ExporterMetrics, INVENTORY};
use tryvox_exporter::tryvox::{ApiKey, ApiResponse, Failure, Transport};

use crate::common::api::{Api, page};
use crate::common::lab::{Setup, poller, scrape};
use crate::common::{KEY, Running, Scrape, seed};

const LIMIT: usize = 5;
const WITH_SERIES: [&str; 2] = ["suspended", "pending"];

/// A number as the model has it; the fee in thousandths.
#[derive(Debug, Clone)]
struct Number {
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
}

type Account = BTreeMap<u64, Number>;
type Series = BTreeMap<String, f64>;

fn pick<T: Copy>(rng: &mut Rng, values: &[T]) -> T {
    values[rng.usize(..values.len())]
}

fn maybe(rng: &mut Rng) -> Option<u8> {
    rng.bool().then(|| rng.u8(0..4))
}

fn status(rng: &mut Rng) -> &'static str {
    pick(rng, &["active", "active", "active", "suspended", "suspended", "pending", "porting"])
}

fn buy(rng: &mut Rng, time: u32) -> Number {
    let all = ["voice", "sms", "mms", "fax"];
    Number {
        country: pick(rng, &["US", "CA", "DE", "JP"]),
        kind: pick(rng, &["local", "toll_free", "mobile"]),
        region: [None, Some("Québec"), Some("a \"quoted\" \\ one"), Some("東京都")][rng.usize(..4)],
        status: status(rng),
        capabilities: all.into_iter().filter(|_| rng.bool()).collect(),
        fee: rng.i64(0..3000),
        setup: rng.i64(0..2) * 500,
        currency: pick(rng, &["USD", "EUR"]),
        trunk: maybe(rng),
        application: maybe(rng),
        created: time - rng.u32(0..1000),
        updated: time,
    }
}

/// One thing that happens to an account.
fn happen(rng: &mut Rng, account: &mut Account, time: u32) {
    let chosen = account.keys().nth(rng.usize(..account.len().max(1))).copied();
    match (rng.u8(0..10), chosen) {
        (0 | 1, _) | (_, None) => {
            account.insert(rng.u64(1_000_000..9_999_999), buy(rng, time));
        }
        (2, Some(e164)) => {
            account.remove(&e164);
        }
        (what, Some(e164)) => {
            let number = account.get_mut(&e164).unwrap();
            number.updated = time;
            match what {
                3 | 4 => number.status = status(rng),
                5 => number.fee = rng.i64(0..3000),
                6 => number.trunk = maybe(rng),
                7 => number.application = maybe(rng),
                8 => number.country = pick(rng, &["US", "CA", "DE", "JP"]),
                _ => number.currency = pick(rng, &["USD", "EUR"]),
            }
        }
    }
}

fn thousandths(amount: i64) -> String {
    format!("{}.{:03}", amount / 1000, amount % 1000)
}

fn id(prefix: &str, id: Option<u8>) -> String {
    id.map(|id| format!("{prefix}_{id}")).unwrap_or_default()
}

fn time(seconds: u32) -> String {
    let at = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.into());
    humantime::format_rfc3339_seconds(at).to_string()
}

fn json(e164: u64, number: &Number) -> serde_json::Value {
    let or_null = |text: String| if text.is_empty() { serde_json::Value::Null } else { text.into() };
    let fee = |amount| serde_json::from_str::<serde_json::Value>(&thousandths(amount)).unwrap();
    serde_json::json!({
        "e164": format!("+{e164}"), "country": number.country, "type": number.kind, "region": number.region,
        "status": number.status, "capabilities": number.capabilities, "monthly_fee": fee(number.fee),
        "setup_fee": fee(number.setup), "currency": number.currency, "trunk_id": or_null(id("trk", number.trunk)),
        "application_id": or_null(id("app", number.application)), "created_at": time(number.created),
        "updated_at": time(number.updated),
    })
}

/// The pages of the account, as it is when each is asked for.
#[derive(Debug)]
struct Pages(Arc<Mutex<Account>>);

impl Transport for Pages {
    fn get(&self, url: Url, _: HeaderValue) -> BoxFuture<'_, Result<ApiResponse, Failure>> {
        let asked = |name: &str| url.query_pairs().find(|(key, _)| key == name).unwrap().1.parse::<usize>().unwrap();
        let (page, per_page) = (asked("page"), asked("per_page"));
        let account = self.0.lock().unwrap();
        let data: Vec<_> = account
            .iter()
            .skip((page - 1) * per_page)
            .take(per_page)
            .map(|(e164, number)| json(*e164, number))
            .collect();
        let pages = account.len().div_ceil(per_page);
        let body = serde_json::json!({"data": data, "pagination": {"total": account.len(), "total_pages": pages}});
        let body = Ok(body.to_string().into());
        async move { Ok(ApiResponse { status: StatusCode::OK, headers: [].into_iter().collect(), body }) }.boxed()
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"")
}

/// Counts in thousandths, and doubles only at the end.
#[derive(Default)]
struct Count(BTreeMap<String, i128>);

impl Count {
    fn add(&mut self, family: &str, labels: &[(&str, &str)], amount: i128) {
        let labels: Vec<_> = labels.iter().map(|(name, value)| format!(",{name}=\"{}\"", escaped(value))).collect();
        let labels = labels.concat();
        *self.0.entry(format!("{family}{{account=\"acc_demo\"{labels}}}")).or_default() += amount;
    }
}

/// What every family of the inventory must say.
fn model(account: &Account) -> Series {
    let mut count = Count::default();
    for (name, amount) in [("listed", account.len()), ("reported", account.len())] {
        count.add(&format!("tryvox_{name}_numbers"), &[], amount as i128 * 1000);
    }
    for number in account.values() {
        let group = [("country", number.country), ("type", number.kind)];
        let documented = ["active", "pending", "suspended"];
        let own = Some(number.status).filter(|status| !documented.contains(status));
        for status in documented.into_iter().chain(own) {
            let one = i128::from(status == number.status) * 1000;
            let labels = [group[0], group[1], ("status", status)];
            let with_currency = [labels[0], labels[1], labels[2], ("currency", number.currency)];
            let fees = |amount: i64| i128::from(amount) * one / 1000;
            count.add("tryvox_numbers", &labels, one);
            count.add("tryvox_monthly_fees", &with_currency, fees(number.fee));
            count.add("tryvox_setup_fees", &with_currency, fees(number.setup));
        }
        let status = ("status", number.status);
        for capability in &number.capabilities {
            count.add("tryvox_capability_numbers", &[("capability", capability), status], 1000);
        }
        let assignment = match (number.trunk, number.application) {
            (Some(_), Some(_)) => "both",
            (Some(_), None) => "trunk",
            (None, Some(_)) => "application",
            (None, None) => "none",
        };
        let assignment = ("assignment", assignment);
        count.add("tryvox_assignment_numbers", &[assignment, status], 1000);
        let currency = ("currency", number.currency);
        count.add("tryvox_assignment_monthly_fees", &[assignment, status, currency], number.fee.into());
        let region = ("region", number.region.unwrap_or(""));
        count.add("tryvox_region_numbers", &[group[0], region, status], 1000);
        count.add("tryvox_trunk_numbers", &[("trunk_id", &id("trk", number.trunk)), status], 1000);
        count.add("tryvox_application_numbers", &[("application_id", &id("app", number.application)), status], 1000);
    }

    let mut with_series: Vec<_> = account.iter().filter(|(_, number)| WITH_SERIES.contains(&number.status)).collect();
    with_series.sort_by_key(|(e164, number)| (number.updated, **e164));
    count.add("tryvox_number_series_truncated", &[], with_series.len().saturating_sub(LIMIT) as i128 * 1000);
    for (e164, number) in with_series.into_iter().take(LIMIT) {
        let text = format!("+{e164}");
        let (trunk, application) = (id("trk", number.trunk), id("app", number.application));
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
        count.add("tryvox_number_info", &labels, 1000);
        count.add("tryvox_number_monthly_fee", &[e164, ("currency", number.currency)], number.fee.into());
        count.add("tryvox_number_updated_timestamp_seconds", &[e164], i128::from(number.updated) * 1000);
    }
    for status in account.values().map(|number| number.status).collect::<BTreeSet<_>>() {
        let updates = account.values().filter(|number| number.status == status).map(|number| number.updated);
        let labels = [("status", status)];
        count.add("tryvox_oldest_update_timestamp_seconds", &labels, i128::from(updates.min().unwrap()) * 1000);
    }
    if let Some(created) = account.values().map(|number| number.created).max() {
        count.add("tryvox_newest_creation_timestamp_seconds", &[], i128::from(created) * 1000);
    }
    count.0.into_iter().map(|(series, sum)| (series, format!("{sum}e-3").parse().unwrap())).collect()
}

/// What the counters of changes must say, from listing to listing.
struct Counters(Count);

impl Counters {
    fn new() -> Self {
        let mut count = Count::default();
        for family in ["tryvox_numbers_added_total", "tryvox_numbers_removed_total"] {
            count.add(family, &[], 0);
        }
        for direction in ["increase", "decrease"] {
            count.add("tryvox_number_fee_changes_total", &[("direction", direction)], 0);
        }
        for from in ["active", "pending", "suspended"] {
            for to in ["active", "pending", "suspended"] {
                if from != to {
                    count.add("tryvox_number_status_changes_total", &[("from", from), ("to", to)], 0);
                }
            }
        }
        Self(count)
    }

    fn compare(&mut self, before: &Account, after: &Account) {
        let count = &mut self.0;
        let gone = before.keys().filter(|e164| !after.contains_key(e164)).count();
        count.add("tryvox_numbers_removed_total", &[], gone as i128 * 1000);
        for (e164, is) in after {
            let Some(was) = before.get(e164) else {
                count.add("tryvox_numbers_added_total", &[], 1000);
                continue;
            };
            if was.status != is.status {
                let labels = [("from", was.status), ("to", is.status)];
                count.add("tryvox_number_status_changes_total", &labels, 1000);
            }
            if was.currency == is.currency && was.fee != is.fee {
                let direction = if was.fee < is.fee { "increase" } else { "decrease" };
                count.add("tryvox_number_fee_changes_total", &[("direction", direction)], 1000);
            }
        }
    }

    fn series(&self) -> Series {
        self.0.0.iter().map(|(series, sum)| (series.clone(), *sum as f64 / 1000.0)).collect()
    }
}

fn families(scrape: &Scrape, names: &[&str]) -> Series {
    names.iter().flat_map(|name| scrape.family(name)).collect()
}

const CHANGES: [&str; 4] = [
    "tryvox_numbers_added_total",
    "tryvox_numbers_removed_total",
    "tryvox_number_status_changes_total",
    "tryvox_number_fee_changes_total",
];

fn inventory() -> Vec<&'static str> {
    INVENTORY.iter().map(|metric| metric.family.name).collect()
}

/// The same of the binary and over a socket, for fewer lives. All numbers are on one page, so that
/// what happens to them happens between two listings.
#[tokio::test]
async fn the_binary_equals_the_model_too() {
    let mut rng = Rng::with_seed(seed());
    let account = Arc::new(Mutex::new(Account::new()));
    let served = account.clone();
    let api = Api::start(move |_| {
        let records: Vec<_> =
            served.lock().unwrap().iter().map(|(e164, number)| json(*e164, number).to_string()).collect();
        async move { page(&records, records.len(), 1, 1) }
    })
    .await;
    let mut clock = 1_700_000_000;
    for _ in 0..40 {
        happen(&mut rng, &mut account.lock().unwrap(), clock);
    }
    let statuses = format!("--collector.number.statuses={}", WITH_SERIES.join(","));
    let limit = format!("--collector.number.limit={LIMIT}");
    let arguments = [
        "--poll.interval=100ms",
        "--poll.timeout=30s",
        "--tryvox.rate-limit=0",
        "--collector.region",
        "--collector.trunk",
        "--collector.application",
        &statuses,
        &limit,
    ];
    let mut exporter = Running::exporter(&api.url(), &arguments).await;
    exporter.polled(1).await;
    let mut counters = Counters::new();
    let mut before = account.lock().unwrap().clone();
    for _ in 0..8 {
        let now = {
            // In one step: no listing sees a part of it.
            let mut account = account.lock().unwrap();
            for _ in 0..rng.usize(0..10) {
                clock += 7;
                happen(&mut rng, &mut account, clock);
            }
            account.clone()
        };
        let polls = exporter.polls();
        // The poll after the next began after all of it.
        exporter.polled(polls + 2).await;
        counters.compare(&before, &now);
        let scraped = exporter.scrape().await;
        assert_eq!(families(&scraped, &inventory()), model(&now));
        assert_eq!(families(&scraped, &CHANGES), counters.series());
        before = now;
    }
}

#[tokio::test(start_paused = true)]
async fn every_family_equals_the_model_after_each_poll() {
    let inventory = inventory();
    let mut rng = Rng::with_seed(seed());
    let mut seen = BTreeSet::new();
    for _ in 0..40 {
        let account = Arc::new(Mutex::new(Account::new()));
        // Long before the polls, so that no number is taken for one bought during one.
        let mut clock = 1_700_000_000;
        for _ in 0..rng.usize(0..120) {
            happen(&mut rng, &mut account.lock().unwrap(), clock);
        }
        let collector = CollectorOptions {
            region: true,
            trunk: true,
            application: true,
            number_statuses: WITH_SERIES.map(str::to_owned).to_vec(),
            number_limit: LIMIT,
            ..CollectorOptions::default()
        };
        let setup = Setup { seed: rng.u64(..), collector, ..Setup::default() };
        let mut poller = poller(&setup, ApiKey::new(&KEY.into()).unwrap(), Arc::new(Pages(account.clone())));
        let (reader, stop) = (AccountMetrics::attach(&mut poller), CancellationToken::new());
        let exporter = Arc::new(ExporterMetrics::new(ConfigStatus {
            is_valid: true,
            loaded_at: (poller.now)(),
            shard: 0,
            total_shards: 1,
        }));
        tokio::spawn(poller.run(stop.clone()));

        let mut counters = Counters::new();
        let (mut before, mut first): (Option<Account>, Option<usize>) = (None, None);
        for poll in 0..10_u32 {
            // Between two polls; the first one is at once.
            tokio::time::sleep(setup.interval / 2).await;
            let now = account.lock().unwrap().clone();
            if let Some(before) = &before {
                counters.compare(before, &now);
            }
            let scraped = scrape(&reader, &exporter);
            assert_eq!(scraped.of("tryvox_polls_total", r#"result="success""#), f64::from(poll) + 1.0);
            let series = families(&scraped, &inventory);
            assert_eq!(series, model(&now), "poll {poll}");
            assert_eq!(families(&scraped, &CHANGES), counters.series(), "poll {poll}");
            seen.extend(series.keys().map(|series| series.split('{').next().unwrap().to_owned()));
            if poll == 9 {
                scraped.lint();
            }
            // What came less what went is what there is more.
            let more = scraped.of("tryvox_numbers_added_total", "") - scraped.of("tryvox_numbers_removed_total", "");
            let first = *first.get_or_insert(now.len());
            assert_eq!(first as f64 + more, now.len() as f64);
            before = Some(now);

            for _ in 0..rng.usize(0..15) {
                clock += 7;
                happen(&mut rng, &mut account.lock().unwrap(), clock);
            }
            tokio::time::sleep(setup.interval / 2).await;
        }
        stop.cancel();
    }
    let all: BTreeSet<_> = inventory.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(seen, all, "each family was there at least once");
}
