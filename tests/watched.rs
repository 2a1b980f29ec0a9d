//! Watched numbers over random lives: listed, suspended, released, purchased again, unreadable or left out by mistake.
//! Between reloads, restarts and runs of `once`, too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::http::StatusCode;
use axum::response::IntoResponse;
use fastrand::Rng;
use rustix::process::Signal;

use crate::common::accounts::ConfigFile;
use crate::common::api::{MockApi, page, record};
use crate::common::expected::Series;
use crate::common::{KEY, Scrape, ServerProcess, output, seed};
use crate::owners::{reload, start};

/// A number in the model.
#[derive(Debug, Clone, PartialEq)]
struct Number {
    status: &'static str,
    /// `None` if the trunk cannot be read.
    has_trunk: Option<bool>,
    /// Whether the record is valid.
    is_valid: bool,
}

impl Number {
    /// Returns a number without trunk.
    fn new(status: &'static str) -> Self {
        Self { status, has_trunk: Some(false), is_valid: true }
    }

    fn with_trunk(self) -> Self {
        Self { has_trunk: Some(true), ..self }
    }

    fn with_unreadable_trunk(self) -> Self {
        Self { has_trunk: None, ..self }
    }

    fn invalid(self) -> Self {
        Self { is_valid: false, ..self }
    }
}

/// What the API lists.
#[derive(Debug, Clone, Default)]
struct Listing {
    numbers: BTreeMap<String, Number>,
    /// By how much the reported total is too high.
    surplus: usize,
}

impl Listing {
    /// Returns a listing of two other numbers and these.
    fn of<const N: usize>(numbers: [(&str, Number); N], surplus: usize) -> Self {
        // A listing without any valid record fails.
        let others = ["+19", "+20"].map(|e164| (e164, Number::new("suspended")));
        let numbers = others.into_iter().chain(numbers).map(|(e164, number)| (e164.to_owned(), number)).collect();
        Self { numbers, surplus }
    }

    fn is_exact(&self) -> bool {
        self.surplus == 0 && self.numbers.values().all(|number| number.is_valid)
    }

