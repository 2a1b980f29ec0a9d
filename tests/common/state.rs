//! State files: what is saved in them, and what they must have afterwards.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tryvox_exporter::inventory::{
    Assignment, ChangeCounters, ChangeRecord, Inventory, Listing, ListingDifference, NumberState, NumberStates,
    StatedNumber, changes,
};
use tryvox_exporter::state::{
    AccountKey, ChangeFilter, Journal, JournalError, RecentChanges, RecordedChange, Save, SavedListing, StateOptions,
    StateStore, StoredFailure, StoredPoll,
};

use super::TEST_TIMEOUT;

/// How long a save may wait, in most tests as long as it takes.
pub(crate) const WAIT: Duration = TEST_TIMEOUT;

/// A number: its last digits, its status (0 to 2), its fee in cents, and its trunk.
pub(crate) type Number = (u32, u8, u16, u8);

pub(crate) fn options(file: &Path) -> StateOptions {
    StateOptions { file: Some(file.to_owned()), retention: Duration::from_hours(400 * 24) }
}

pub(crate) fn open(file: &Path) -> StateStore {
    StateStore::open(&options(file), SystemTime::now).unwrap()
}

pub(crate) fn key(name: &str) -> AccountKey {
    AccountKey { name: name.to_owned(), source: format!("https://api.tryvox.io/{name}") }
}

/// Returns a time in whole milliseconds, near the present.
pub(crate) fn time(millis: u64) -> SystemTime {
    let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() / 100_000 * 100_000;
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(millis)
}

pub(crate) fn number_states(numbers: impl IntoIterator<Item = Number>) -> Arc<NumberStates> {
    let mut numbers: Vec<Number> = numbers.into_iter().collect();
    numbers.sort_unstable();
    numbers.dedup_by_key(|(e164, ..)| *e164);
    let mut classes = Vec::new();
    let mut assignments = Vec::new();
    let stated = numbers.into_iter().map(|(e164, status, fee, trunk)| {
        let class = NumberState {
            country: "US".into(),
            kind: "local".into(),
            status: ["active", "pending", "suspended"][usize::from(status)].into(),
            currency: "USD".into(),
            monthly_fee: format!("{}.{:02}", fee / 100, fee % 100).parse().unwrap(),
            is_unreadable: false,
        };
        let trunk = Some(if trunk == 0 { "".into() } else { format!("trk_{trunk}").into() });
        StatedNumber {
            e164: format!("+1415{e164:07}").parse().unwrap(),
            class: index_of(&mut classes, class),
            assignment: index_of(&mut assignments, Assignment { trunk, application: Some("".into()) }),
        }
    });
    let stated = stated.collect();
    Arc::new(NumberStates::new(classes, assignments, stated).unwrap())
}

fn index_of<T: PartialEq>(items: &mut Vec<T>, item: T) -> u32 {
    let index = items.iter().position(|other| *other == item).unwrap_or_else(|| {
        items.push(item);
        items.len() - 1
    });
    index.try_into().unwrap()
}

/// What an account has been through: the model that a state file is compared with.
#[derive(Debug, Clone)]
pub(crate) struct AccountLife {
    pub(crate) key: AccountKey,
    pub(crate) poll: StoredPoll,
    pub(crate) counters: ChangeCounters,
    pub(crate) listing: Option<(Arc<Listing>, Arc<NumberStates>)>,
    /// All changes so far.
    pub(crate) changes: Vec<RecordedChange>,
}

impl AccountLife {
    pub(crate) fn new(key: AccountKey) -> Self {
        let poll = StoredPoll {
            ended_at: time(0),
            duration: Duration::from_micros(1_234_567),
            pages: 0,
            failure: None,
            last_success_at: None,
        };
        Self { key, poll, counters: ChangeCounters::default(), listing: None, changes: Vec::new() }
    }

    /// Returns the next poll, with this valid listing or a failure, as a save.
    pub(crate) fn poll(&mut self, numbers: Option<Arc<NumberStates>>) -> Save {
        self.poll.pages += 1;
        self.poll.ended_at += Duration::from_millis(1001);
        self.poll.failure =
            numbers.is_none().then(|| StoredFailure { reason: "timeout".to_owned(), cause: "no response".to_owned() });
        let listing = numbers.map(|numbers| {
            self.poll.last_success_at = Some(self.poll.ended_at);
            let listed = numbers.numbers().len() as u64;
            let inventory = Inventory { listed, truncated_numbers: Some(0), ..Inventory::default() };
            let listing = Arc::new(Listing { inventory, reported: listed, ..Listing::default() });
            let previous = self.listing.replace((Arc::clone(&listing), Arc::clone(&numbers)));
            let previous = previous.map(|(_, numbers)| numbers);
            if let Some(before) = &previous {
                self.counters.add(&ListingDifference::between(before, &numbers), 100);
                self.changes.extend(changes(before, &numbers).map(|change| RecordedChange {
                    at: self.poll.ended_at,
                    account: self.key.name.clone(),
                    change: ChangeRecord::from(&change),
                }));
            }
            SavedListing { listing, numbers, previous }
        });
        Save { account: self.key.clone(), poll: self.poll.clone(), counters: self.counters.clone(), listing }
    }

