//! Owners: the numbers and the fees of each, with random configurations and listings, against a naive model.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use fastrand::Rng;
use reqwest::StatusCode;
use rustix::process::Signal;
use tryvox_exporter::config::OWNER_FIELDS;

use crate::common::accounts::{ConfigFile, account_of};
use crate::common::api::{MockApi, page};
use crate::common::expected::Series;
use crate::common::{KEY, Scrape, ServerProcess, http, seed, wrapped_command};
use crate::docs::assert_in_sync;

const ACCOUNTS: usize = 3;

/// A phone number in the model, with its fee in thousandths.
#[derive(Debug, Clone)]
struct Number {
    e164: String,
    country: &'static str,
    status: &'static str,
    currency: &'static str,
    fee: i64,
    trunk: Option<u8>,
    application: Option<u8>,
}

/// An owner in the model.
#[derive(Debug, Default)]
struct Owner {
    numbers: Vec<String>,
    trunks: Vec<u8>,
    applications: Vec<u8>,
    accounts: Vec<usize>,
    countries: Vec<&'static str>,
    /// In cents, by currency.
    budget: BTreeMap<&'static str, u32>,
}

fn choose<T: Copy>(rng: &mut Rng, values: &[T]) -> T {
    values[rng.usize(..values.len())]
}

fn some<T>(rng: &mut Rng, most: usize, mut value: impl FnMut(&mut Rng) -> T) -> Vec<T> {
    (0..rng.usize(0..=most)).map(|_| value(rng)).collect()
}

/// Returns 1 to 5 digits of which many numbers are prefixes of others.
fn random_e164(rng: &mut Rng) -> String {
    let digits: String = (0..rng.usize(1..6)).map(|_| choose(rng, &['1', '2'])).collect();
    format!("+{digits}")
}

fn random_number(rng: &mut Rng) -> Number {
    Number {
        e164: random_e164(rng),
        country: choose(rng, &["US", "DE", "NO"]),
        status: choose(rng, &["active", "active", "suspended", "pending", "porting"]),
        currency: choose(rng, &["USD", "EUR"]),
        fee: rng.i64(-500..3000),
        trunk: rng.bool().then(|| rng.u8(0..3)),
        application: rng.bool().then(|| rng.u8(0..3)),
    }
}

fn random_owner(rng: &mut Rng) -> Owner {
    let has_criteria = rng.u8(0..5) > 0;
    let most = |most: usize| if has_criteria { most } else { 0 };
    Owner {
        numbers: some(rng, most(4), |rng| random_e164(rng) + if rng.bool() { "*" } else { "" }),
        trunks: some(rng, most(2), |rng| rng.u8(0..4)),
        applications: some(rng, most(2), |rng| rng.u8(0..4)),
        accounts: some(rng, 2, |rng| rng.usize(0..ACCOUNTS)),
        countries: some(rng, 2, |rng| choose(rng, &["US", "DE", "NO", "FR"])),
        budget: some(rng, 2, |rng| (choose(rng, &["USD", "EUR"]), rng.u32(0..100_000))).into_iter().collect(),
    }
}

impl Owner {
    /// Returns whether a number belongs to the owner, by the words of the documentation.
    fn matches(&self, account: usize, number: &Number) -> bool {
        let matches_pattern = |pattern: &String| match pattern.strip_suffix('*') {
            Some(prefix) => number.e164.starts_with(prefix),
            None => number.e164 == *pattern,
        };
        let has_criteria = !(self.numbers.is_empty() && self.trunks.is_empty() && self.applications.is_empty());
        (self.accounts.is_empty() || self.accounts.contains(&account))
            && (self.countries.is_empty() || self.countries.contains(&number.country))
            && (!has_criteria
                || self.numbers.iter().any(matches_pattern)
                || number.trunk.is_some_and(|trunk| self.trunks.contains(&trunk))
                || number.application.is_some_and(|application| self.applications.contains(&application)))
    }

