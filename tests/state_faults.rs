//! Faults of a state file, each injected for real.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use tryvox_exporter::state::{Journal, JournalError, StateError, StateStore};

use crate::common::state::{
    AccountLife, WAIT, WITH_OWN_MOUNTS, key, number_states, open, options, recorded, run_process, test_folder,
};

/// Runs a test in a process in which new files get the mode that is asked for.
const WITHOUT_UMASK: [&str; 4] = ["sh", "-c", "umask 0; exec \"$0\" \"$@\"", "env"];

fn command(words: &[&str]) {
    assert!(Command::new(words[0]).args(&words[1..]).status().unwrap().success(), "{words:?}");
}

/// Returns the paths in a folder whose names contain a text, and the modes of the files.
fn files(folder: &Path, part: &str) -> Vec<(PathBuf, u32)> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let files = files.filter(|entry| entry.file_name().to_string_lossy().contains(part));
    files.map(|entry| (entry.path(), entry.metadata().unwrap().permissions().mode() & 0o7777)).collect()
}

/// Returns the path of a state file with these accounts, which no process uses.
fn stored(folder: &Path, names: &[&str]) -> (PathBuf, Vec<AccountLife>) {
    let file = folder.join("state.db");
    let store = open(&file);
    let lives = names.iter().map(|name| {
        let mut life = AccountLife::new(key(name));
        store.save(life.poll(Some(number_states((0..500).map(|number| (number, 0, 115, 1))))), WAIT);
        store.save(life.poll(Some(number_states((100..600).map(|number| (number * 7, 1, 120, 2))))), WAIT);
        life
    });
    let lives = lives.collect();
    assert_eq!(store.status().errors, 0);
    (file, lives)
}

#[test]
fn full_disk() {
    run_process(&WITH_OWN_MOUNTS, module_path!(), "process_with_a_full_disk");
}

