//! Watched numbers over random lives: listed, suspended, released, purchased again, unreadable or left out by mistake.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use fastrand::Rng;
use rustix::process::Signal;

use crate::common::accounts::ConfigFile;
use crate::common::api::{MockApi, page, record};
use crate::common::expected::Series;
use crate::common::{Scrape, seed};
use crate::owners::{reload, start};

/// A number in the model.
#[derive(Debug, Clone, PartialEq)]
struct Number {
    status: &'static str,
    has_trunk: bool,
    /// Whether the record is valid.
    is_valid: bool,
}

/// What the API lists.
#[derive(Debug, Clone, Default)]
struct Listing {
    numbers: BTreeMap<String, Number>,
    /// By how much the reported total is too high.
    surplus: usize,
}

impl Listing {
    fn is_exact(&self) -> bool {
        self.surplus == 0 && self.numbers.values().all(|number| number.is_valid)
    }

    fn records(&self) -> Vec<String> {
        let record = |(e164, number): (&String, &Number)| {
            let record = record(e164, number.status, if number.is_valid { "1.15" } else { "null" }, "USD");
            if number.has_trunk { record.replace(r#""trunk_id":null"#, r#""trunk_id":"trk_1""#) } else { record }
        };
        self.numbers.iter().map(record).collect()
    }
}

/// An API with one account.
#[derive(Clone)]
struct Account {
    api: MockApi,
    listing: Arc<Mutex<Listing>>,
    is_hanging: Arc<AtomicBool>,
}

impl Account {
    async fn start(listing: Listing) -> Self {
        let (listing, is_hanging) = (Arc::new(Mutex::new(listing)), Arc::<AtomicBool>::default());
        let (listed, hanging) = (listing.clone(), is_hanging.clone());
        let api = MockApi::start(move |_| {
            let (listed, is_hanging) = (listed.lock().unwrap().clone(), hanging.load(Ordering::SeqCst));
            async move {
                if is_hanging {
                    return std::future::pending().await;
                }
                let records = listed.records();
                page(&records, records.len() + listed.surplus, 1, 1)
            }
        })
        .await;
        Self { api, listing, is_hanging }
    }

    fn set(&self, listing: Listing) {
        *self.listing.lock().unwrap() = listing;
    }

    fn config(&self, options: &str, watch: &BTreeMap<String, String>) -> String {
        let watch: Vec<_> = watch.iter().map(|(e164, name)| format!("{{number: {e164}, name: {name}}}")).collect();
        let watch = if watch.is_empty() { String::new() } else { format!("watch: [{}]", watch.join(", ")) };
        let url = self.api.url();
        format!("tryvox: {{url: '{url}', rate_limit: 0}}\n{options}\naccounts:\n- account_id: acc_demo\n  {watch}\n")
    }
}

const FAST: &str = "poll: {interval: 20ms, timeout: 30s, max_discrepancy: 0.9}";
const SLOW: &str = "poll: {interval: 1h, max_discrepancy: 0.9}";

/// What is known of the watched numbers: their status, and whether they are assigned.
#[derive(Debug, Default)]
struct Model(BTreeMap<String, (String, bool)>);

impl Model {
    fn add_listing(&mut self, watch: &BTreeMap<String, String>, listing: &Listing) {
        for e164 in watch.keys() {
            match listing.numbers.get(e164) {
                Some(number) if number.is_valid => {
                    self.0.insert(e164.clone(), (number.status.to_owned(), number.has_trunk));
                }
                None if listing.is_exact() => _ = self.0.insert(e164.clone(), ("missing".to_owned(), false)),
                // The listing does not say, so what is known stays.
                _ => {}
            }
        }
    }

    fn series(&self, watch: &BTreeMap<String, String>) -> Series {
        let mut series = Series::new();
        for (e164, name) in watch {
            let Some((status, is_assigned)) = self.0.get(e164) else { continue };
            let labels = format!(r#"account="acc_demo",e164="{e164}",name="{name}""#);
            for value in ["active", "pending", "suspended", "missing", status] {
                let value_series = format!(r#"tryvox_watched_number_status{{{labels},status="{value}"}}"#);
                series.insert(value_series, f64::from(u8::from(value == status)));
            }
            series.insert(format!("tryvox_watched_number_assigned{{{labels}}}"), f64::from(u8::from(*is_assigned)));
        }
        series
    }
}

fn watched_series(scrape: &Scrape) -> Series {
    let families = ["tryvox_watched_number_status", "tryvox_watched_number_assigned"];
    families.into_iter().flat_map(|family| scrape.family(family)).collect()
}

fn numbers_with_series(scrape: &Scrape, family: &str) -> BTreeSet<String> {
    let series = scrape.family(family).into_keys();
    series.map(|series| series.split("e164=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()).collect()
}

fn random_listing(rng: &mut Rng) -> Listing {
    let mut numbers = BTreeMap::new();
    for number in 0..8 {
        let statuses = ["active", "active", "suspended", "pending", "porting"];
        let status = statuses[rng.usize(..statuses.len())];
        let number_state = Number { status, has_trunk: rng.bool(), is_valid: rng.u8(0..6) > 0 };
        if rng.u8(0..4) > 0 {
            numbers.insert(format!("+1415555000{number}"), number_state);
        }
    }
    // A listing without any valid record fails.
    numbers.insert("+19".to_owned(), Number { status: "suspended", has_trunk: false, is_valid: true });
    numbers.insert("+20".to_owned(), Number { status: "suspended", has_trunk: false, is_valid: true });
    if rng.bool() {
        numbers.values_mut().for_each(|number| number.is_valid = true);
    }
    Listing { numbers, surplus: if rng.u8(0..3) == 0 { 1 } else { 0 } }
}

/// Numbers 5 to 8 of the life are watched, one of them is never listed.
fn watch() -> BTreeMap<String, String> {
    (4..9).map(|number| (format!("+1415555000{number}"), format!("hotline {number}"))).collect()
}

#[tokio::test]
async fn status_follows_the_listings_that_say_it_and_stays_otherwise() {
    let mut rng = Rng::with_seed(seed());
    let watch = watch();
    for (collector, limit) in [("statuses: none", 0), ("statuses: suspended, limit: 1", 1)] {
        let options = format!("{FAST}\ncollector: {{number: {{{collector}}}}}");
        let first = random_listing(&mut rng);
        let account = Account::start(first.clone()).await;
        let file = ConfigFile::new(&account.config(&options, &watch));
        let mut exporter = start(&file, &[]).await;
        exporter.wait_for_polls(1).await;
        let (mut model, mut listing) = (Model::default(), first);
        for _ in 0..40 {
            model.add_listing(&watch, &listing);
            let scrape = exporter.scrape().await;
            assert_eq!(watched_series(&scrape), model.series(&watch), "{listing:?}");

            // Watched numbers have series of their own whatever the statuses and the limit are.
            let valid = |e164: &&String| listing.numbers[*e164].is_valid;
            let others = listing
                .numbers
                .iter()
                .filter(|(e164, number)| !watch.contains_key(*e164) && number.is_valid && number.status == "suspended");
            let others = others.count();
            let is_watched = |e164: &&String| watch.contains_key(*e164);
            let expected: BTreeSet<_> = listing.numbers.keys().filter(is_watched).filter(valid).cloned().collect();
            for family in ["tryvox_number_info", "tryvox_number_monthly_fee", "tryvox_number_created_timestamp_seconds"]
            {
                let numbers = numbers_with_series(&scrape, family);
                assert!(numbers.is_superset(&expected), "{family}: {numbers:?} {listing:?}");
                assert_eq!(numbers.len(), expected.len() + others.min(limit), "{family}: {numbers:?} {listing:?}");
            }
            let truncated = scrape.value(r#"tryvox_number_series_truncated{account="acc_demo"}"#);
            assert_eq!(truncated, (limit > 0).then(|| others.saturating_sub(limit) as f64));

            listing = random_listing(&mut rng);
            account.set(listing.clone());
            let polls = exporter.polls();
            exporter.wait_for_polls(polls + 2).await;
        }
        exporter.scrape().await.lint();
        assert!(!exporter.output_so_far().contains("poll failed"), "{}", exporter.output_so_far());
    }
}

#[tokio::test]
async fn reload_changes_what_is_watched_at_once_and_a_restart_restores_it() {
    let mut rng = Rng::with_seed(seed());
    // Each number is known, so a number that is not listed is missing.
    let mut listing = random_listing(&mut rng);
    listing.numbers.values_mut().for_each(|number| number.is_valid = true);
    listing.surplus = 0;
    let account = Account::start(listing.clone()).await;
    let options = format!("state: {{file: state.db}}\ncollector: {{number: {{statuses: none}}}}\n{SLOW}");
    let file = ConfigFile::new(&account.config(&options, &BTreeMap::new()));
    let mut exporter = start(&file, &[]).await;
    exporter.wait_for_polls(1).await;
    assert_eq!(watched_series(&exporter.scrape().await), Series::new());
    let mut watched = BTreeMap::new();
    for round in 0..10 {
        watched =
            watch().into_iter().filter(|_| rng.bool()).map(|(e164, name)| (e164, format!("{name} {round}"))).collect();
        reload(&exporter, &file, &account.config(&options, &watched)).await;
        let mut model = Model::default();
        model.add_listing(&watched, &listing);
        let scrape = exporter.scrape().await;
        assert_eq!(watched_series(&scrape), model.series(&watched));
        assert_eq!(scrape.account_value("tryvox_polls_total", ""), 1.0);
    }
    assert_eq!(account.api.requests().len(), 1);
    assert_eq!(exporter.stop(Signal::TERM).await, Some(0));

    account.is_hanging.store(true, Ordering::SeqCst);
    let exporter = start(&file, &[]).await;
    let mut model = Model::default();
    model.add_listing(&watched, &listing);
    let scrape = exporter.scrape().await;
    assert_eq!(watched_series(&scrape), model.series(&watched));
    assert_eq!(scrape.account_value("tryvox_polls_total", ""), 0.0);
}

/// The per-number series of a watched number need no collector; those of the others end with it.
#[tokio::test]
async fn watched_numbers_keep_their_series_when_the_collector_is_disabled() {
    let number = |status| Number { status, has_trunk: false, is_valid: true };
    let numbers = [("+14155550005", number("active")), ("+19", number("suspended")), ("+20", number("suspended"))];
    let numbers = numbers.map(|(e164, number)| (e164.to_owned(), number)).into();
    let account = Account::start(Listing { numbers, surplus: 0 }).await;
    let file = ConfigFile::new(&account.config(SLOW, &watch()));
    let mut exporter = start(&file, &[]).await;
    exporter.wait_for_polls(1).await;
    let families = ["tryvox_number_info", "tryvox_number_monthly_fee", "tryvox_number_updated_timestamp_seconds"];
    let numbers = async |family| numbers_with_series(&exporter.scrape().await, family);
    for family in families {
        assert_eq!(numbers(family).await, ["+14155550005", "+19", "+20"].map(str::to_owned).into());
    }
    let options = format!("collector: {{number: {{statuses: none}}}}\n{SLOW}");
    reload(&exporter, &file, &account.config(&options, &watch())).await;
    for family in families {
        assert_eq!(numbers(family).await, ["+14155550005".to_owned()].into());
    }
    assert!(exporter.scrape().await.family("tryvox_number_series_truncated").is_empty());
}