    fn yaml(&self, name: &str) -> String {
        let mut text = format!("- name: {name}\n");
        let mut list = |key: &str, values: Vec<String>| {
            if !values.is_empty() {
                writeln!(text, "  {key}: [{}]", values.join(", ")).unwrap();
            }
        };
        list("numbers", self.numbers.clone());
        list("trunks", self.trunks.iter().map(|id| format!("trk_{id}")).collect());
        list("applications", self.applications.iter().map(|id| format!("app_{id}")).collect());
        list("accounts", self.accounts.iter().map(|id| format!("acc_{id}")).collect());
        list("countries", self.countries.iter().map(|country| (*country).to_owned()).collect());
        let budget = self.budget.iter().map(|(currency, cents)| format!("{currency}: {}", decimal((*cents).into(), 2)));
        writeln!(text, "  monthly_budget: {{{}}}", budget.collect::<Vec<_>>().join(", ")).unwrap();
        text
    }
}

/// Writes an integer with this many decimals.
fn decimal(amount: i64, decimals: usize) -> String {
    let digits = format!("{:0width$}", amount.unsigned_abs(), width = decimals + 1);
    let (units, fraction) = digits.split_at(digits.len() - decimals);
    format!("{}{units}.{fraction}", if amount < 0 { "-" } else { "" })
}

fn record(number: &Number) -> String {
    let Number { e164, country, status, currency, fee, trunk, application } = number;
    let id = |prefix: &str, id: &Option<u8>| id.map_or("null".to_owned(), |id| format!(r#""{prefix}_{id}""#));
    format!(
        r#"{{"e164":"{e164}","country":"{country}","type":"local","region":null,"status":"{status}","capabilities":[],
        "monthly_fee":{},"setup_fee":0,"currency":"{currency}","trunk_id":{},"application_id":{},
        "created_at":"2025-03-11T09:24:00Z","updated_at":null}}"#,
        decimal(*fee, 3),
        id("trk", trunk),
        id("app", application),
    )
}

/// An API that lists the numbers of each account, or does not respond.
#[derive(Debug, Clone)]
struct Listings {
    numbers: Arc<Mutex<Vec<Vec<Number>>>>,
    is_hanging: Arc<AtomicBool>,
}

impl Listings {
    fn new(numbers: Vec<Vec<Number>>) -> Self {
        Self { numbers: Arc::new(Mutex::new(numbers)), is_hanging: Arc::default() }
    }

    fn get(&self) -> Vec<Vec<Number>> {
        self.numbers.lock().unwrap().clone()
    }

    fn set(&self, numbers: Vec<Vec<Number>>) {
        *self.numbers.lock().unwrap() = numbers;
    }

    fn hang(&self) {
        self.is_hanging.store(true, Ordering::SeqCst);
    }
}

fn random_listings(rng: &mut Rng) -> Vec<Vec<Number>> {
    let listing = |rng: &mut Rng| {
        let numbers: BTreeMap<_, _> =
            some(rng, 60, random_number).into_iter().map(|number| (number.e164.clone(), number)).collect();
        numbers.into_values().collect()
    };
    (0..ACCOUNTS).map(|_| listing(rng)).collect()
}

async fn start_api(listings: &Listings) -> MockApi {
    let listings = listings.clone();
    MockApi::start(move |request| {
        let listings = listings.clone();
        async move {
            if listings.is_hanging.load(Ordering::SeqCst) {
                return std::future::pending().await;
            }
            let records: Vec<_> = listings.get()[account_of(&request)].iter().map(record).collect();
            page(&records, records.len(), 1, 1)
        }
    })
    .await
}

fn config(url: &str, owners: &[Owner]) -> String {
    let mut text = format!("tryvox: {{url: '{url}', rate_limit: 0}}\npoll: {{interval: 1h}}\naccounts:\n");
    (0..ACCOUNTS).for_each(|account| writeln!(text, "- {{account_id: acc_{account}}}").unwrap());
    if !owners.is_empty() {
        text.push_str("owners:\n");
    }
    for (index, owner) in owners.iter().enumerate() {
        text.push_str(&owner.yaml(&format!("owner {index}")));
    }
    text
}