#[test]
#[ignore = "another test runs it in a process of its own, because it mounts a file system"]
fn process_with_a_full_disk() {
    let folder = test_folder();
    command(&["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", folder.to_str().unwrap()]);
    let (file, filler) = (folder.join("state.db"), folder.join("other"));
    let make_full = || _ = fs::write(&filler, vec![1; 48 << 20]).unwrap_err();

    // The disk is full at the start.
    make_full();
    let store = open(&file);
    assert_eq!(store.status().errors, 1);
    let mut life = AccountLife::new(key("main"));
    store.save(life.poll(Some(number_states([(1, 0, 115, 0)]))), WAIT);
    assert_eq!((store.status().errors, store.status().last_write_at), (2, None));
    fs::remove_file(&filler).unwrap();
    store.save(life.poll(Some(number_states([(1, 0, 115, 0), (2, 0, 115, 0)]))), WAIT);
    let written_at = store.status().last_write_at;
    assert!(written_at.is_some());

    // The disk becomes full.
    make_full();
    let large = number_states((0..30_000).map(|number| (number * 61 % 99_991, 0, 115, 0)));
    store.save(life.poll(Some(large.clone())), WAIT);
    assert_eq!((store.status().errors, store.status().last_write_at), (3, written_at));
    store.save(life.poll(Some(number_states([(2, 0, 115, 0), (3, 0, 115, 0)]))), WAIT);
    store.save(life.poll(None), WAIT);

    fs::remove_file(&filler).unwrap();
    store.save(life.poll(None), WAIT);
    // No save waits after a write that failed slowly.
    while store.status().last_write_at == written_at {
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(store);
    life.assert_restored(&open(&file));
    assert_eq!(recorded(&file, None), life.changes);
}

#[test]
fn read_only_file_system() {
    run_process(&WITH_OWN_MOUNTS, module_path!(), "process_with_a_read_only_file_system");
}

#[test]
#[ignore = "another test runs it in a process of its own, because it mounts a file system"]
fn process_with_a_read_only_file_system() {
    let folder = test_folder();
    let remount = |option: &str| command(&["mount", "-o", &format!("remount,{option}"), folder.to_str().unwrap()]);
    command(&["mount", "-t", "tmpfs", "tmpfs", folder.to_str().unwrap()]);
    let (file, mut lives) = stored(&folder, &["main"]);

    // From the start, with a file.
    remount("ro");
    let store = open(&file);
    assert_eq!(store.status().errors, 1);
    lives[0].assert_restored(&store);
    assert_eq!(recorded(&file, None), lives[0].changes);
    store.save(lives[0].poll(Some(number_states([(1, 0, 115, 0)]))), WAIT);
    assert_eq!((store.status().errors, store.status().last_write_at), (2, None));
    remount("rw");
    store.save(lives[0].poll(None), WAIT);
    assert!(store.status().last_write_at.is_some());

    // While it is open.
    let copy = folder.join("copy.db");
    fs::copy(&file, &copy).unwrap();
    fs::copy(folder.join("state.db-wal"), folder.join("copy.db-wal")).unwrap();
    drop(store);
    lives[0].assert_restored(&open(&file));
    remount("ro");
    assert!(matches!(Journal::open(&copy), Err(JournalError::WalUnreadable(_))));
    assert_eq!(recorded(&file, None), lives[0].changes);
    // Without its WAL, the file has an older state.
    let store = open(&copy);
    assert!(store.restore(&lives[0].key).is_none());
    assert_eq!(store.status().errors, 2);
    drop(store);

    // From the start, without a file.
    let store = open(&folder.join("other.db"));
    assert!(store.restore(&lives[0].key).is_none());
    store.save(lives[0].poll(None), WAIT);
    remount("rw");
    store.save(lives[0].poll(None), WAIT);
    assert!(store.status().last_write_at.is_some());
    drop(store);
    assert_eq!(open(&folder.join("other.db")).restore(&lives[0].key).unwrap().poll, lives[0].poll);
    remount("ro");
}

#[test]
fn all_files_have_mode_0600_whatever_the_umask() {
    run_process(&WITHOUT_UMASK, module_path!(), "process_without_umask");
}

#[test]
#[ignore = "another test runs it in a process of its own, because it needs another umask"]
fn process_without_umask() {
    let folder = test_folder();
    let file = folder.join("state.db");
    let modes = |part: &str| files(&folder, part).into_iter().map(|(_, mode)| mode).collect::<Vec<_>>();
    for _ in 0..2 {
        let store = open(&file);
        store.save(AccountLife::new(key("main")).poll(None), WAIT);
        assert_eq!(modes(""), [0o600; 4], "{:?}", files(&folder, ""));
        drop(store);
        for (path, _) in files(&folder, "") {
            fs::set_permissions(path, fs::Permissions::from_mode(0o664)).unwrap();
        }
    }
    fs::write(&file, "nonsense").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let store = open(&file);
    store.save(AccountLife::new(key("main")).poll(None), WAIT);
    assert_eq!(modes(""), [0o600; 5]);
    assert_eq!(modes("state.db.corrupt-"), [0o600]);
}

#[test]
fn file_is_written_again_after_it_was_removed_replaced_or_damaged() {
    let damages: [fn(&Path); 6] = [
        |file| fs::write(file, "").unwrap(),
        |file| fs::remove_file(file).unwrap(),
        |file| {
            for (path, _) in files(file.parent().unwrap(), "state.db") {
                fs::remove_file(path).unwrap();
            }
        },
        |file| fs::rename(file, file.with_extension("old")).unwrap(),
        |file| {
            let backup = file.with_extension("backup");
            rusqlite::Connection::open(&backup).unwrap();
            fs::write(&backup, "").unwrap();
            fs::rename(backup, file).unwrap();
        },
        |file| {
            rusqlite::Connection::open(file).unwrap().execute_batch("DROP TABLE listings").unwrap();
        },
    ];
    for damage in damages {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state.db");
        let store = open(&file);
        let mut lives = ["one", "two", "three"].map(|name| AccountLife::new(key(name)));
        for life in &mut lives {
            store.save(life.poll(Some(number_states([(1, 0, 115, 0), (2, 0, 115, 0)]))), WAIT);
        }
        damage(&file);
        store.save(lives[0].poll(Some(number_states([(1, 2, 115, 0)]))), WAIT);
        store.save(lives[1].poll(None), WAIT);
        assert!(store.status().last_write_at.is_some());
        assert_eq!(store.status().errors, 1);
        drop(store);
        let store = open(&file);
        for life in &mut lives {
            life.assert_restored(&store);
        }
        assert_eq!(recorded(&file, None), lives[0].changes);
    }
}

#[test]
fn file_that_is_damaged_while_it_is_open_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (file, mut lives) = stored(folder.path(), &["one", "two"]);
    let store = open(&file);
    lives[1].assert_restored(&store);
    // More than SQLite caches, so that it reads the file again.
    for round in 0..4 {
        let numbers = (0..9000).map(|number| (number, round % 2, 115, round % 3));
        store.save(lives[1].poll(Some(number_states(numbers))), WAIT);
    }
    drop(store);
    let store = open(&file);
    for life in &mut lives {
        life.assert_restored(&store);
    }
    // Everything but the header, which tells whether the file has changed.
    let mut bytes = fs::read(&file).unwrap();
    bytes[100..].fill(0xa5);
    let mut damaged = fs::OpenOptions::new().write(true).open(&file).unwrap();
    damaged.write_all(&bytes).unwrap();
    for round in 1..4 {
        for life in &mut lives {
            store.save(life.poll(Some(number_states([(round, 0, 115, 0), (700, 0, 115, 0)]))), WAIT);
        }
    }
    assert_eq!(store.status().errors, 1);
    drop(store);
    assert!(!files(folder.path(), "corrupt-").is_empty());
    let store = open(&file);
    for life in &mut lives {
        life.assert_latest_restored(&store);
    }
}

