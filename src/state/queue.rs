//! Saves on their way from the pollers to the writer.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::AccountKey;
use super::pending::{Combined, Pending};

/// Maximum number of changes that are kept as records while they wait, over all accounts.
const MAX_RECORDS: usize = 100_000;

/// A write that failed is tried again after this time, or with the next save.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// No save waits for its write after one that took this long to fail.
const SLOW_FAILURE: Duration = Duration::from_millis(500);

/// The first maintenance comes this long after the first write, when all accounts have been restored.
const FIRST_MAINTENANCE: Duration = Duration::from_secs(5);

/// Time between two maintenances.
const MAINTENANCE_INTERVAL: Duration = Duration::from_hours(1);

/// What the pollers and the writer share.
#[derive(Debug, Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    /// Wakes the writer.
    changed: Condvar,
    /// Wakes the pollers.
    done: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    /// The saves that wait, at most one per account.
    pending: HashMap<String, Pending>,
    /// What the writer is writing.
    running: Option<Arc<PendingWrites>>,
    /// How many changes the saves have as records, those that are being written included.
    records: usize,
    /// Restored accounts that no save has marked as seen yet.
    seen: HashSet<String>,
    /// How many saves there have been.
    saves: u64,
    /// The last of the saves that the writer has taken.
    taken: u64,
    /// The last of the saves whose write has succeeded or failed.
    attempted: u64,
    /// When the write that is running began.
    running_since: Option<Instant>,
    failure: Option<Failure>,
    /// Whether a save has waited in vain since the last write that succeeded or failed.
    is_stuck: bool,
    maintain_at: Option<Instant>,
    is_closing: bool,
    is_closed: bool,
}

/// How the last write failed.
#[derive(Debug)]
struct Failure {
    at: Instant,
    was_slow: bool,
}

/// What the writer has to do next.
#[derive(Debug)]
pub(super) enum Task {
    /// Write this and report the result to [`Queue::written`] or [`Queue::failed`].
    Write(Arc<PendingWrites>),
    /// Delete what is no longer needed, and report to [`Queue::maintained`].
    Maintain,
    /// Write this, and end.
    Close(Arc<PendingWrites>),
}

/// What is to be written.
#[derive(Debug)]
pub(super) struct PendingWrites {
    /// Saves by the name of their account.
    pub(super) saves: HashMap<String, Pending>,
    /// Accounts that have been restored.
    pub(super) seen: HashSet<String>,
}

impl PendingWrites {
    pub(super) fn is_empty(&self) -> bool {
        self.saves.is_empty() && self.seen.is_empty()
    }
}

impl Queue {
    /// Adds a save and waits until its write has succeeded or failed, or until the timeout. Returns whether changes of
    /// several polls had to be combined.
    pub(super) fn save(&self, pending: Pending, timeout: Duration) -> bool {
        let mut inner = self.lock();
        if inner.is_closing {
            return false;
        }
        let is_net = inner.add(pending);
        inner.saves += 1;
        let save = inner.saves;
        self.changed.notify_all();
        // While storing is slow, waiting would only delay the polls of all accounts.
        if inner.is_stuck || inner.failure.as_ref().is_some_and(|failure| failure.was_slow) {
            return is_net;
        }
        let is_waiting = |inner: &mut Inner| inner.attempted < save && !inner.is_closed;
        let waited = self.done.wait_timeout_while(inner, timeout, is_waiting);
        let mut inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        inner.is_stuck = is_waiting(&mut inner);
        is_net
    }

    /// Returns the saves of an account of the same source that are not known to be written, the earliest first.
    pub(super) fn pending(&self, account: &AccountKey) -> Vec<Pending> {
        let inner = self.lock();
        let running = inner.running.as_ref().and_then(|running| running.saves.get(&account.name));
        let waiting = inner.pending.get(&account.name);
        running.into_iter().chain(waiting).filter(|pending| pending.account == *account).cloned().collect()
    }

    /// Notes that an account has been restored.
    pub(super) fn mark_seen(&self, account: String) {
        self.lock().seen.insert(account);
    }

