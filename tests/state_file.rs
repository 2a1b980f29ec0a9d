//! What a state file has after polls, restarts and crashes, compared with a model.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use proptest::prelude::*;
use tryvox_exporter::inventory::{ChangeKind, FeeMovements, NumberStates};
use tryvox_exporter::state::{ChangeFilter, StateError, StateStore};

use crate::common::TEST_TIMEOUT;
use crate::common::state::{
    AccountLife, Number, WAIT, key, number_states, open, options, recorded, test_folder, test_process, time,
};

const DAY: Duration = Duration::from_hours(24);

#[derive(Debug, Clone)]
enum Event {
    /// A poll of an account; `None` if it fails.
    Poll(usize, Option<Vec<Number>>),
    /// A poll of an account that lists the same numbers as before.
    SamePoll(usize),
    /// An account lists other numbers from now on.
    NewSource(usize),
    /// The exporter stops and starts again.
    Restart { closes: bool },
}

fn event() -> impl Strategy<Value = Event> {
    let numbers = prop::collection::vec((0..30_u32, 0..3_u8, 100..103_u16, 0..3_u8), 0..25);
    prop_oneof![
        6 => (0..3_usize, prop::option::weighted(0.8, numbers)).prop_map(|(account, poll)| Event::Poll(account, poll)),
        3 => (0..3_usize).prop_map(Event::SamePoll),
        1 => (0..3_usize).prop_map(Event::NewSource),
        2 => any::<bool>().prop_map(|closes| Event::Restart { closes }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_polls_and_restarts_is_restored(events in prop::collection::vec(event(), 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state.db");
        let mut store = open(&file);
        let mut lives: Vec<AccountLife> = (0..3).map(|index| AccountLife::new(key(&format!("account {index}")))).collect();
        for event in events.into_iter().chain([Event::Restart { closes: false }]) {
            match event {
                Event::Poll(account, numbers) => {
                    let save = lives[account].poll(numbers.map(number_states));
                    store.save(save, WAIT);
                }
                Event::SamePoll(account) => {
                    let same = lives[account].listing.as_ref().map(|(_, numbers)| NumberStates::clone(numbers));
                    let save = lives[account].poll(same.map(Arc::new));
                    store.save(save, WAIT);
                }
                Event::NewSource(account) => {
                    let old = lives[account].clone();
                    let mut new = AccountLife::new(old.key);
                    new.key.source.push('+');
                    new.poll.ended_at = old.poll.ended_at;
                    new.changes = old.changes;
                    lives[account] = new;
                    prop_assert!(store.restore(&lives[account].key).is_none());
                    let save = lives[account].poll(None);
                    store.save(save, WAIT);
                }
                Event::Restart { closes } => {
                    if closes {
                        store.close(WAIT);
                        store.close(WAIT);
                    }
                    drop(store);
                    store = open(&file);
                    for life in lives.iter_mut().filter(|life| life.poll.pages > 0) {
                        life.assert_restored(&store);
                    }
                }
            }
            prop_assert_eq!(store.status().errors, 0);
        }
        // Accounts differ in their changes at one time, of which those written first come first.
        let by_account = |changes: Vec<tryvox_exporter::state::RecordedChange>| {
            let mut accounts: BTreeMap<String, Vec<_>> = BTreeMap::new();
            for change in changes {
                accounts.entry(change.account.clone()).or_default().push(change);
            }
            accounts
        };
        let expected = lives.into_iter().flat_map(|life| life.changes).collect();
        prop_assert_eq!(by_account(recorded(&file, None)), by_account(expected));
    }
}

/// The numbers that the process that is killed lists at its `pages`-th poll.
fn numbers_at(pages: u32) -> Arc<NumberStates> {
    number_states((0..200).map(|number| {
        let age = pages / (number % 7 + 1);
        (number * 3 + age % 2, (age % 3).try_into().unwrap(), 115, (age % 5).try_into().unwrap())
    }))
}

/// Returns the life of the account of the process that is killed, up to a poll.
fn life_until(pages: u32) -> AccountLife {
    let mut life = AccountLife::new(key("killed"));
    while life.poll.pages < pages {
        let numbers = (life.poll.pages % 5 != 3).then(|| numbers_at(life.poll.pages));
        life.poll(numbers);
    }
    life
}

#[test]
#[ignore = "another test runs it in a process of its own, which it kills"]
fn process_that_saves_until_it_is_killed() {
    let store = open(&test_folder().join("state.db"));
    let mut life = life_until(store.restore(&key("killed")).map_or(0, |restored| restored.poll.pages));
    loop {
        let numbers = (life.poll.pages % 5 != 3).then(|| numbers_at(life.poll.pages));
        let save = life.poll(numbers);
        store.save(save, WAIT);
        let mut output = std::io::stdout().lock();
        writeln!(output, "saved {}", life.poll.pages).unwrap();
        output.flush().unwrap();
    }
}

#[test]
fn killed_process_loses_at_most_the_poll_that_is_being_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.db");
    let mut random = fastrand::Rng::new();
    let mut committed = 0;
    for _ in 0..12 {
        let mut process =
            test_process(&[], module_path!(), "process_that_saves_until_it_is_killed", folder.path()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut saved = || loop {
            let line = lines.next()?.unwrap();
            if let Some(pages) = line.strip_prefix("saved ") {
                return Some(pages.parse::<u32>().unwrap());
            }
        };
        let mut reported = 0;
        for _ in 0..random.u32(1..30) {
            reported = saved().unwrap();
        }
        assert!(matches!(StateStore::open(&options(&file), SystemTime::now), Err(StateError::InUse(_))));
        std::thread::sleep(Duration::from_micros(random.u64(0..3000)));
        process.kill().unwrap();
        process.wait().unwrap();
        while let Some(pages) = saved() {
            reported = pages;
        }

        let store = open(&file);
        let pages = store.restore(&key("killed")).unwrap().poll.pages;
        assert!(reported == pages || reported + 1 == pages, "{reported} polls were saved, the file has {pages}");
        assert!(pages > committed);
        committed = pages;
        let mut life = life_until(pages);
        life.assert_restored(&store);
        assert_eq!(store.status().errors, 0);
        assert_eq!(recorded(&file, None), life.changes);
    }
}

/// Runs a statement as another program does while the exporter runs.
fn execute(file: &Path, sql: &str) -> usize {
    let connection = rusqlite::Connection::open(file).unwrap();
    connection.busy_timeout(TEST_TIMEOUT).unwrap();
    connection.execute(sql, []).unwrap()
}

fn query(file: &Path, sql: &str) -> i64 {
    rusqlite::Connection::open(file).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn listing_is_written_only_if_it_changed() {
    const MARK: &str = "UPDATE listings SET numbers = x'00'";
    const MARKED: &str = "SELECT count(*) FROM listings WHERE numbers = x'00'";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.db");
    let numbers = [(1, 0, 115, 0), (2, 0, 115, 1)];
    let mut life = AccountLife::new(key("main"));
    let store = open(&file);
    store.save(life.poll(Some(number_states(numbers))), WAIT);
    drop(store);

    let store = open(&file);
    life.assert_restored(&store);
    assert_eq!(execute(&file, MARK), 1);
    store.save(life.poll(Some(number_states(numbers))), WAIT);
    store.save(life.poll(None), WAIT);
    store.save(life.poll(Some(number_states(numbers))), WAIT);
    assert_eq!(query(&file, MARKED), 1);
    store.save(life.poll(Some(number_states([numbers[0]]))), WAIT);
    assert_eq!(query(&file, MARKED), 0);
    drop(store);
    life.assert_restored(&open(&file));
    assert_eq!(life.changes.len(), 1);
}

#[test]
fn saves_that_another_program_holds_up_do_not_add_up_and_are_written_later() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.db");
    let store = open(&file);
    let mut lives: Vec<_> = (0..30).map(|index| AccountLife::new(key(&format!("{index}")))).collect();
    store.save(lives[0].poll(Some(number_states([(1, 0, 1, 1)]))), WAIT);
    let other = rusqlite::Connection::open(&file).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();

    let start = Instant::now();
    for status in [2, 0, 2] {
        store.save(lives[0].poll(Some(number_states([(1, status, 1, 1)]))), Duration::from_millis(100));
    }
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
    for _ in 0..5 {
        for life in &mut lives {
            store.save(life.poll(Some(number_states([(1, 1, 1, 1)]))), Duration::from_secs(2));
        }
    }
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    while store.status().errors == 0 {
        std::thread::sleep(Duration::from_millis(10));
        assert!(start.elapsed() < TEST_TIMEOUT);
    }
    other.execute_batch("ROLLBACK").unwrap();
    store.save(lives[0].poll(None), Duration::from_secs(2));
    while query(&file, "SELECT count(*) FROM accounts") < 30 {
        std::thread::sleep(Duration::from_millis(10));
        assert!(start.elapsed() < TEST_TIMEOUT);
    }
    drop(store);
    let store = open(&file);
    for life in &mut lives {
        life.assert_restored(&store);
    }
    // The changes of all polls that waited are recorded, also those that cancel out.
    assert_eq!(recorded(&file, None), lives[0].changes);
    assert_eq!(lives[0].changes.len(), 4);
}

#[test]
fn accounts_are_restored_while_another_program_holds_up_the_writer() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.db");
    let store = open(&file);
    let mut lives: Vec<_> = (0..40).map(|index| AccountLife::new(key(&format!("{index}")))).collect();
    for life in &mut lives {
        store.save(life.poll(Some(number_states([(1, 0, 1, 1)]))), WAIT);
    }
    drop(store);
    let store = open(&file);
    let other = rusqlite::Connection::open(&file).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    store.save(AccountLife::new(key("new")).poll(None), Duration::from_millis(1));
    let start = Instant::now();
    for life in &mut lives {
        life.assert_restored(&store);
    }
    // Each attempt of the writer waits a second for the lock; restoring 40 accounts does not wait for it.
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());

    // An account that is removed and added again continues with what waits to be written.
    for numbers in [[(1, 1, 1, 1)], [(1, 2, 1, 1)], [(1, 0, 1, 1)]] {
        store.save(lives[0].poll(Some(number_states(numbers))), Duration::from_millis(1));
    }
    lives[0].assert_restored(&store);
    other.execute_batch("ROLLBACK").unwrap();
    store.save(lives[0].poll(None), WAIT);
    lives[0].assert_restored(&store);
    store.save(lives[0].poll(Some(number_states([(2, 0, 1, 1)]))), WAIT);
    drop(store);
    lives[0].assert_restored(&open(&file));
    assert_eq!(recorded(&file, None), lives[0].changes);
}

#[test]
fn journal_is_filtered_and_does_not_hold_up_the_exporter() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.db");
    let store = open(&file);
    let mut lives = ["one", "two"].map(|name| AccountLife::new(key(name)));
    for life in &mut lives {
        for round in 0..6 {
            let numbers = (0..500).map(|number| (number, round % 3, 100 + u16::from(round), round % 2));
            store.save(life.poll(Some(number_states(numbers))), WAIT);
        }
    }
    let select = |accounts: &[&str], kinds: &[ChangeKind], since: SystemTime| {
        let filter =
            ChangeFilter { since, accounts: accounts.iter().map(ToString::to_string).collect(), kinds: kinds.to_vec() };
        let expected = |change: &&tryvox_exporter::state::RecordedChange| {
            change.at >= since
                && (accounts.is_empty() || accounts.contains(&change.account.as_str()))
                && (kinds.is_empty() || kinds.contains(&change.change.kind))
        };
        let mut expected: Vec<_> = lives.iter().flat_map(|life| &life.changes).filter(expected).cloned().collect();
        expected.sort_by_key(|change| change.at);
        let selected = recorded(&file, Some(filter));
        assert_eq!(selected, expected);
        selected.len()
    };
    assert_eq!(select(&[], &[], SystemTime::UNIX_EPOCH), 15_000);
    assert_eq!(select(&["two"], &[ChangeKind::Fee, ChangeKind::Status], SystemTime::UNIX_EPOCH), 5_000);
    assert_eq!(select(&["one", "three"], &[ChangeKind::Assignment], lives[0].poll.ended_at), 500);
    assert_eq!(select(&["three"], &[], SystemTime::UNIX_EPOCH), 0);
    assert_eq!(select(&[], &ChangeKind::ALL, lives[0].poll.ended_at + Duration::from_millis(1)), 0);

    let journal = tryvox_exporter::state::Journal::open(&file).unwrap();
    let all = ChangeFilter { since: SystemTime::UNIX_EPOCH, accounts: Vec::new(), kinds: Vec::new() };
    let mut rows = 0;
    let result = journal.read(&all, |_| {
        rows += 1;
        if rows % 700 == 0 {
            store.save(lives[0].poll(Some(number_states([(rows, 0, 1, 1)]))), WAIT);
        }
        if rows < 5000 { Ok(()) } else { Err(anyhow::anyhow!("stop")) }
    });
    assert_eq!(result.unwrap_err().to_string(), "stop");
    assert_eq!(store.status().errors, 0);
    assert_eq!(store.restore(&lives[0].key).unwrap().poll, lives[0].poll);
}

