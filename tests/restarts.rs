//! What an exporter with a state file knows after a restart: it is killed, started again, and compared with what it
//! served before.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, process};

use fastrand::Rng;
use futures_util::future::join_all;
use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tryvox_exporter::inventory::ChangeCounters;

use crate::common::accounts::ConfigFile;
use crate::common::api::{MockApi, page, record};
use crate::common::expected::Series;
use crate::common::prometheus::Prometheus;
use crate::common::release::Release;
use crate::common::state::{WITH_OWN_MOUNTS, run_process, test_folder};
use crate::common::{BINARY, KEY, Scrape, ServerProcess, TEST_TIMEOUT, http, output, seed, wrapped_command};

/// An API with one account whose numbers the test changes, and which can stop responding.
struct Account {
    api: MockApi,
    numbers: Arc<Mutex<Numbers>>,
    is_up: watch::Sender<bool>,
}

#[derive(Default)]
struct Numbers {
    /// JSON records by number.
    records: BTreeMap<String, Value>,
    /// If there is one, the account changes at random before each response.
    life: Option<Rng>,
    /// By how many the API reports more numbers than it lists.
    surplus: usize,
    /// All listings so far.
    listings: Vec<BTreeMap<String, Value>>,
}

impl Account {
    async fn start(numbers: usize) -> Self {
        let numbers: Numbers = Numbers {
            records: (0..numbers).map(|number| new_number(&format!("+1415555{number:04}"))).collect(),
            ..Numbers::default()
        };
        let (numbers, is_up) = (Arc::new(Mutex::new(numbers)), watch::Sender::new(true));
        let (listed, up) = (numbers.clone(), is_up.subscribe());
        let api = MockApi::start(move |_| {
            let (listed, mut up) = (listed.clone(), up.clone());
            async move {
                up.wait_for(|is_up| *is_up).await.unwrap();
                let (records, surplus) = {
                    let mut listed = listed.lock().unwrap();
                    (listed.records(), listed.surplus)
                };
                page(&records, records.len() + surplus, 1, 1)
            }
        })
        .await;
        Self { api, numbers, is_up }
    }

    /// Starts or stops to respond.
    fn set_up(&self, is_up: bool) {
        self.is_up.send_replace(is_up);
    }

    fn change(&self, change: impl FnOnce(&mut Numbers)) {
        change(&mut self.numbers.lock().unwrap());
    }

    /// Starts an exporter whose state is in this folder.
    async fn exporter(&self, state: &TempDir, arguments: &[&str]) -> ServerProcess {
        self.wrapped_exporter(&[], state.path(), arguments).await
    }

    /// Starts an exporter whose state is in this folder, through another program.
    async fn wrapped_exporter(&self, wrapper: &[&str], state: &Path, arguments: &[&str]) -> ServerProcess {
        let mut command = self.exporter_command(wrapper, state);
        command.arg("--web.listen-address=127.0.0.1:0").args(arguments);
        ServerProcess::spawn(command).await
    }

    /// Returns a command that runs an exporter whose state is in this folder, through another program.
    fn exporter_command(&self, wrapper: &[&str], state: &Path) -> Command {
        let (state, url) = (state_flag(state), format!("--tryvox.url={}", self.api.url()));
        let mut command = wrapped_command(wrapper, &[&*state, &url]);
        command.args(["--tryvox.account-id=acc_demo", "--log.level=debug"]);
        command.args(["--tryvox.rate-limit=0", "--tryvox.retry-for=1ms"]).env("TRYVOX_API_KEY", KEY);
        command
    }
}

impl Numbers {
    fn records(&mut self) -> Vec<String> {
        if let Some(rng) = &mut self.life {
            let changes = rng.usize(0..4);
            (0..changes).for_each(|_| change_at_random(rng, &mut self.records));
        }
        self.listings.push(self.records.clone());
        self.records.values().map(Value::to_string).collect()
    }

    fn set(&mut self, e164: &str, field: &str, value: impl Into<Value>) {
        self.records.get_mut(e164).unwrap()[field] = value.into();
    }
}

fn new_number(e164: &str) -> (String, Value) {
    (e164.to_owned(), serde_json::from_str(&record(e164, "active", "1.15", "USD")).unwrap())
}

/// Purchases, releases or updates a number.
fn change_at_random(rng: &mut Rng, records: &mut BTreeMap<String, Value>) {
    let chosen = records.keys().nth(rng.usize(..records.len().max(1))).cloned();
    match (rng.u8(0..6), chosen) {
        (0, _) | (_, None) => records.extend([new_number(&format!("+1415{}", rng.u32(1_000_000..9_999_999)))]),
        (1, Some(e164)) => _ = records.remove(&e164),
        (2, Some(e164)) => {
            records.get_mut(&e164).unwrap()["status"] = ["active", "suspended", "pending"][rng.usize(..3)].into();
        }
        (3, Some(e164)) => records.get_mut(&e164).unwrap()["trunk_id"] = ["trk_1", "trk_2"][rng.usize(..2)].into(),
        (_, Some(e164)) => records.get_mut(&e164).unwrap()["monthly_fee"] = Value::from(rng.u8(1..9)),
    }
}