#[derive(Debug, Clone)]
enum Damage {
    /// The file ends here, as a part of its size in 65536ths.
    Truncated(u16),
    /// Bytes at these places are overwritten.
    Overwritten(Vec<(prop::sample::Index, Vec<u8>)>),
}

fn damage() -> impl Strategy<Value = Damage> {
    let patch = (any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 1..100));
    prop_oneof![
        any::<u16>().prop_map(Damage::Truncated),
        prop::collection::vec(patch, 1..6).prop_map(Damage::Overwritten),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 100, ..ProptestConfig::default() })]

    #[test]
    fn any_damage_costs_at_most_the_stored_state(damage in damage()) {
        let folder = tempfile::tempdir().unwrap();
        let (file, lives) = stored(folder.path(), &["one", "two"]);
        let mut bytes = fs::read(&file).unwrap();
        // Another program's or a newer file looks like this.
        let mut changes_owner = false;
        match damage {
            Damage::Truncated(part) => bytes.truncate(bytes.len() * usize::from(part) / 65536),
            Damage::Overwritten(patches) => {
                for (index, patch) in patches {
                    let start = index.index(bytes.len());
                    let end = bytes.len().min(start + patch.len());
                    bytes[start..end].copy_from_slice(&patch[..end - start]);
                    changes_owner |= start < 72 && end > 60;
                }
            }
        }
        fs::write(&file, &bytes).unwrap();
        let store = match StateStore::open(&options(&file), SystemTime::now) {
            Err(StateError::Newer { .. } | StateError::Foreign(_)) if changes_owner => return Ok(()),
            opened => opened.unwrap(),
        };
        for life in &lives {
            store.restore(&life.key);
        }
        for mut life in lives {
            life.poll.pages += 100;
            store.save(life.poll(Some(number_states([(1, 0, 115, 0)]))), WAIT);
            prop_assert!(store.status().last_write_at.is_some());
            drop(Journal::open(&file).unwrap());
            prop_assert_eq!(store.restore(&life.key).unwrap().poll, life.poll);
        }
        if bytes.len() < 100 && !bytes.is_empty() {
            prop_assert_eq!(files(folder.path(), "corrupt-").len(), 1);
        }
    }
}