static NOW: AtomicU64 = AtomicU64::new(0);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(NOW.load(Ordering::Relaxed))
}

fn set_now(time: SystemTime) {
    let millis = time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    NOW.store(millis.try_into().unwrap(), Ordering::Relaxed);
}

#[test]
fn state_ages_and_is_pruned_by_the_wall_clock() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.db");
    let open = || StateStore::open(&options(&file), now).unwrap();
    set_now(time(0));
    let mut lives = ["polled", "moved away"].map(|name| AccountLife::new(key(name)));
    let store = open();
    for life in &mut lives {
        store.save(life.poll(Some(number_states([(1, 0, 115, 0), (2, 0, 115, 0)]))), WAIT);
        store.save(life.poll(Some(number_states([(1, 2, 115, 0)]))), WAIT);
    }
    drop(store);
    let saved_at = lives[0].poll.ended_at;

    // A listing that is exactly seven days old, or as far in the future because the clock was set back.
    for now in [saved_at + 7 * DAY, saved_at - 7 * DAY] {
        set_now(now);
        lives[0].assert_restored(&open());
    }
    for now in [saved_at + 7 * DAY + Duration::from_millis(1), saved_at - 7 * DAY - Duration::from_millis(1)] {
        set_now(now);
        let restored = open().restore(&lives[0].key).unwrap();
        assert!(restored.listing.is_none());
        assert_eq!((restored.poll, restored.counters), (lives[0].poll.clone(), lives[0].counters.clone()));
        assert_eq!(restored.recent_changes.len(), 1);
    }

    // One of the accounts is polled by another exporter from now on.
    set_now(saved_at + 8 * DAY);
    let store = open();
    assert!(store.restore(&lives[0].key).is_some());
    store.save(AccountLife::new(key("new")).poll(None), WAIT);
    let start = Instant::now();
    while query(&file, "SELECT count(*) FROM accounts") > 2 {
        assert!(start.elapsed() < TEST_TIMEOUT, "nothing is pruned");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(store.restore(&lives[1].key).is_none());
    assert!(store.restore(&lives[0].key).is_some());
    assert_eq!(query(&file, "SELECT count(*) FROM listings"), 1);
    assert_eq!(recorded(&file, None).len(), 4, "the journal is kept longer");
}

