//! Why monthly fees changed, over random lives with restarts: exact, and adding up to the change of the sums.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use fastrand::Rng;
use rustix::process::Signal;

use crate::common::accounts::ConfigFile;
use crate::common::api::{MockApi, page, record};
use crate::common::expected::Series;
use crate::common::{Scrape, ServerProcess, seed};
use crate::owners::{reload, start};

/// A number in the model, with its fee in thousandths.
#[derive(Debug, Clone, PartialEq)]
struct Number {
    fee: i64,
    currency: &'static str,
    /// Whether the record is valid.
    is_valid: bool,
}

type Numbers = BTreeMap<String, Number>;

fn decimal(thousandths: i64) -> String {
    let sign = if thousandths < 0 { "-" } else { "" };
    let amount = thousandths.unsigned_abs();
    format!("{sign}{}.{:03}", amount / 1000, amount % 1000)
}

fn random_number(rng: &mut Rng, currencies: &[&'static str]) -> Number {
    Number { fee: rng.i64(-3000..5000), currency: currencies[rng.usize(..currencies.len())], is_valid: true }
}

/// Purchases, releases and reprices numbers, changes their currencies, and breaks and repairs their records.
fn live(rng: &mut Rng, numbers: &mut Numbers, currencies: &[&'static str]) {
    for _ in 0..rng.usize(0..12) {
        let chosen = numbers.keys().nth(rng.usize(..numbers.len().max(1))).cloned();
        let (e164, kind) = match chosen {
            Some(e164) if e164 != "+1" => (e164, rng.u8(0..8)),
            _ => (format!("+1415{}", rng.u32(1_000_000..9_999_999)), 0),
        };
        let number = random_number(rng, currencies);
        match kind {
            0 | 1 => _ = numbers.insert(format!("+1416{}", rng.u32(1_000_000..9_999_999)), number),
            2 => _ = numbers.remove(&e164),
            _ => {
                let changed = numbers.entry(e164).or_insert_with(|| number.clone());
                match kind {
                    3 | 4 => changed.fee = number.fee,
                    5 => changed.currency = number.currency,
                    6 => changed.is_valid = !changed.is_valid,
                    _ => *changed = Number { is_valid: changed.is_valid, ..number },
                }
            }
        }
    }
    // A listing without valid records fails, and most of the numbers have to be readable.
    numbers.insert("+1".to_owned(), Number { fee: 0, currency: currencies[0], is_valid: true });
}

/// What an exporter knows: the last state of each number, as far as it could be read.
#[derive(Debug, Default)]
struct Model {
    /// The last valid state, and whether the current record is valid.
    known: Numbers,
    /// In thousandths, by currency and cause: added and removed.
    movements: BTreeMap<(&'static str, &'static str), [i64; 2]>,
    has_listing: bool,
}

const CAUSES: [&str; 5] = ["purchase", "release", "repricing", "currency", "unreadable"];

impl Model {
    fn add_listing(&mut self, listed: &Numbers) {
        let mut known = Numbers::new();
        for (e164, number) in listed {
            let before = self.known.get(e164);
            if number.is_valid {
                known.insert(e164.clone(), number.clone());
            } else if let Some(before) = before {
                known.insert(e164.clone(), Number { is_valid: false, ..before.clone() });
            } else if !self.has_listing {
                // Nothing says that the account did not have it before.
                known.insert(e164.clone(), Number { fee: 0, currency: "", is_valid: false });
            }
        }
        for number in known.values().filter(|number| !number.currency.is_empty()) {
            for cause in CAUSES {
                self.movements.entry((number.currency, cause)).or_default();
            }
        }
        let before = std::mem::replace(&mut self.known, known.clone());
        if !std::mem::replace(&mut self.has_listing, true) {
            return;
        }
        let readable = |number: Option<&Number>| number.filter(|number| number.is_valid).cloned();
        for e164 in before.keys().chain(known.keys()).collect::<BTreeSet<_>>() {
            let (old, new) = (before.get(e164), known.get(e164));
            let cause = match (old, new) {
                (None, _) => "purchase",
                (_, None) => "release",
                (Some(old), Some(new)) if !old.is_valid || !new.is_valid => "unreadable",
                (Some(old), Some(new)) if old.currency != new.currency => "currency",
                _ => "repricing",
            };
            match (readable(old), readable(new)) {
                (Some(old), Some(new)) if cause == "repricing" => self.add(new.currency, cause, new.fee - old.fee),
                (old, new) => {
                    if let Some(old) = old {
                        self.add(old.currency, cause, -old.fee);
                    }
                    if let Some(new) = new {
                        self.add(new.currency, cause, new.fee);
                    }
                }
            }
        }
    }

    fn add(&mut self, currency: &'static str, cause: &'static str, change: i64) {
        let [added, removed] = self.movements.entry((currency, cause)).or_default();
        *if change < 0 { removed } else { added } += change.abs();
    }

    fn series(&self) -> Series {
        let mut series = Series::new();
        for ((currency, cause), amounts) in &self.movements {
            for (direction, amount) in ["added", "removed"].into_iter().zip(amounts) {
                let labels = format!(r#"account="acc_demo",currency="{currency}",cause="{cause}""#);
                let name = format!("tryvox_monthly_fees_{direction}_total{{{labels}}}");
                series.insert(name, format!("{amount}e-3").parse().unwrap());
            }
        }
        series
    }

    /// Returns the sum of the fees of each currency.
    fn sums(&self) -> BTreeMap<&'static str, i64> {
        let mut sums = BTreeMap::new();
        for number in self.known.values().filter(|number| number.is_valid) {
            *sums.entry(number.currency).or_default() += number.fee;
        }
        sums
    }
}

fn movement_series(scrape: &Scrape) -> Series {
    let families = ["tryvox_monthly_fees_added_total", "tryvox_monthly_fees_removed_total"];
    families.into_iter().flat_map(|family| scrape.family(family)).collect()
}

/// Returns the sum of the series of a family with this currency, in thousandths.
fn thousandths(scrape: &Scrape, family: &str, currency: &str) -> i64 {
    let label = format!(r#"currency="{currency}""#);
    let values = scrape.family(family).into_iter().filter(|(series, _)| series.contains(&label));
    #[expect(clippy::cast_possible_truncation, reason = "the sums are small")]
    let in_thousandths = |value: f64| (value * 1000.0).round() as i64;
    values.map(|(_, value)| in_thousandths(value)).sum()
}

async fn start_api(numbers: &Arc<Mutex<Numbers>>) -> MockApi {
    let numbers = numbers.clone();
    MockApi::start(move |_| {
        let fee = |number: &Number| if number.is_valid { decimal(number.fee) } else { r#""unknown""#.to_owned() };
        let records: Vec<_> = numbers
            .lock()
            .unwrap()
            .iter()
            .map(|(e164, number)| record(e164, "active", &fee(number), number.currency))
            .collect();
        async move { page(&records, records.len(), 1, 1) }
    })
    .await
}

const OPTIONS: [&str; 4] =
    ["--poll.interval=20ms", "--poll.timeout=30s", "--poll.max-discrepancy=1", "--tryvox.rate-limit=0"];

/// Waits until a poll that started after now has ended.
async fn wait_for_new_poll(exporter: &mut ServerProcess) {
    let polls = exporter.polls();
    exporter.wait_for_polls(polls + 2).await;
}

#[tokio::test]
async fn movements_are_exact_and_add_up_to_the_change_of_the_sums_over_restarts() {
    let mut rng = Rng::with_seed(seed());
    let currencies = ["USD", "EUR", "JPY"];
    let state = tempfile::tempdir().unwrap();
    let state_flag = format!("--state.file={}", state.path().join("state.db").display());
    let numbers = Arc::new(Mutex::new(Numbers::new()));
    live(&mut rng, &mut numbers.lock().unwrap(), &currencies[..2]);
    let api = start_api(&numbers).await;
    let options = [&OPTIONS[..], &[&*state_flag]].concat();
    let mut exporter = ServerProcess::exporter(&api.url(), &options).await;
    exporter.wait_for_polls(1).await;
    let mut model = Model::default();
    model.add_listing(&numbers.lock().unwrap());
    let first = model.sums();
    let mut used = BTreeSet::new();
    for round in 0..60 {
        let scrape = exporter.scrape().await;
        assert_eq!(movement_series(&scrape), model.series(), "round {round}");
        for currency in currencies {
            let now = model.sums().get(currency).copied().unwrap_or_default();
            assert_eq!(thousandths(&scrape, "tryvox_monthly_fees", currency), now);
            let [added, removed] = ["added", "removed"]
                .map(|direction| thousandths(&scrape, &format!("tryvox_monthly_fees_{direction}_total"), currency));
            assert_eq!(added - removed, now - first.get(currency).copied().unwrap_or_default(), "{currency}");
        }
        used.extend(model.movements.iter().filter(|(_, amounts)| amounts.iter().all(|a| *a > 0)).map(|((_, c), _)| *c));
        let is_restarted = rng.u8(0..8) == 0;
        let signal = if rng.bool() { Signal::TERM } else { Signal::KILL };
        let mut change = || {
            let mut numbers = numbers.lock().unwrap();
            live(&mut rng, &mut numbers, &currencies);
            model.add_listing(&numbers);
        };
        if is_restarted {
            exporter.stop(signal).await;
            change();
            exporter = ServerProcess::exporter(&api.url(), &options).await;
            exporter.wait_for_polls(1).await;
        } else {
            change();
            wait_for_new_poll(&mut exporter).await;
        }
    }
    assert_eq!(used, CAUSES.into(), "each cause adds and removes");
}

/// The families that have fees by currency.
const FEE_FAMILIES: [&str; 6] = [
    "tryvox_monthly_fees",
    "tryvox_assignment_monthly_fees",
    "tryvox_region_monthly_fees",
    "tryvox_trunk_monthly_fees",
    "tryvox_application_monthly_fees",
    "tryvox_owner_monthly_fees",
];

fn limited_config(url: &str, label_limit: usize) -> String {
    format!(
        "tryvox: {{url: '{url}', rate_limit: 0}}\n\
         poll: {{interval: 20ms, timeout: 30s, stale_after: 1h, max_discrepancy: 1}}\n\
         collector: {{label_limit: {label_limit}, region: true, trunk: true, application: true}}\n\
         state: {{file: state.db}}\n\
         accounts: [{{account_id: acc_demo}}]\n\
         owners: [{{name: west, numbers: ['+1415*']}}]\n"
    )
}

fn currency_labels(series: &Series) -> BTreeSet<String> {
    series
        .keys()
        .map(|series| series.split("currency=\"").nth(1).unwrap().split('"').next().unwrap().to_owned())
        .collect()
}

/// Checks that the movements of each label value, which may stand for several currencies, add up to the change of its sums
/// since the first listing, in each family of fees. Returns the label values.
fn assert_sums_add_up(scrape: &Scrape, model: &Model, first: &BTreeMap<&'static str, i64>) -> BTreeSet<String> {
    let movements = movement_series(scrape);
    let labels = currency_labels(&movements);
    let is_of =
        |label: &str, currency: &str| if labels.contains(currency) { label == currency } else { label == "other" };
    let sum = |sums: &BTreeMap<&'static str, i64>, label: &str| -> i64 {
        sums.iter().filter(|(currency, _)| is_of(label, currency)).map(|(_, sum)| sum).sum()
    };
    for label in &labels {
        let now = sum(&model.sums(), label);
        let [added, removed] = ["added", "removed"]
            .map(|direction| thousandths(scrape, &format!("tryvox_monthly_fees_{direction}_total"), label));
        assert_eq!(added - removed, now - sum(first, label), "{label}");
        for family in FEE_FAMILIES {
            assert_eq!(thousandths(scrape, family, label), now, "{family} {label}");
        }
    }
    for family in FEE_FAMILIES {
        let of_sums = currency_labels(&scrape.family(family));
        assert!(of_sums.is_subset(&labels), "{family}: {of_sums:?} {labels:?}");
    }
    // Exactly these movements, by cause.
    let mut expected = Model::default();
    for ((currency, cause), [added, removed]) in &model.movements {
        let label = if labels.contains(*currency) { currency } else { "other" };
        let movement = expected.movements.entry((label, cause)).or_default();
        *movement = [movement[0] + added, movement[1] + removed];
    }
    assert_eq!(movements, expected.series());
    labels
}

/// Random lives with more currencies than label values, over restarts and reloads that also change the limit.
#[tokio::test]
async fn movements_of_each_label_value_add_up_to_the_change_of_its_sums_beyond_the_limit() {
    let mut rng = Rng::with_seed(seed());
    let currencies = ["USD", "EUR", "JPY", "GBP", "SEK", "CHF", "PLN"];
    let numbers = Arc::new(Mutex::new(Numbers::new()));
    let first_currencies = rng.usize(2..=currencies.len());
    (0..6).for_each(|_| live(&mut rng, &mut numbers.lock().unwrap(), &currencies[..first_currencies]));
    let api = start_api(&numbers).await;
    let limit = rng.usize(1..4);
    let file = ConfigFile::new(&limited_config(&api.url(), limit));
    let mut exporter = start(&file, &[]).await;
    exporter.wait_for_polls(1).await;
    let mut model = Model::default();
    model.add_listing(&numbers.lock().unwrap());
    let first = model.sums();

    // The most frequent ones have label values of their own.
    let mut counts = BTreeMap::<&str, usize>::new();
    let known = model.known.values().filter(|number| !number.currency.is_empty());
    known.for_each(|number| *counts.entry(number.currency).or_default() += 1);
    let mut frequent: Vec<_> = counts.into_iter().collect();
    frequent.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let mut expected: BTreeSet<_> = frequent.iter().take(limit).map(|(name, _)| (*name).to_owned()).collect();
    expected.extend((frequent.len() > limit).then(|| "other".to_owned()));
    let mut labels = assert_sums_add_up(&exporter.scrape().await, &model, &first);
    assert_eq!(labels, expected);

    for round in 0..48 {
        match round % 8 {
            3 => {
                exporter.stop(if rng.bool() { Signal::TERM } else { Signal::KILL }).await;
                file.write(&limited_config(&api.url(), rng.usize(1..6)));
                exporter = start(&file, &[]).await;
                // The restored listing, or that of the first poll.
                assert_sums_add_up(&exporter.scrape().await, &model, &first);
                exporter.wait_for_polls(1).await;
            }
            6 => {
                reload(&exporter, &file, &limited_config(&api.url(), rng.usize(1..6))).await;
                assert_sums_add_up(&exporter.scrape().await, &model, &first);
            }
            _ => {}
        }
        {
            let mut numbers = numbers.lock().unwrap();
            live(&mut rng, &mut numbers, &currencies);
            model.add_listing(&numbers);
        }
        wait_for_new_poll(&mut exporter).await;
        let now = assert_sums_add_up(&exporter.scrape().await, &model, &first);
        assert!(now.is_superset(&labels), "{labels:?} {now:?}");
        assert!(now == labels || !labels.contains("other"), "{labels:?} {now:?}");
        labels = now;
    }
    assert!(labels.contains("other"), "{labels:?}");
}