#[test]
fn state_that_could_not_be_read_at_the_start_is_continued_when_it_can_be_read() {
    for has_waiting_saves in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let (file, mut lives) = stored(folder.path(), &["one", "two"]);
        let other = rusqlite::Connection::open(&file).unwrap();
        other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
        let store = open(&file);
        assert!(matches!(Journal::open(&file), Err(JournalError::Locked(_))));
        for life in &lives {
            assert!(store.restore(&life.key).is_none());
        }
        assert_eq!(store.status().errors, 3);

        // What an uninterrupted process would have, and what this one has.
        let mut fresh: Vec<_> = lives.iter().map(|life| AccountLife::new(life.key.clone())).collect();
        let mut other = Some(other);
        let listings = [None, Some([(7, 0, 115, 0), (8, 0, 115, 0)]), None, Some([(8, 2, 115, 0), (9, 0, 115, 0)])];
        for (round, numbers) in listings.into_iter().enumerate() {
            if round == 3 || !has_waiting_saves {
                other = None;
            }
            for (life, fresh) in lives.iter_mut().zip(&mut fresh) {
                life.poll(numbers.map(number_states));
                fresh.poll.ended_at = life.poll.ended_at - Duration::from_millis(1001);
                let timeout = if other.is_some() { Duration::ZERO } else { WAIT };
                store.save(fresh.poll(numbers.map(number_states)), timeout);
                assert!(fresh.counters.added <= 1, "this process counts only what it has seen");
            }
        }
        while store.status().last_write_at.is_none() {
            store.save(fresh[0].poll(None), WAIT);
            lives[0].poll(None);
        }
        drop(store);
        let store = open(&file);
        for (life, fresh) in lives.iter_mut().zip(fresh) {
            life.poll = fresh.poll;
            life.assert_restored(&store);
        }
        let mut recorded = recorded(&file, None);
        recorded.sort_by(|one, other| one.account.cmp(&other.account));
        let expected: Vec<_> = lives.into_iter().flat_map(|life| life.changes).collect();
        assert_eq!(recorded, expected);
    }
}

#[test]
fn invalid_rows_of_the_journal_are_skipped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (file, lives) = stored(folder.path(), &["main"]);
    let other = rusqlite::Connection::open(&file).unwrap();
    other
        .execute_batch("UPDATE changes SET kind = 'other' WHERE id = 2; UPDATE changes SET e164 = 'x' WHERE id = 5")
        .unwrap();
    let filter =
        tryvox_exporter::state::ChangeFilter { since: SystemTime::UNIX_EPOCH, accounts: Vec::new(), kinds: Vec::new() };
    let mut read = 0;
    let skipped = Journal::open(&file).unwrap().read(&filter, |_| {
        read += 1;
        Ok::<_, JournalError>(())
    });
    assert_eq!((skipped.unwrap(), read), (2, lives[0].changes.len() - 2));
}

#[test]
fn listing_that_cannot_be_decoded_costs_only_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (file, mut lives) = stored(folder.path(), &["one", "two"]);
    let other = rusqlite::Connection::open(&file).unwrap();
    other.execute("UPDATE listings SET numbers = x'0102' WHERE account_id = 1", []).unwrap();
    other.close().unwrap();
    let store = open(&file);
    let restored = store.restore(&lives[0].key).unwrap();
    assert!(restored.listing.is_none());
    assert_eq!((restored.poll, restored.counters), (lives[0].poll.clone(), lives[0].counters.clone()));
    assert_eq!(store.status().errors, 1);
    lives[1].assert_restored(&store);
    store.save(lives[0].poll(Some(number_states([(1, 0, 115, 0)]))), WAIT);
    drop(store);
    lives[0].listing.as_mut().unwrap().1 = number_states([(1, 0, 115, 0)]);
    lives[0].assert_latest_restored(&open(&file));
    assert!(files(folder.path(), "corrupt-").is_empty());
}