fn state_flag(folder: &Path) -> String {
    format!("--state.file={}", folder.join("state.db").display())
}

/// Opens the database of a state file.
fn database(state: &Path) -> Connection {
    Connection::open(state.join("state.db")).unwrap()
}

const FAST: [&str; 3] = ["--poll.interval=50ms", "--poll.timeout=30s", "--poll.stale-after=3h"];
const SLOW: [&str; 1] = ["--poll.interval=1h"];

/// The counters of changes of a scrape.
fn change_counters(scrape: &Scrape) -> Series {
    [
        "tryvox_numbers_added_total",
        "tryvox_numbers_removed_total",
        "tryvox_number_status_changes_total",
        "tryvox_number_fee_changes_total",
        "tryvox_number_assignment_changes_total",
    ]
    .into_iter()
    .flat_map(|family| scrape.family(family))
    .collect()
}

/// Waits until polls that started after now have succeeded.
async fn wait_for_new_poll(exporter: &mut ServerProcess) {
    // The next poll may have started before, the one after it has not.
    exporter.wait_for_polls(exporter.polls() + 2).await;
}

#[tokio::test]
async fn everything_is_served_at_once_after_a_kill() {
    let (account, state) = (Account::start(40).await, tempfile::tempdir().unwrap());
    let mut exporter = account.exporter(&state, &FAST).await;
    exporter.wait_for_polls(1).await;
    account.change(|numbers| {
        numbers.set("+14155550001", "status", "suspended");
        numbers.records.remove("+14155550002");
    });
    wait_for_new_poll(&mut exporter).await;
    account.set_up(false);
    exporter.wait_until_idle().await;
    let before = exporter.scrape().await;
    assert_eq!(exporter.stop(Signal::KILL).await, None);

    let exporter = account.exporter(&state, &FAST).await;
    let after = exporter.scrape().await;
    assert_eq!(exporter.get("/-/ready").await.status(), 200);
    assert_eq!(after.inventory(), before.inventory());
    assert_eq!(change_counters(&after), change_counters(&before));
    assert_eq!(after.account_value("tryvox_number_status_changes_total", r#"from="active",to="suspended""#), 1.0);
    for family in [
        "tryvox_up",
        "tryvox_last_success_timestamp_seconds",
        "tryvox_last_poll_timestamp_seconds",
        "tryvox_last_poll_pages",
        "tryvox_oldest_update_timestamp_seconds",
        "tryvox_assignment_numbers",
        "tryvox_number_info",
    ] {
        assert!(!before.family(family).is_empty(), "{family}");
        // Times are stored in milliseconds.
        let rounded = |scrape: &Scrape| -> BTreeMap<String, f64> {
            scrape.family(family).into_iter().map(|(series, value)| (series, (value * 1e3).floor())).collect()
        };
        assert_eq!(rounded(&after), rounded(&before), "{family}");
    }
    assert_eq!(after.account_value("tryvox_polls_total", ""), 0.0);
    after.lint();
    let page = exporter.get("/").await.text().await.unwrap();
    assert!(page.contains("+14155550002 removed") && page.contains("status of +14155550001"), "{page}");
}

#[tokio::test]
async fn changes_while_the_exporter_is_down_are_counted_logged_and_recorded() {
    let (account, state) = (Account::start(40).await, tempfile::tempdir().unwrap());
    let mut exporter = account.exporter(&state, &SLOW).await;
    exporter.wait_for_polls(1).await;
    assert_eq!(exporter.stop(Signal::TERM).await, Some(0));
    account.change(|numbers| {
        numbers.set("+14155550001", "status", "suspended");
        numbers.set("+14155550003", "monthly_fee", 2);
        numbers.set("+14155550004", "currency", "EUR");
        numbers.set("+14155550005", "trunk_id", "trk_1");
        numbers.records.remove("+14155550002");
        numbers.records.extend([new_number("+14155559999")]);
    });
    let mut exporter = account.exporter(&state, &SLOW).await;
    let line = exporter.wait_for_log("numbers changed", 1).await;
    assert!(line.contains("added=1 removed=1 suspended=1"), "{line}");
    let scrape = exporter.scrape().await;
    for (family, label) in [
        ("tryvox_numbers_added_total", ""),
        ("tryvox_numbers_removed_total", ""),
        ("tryvox_number_status_changes_total", r#"from="active",to="suspended""#),
        ("tryvox_number_fee_changes_total", r#"direction="increase""#),
        ("tryvox_number_assignment_changes_total", ""),
    ] {
        assert_eq!(scrape.account_value(family, label), 1.0, "{family}");
    }
    let changes = output(&["changes", &state_flag(state.path()), "--output=json"], &[]).await;
    assert!(changes.status.success(), "{changes:?}");
    let rows: Vec<Value> =
        String::from_utf8(changes.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut rows: Vec<_> = rows
        .iter()
        .map(|row| ["e164", "kind", "from", "to"].map(|field| row[field].as_str().unwrap_or("-").to_owned()))
        .collect();
    rows.sort();
    let expected = [
        ["+14155550001", "status", "active", "suspended"],
        ["+14155550002", "removed", "active", "-"],
        ["+14155550003", "fee", "1.15", "2"],
        ["+14155550004", "fee", "1.15 USD", "1.15 EUR"],
        ["+14155550005", "assignment", "none", "trunk_id=trk_1"],
        ["+14155559999", "added", "-", "active"],
    ];
    assert_eq!(rows, expected.map(|row| row.map(str::to_owned)));
}

/// Nothing says that the account did not have the number before the first listing, so it was not purchased. A number that
/// appears later was.
#[tokio::test]
async fn number_whose_first_record_is_invalid_is_not_purchased_when_it_can_be_read() {
    let is_restarted_at = |step: usize, restarts: u8| restarts >> step & 1 == 1;
    for restarts in [0b000, 0b010, 0b100, 0b110] {
        let (account, state) = (Account::start(10).await, tempfile::tempdir().unwrap());
        let [known, removed, purchased] = ["+14155550001", "+14155550002", "+14155559999"];
        let options = [&FAST[..], &["--poll.max-discrepancy=1"]].concat();
        account.change(|numbers| {
            numbers.set(known, "monthly_fee", Value::Null);
            numbers.set(removed, "monthly_fee", Value::Null);
        });
        let mut exporter = account.exporter(&state, &options).await;
        wait_for_new_poll(&mut exporter).await;
        let changes: [fn(&mut Numbers); 2] = [
            |numbers| {
                numbers.records.extend([new_number("+14155559999")]);
                numbers.set("+14155559999", "monthly_fee", Value::Null);
            },
            |numbers| {
                numbers.records.remove("+14155550002");
                numbers.set("+14155550001", "monthly_fee", 1.5);
                numbers.set("+14155559999", "monthly_fee", 2.5);
            },
        ];
        for (step, change) in changes.into_iter().enumerate() {
            account.change(change);
            if is_restarted_at(step + 1, restarts) {
                exporter.stop(Signal::KILL).await;
                exporter = account.exporter(&state, &options).await;
            }
            wait_for_new_poll(&mut exporter).await;
        }
        let scrape = exporter.scrape().await;
        let fees = |direction: &str, cause: &str| {
            let family = format!("tryvox_monthly_fees_{direction}_total");
            scrape.account_value(&family, &format!(r#"currency="USD",cause="{cause}""#))
        };
        assert_eq!([fees("added", "unreadable"), fees("added", "purchase")], [1.5, 2.5], "{restarts:b}");
        assert_eq!([fees("removed", "unreadable"), fees("removed", "release")], [0.0; 2]);
        assert!(!scrape.0.contains(r#"currency="""#) && !scrape.0.contains(r#"from="""#));
        let count = |family: &str| scrape.family(family).values().sum::<f64>();
        assert_eq!(scrape.account_value("tryvox_numbers_added_total", ""), 1.0, "{restarts:b}");
        assert_eq!(scrape.account_value("tryvox_numbers_removed_total", ""), 1.0);
        for family in ["status_changes", "fee_changes", "assignment_changes"] {
            assert_eq!(count(&format!("tryvox_number_{family}_total")), 0.0, "{family}");
        }
        exporter.stop(Signal::TERM).await;
        let printed = output(&["changes", &state_flag(state.path()), "--output=json"], &[]).await;
        let rows = String::from_utf8(printed.stdout).unwrap();
        let mut rows: Vec<_> = rows
            .lines()
            .map(|row| serde_json::from_str::<Value>(row).unwrap())
            .map(|row| ["e164", "kind", "from", "to", "monthly_fee"].map(|field| row[field].to_string()))
            .collect();
        rows.sort();
        let quoted = |text: &str| format!("\"{text}\"");
        let null = || "null".to_owned();
        let expected = [
            [quoted(removed), quoted("removed"), null(), null(), null()],
            [quoted(purchased), quoted("added"), null(), quoted("active"), "2.5".to_owned()],
        ];
        assert_eq!(rows, expected, "{restarts:b}");
        let table = output(&["changes", &state_flag(state.path())], &[]).await;
        assert!(table.status.success() && String::from_utf8(table.stdout).unwrap().contains(removed));
    }
}

/// Moves the stored times by a number of seconds into the past.
fn age_state(state: &Path, seconds: i64) {
    let changed = database(state)
        .execute(
            "UPDATE accounts SET last_success_at = last_success_at - ?1, polled_at = polled_at - ?1, \
             seen_at = seen_at - ?1",
            [seconds * 1000],
        )
        .unwrap();
    assert_eq!(changed, 1);
}

#[tokio::test]
async fn stale_inventory_is_compared_but_not_served_and_old_one_neither() {
    const DAY: i64 = 24 * 3600;
    // Seconds in the past, whether the inventory is served, and whether the first listing is compared with it. In the
    // future is a clock that was set back.
    for (age, is_served, is_compared) in [
        (60, true, true),
        (4 * 3600, false, true),
        (-4 * 3600, false, true),
        (7 * DAY - 600, false, true),
        (7 * DAY + 1, false, false),
        (-7 * DAY - 600, false, false),
    ] {
        let (account, state) = (Account::start(10).await, tempfile::tempdir().unwrap());
        let mut exporter = account.exporter(&state, &SLOW).await;
        exporter.wait_for_polls(1).await;
        let before = exporter.scrape().await;
        assert_eq!(exporter.stop(Signal::TERM).await, Some(0));
        age_state(state.path(), age);
        account.set_up(false);

        let exporter = account.exporter(&state, &FAST).await;
        let after = exporter.scrape().await;
        assert_eq!(after.inventory() == before.inventory(), is_served, "{age}: {}", after.0);
        assert_eq!(after.inventory().is_empty(), !is_served, "{age}");
        assert_eq!(exporter.get("/-/ready").await.status(), if is_served { 200 } else { 503 }, "{age}");
        assert_eq!(exporter.stop(Signal::KILL).await, None);

        account.change(|numbers| _ = numbers.records.remove("+14155550002"));
        account.set_up(true);
        let mut exporter = account.exporter(&state, &SLOW).await;
        exporter.wait_for_polls(1).await;
        let removed = exporter.scrape().await.account_value("tryvox_numbers_removed_total", "");
        assert_eq!(removed, f64::from(u8::from(is_compared)), "{age}");
    }
}

#[tokio::test]
async fn account_that_lists_other_numbers_is_not_restored() {
    let (account, state) = (Account::start(10).await, tempfile::tempdir().unwrap());
    let mut exporter = account.exporter(&state, &SLOW).await;
    exporter.wait_for_polls(1).await;
    assert_eq!(exporter.stop(Signal::TERM).await, Some(0));
    account.set_up(false);
    let exporter = account.exporter(&state, &["--tryvox.countries=US"]).await;
    let scrape = exporter.scrape().await;
    assert!(scrape.inventory().is_empty());
    assert!(scrape.family("tryvox_last_success_timestamp_seconds").is_empty());
    assert_eq!(exporter.get("/-/ready").await.status(), 503);
    exporter.stop(Signal::KILL).await;
    // It has not been polled, so the earlier state is still there.
    let exporter = account.exporter(&state, &[]).await;
    assert!(!exporter.scrape().await.inventory().is_empty());
}

#[tokio::test]
async fn failed_poll_is_restored_as_failed() {
    let (account, state) = (Account::start(10).await, tempfile::tempdir().unwrap());
    let mut exporter = account.exporter(&state, &[&FAST[..], &["--tryvox.timeout=1s"]].concat()).await;
    exporter.wait_for_polls(1).await;
    account.set_up(false);
    exporter.wait_for_log("poll failed", 1).await;
    let before = exporter.scrape().await;
    assert_eq!(exporter.stop(Signal::TERM).await, Some(0));
    let exporter = account.exporter(&state, &FAST).await;
    let after = exporter.scrape().await;
    assert_eq!(after.account_value("tryvox_up", ""), 0.0);
    assert!(!before.inventory().is_empty());
    assert_eq!(after.inventory(), before.inventory());
    assert!(exporter.get("/").await.text().await.unwrap().contains("timeout"));
}

/// Counts the rows of the journal by kind.
fn journal_counts(state: &Path) -> BTreeMap<String, f64> {
    let database = database(state);
    let mut query = database.prepare("SELECT kind, count(*) FROM changes GROUP BY kind").unwrap();
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get::<_, u32>(1)?.into()))).unwrap();
    rows.map(Result::unwrap).collect()
}

/// What the journal says of a number: its status, its fee and its trunk.
type NumberFields = [String; 3];

/// Returns the fields of the numbers of a listing.
fn number_fields(records: &BTreeMap<String, Value>) -> BTreeMap<String, NumberFields> {
    let fields = |record: &Value| {
        let trunk = record["trunk_id"].as_str().map_or("none".to_owned(), |id| format!("trunk_id={id}"));
        [record["status"].as_str().unwrap().to_owned(), record["monthly_fee"].to_string(), trunk]
    };
    records.iter().map(|(e164, record)| (e164.clone(), fields(record))).collect()
}

/// Applies the journal to the numbers of the first listing.
fn replay_journal(state: &Path, first: &BTreeMap<String, Value>) -> BTreeMap<String, NumberFields> {
    let mut numbers = number_fields(first);
    let database = database(state);
    let mut query = database.prepare("SELECT e164, kind, to_value, monthly_fee FROM changes ORDER BY id").unwrap();
    let mut rows = query.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let [e164, kind, fee] = [0, 1, 3].map(|column| row.get::<_, String>(column).unwrap());
        let to: Option<String> = row.get(2).unwrap();
        let field = ["status", "fee", "assignment"].iter().position(|field| *field == kind);
        match (&*kind, field, to) {
            ("added", _, Some(status)) => assert!(numbers.insert(e164, [status, fee, "none".to_owned()]).is_none()),
            ("removed", _, None) => assert!(numbers.remove(&e164).is_some()),
            (_, Some(field), Some(to)) => numbers.get_mut(&e164).unwrap()[field] = to,
            _ => panic!("{kind}"),
        }
    }
    numbers
}

/// Counts the changes between two listings by kind.
fn count_changes(
    counts: &mut BTreeMap<&'static str, f64>,
    before: &BTreeMap<String, Value>,
    after: &BTreeMap<String, Value>,
) {
    let (before, after) = (number_fields(before), number_fields(after));
    *counts.entry("removed").or_default() += before.keys().filter(|e164| !after.contains_key(*e164)).count() as f64;
    for (e164, fields) in &after {
        let Some(earlier) = before.get(e164) else {
            *counts.entry("added").or_default() += 1.0;
            continue;
        };
        for (kind, (earlier, later)) in ["status", "fee", "assignment"].into_iter().zip(earlier.iter().zip(fields)) {
            *counts.entry(kind).or_default() += f64::from(u8::from(earlier != later));
        }
    }
}

const COUNTERS: [(&str, &str); 5] = [
    ("added", "tryvox_numbers_added_total"),
    ("removed", "tryvox_numbers_removed_total"),
    ("status", "tryvox_number_status_changes_total"),
    ("fee", "tryvox_number_fee_changes_total"),
    ("assignment", "tryvox_number_assignment_changes_total"),
];

/// Scrapes until the exporter is killed, and checks that no counter decreases. Returns the highest values.
async fn scrape_until_killed(url: String, mut highest: Series) -> Series {
    while let Ok(response) = http().get(format!("{url}/metrics")).send().await {
        // A response may be cut off by the kill.
        let Ok(text) = response.text().await else { break };
        for (series, value) in change_counters(&Scrape(text)) {
            let before = highest.insert(series.clone(), value).unwrap_or_default();
            assert!(value >= before, "{series} decreased from {before} to {value}");
        }
    }
    highest
}

#[tokio::test]
async fn counters_over_kills_are_those_of_one_run_over_the_stored_listings() {
    let mut rng = Rng::with_seed(seed());
    let (account, state) = (Account::start(30).await, tempfile::tempdir().unwrap());
    let mut exporter = account.exporter(&state, &FAST).await;
    exporter.wait_for_polls(1).await;
    let first = account.numbers.lock().unwrap().records.clone();
    account.change(|numbers| numbers.life = Some(rng.fork()));
    let (mut highest, mut counts) = (Series::new(), BTreeMap::new());
    // The last listing that is stored, and the first one that the running exporter was sent.
    let (mut stored, mut sent) = (first.clone(), 0);
    for run in 0..12 {
        let scrapes = tokio::spawn(scrape_until_killed(exporter.url(), highest));
        exporter.wait_for_polls(rng.usize(1..4)).await;
        // At a random point of a poll.
        tokio::time::sleep(Duration::from_millis(rng.u64(0..120))).await;
        exporter.stop(if rng.u8(0..4) > 0 { Signal::KILL } else { Signal::TERM }).await;
        highest = scrapes.await.unwrap();

        // Everything that was sent is stored, except for the poll that was being written.
        let listings = account.numbers.lock().unwrap().listings.clone();
        let journal = replay_journal(state.path(), &first);
        let last = (sent..listings.len()).rev().find(|index| number_fields(&listings[*index]) == journal);
        let last = last.unwrap_or_else(|| panic!("run {run}: the journal leads to none of the listings"));
        assert!(last + 2 >= listings.len(), "run {run}: {last} of {}", listings.len());
        for listing in &listings[sent..=last] {
            count_changes(&mut counts, &stored, listing);
            stored = listing.clone();
        }
        sent = listings.len();
        exporter = account.exporter(&state, &FAST).await;
        let restored = change_counters(&exporter.scrape().await);
        assert!(
            highest.iter().all(|(series, value)| restored[series] >= *value),
            "run {run}: {highest:?} {restored:?}"
        );
    }
    account.set_up(false);
    exporter.stop(Signal::KILL).await;
    let listings = account.numbers.lock().unwrap().listings.clone();
    let journal = replay_journal(state.path(), &first);
    if let Some(last) = (sent..listings.len()).rev().find(|index| number_fields(&listings[*index]) == journal) {
        for listing in &listings[sent..=last] {
            count_changes(&mut counts, &stored, listing);
            stored = listing.clone();
        }
    }
    let exporter = account.exporter(&state, &SLOW).await;
    let scrape = exporter.scrape().await;
    for (kind, family) in COUNTERS {
        let total: f64 = scrape.family(family).values().sum();
        assert_eq!(counts.get(kind).copied().unwrap_or_default(), total, "{kind}");
        assert_eq!(journal_counts(state.path()).get(kind).copied().unwrap_or_default(), total, "{kind} in the journal");
    }
    assert!(counts["added"] > 0.0 && counts["fee"] > 0.0, "{counts:?}");
}

/// Counts the changes in the stored counters by kind.
fn stored_counts(state: &Path) -> BTreeMap<&'static str, f64> {
    let json: String = database(state).query_row("SELECT counters FROM accounts", [], |row| row.get(0)).unwrap();
    let counters: ChangeCounters = serde_json::from_str(&json).unwrap();
    let counts = [
        counters.added,
        counters.removed,
        counters.statuses.values().sum(),
        counters.fee_increases + counters.fee_decreases,
        counters.assignment_changes,
    ];
    COUNTERS.into_iter().zip(counts).map(|((kind, _), count)| (kind, count as f64)).collect()
}

/// Waits until polls have succeeded and the number of errors of the state file satisfies a condition. Returns it.
async fn poll_with_errors(exporter: &mut ServerProcess, is_reached: impl Fn(f64) -> bool) -> f64 {
    let wait = async {
        loop {
            wait_for_new_poll(exporter).await;
            let scrape = exporter.scrape().await;
            assert_eq!(scrape.account_value("tryvox_up", ""), 1.0);
            let errors = scrape.value("tryvox_exporter_state_errors_total").unwrap();
            if is_reached(errors) {
                return errors;
            }
        }
    };
    timeout(TEST_TIMEOUT, wait).await.expect("the number of errors does not change")
}

/// Waits for the next write to the state file.
async fn wait_for_write(exporter: &ServerProcess) {
    let last_write = async || exporter.scrape().await.value("tryvox_exporter_state_last_write_timestamp_seconds");
    let before = last_write().await;
    let wait = async {
        while last_write().await <= before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(TEST_TIMEOUT, wait).await.expect("writing does not resume");
}

/// Makes a state file unusable at the start of an exporter and while one runs. The exporter is started through `wrapper`.
/// `fails_while_open` is whether a file that is already open cannot be used either.
async fn check_outages(state: &Path, wrapper: &[&str], fails_while_open: bool, set_usable: impl Fn(bool)) {
    let account = Account::start(30).await;
    let mut exporter = account.wrapped_exporter(wrapper, state, &FAST).await;
    exporter.wait_for_polls(1).await;
    let first = account.numbers.lock().unwrap().records.clone();
    account.change(|numbers| numbers.life = Some(Rng::with_seed(seed())));
    let mut counts = BTreeMap::new();
    let mut check_counts = || {
        for (kind, count) in stored_counts(state) {
            let before = counts.insert(kind, count).unwrap_or_default();
            assert!(count >= before, "{kind} decreased from {before} to {count}");
        }
    };
    for signal in [Signal::TERM, Signal::KILL] {
        wait_for_new_poll(&mut exporter).await;
        check_counts();
        exporter.stop(signal).await;
        set_usable(false);
        exporter = account.wrapped_exporter(wrapper, state, &FAST).await;
        poll_with_errors(&mut exporter, |errors| errors > 0.0).await;
        set_usable(true);
        wait_for_write(&exporter).await;
        check_counts();

        let errors = poll_with_errors(&mut exporter, |_| true).await;
        set_usable(false);
        let later = poll_with_errors(&mut exporter, |later| later > errors || !fails_while_open).await;
        assert_eq!(later > errors, fails_while_open);
        set_usable(true);
        wait_for_write(&exporter).await;
        check_counts();
    }

    account.set_up(false);
    exporter.wait_until_idle().await;
    check_counts();
    let last = account.numbers.lock().unwrap().listings.last().unwrap().clone();
    assert_eq!(replay_journal(state, &first), number_fields(&last));
    exporter.stop(Signal::KILL).await;
    let scrape = account.wrapped_exporter(wrapper, state, &FAST).await.scrape().await;
    let recorded = journal_counts(state);
    for (kind, family) in COUNTERS {
        assert_eq!(scrape.family(family).values().sum::<f64>(), counts[kind], "{kind}");
        assert_eq!(recorded.get(kind).copied().unwrap_or_default(), counts[kind], "{kind} in the journal");
    }
}

/// Calls [`check_outages`] for an exporter that is not root. `path` is what it may not use during an outage: the file, or
/// the folder if it is empty.
async fn check_denied_outages(path: &str, mode: u32, fails_while_open: bool) {
    let state = tempfile::tempdir().unwrap();
    let denied = state.path().join(path);
    let set_usable = |is_usable: bool| {
        fs::set_permissions(&denied, PermissionsExt::from_mode(if is_usable { mode } else { 0 })).unwrap();
    };
    if !rustix::process::geteuid().is_root() {
        return check_outages(state.path(), &[], fails_while_open, set_usable).await;
    }
    chown(state.path(), Some(65534), None).unwrap();
    // Another user may not be able to enter the folder of the binary.
    let binary = tempfile::tempdir().unwrap();
    fs::set_permissions(binary.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let copy = binary.path().join("tryvox-exporter");
    fs::copy(BINARY, &copy).unwrap();
    let run_copy = format!("exec '{}' \"$@\"", copy.display());
    let wrapper = ["setpriv", "--reuid=65534", "--clear-groups", "sh", "-c", &run_copy];
    check_outages(state.path(), &wrapper, fails_while_open, set_usable).await;
}

#[tokio::test]
async fn unreadable_state_file_is_continued_when_it_is_readable_again() {
    // Files that are open can be used whatever their modes are.
    for file in ["state.db", "state.db.lock"] {
        check_denied_outages(file, 0o600, false).await;
    }
}

#[tokio::test]
async fn state_in_an_unreadable_folder_is_continued_when_it_is_readable_again() {
    check_denied_outages("", 0o700, true).await;
}

#[test]
fn state_on_a_full_disk_is_continued_when_there_is_space_again() {
    run_process(&WITH_OWN_MOUNTS, module_path!(), "process_with_state_on_a_full_disk");
}

#[tokio::test]
#[ignore = "another test runs it in a process of its own, because it mounts a file system"]
async fn process_with_state_on_a_full_disk() {
    let folder = test_folder();
    let mut mount = process::Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(&folder);
    assert!(mount.status().unwrap().success());
    let filler = folder.join("filler");
    let set_usable = |is_usable| {
        if is_usable {
            fs::remove_file(&filler).unwrap();
        } else {
            _ = fs::write(&filler, vec![1; 16 << 20]).unwrap_err();
        }
    };
    check_outages(&folder, &[], true, set_usable).await;
}

/// Starts an exporter with this configuration file and a state file in another folder.
async fn configured_exporter(file: &ConfigFile, state: &TempDir) -> ServerProcess {
    let arguments = [&*file.flag(), &*state_flag(state.path()), "--web.enable-lifecycle", "--log.level=debug"];
    ServerProcess::start(&arguments, &[("TRYVOX_API_KEY", KEY)]).await
}

#[tokio::test]
async fn reload_does_not_bring_a_stale_restored_inventory_back() {
    let (account, state) = (Account::start(10).await, tempfile::tempdir().unwrap());
    let text = |stale_after: &str| {
        format!(
            "tryvox: {{url: '{}'}}\npoll: {{interval: 1h, stale_after: {stale_after}}}\naccounts: [{{account_id: acc_demo}}]\n",
            account.api.url()
        )
    };
    let file = ConfigFile::new(&text("10m"));
    let mut exporter = configured_exporter(&file, &state).await;
    exporter.wait_for_polls(1).await;
    exporter.stop(Signal::TERM).await;
    age_state(state.path(), 1800);
    account.set_up(false);
    let mut exporter = configured_exporter(&file, &state).await;
    for (reloads, (stale_after, is_served)) in [("11m", false), ("45m", true), ("20m", false)].into_iter().enumerate() {
        file.write(&text(stale_after));
        exporter.signal(Signal::HUP);
        exporter.wait_for_log("configuration reloaded", reloads + 1).await;
        assert_eq!(exporter.scrape().await.inventory().is_empty(), !is_served, "{stale_after}");
    }
}

#[tokio::test]
async fn watched_number_that_an_inexact_listing_lacks_keeps_its_status_over_a_restart() {
    let (account, state) = (Account::start(10).await, tempfile::tempdir().unwrap());
    let file = ConfigFile::new(&format!(
        "tryvox: {{url: '{}'}}\npoll: {{interval: 100ms, timeout: 30s, stale_after: 1h}}\n\
         accounts: [{{account_id: acc_demo, watch: [{{number: +14155550003, name: hotline}}]}}]\n",
        account.api.url()
    ));
    let mut exporter = configured_exporter(&file, &state).await;
    exporter.wait_for_polls(1).await;
    account.change(|numbers| {
        numbers.records.remove("+14155550003");
        numbers.surplus = 1;
    });
    wait_for_new_poll(&mut exporter).await;
    let before = exporter.scrape().await.family("tryvox_watched_number_status");
    assert_eq!(before.values().sum::<f64>(), 1.0);
    account.set_up(false);
    exporter.stop(Signal::KILL).await;
    let exporter = configured_exporter(&file, &state).await;
    assert_eq!(exporter.scrape().await.family("tryvox_watched_number_status"), before);
    account.set_up(true);
    let mut exporter = exporter;
    exporter.wait_for_polls(1).await;
    assert_eq!(exporter.scrape().await.family("tryvox_watched_number_status"), before);
}

#[tokio::test]
async fn restored_inventory_keeps_to_lower_limits() {
    let (account, state) = (Account::start(30).await, tempfile::tempdir().unwrap());
    account.change(|numbers| {
        for number in 0..20 {
            numbers.set(&format!("+1415555{number:04}"), "status", "suspended");
            numbers.set(&format!("+1415555{number:04}"), "country", format!("A{}", char::from(b'A' + number)));
        }
    });
    let mut exporter = account.exporter(&state, &SLOW).await;
    exporter.wait_for_polls(1).await;
    assert_eq!(exporter.scrape().await.family("tryvox_number_info").len(), 20);
    exporter.stop(Signal::TERM).await;
    account.set_up(false);
    let limits = ["--collector.number.limit=3", "--collector.label-limit=2"];
    let scrape = account.exporter(&state, &limits).await.scrape().await;
    assert_eq!(scrape.family("tryvox_number_info").len(), 3);
    assert_eq!(scrape.account_value("tryvox_number_series_truncated", ""), 17.0);
    assert_eq!(scrape.family("tryvox_numbers").len(), 9, "two countries and the others, with three statuses each");
    assert_eq!(scrape.family("tryvox_numbers").values().sum::<f64>(), 30.0);
}

#[tokio::test]
async fn missing_folder_and_file_in_use_are_refused() {
    let (account, state) = (Account::start(1).await, tempfile::tempdir().unwrap());
    let missing = state_flag(&state.path().join("missing"));
    let url = format!("--tryvox.url={}", account.api.url());
    let arguments = [&*missing, &url, "--tryvox.account-id=acc_demo", "--web.listen-address=127.0.0.1:0"];
    for check in [&[][..], &["--config.check"]] {
        let refused = output(&[&arguments[..], check].concat(), &[("TRYVOX_API_KEY", KEY)]).await;
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        let error = String::from_utf8(refused.stderr).unwrap();
        assert!(error.contains("missing does not exist; create it"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    // `once` does not use the state.
    let state_file = &missing["--state.file=".len()..];
    let once = output(
        &["once", &url, "--tryvox.account-id=acc_demo"],
        &[("TRYVOX_API_KEY", KEY), ("TRYVOX_EXPORTER_STATE_FILE", state_file)],
    )
    .await;
    assert_eq!(once.status.code(), Some(0));

    let mut exporter = account.exporter(&state, &SLOW).await;
    exporter.wait_for_polls(1).await;
    let used = state_flag(state.path());
    let arguments = [&*used, &url, "--tryvox.account-id=acc_demo", "--web.listen-address=127.0.0.1:0"];
    let refused = output(&arguments, &[("TRYVOX_API_KEY", KEY)]).await;
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert_eq!(String::from_utf8(refused.stderr).unwrap().lines().filter(|line| line.contains("state.db")).count(), 1);
    assert!(exporter.scrape().await.account_value("tryvox_up", "") > 0.0);
}

/// A real Prometheus sees no gap in the inventory, and every change, over a restart.
#[tokio::test]
async fn prometheus_sees_no_gap_and_every_change_over_a_restart() {
    let (account, state) = (Account::start(50).await, tempfile::tempdir().unwrap());
    let mut exporter = account.exporter(&state, &FAST).await;
    exporter.wait_for_polls(1).await;
    let address = exporter.address.clone();
    let targets = [&*address];
    let prometheuses = join_all(Release::ALL.map(|release| Prometheus::scraping(release, &targets))).await;
    let wait_for = async |query: &str| {
        join_all(prometheuses.iter().map(|prometheus| prometheus.wait_for(query))).await;
    };
    wait_for("count_over_time(sum(tryvox_numbers)[30s:1s]) >= 3").await;
    account.change(|numbers| numbers.set("+14155550001", "status", "suspended"));
    wait_for_new_poll(&mut exporter).await;
    wait_for("sum(tryvox_number_status_changes_total) == 1").await;

    let killed_at = Instant::now();
    exporter.stop(Signal::KILL).await;
    // While it is down, numbers are suspended and released.
    account.change(|numbers| {
        numbers.set("+14155550003", "status", "suspended");
        numbers.set("+14155550004", "status", "suspended");
        numbers.records.remove("+14155550005");
    });
    // The listing after the restart takes its time.
    account.set_up(false);
    let mut command = account.exporter_command(&[], state.path());
    command.arg(format!("--web.listen-address={address}")).arg("--tryvox.timeout=30s").args(FAST);
    let mut exporter = ServerProcess::spawn(command).await;
    let down = killed_at.elapsed();
    wait_for("up == 1 and changes(process_start_time_seconds[1m]) > 0").await;
    assert_eq!(exporter.polls(), 0, "the inventory is the restored one");
    account.set_up(true);
    wait_for("sum(tryvox_numbers_removed_total) == 1").await;
    wait_for("sum(tryvox_number_status_changes_total) == 3").await;
    exporter.wait_for_polls(1).await;
    for prometheus in &prometheuses {
        // A scrape that fails ends all series at once, so a gap is visible in every evaluation that falls into it.
        let gap = prometheus.query("count_over_time((absent(sum(tryvox_numbers)) and on () up)[2m:100ms]) / 10").await;
        let gap = gap.first().map_or(0.0, |(_, seconds)| *seconds);
        assert!(gap <= 1.0 + down.as_secs_f64(), "a gap of {gap} s, {down:?} of which the exporter was down");
        let while_up =
            prometheus.query("count_over_time((absent(sum(tryvox_numbers)) and on () (up == 1))[2m:100ms])").await;
        assert!(while_up.is_empty(), "{while_up:?}");
        // Counters go on, so what Prometheus adds up over the restart is the truth. It extrapolates beyond the first and the
        // last sample, by less than a half.
        for (counter, truth) in [("tryvox_number_status_changes_total", 3.0), ("tryvox_numbers_removed_total", 1.0)] {
            assert!(prometheus.query(&format!("sum(resets({counter}[2m])) > 0")).await.is_empty());
            let increase = prometheus.query(&format!("round(sum(increase({counter}[2m])))")).await;
            assert_eq!(increase[0].1, truth, "{counter}");
        }
    }
}