    fn records(&self) -> Vec<String> {
        let record = |(e164, number): (&String, &Number)| {
            let record = record(e164, number.status, if number.is_valid { "1.15" } else { "null" }, "USD");
            let trunk = match number.has_trunk {
                Some(true) => r#""trk_1""#,
                Some(false) => "null",
                None => "7",
            };
            record.replace(r#""trunk_id":null"#, &format!(r#""trunk_id":{trunk}"#))
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
    is_refused: Arc<AtomicBool>,
}

impl Account {
    async fn start(listing: Listing) -> Self {
        let (listing, is_hanging) = (Arc::new(Mutex::new(listing)), Arc::<AtomicBool>::default());
        let is_refused = Arc::<AtomicBool>::default();
        let (listed, hanging, refused) = (listing.clone(), is_hanging.clone(), is_refused.clone());
        let api = MockApi::start(move |_| {
            let (listed, is_hanging) = (listed.lock().unwrap().clone(), hanging.load(Ordering::SeqCst));
            let is_refused = refused.load(Ordering::SeqCst);
            async move {
                if is_hanging {
                    return std::future::pending().await;
                }
                if is_refused {
                    return StatusCode::UNAUTHORIZED.into_response();
                }
                let records = listed.records();
                page(&records, records.len() + listed.surplus, 1, 1)
            }
        })
        .await;
        Self { api, listing, is_hanging, is_refused }
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
struct Model(BTreeMap<String, (Option<&'static str>, Option<bool>)>);

impl Model {
    fn add_listing(&mut self, watch: &BTreeMap<String, String>, listing: &Listing) {
        for e164 in watch.keys() {
            // What the listing does not say stays as it was.
            let (status, is_assigned) = self.0.entry(e164.clone()).or_default();
            match listing.numbers.get(e164) {
                Some(number) if number.is_valid => {
                    let before = is_assigned.filter(|_| *status != Some("missing"));
                    (*status, *is_assigned) = (Some(number.status), number.has_trunk.or(before));
                }
                None if listing.is_exact() => (*status, *is_assigned) = (Some("missing"), Some(false)),
                _ => {}
            }
        }
    }

    fn series(&self, watch: &BTreeMap<String, String>) -> Series {
        let mut series = Series::new();
        for (e164, name) in watch {
            let Some((status, is_assigned)) = self.0.get(e164) else { continue };
            let labels = format!(r#"account="acc_demo",e164="{e164}",name="{name}""#);
            for value in ["active", "pending", "suspended", "missing"].into_iter().chain(*status) {
                let value_series = format!(r#"tryvox_watched_number_status{{{labels},status="{value}"}}"#);
                series.insert(value_series, f64::from(u8::from(Some(value) == *status)));
            }
            if let Some(is_assigned) = is_assigned {
                series.insert(format!("tryvox_watched_number_assigned{{{labels}}}"), f64::from(u8::from(*is_assigned)));
            }
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
        let has_trunk = [Some(true), Some(false), None][rng.usize(..3)];
        let number_state = Number { status, has_trunk, is_valid: rng.u8(0..6) > 0 };
        if rng.u8(0..4) > 0 {
            numbers.insert(format!("+1415555000{number}"), number_state);
        }
    }
    // A listing without any valid record fails.
    numbers.insert("+19".to_owned(), Number::new("suspended"));
    numbers.insert("+20".to_owned(), Number::new("suspended"));
    if rng.bool() {
        for number in numbers.values_mut() {
            number.is_valid = true;
        }
    }
    Listing { numbers, surplus: usize::from(rng.u8(0..3) == 0) }
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
    let account = Account::start(Listing::of([("+14155550005", Number::new("active"))], 0)).await;
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

const HOTLINE: &str = "+14155550005";

/// Watches the hotline.
fn hotline() -> BTreeMap<String, String> {
    [(HOTLINE.to_owned(), "hotline".to_owned())].into()
}

/// Returns the expected series of the hotline with this name, status and assignment, each if it is known.
fn hotline_series(name: &str, status: Option<&'static str>, is_assigned: Option<bool>) -> Series {
    let model = Model([(HOTLINE.to_owned(), (status, is_assigned))].into());
    model.series(&[(HOTLINE.to_owned(), name.to_owned())].into())
}

/// Changes the listing, and waits until a poll that began after that has ended.
async fn poll_listing(exporter: &mut ServerProcess, account: &Account, listing: Listing) -> Scrape {
    account.set(listing);
    let polls = exporter.polls();
    exporter.wait_for_polls(polls + 2).await;
    exporter.scrape().await
}

/// The alert about a number that is not active compares the series of `active` with 0, so it must exist.
#[tokio::test]
async fn every_status_is_present_at_0_until_a_listing_says_the_status() {
    for first in [Listing::of([], 1), Listing::of([(HOTLINE, Number::new("active").invalid())], 0)] {
        let account = Account::start(first).await;
        let file = ConfigFile::new(&account.config(FAST, &hotline()));
        let mut exporter = start(&file, &[]).await;
        exporter.wait_for_polls(2).await;
        let scrape = exporter.scrape().await;
        let statuses = ["active", "pending", "suspended", "missing"];
        let series = statuses.map(|status| {
            let labels = format!(r#"account="acc_demo",e164="{HOTLINE}",name="hotline",status="{status}""#);
            (format!("tryvox_watched_number_status{{{labels}}}"), 0.0)
        });
        assert_eq!(watched_series(&scrape), series.into());
        let page = exporter.get("/").await.text().await.unwrap();
        assert!(page.contains(r#"<span class="badge">unknown</span></td><td>unknown</td>"#), "{page}");
        assert!(page.contains("Watched numbers active</dt><dd>0 of 1</dd>"), "{page}");

        let scrape = poll_listing(&mut exporter, &account, Listing::of([], 0)).await;
        assert_eq!(watched_series(&scrape), hotline_series("hotline", Some("missing"), Some(false)));
    }
}

/// Pages that report different totals belong to a listing that changed meanwhile, which may have skipped the number.
#[tokio::test]
async fn number_is_not_missing_if_the_pages_report_different_totals() {
    let is_skipped = Arc::<AtomicBool>::default();
    let skipped = is_skipped.clone();
    let api = MockApi::start(move |request| {
        let is_skipped = skipped.load(Ordering::SeqCst);
        async move {
            let (number, total) = match (request.page, is_skipped) {
                (1, _) => ("+19", 2),
                (_, false) => (HOTLINE, 2),
                // With the total of the first page, the listing has as many numbers as it should.
                (_, true) => ("+20", 3),
            };
            page(&[record(number, "active", "1.15", "USD")], total, request.page, 2)
        }
    })
    .await;
    let account = Account { api, listing: Arc::default(), is_hanging: Arc::default(), is_refused: Arc::default() };
    let file = ConfigFile::new(&account.config(FAST, &hotline()));
    let mut exporter = start(&file, &[]).await;
    exporter.wait_for_polls(1).await;
    is_skipped.store(true, Ordering::SeqCst);
    let polls = exporter.polls();
    exporter.wait_for_polls(polls + 2).await;
    let scrape = exporter.scrape().await;
    assert_eq!(scrape.value(r#"tryvox_listed_numbers{account="acc_demo"}"#), Some(2.0));
    assert_eq!(scrape.value(r#"tryvox_reported_numbers{account="acc_demo"}"#), Some(2.0));
    assert_eq!(watched_series(&scrape), hotline_series("hotline", Some("active"), Some(false)));
}

/// What is not in the record cannot be served, so the per-number series are absent until it is valid again.
#[tokio::test]
async fn invalid_record_keeps_status_and_assignment_and_removes_the_per_number_series() {
    let valid = Number::new("suspended").with_trunk();
    let account = Account::start(Listing::of([(HOTLINE, valid.clone())], 0)).await;
    let options = format!("{FAST}\ncollector: {{number: {{statuses: none}}}}");
    let file = ConfigFile::new(&account.config(&options, &hotline()));
    let mut exporter = start(&file, &[]).await;
    for (number, has_series) in [(valid.clone(), true), (valid.clone().invalid(), false), (valid, true)] {
        let scrape = poll_listing(&mut exporter, &account, Listing::of([(HOTLINE, number)], 0)).await;
        assert_eq!(watched_series(&scrape), hotline_series("hotline", Some("suspended"), Some(true)));
        for family in ["tryvox_number_info", "tryvox_number_monthly_fee", "tryvox_number_updated_timestamp_seconds"] {
            let expected: BTreeSet<_> = has_series.then(|| HOTLINE.to_owned()).into_iter().collect();
            assert_eq!(numbers_with_series(&scrape, family), expected, "{family}");
        }
    }
}

#[tokio::test]
async fn trunk_that_cannot_be_read_does_not_make_a_number_unassigned() {
    let account = Account::start(Listing::of([(HOTLINE, Number::new("active").with_unreadable_trunk())], 0)).await;
    let file = ConfigFile::new(&account.config(FAST, &hotline()));
    let mut exporter = start(&file, &[]).await;
    let number = || Number::new("active");
    for (number, is_assigned) in [
        (Some(number().with_unreadable_trunk()), None),
        (Some(number().with_trunk()), Some(true)),
        (Some(number().with_unreadable_trunk()), Some(true)),
        (Some(number()), Some(false)),
        (Some(number().with_unreadable_trunk()), Some(false)),
        (Some(number().with_trunk()), Some(true)),
        (None, Some(false)),
        // It was missing, which says nothing about its assignment now.
        (Some(number().with_unreadable_trunk()), None),
    ] {
        let status = if number.is_some() { "active" } else { "missing" };
        let mut listing = Listing::of([], 0);
        listing.numbers.extend(number.map(|number| (HOTLINE.to_owned(), number)));
        let scrape = poll_listing(&mut exporter, &account, listing.clone()).await;
        assert_eq!(watched_series(&scrape), hotline_series("hotline", Some(status), is_assigned), "{listing:?}");
    }
}

#[tokio::test]
async fn number_that_is_no_longer_watched_loses_its_per_number_series_with_the_reload() {
    let listing = Listing::of([(HOTLINE, Number::new("active"))], 0);
    let account = Account::start(listing).await;
    let watch = [HOTLINE, "+19"].map(|e164| (e164.to_owned(), "line".to_owned())).into();
    let options = format!("state: {{file: state.db}}\n{SLOW}");
    let file = ConfigFile::new(&account.config(&options, &watch));
    let mut exporter = start(&file, &[]).await;
    exporter.wait_for_polls(1).await;
    let families = ["tryvox_number_info", "tryvox_number_monthly_fee", "tryvox_number_created_timestamp_seconds"];
    let numbers = async |exporter: &ServerProcess, family| numbers_with_series(&exporter.scrape().await, family);
    for family in families {
        assert_eq!(numbers(&exporter, family).await, [HOTLINE, "+19", "+20"].map(str::to_owned).into());
    }
    reload(&exporter, &file, &account.config(&options, &BTreeMap::new())).await;
    // The others have them because of their status.
    let others = ["+19", "+20"].map(str::to_owned).into();
    for family in families {
        assert_eq!(numbers(&exporter, family).await, others, "{family}");
    }
    let scrape = exporter.scrape().await;
    assert_eq!(scrape.account_value("tryvox_polls_total", ""), 1.0);
    assert_eq!(scrape.account_value("tryvox_number_series_truncated", ""), 0.0);
    assert_eq!(watched_series(&scrape), Series::new());
    assert_eq!(exporter.stop(Signal::TERM).await, Some(0));

    // The listing in the state file has them still.
    account.is_hanging.store(true, Ordering::SeqCst);
    let exporter = start(&file, &[]).await;
    for family in families {
        assert_eq!(numbers(&exporter, family).await, others, "{family}");
    }
    assert_eq!(exporter.scrape().await.account_value("tryvox_number_series_truncated", ""), 0.0);
}

/// `once` has no earlier listing of its own; what it knows is in the file that it replaces.
#[tokio::test]
async fn once_keeps_in_its_file_what_the_listing_does_not_say() {
    let account = Account::start(Listing::default()).await;
    let file = ConfigFile::new("");
    let path = file.folder().join("tryvox.prom");
    let flag = format!("--output.file={}", path.display());
    let run = async |listing: Option<Listing>, watch: &BTreeMap<String, String>| {
        account.is_refused.store(listing.is_none(), Ordering::SeqCst);
        account.set(listing.unwrap_or_default());
        file.write(&account.config(SLOW, watch));
        let exited = output(&["once", &file.flag(), &flag], &[("TRYVOX_API_KEY", KEY)]).await;
        let scrape = Scrape(std::fs::read_to_string(&path).unwrap());
        scrape.lint();
        (exited.status.code(), String::from_utf8(exited.stderr).unwrap(), watched_series(&scrape))
    };
    let number = || Number::new("suspended").with_trunk();
    let listed = |number| Some(Listing::of([(HOTLINE, number)], 0));
    let not_listed = |surplus| Some(Listing::of([], surplus));
    for (listing, series) in [
        (not_listed(1), hotline_series("hotline", None, None)),
        (listed(number().with_unreadable_trunk()), hotline_series("hotline", Some("suspended"), None)),
        (listed(number()), hotline_series("hotline", Some("suspended"), Some(true))),
        (not_listed(1), hotline_series("hotline", Some("suspended"), Some(true))),
        (listed(number().invalid()), hotline_series("hotline", Some("suspended"), Some(true))),
        (listed(number().with_unreadable_trunk()), hotline_series("hotline", Some("suspended"), Some(true))),
        (None, hotline_series("hotline", Some("suspended"), Some(true))),
        (not_listed(1), hotline_series("hotline", Some("suspended"), Some(true))),
        (not_listed(0), hotline_series("hotline", Some("missing"), Some(false))),
        (None, hotline_series("hotline", Some("missing"), Some(false))),
        (listed(Number::new("porting")), hotline_series("hotline", Some("porting"), Some(false))),
        (listed(number().invalid()), hotline_series("hotline", Some("porting"), Some(false))),
    ] {
        let is_refused = listing.is_none();
        let (status, stderr, written) = run(listing.clone(), &hotline()).await;
        assert_eq!((status, written), (Some(i32::from(is_refused)), series), "{listing:?}: {stderr}");
    }

    // Other names and numbers are watched while the account fails: only what is known of them is carried over.
    let named = [(HOTLINE, "a \"quoted\" name"), ("+14155550006", "new")];
    let named: BTreeMap<_, _> = named.map(|(e164, name)| (e164.to_owned(), name.to_owned())).into();
    let escaped = hotline_series(r#"a \"quoted\" name"#, Some("porting"), Some(false));
    assert_eq!(run(None, &named).await.2, escaped);
    assert_eq!(run(None, &[("+14155550006".to_owned(), "new".to_owned())].into()).await.2, Series::new());

    // Nothing is known from a file that was edited.
    run(listed(number()), &hotline()).await;
    let edited = std::fs::read_to_string(&path).unwrap().replace("suspended", "active");
    std::fs::write(&path, edited).unwrap();
    let (status, stderr, written) = run(not_listed(1), &hotline()).await;
    assert_eq!((status, written), (Some(0), hotline_series("hotline", None, None)));
    assert!(stderr.contains("no inventory is carried over"), "{stderr}");
}