#[test]
fn files_that_are_not_the_exporters_are_refused_and_left_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |path: &Path| {
        let error = StateStore::open(&options(path), SystemTime::now).unwrap_err();
        (error.is_usage(), error.to_string())
    };
    let path = |name: &str| folder.path().join(name);

    let foreign = path("foreign.db");
    rusqlite::Connection::open(&foreign)
        .unwrap()
        .execute_batch("CREATE TABLE notes (text); PRAGMA user_version = 9")
        .unwrap();
    let before = fs::read(&foreign).unwrap();
    let (is_usage, message) = refused(&foreign);
    assert!(!is_usage && message.contains("another application"), "{message}");
    assert_eq!(fs::read(&foreign).unwrap(), before);
    assert!(matches!(Journal::open(&foreign), Err(JournalError::NotAStateFile(_))));

    let (newer, _) = stored(folder.path(), &["main"]);
    let writer = rusqlite::Connection::open(&newer).unwrap();
    writer.pragma_update(None, "user_version", 2).unwrap();
    writer.close().unwrap();
    let before = fs::read(&newer).unwrap();
    let (is_usage, message) = refused(&newer);
    assert!(!is_usage && message.contains("version is 2") && message.contains("at most 1"), "{message}");
    assert_eq!(fs::read(&newer).unwrap(), before);
    assert!(matches!(Journal::open(&newer), Err(JournalError::Newer { found: 2, supported: 1, .. })));

    let (is_usage, message) = refused(&path("missing/state.db"));
    assert!(is_usage && message.contains("folder does not exist"), "{message}");
    let (is_usage, message) = refused(folder.path());
    assert!(is_usage && message.contains("not a regular file"), "{message}");
    assert!(matches!(Journal::open(&path("missing.db")), Err(JournalError::Missing(_))));
    fs::write(path("text"), "text").unwrap();
    assert!(Journal::open(&path("text")).is_err());
    fs::write(path("empty"), "").unwrap();
    assert!(matches!(Journal::open(&path("empty")), Err(JournalError::NotAStateFile(_))));
    assert!(open(&path("empty")).status().errors == 0);
}

#[test]
fn file_is_used_by_one_exporter_at_a_time_by_whichever_path() {
    let folder = tempfile::tempdir().unwrap();
    let (file, _) = stored(folder.path(), &["main"]);
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let store = open(&link);
    for path in [&file, &link] {
        let error = StateStore::open(&options(path), SystemTime::now).unwrap_err();
        assert!(matches!(error, StateError::InUse(_)) && !error.is_usage());
    }
    let lock = folder.path().join("state.db.lock");
    let inode = fs::metadata(&lock).unwrap().ino();
    drop(store);
    drop(open(&file));
    assert_eq!(fs::metadata(&lock).unwrap().ino(), inode);

    // A link to a file that does not exist yet.
    fs::create_dir(folder.path().join("other")).unwrap();
    let (target, link) = (folder.path().join("other/state.db"), folder.path().join("dangling"));
    std::os::unix::fs::symlink("other/state.db", &link).unwrap();
    let store = open(&link);
    store.save(AccountLife::new(key("main")).poll(None), WAIT);
    for path in [&target, &link] {
        assert!(matches!(StateStore::open(&options(path), SystemTime::now), Err(StateError::InUse(_))));
    }
    assert!(target.is_file() && folder.path().join("other/state.db.lock").is_file());
    let missing = folder.path().join("missing");
    std::os::unix::fs::symlink("nowhere/state.db", &missing).unwrap();
    let error = StateStore::open(&options(&missing), SystemTime::now).unwrap_err();
    assert!(matches!(error, StateError::MissingFolder(_)));
    for path in [&missing, &folder.path().join("other"), &PathBuf::from("/dev/null")] {
        assert!(options(path).folder_problem().is_some());
    }
    assert_eq!(options(&link).folder_problem(), None);
}