    /// Checks that a store restores the account as it is, and takes over what it restores as a poller does.
    pub(crate) fn assert_restored(&mut self, store: &StateStore) {
        let restored = store.restore(&self.key).expect("the account is not restored");
        assert_eq!(restored.poll, self.poll);
        assert_eq!(restored.counters, self.counters);
        assert_eq!(restored.listing.is_some(), self.listing.is_some());
        if let (Some(restored), Some((listing, numbers))) = (restored.listing, &mut self.listing) {
            assert_eq!(restored.listing, **listing);
            assert!(restored.numbers.numbers().eq(numbers.numbers()));
            assert_eq!(restored.numbers.classes(), numbers.classes());
            *numbers = Arc::new(restored.numbers);
        }
        self.assert_recent(&restored.recent_changes);
    }

    /// The same for an account of whose changes not all were recorded as they were.
    pub(crate) fn assert_latest_restored(&self, store: &StateStore) {
        let restored = store.restore(&self.key).expect("the account is not restored");
        assert_eq!((&restored.poll, &restored.counters), (&self.poll, &self.counters));
        let (listing, numbers) = self.listing.as_ref().unwrap();
        let restored = restored.listing.expect("the listing is not restored");
        assert_eq!(&restored.listing, &**listing);
        assert!(restored.numbers.numbers().eq(numbers.numbers()));
    }

    /// Checks that the recent changes of the account are these.
    fn assert_recent(&self, restored: &[RecentChanges]) {
        let recent: u64 = restored.iter().map(|changes| changes.count).sum();
        assert!(recent <= self.changes.len() as u64);
        for recent in restored {
            let all: Vec<_> = self.changes.iter().filter(|change| change.at == recent.at).collect();
            assert_eq!(recent.count, all.len() as u64);
            assert!(recent.first.iter().eq(all.iter().take(12).map(|change| &change.change)));
        }
        let mut polls: Vec<_> = self.changes.iter().map(|change| change.at).collect();
        polls.dedup();
        let latest = &polls[polls.len().saturating_sub(12)..];
        assert!(restored.iter().map(|changes| &changes.at).eq(latest));
    }
}

/// Returns all recorded changes, or those that the filter selects.
pub(crate) fn recorded(file: &Path, filter: Option<ChangeFilter>) -> Vec<RecordedChange> {
    let all = ChangeFilter { since: SystemTime::UNIX_EPOCH, accounts: Vec::new(), kinds: Vec::new() };
    let mut recorded = Vec::new();
    let journal = Journal::open(file).unwrap();
    let read = journal.read(&filter.unwrap_or(all), |change| {
        recorded.push(change);
        Ok::<_, JournalError>(())
    });
    read.unwrap();
    recorded
}

/// Returns a command that runs an ignored test of this program, through another program, for example `unshare`.
pub(crate) fn test_process(wrapper: &[&str], module: &str, test: &str, folder: &Path) -> Command {
    let program = std::env::current_exe().unwrap();
    let test = format!("{}::{test}", module.split_once("::").map_or("", |(_, module)| module));
    let program = program.to_str().unwrap();
    let words: Vec<&str> = wrapper.iter().copied().chain([program]).collect();
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .args(["--exact", test.trim_start_matches(':'), "--ignored", "--nocapture"])
        .env("STATE_TEST_FOLDER", folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    command
}

/// A wrapper for [`test_process`]: a mount namespace of its own, in which any user may mount file systems.
pub(crate) const WITH_OWN_MOUNTS: [&str; 3] = ["unshare", "--map-root-user", "--mount"];

/// Runs a [`test_process`], which has to pass, with an empty folder.
pub(crate) fn run_process(wrapper: &[&str], module: &str, test: &str) {
    let folder = tempfile::tempdir().unwrap();
    let output = test_process(wrapper, module, test, folder.path()).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
}

/// Returns the folder that [`test_process`] was given.
pub(crate) fn test_folder() -> std::path::PathBuf {
    std::env::var_os("STATE_TEST_FOLDER").expect("another test runs this one in a process of its own").into()
}