/// Returns the series of owners and their budgets.
fn expected(listings: &[Vec<Number>], owners: &[Owner]) -> Series {
    let mut sums: BTreeMap<String, i64> = BTreeMap::new();
    for (account, number) in
        listings.iter().enumerate().flat_map(|(account, list)| list.iter().map(move |n| (account, n)))
    {
        if owners.is_empty() {
            continue;
        }
        let owner = owners.iter().position(|owner| owner.matches(account, number));
        let owner = owner.map_or(String::new(), |index| format!("owner {index}"));
        let Number { status, currency, fee, .. } = number;
        let labels = format!(r#"account="acc_{account}",owner="{owner}",status="{status}""#);
        *sums.entry(format!("tryvox_owner_numbers{{{labels}}}")).or_default() += 1000;
        let fees = format!(r#"tryvox_owner_monthly_fees{{{labels},currency="{currency}"}}"#);
        *sums.entry(fees).or_default() += fee;
    }
    for (index, owner) in owners.iter().enumerate() {
        for (currency, cents) in &owner.budget {
            let series = format!(r#"tryvox_owner_monthly_budget{{owner="owner {index}",currency="{currency}"}}"#);
            sums.insert(series, i64::from(*cents) * 10);
        }
    }
    sums.into_iter().map(|(series, sum)| (series, format!("{sum}e-3").parse().unwrap())).collect()
}

fn owner_series(scrape: &Scrape) -> Series {
    let families = ["tryvox_owner_numbers", "tryvox_owner_monthly_fees", "tryvox_owner_monthly_budget"];
    families.into_iter().flat_map(|family| scrape.family(family)).collect()
}

/// Replaces the configuration file and reloads it.
pub(crate) async fn reload(exporter: &ServerProcess, file: &ConfigFile, text: &str) {
    file.write(text);
    let response = http().post(format!("{}/-/reload", exporter.url())).send().await.unwrap();
    let (status, text) = (response.status(), response.text().await.unwrap());
    assert_eq!(status, StatusCode::OK, "{text}");
}

/// Starts an exporter of a configuration file.
pub(crate) async fn start(file: &ConfigFile, arguments: &[&str]) -> ServerProcess {
    let flag = file.flag();
    let all = [&[&*flag, "--web.enable-lifecycle", "--log.level=debug"], arguments].concat();
    ServerProcess::start(&all, &[("TRYVOX_API_KEY", KEY)]).await
}

#[tokio::test]
async fn owners_of_random_configurations_match_the_model_after_each_reload_without_a_poll() {
    let mut rng = Rng::with_seed(seed());
    let mut owned = BTreeSet::new();
    for _ in 0..4 {
        let listings = Listings::new(random_listings(&mut rng));
        let api = start_api(&listings).await;
        let file = ConfigFile::new(&config(&api.url(), &some(&mut rng, 6, random_owner)));
        let mut exporter = start(&file, &[]).await;
        exporter.wait_for_polls(ACCOUNTS).await;
        for _ in 0..8 {
            let owners = some(&mut rng, 8, random_owner);
            reload(&exporter, &file, &config(&api.url(), &owners)).await;
            let scrape = exporter.scrape().await;
            let series = owner_series(&scrape);
            assert_eq!(series, expected(&listings.get(), &owners), "{owners:#?}");
            for account in 0..ACCOUNTS {
                // Every number belongs to one owner or to none.
                let sum = |family: &str| -> f64 {
                    let of_account = format!(r#"{family}{{account="acc_{account}","#);
                    scrape
                        .family(family)
                        .iter()
                        .filter(|(series, _)| series.starts_with(&of_account))
                        .map(|(_, value)| value)
                        .sum()
                };
                let numbers = if owners.is_empty() { 0.0 } else { sum("tryvox_numbers") };
                assert_eq!(sum("tryvox_owner_numbers"), numbers);
                assert_eq!(scrape.value(&format!(r#"tryvox_polls_total{{account="acc_{account}"}}"#)), Some(1.0));
            }
            owned.extend(
                series
                    .keys()
                    .filter_map(|series| series.split("owner=\"").nth(1)?.split('"').next())
                    .map(str::to_owned),
            );
        }
        exporter.scrape().await.lint();
        assert_eq!(api.requests().len(), ACCOUNTS, "no reload polls");
    }
    assert!(owned.len() > 5, "{owned:?}");
}

#[tokio::test]
async fn owners_are_matched_in_each_new_listing_and_restored_after_a_restart() {
    let mut rng = Rng::with_seed(seed());
    let listings = Listings::new(random_listings(&mut rng));
    let api = start_api(&listings).await;
    let owners: Vec<_> = (0..6).map(|_| random_owner(&mut rng)).collect();
    let text = format!("state: {{file: state.db}}\n{}", config(&api.url(), &owners));
    let file = ConfigFile::new(&text.replace("1h", "100ms, timeout: 30s"));
    let mut exporter = start(&file, &[]).await;
    exporter.wait_for_polls(ACCOUNTS).await;
    for _ in 0..3 {
        let changed = random_listings(&mut rng);
        listings.set(changed.clone());
        // Each account may have a poll in progress.
        let expected = expected(&changed, &owners);
        let polls = exporter.polls();
        exporter.wait_for_polls(polls + 3 * ACCOUNTS).await;
        while owner_series(&exporter.scrape().await) != expected {
            let polls = exporter.polls();
            assert!(polls < 200, "{owners:#?}");
            exporter.wait_for_polls(polls + 1).await;
        }
    }
    assert_eq!(exporter.stop(Signal::TERM).await, Some(0));
    // Other owners than before, and an API that does not respond.
    listings.hang();
    let owners: Vec<_> = (0..6).map(|_| random_owner(&mut rng)).collect();
    file.write(&format!("state: {{file: state.db}}\n{}", config(&api.url(), &owners)));
    let exporter = start(&file, &[]).await;
    let scrape = exporter.scrape().await;
    assert_eq!(owner_series(&scrape), expected(&listings.get(), &owners));
    assert_eq!(scrape.family("tryvox_polls_total").values().sum::<f64>(), 0.0);
}

/// Thousands of accounts share what is compiled of thousands of patterns, also if different owners apply to them.
#[tokio::test]
async fn configuration_of_many_accounts_and_owners_takes_little_memory() {
    let mut rng = Rng::with_seed(seed());
    let mut text = String::from("accounts:\n");
    for account in 0..10_000 {
        writeln!(text, "- {{account_id: acc_{account}}}").unwrap();
    }
    text.push_str("owners:\n");
    for owner in 0..1_000 {
        let numbers: Vec<_> = (0..10).map(|number| format!("+{}*", 1_000_000 + owner * 10 + number)).collect();
        write!(text, "- {{name: owner {owner}, numbers: [{}]", numbers.join(", ")).unwrap();
        if owner % 5 == 0 {
            let accounts: Vec<_> = (0..50).map(|_| format!("acc_{}", rng.u32(0..10_000))).collect();
            write!(text, ", accounts: [{}]", accounts.join(", ")).unwrap();
        }
        text.push_str("}\n");
    }
    let file = ConfigFile::new(&text);
    let flag = file.flag();
    let start = std::time::Instant::now();
    // With less address space the process aborts.
    let limited = ["sh", "-c", "ulimit -v 600000; exec \"$@\"", "sh"];
    let mut check = wrapped_command(&limited, &["serve", &flag, "--config.check"]);
    let output = check.env("TRYVOX_API_KEY", KEY).output().await.unwrap();
    let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(printed, "The configuration is valid: 10000 accounts\n");
    println!("{:?}", start.elapsed());
    assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
}

#[test]
fn documentation_lists_every_field_of_an_owner() {
    let mut table = String::from("| field | description |\n| --- | --- |\n");
    for (name, help) in OWNER_FIELDS {
        writeln!(table, "| `{name}` | {help} |").unwrap();
    }
    assert_in_sync("docs/configuration.md", "owner fields", &table);
}