    /// Waits until the writer has something to do.
    pub(super) fn next(&self) -> Task {
        let mut inner = self.lock();
        loop {
            let now = Instant::now();
            if inner.is_closing {
                return Task::Close(inner.take(now));
            }
            let retry_at = inner.failure.as_ref().map(|failure| failure.at + RETRY_INTERVAL);
            if inner.taken < inner.saves || retry_at.is_some_and(|retry_at| retry_at <= now) {
                return Task::Write(inner.take(now));
            }
            if inner.maintain_at.is_some_and(|at| at <= now) {
                // The marks must be in the file before what has none is deleted.
                return if inner.seen.is_empty() { Task::Maintain } else { Task::Write(inner.take(now)) };
            }
            let wake_at = retry_at.into_iter().chain(inner.maintain_at).min();
            inner = match wake_at {
                Some(wake_at) => {
                    let waited = self.changed.wait_timeout(inner, wake_at.saturating_duration_since(now));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Notes that what was taken has been committed.
    pub(super) fn written(&self) {
        let mut inner = self.lock();
        inner.failure = None;
        inner.running = None;
        inner.records = inner.pending.values().map(Pending::record_count).sum();
        inner.maintain_at.get_or_insert_with(|| Instant::now() + FIRST_MAINTENANCE);
        self.attempted(&mut inner);
    }

    /// Puts back what could not be written. Returns whether changes of several polls had to be combined.
    pub(super) fn failed(&self, writes: &PendingWrites) -> bool {
        let mut inner = self.lock();
        let was_slow = inner.running_since.is_some_and(|since| since.elapsed() >= SLOW_FAILURE);
        inner.failure = Some(Failure { at: Instant::now(), was_slow });
        // Accounts must be marked as seen before those that are not are deleted.
        inner.maintain_at = inner.maintain_at.map(|at| at.max(Instant::now() + RETRY_INTERVAL));
        inner.running = None;
        let newer = std::mem::replace(&mut inner.pending, writes.saves.clone());
        let mut is_net = false;
        inner.records = inner.pending.values().map(Pending::record_count).sum();
        for pending in newer.into_values() {
            is_net |= inner.add(pending);
        }
        inner.seen.extend(writes.seen.iter().cloned());
        self.attempted(&mut inner);
        is_net
    }

    /// Notes that maintenance has made a step.
    pub(super) fn maintained(&self, has_more: bool) {
        if !has_more {
            self.lock().maintain_at = Some(Instant::now() + MAINTENANCE_INTERVAL);
        }
    }

    /// Notes that the writer has ended.
    pub(super) fn closed(&self) {
        self.lock().is_closed = true;
        self.done.notify_all();
    }

    /// Lets the writer end, and waits until it has, or until the timeout. Returns whether it has.
    pub(super) fn close(&self, timeout: Duration) -> bool {
        let mut inner = self.lock();
        inner.is_closing = true;
        self.changed.notify_all();
        let waited = self.done.wait_timeout_while(inner, timeout, |inner| !inner.is_closed);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_closed
    }

    fn attempted(&self, inner: &mut Inner) {
        inner.running_since = None;
        inner.is_stuck = false;
        inner.attempted = inner.taken;
        self.done.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Adds a save to those of its account. Returns whether changes of several polls had to be combined.
    fn add(&mut self, later: Pending) -> bool {
        let name = later.account.name.clone();
        let Some(earlier) = self.pending.remove(&name) else {
            self.records += later.record_count();
            self.pending.insert(name, later);
            return false;
        };
        let others = self.records.saturating_sub(earlier.record_count());
        let limit = MAX_RECORDS.saturating_sub(self.records + later.record_count());
        let Combined { pending, is_net } = earlier.followed_by(later, limit);
        self.records = others + pending.record_count();
        self.pending.insert(name, pending);
        is_net
    }

    fn take(&mut self, now: Instant) -> Arc<PendingWrites> {
        self.taken = self.saves;
        self.running_since = Some(now);
        let writes = PendingWrites { saves: std::mem::take(&mut self.pending), seen: std::mem::take(&mut self.seen) };
        let writes = Arc::new(writes);
        self.running = Some(Arc::clone(&writes));
        writes
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::inventory::{Assignment, ChangeCounters, Listing, NumberState, NumberStates, StatedNumber};
    use crate::state::pending::Start;
    use crate::state::{Save, SavedListing, StoredPoll};

    const TIMEOUT: Duration = Duration::from_millis(100);

    fn pending(name: &str, pages: u32) -> Pending {
        let poll = StoredPoll {
            ended_at: SystemTime::UNIX_EPOCH,
            duration: Duration::ZERO,
            pages,
            failure: None,
            last_success_at: None,
        };
        let account = AccountKey { name: name.to_owned(), source: String::new() };
        Pending { account, poll, counters: ChangeCounters::default(), listing: None, start: None, records: Vec::new() }
    }

    fn writes(queue: &Queue) -> Arc<PendingWrites> {
        match queue.next() {
            Task::Write(writes) => writes,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_the_first_save_waits_for_a_writer_that_is_stuck() {
        let queue = Queue::default();
        let start = Instant::now();
        queue.save(pending("one", 1), TIMEOUT);
        assert!(start.elapsed() >= TIMEOUT);
        for pages in 0..1000 {
            queue.save(pending("one", pages), Duration::from_mins(1));
        }
        assert!(start.elapsed() < Duration::from_secs(30));

        assert_eq!(writes(&queue).saves["one"].poll.pages, 999);
        queue.written();
        let start = Instant::now();
        queue.save(pending("two", 1), TIMEOUT);
        assert!(start.elapsed() >= TIMEOUT, "it does not wait although the writer has recovered");
    }

    #[test]
    fn what_could_not_be_written_is_taken_again_with_the_next_save() {
        let queue = Queue::default();
        queue.save(pending("one", 1), Duration::ZERO);
        queue.save(pending("two", 1), Duration::ZERO);
        queue.mark_seen("three".to_owned());
        let first = writes(&queue);
        queue.save(pending("two", 2), Duration::ZERO);
        assert!(!queue.failed(&first));
        let second = writes(&queue);
        assert_eq!((second.saves["one"].poll.pages, second.saves["two"].poll.pages), (1, 2));
        assert!(second.seen.contains("three"));
        queue.written();
        assert!(!queue.close(Duration::ZERO));
        queue.save(pending("late", 1), Duration::from_mins(1));
        assert!(matches!(queue.next(), Task::Close(writes) if writes.is_empty()));
        queue.closed();
        assert!(queue.close(Duration::from_mins(1)));
    }

    fn numbers(count: u32) -> Arc<NumberStates> {
        let number =
            |index| StatedNumber { e164: format!("+1415{index:07}").parse().unwrap(), class: 0, assignment: 0 };
        let numbers = (0..count).map(number).collect();
        Arc::new(NumberStates::new(vec![NumberState::example()], vec![Assignment::default()], numbers).unwrap())
    }

    fn listed(name: &str, second: u64, numbers: &Arc<NumberStates>, previous: Option<&Arc<NumberStates>>) -> Pending {
        let listing = Listing::default();
        let mut poll = pending(name, 1).poll;
        poll.ended_at += Duration::from_secs(second);
        let account = AccountKey { name: name.to_owned(), source: String::new() };
        let listing =
            SavedListing { listing: Arc::new(listing), numbers: numbers.clone(), previous: previous.cloned() };
        Pending::from(Save { account, poll, counters: ChangeCounters::default(), listing: Some(listing) })
    }

    #[test]
    fn changes_of_each_waiting_poll_are_kept_until_there_are_too_many() {
        let queue = Queue::default();
        let (none, some, many) = (numbers(0), numbers(5), numbers(60_000));
        let save = |second, after: &_, before| queue.save(listed("one", second, after, before), Duration::ZERO);
        assert!(!save(0, &none, None));
        assert!(!save(1, &some, Some(&none)));
        assert!(!save(2, &none, Some(&some)));
        queue.save(pending("one", 1), Duration::ZERO);
        assert!(!save(3, &many, Some(&none)));
        let writes = writes(&queue);
        let waiting = &writes.saves["one"];
        let counts: Vec<_> = waiting.records.iter().map(|poll| (poll.at, poll.changes.len())).collect();
        let at = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        assert_eq!(counts, [(at(1), 5), (at(2), 5)]);
        assert!(Arc::ptr_eq(waiting.listing.as_ref().unwrap().previous.as_ref().unwrap(), &none));
        assert!(matches!(&waiting.start, Some(Start::Nothing(numbers, _)) if Arc::ptr_eq(numbers, &none)));

        assert!(!save(4, &none, Some(&many)));
        assert!(!queue.failed(&writes));
        let kept = |name: &str| {
            let waiting = queue.pending(&listed(name, 0, &none, None).account).pop().unwrap();
            (waiting.record_count(), waiting.listing.unwrap().previous.unwrap())
        };
        assert_eq!(kept("one").0, 60_010);
        // The removal of 60,000 numbers is one too many, so it is combined with the change after it.
        assert!(save(5, &some, Some(&none)));
        let (count, previous) = kept("one");
        assert!(count == 60_010 && Arc::ptr_eq(&previous, &many));
        // Another account does not have more room.
        queue.save(listed("two", 1, &many, Some(&none)), Duration::ZERO);
        assert!(queue.save(listed("two", 2, &none, Some(&many)), Duration::ZERO));
        assert_eq!(kept("two").0, 0);
    }

    #[test]
    fn saves_of_another_source_replace_earlier_ones() {
        let queue = Queue::default();
        let (none, some) = (numbers(0), numbers(5));
        queue.save(listed("one", 1, &some, Some(&none)), Duration::ZERO);
        let mut other = listed("one", 2, &none, None);
        other.account.source.push('2');
        queue.save(other.clone(), Duration::ZERO);
        assert!(queue.pending(&listed("one", 1, &none, None).account).is_empty());
        let waiting = queue.pending(&other.account).pop().unwrap();
        assert!(waiting.records.is_empty() && waiting.listing.unwrap().previous.is_none());
    }
}