#[test]
fn file_of_schema_version_1_is_restored() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.db");
    std::fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/state/version-1.db"), &file).unwrap();
    let saved_at = || SystemTime::UNIX_EPOCH + Duration::from_millis(1_790_000_003_003);
    let store = StateStore::open(&options(&file), saved_at).unwrap();
    let mut life = version_1_life();
    // The file was written before fees were counted, and what is missing is 0.
    life.counters.fees = FeeMovements::default();
    life.assert_restored(&store);
    assert_eq!(recorded(&file, None), life.changes);
    assert_eq!(life.changes.len(), 9);
}

fn version_1_life() -> AccountLife {
    let mut life = AccountLife::new(key("main"));
    life.poll.ended_at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
    life.poll(Some(number_states((0..8).map(|number| (number, 0, 115, 1)))));
    life.poll(Some(number_states((3..13).map(|number| (number, u8::from(number == 7), 115, u8::from(number != 9))))));
    life.poll(None);
    life
}

#[test]
#[ignore = "writes the file of another test, once for each version of the schema"]
fn write_the_file_of_schema_version_1() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/state/version-1.db");
    let store = open(&file);
    let mut life = AccountLife::new(key("main"));
    life.poll.ended_at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
    store.save(life.poll(Some(number_states((0..8).map(|number| (number, 0, 115, 1))))), WAIT);
    let later = (3..13).map(|number| (number, u8::from(number == 7), 115, u8::from(number != 9)));
    store.save(life.poll(Some(number_states(later))), WAIT);
    store.save(life.poll(None), WAIT);
    store.close(WAIT);
    std::fs::remove_file(file.with_extension("db.lock")).unwrap();
}
