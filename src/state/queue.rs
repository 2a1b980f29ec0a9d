//! Saves on their way from the pollers to the writer: what waits, and who waits for it.

use std::collections::HashSet;
use std::collections::hash_map::Entry;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::core::Batch;
use super::pending::Pending;

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
    pending: Batch,
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
    Write(Work),
    /// Delete what is no longer needed, and report to [`Queue::maintained`].
    Maintain,
    /// Write this, and end.
    Close(Work),
}

/// What is to be written.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) saves: Batch,
    /// Accounts that have been restored.
    pub(super) seen: HashSet<String>,
}

impl Work {
    pub(super) fn is_empty(&self) -> bool {
        self.saves.is_empty() && self.seen.is_empty()
    }
}

impl Queue {
    /// Adds a save and waits until its write has succeeded or failed, or until the timeout.
    pub(super) fn save(&self, pending: Pending, timeout: Duration) {
        let mut inner = self.lock();
        if inner.is_closing {
            return;
        }
        inner.add(pending);
        inner.saves += 1;
        let save = inner.saves;
        self.changed.notify_all();
        // While storing is slow, waiting would only delay the polls of all accounts.
        if inner.is_stuck || inner.failure.as_ref().is_some_and(|failure| failure.was_slow) {
            return;
        }
        let is_waiting = |inner: &mut Inner| inner.attempted < save && !inner.is_closed;
        let waited = self.done.wait_timeout_while(inner, timeout, is_waiting);
        let mut inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        inner.is_stuck = is_waiting(&mut inner);
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
        inner.maintain_at.get_or_insert_with(|| Instant::now() + FIRST_MAINTENANCE);
        self.attempted(&mut inner);
    }

    /// Puts back what could not be written.
    pub(super) fn failed(&self, work: Work) {
        let mut inner = self.lock();
        let was_slow = inner.running_since.is_some_and(|since| since.elapsed() >= SLOW_FAILURE);
        inner.failure = Some(Failure { at: Instant::now(), was_slow });
        // Nothing is deleted before it can be written who was seen.
        inner.maintain_at = inner.maintain_at.map(|at| at.max(Instant::now() + RETRY_INTERVAL));
        let newer = std::mem::replace(&mut inner.pending, work.saves);
        for pending in newer.into_values() {
            inner.add(pending);
        }
        inner.seen.extend(work.seen);
        self.attempted(&mut inner);
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
    fn add(&mut self, pending: Pending) {
        match self.pending.entry(pending.account.name.clone()) {
            Entry::Vacant(entry) => _ = entry.insert(pending),
            Entry::Occupied(entry) => {
                let (name, earlier) = entry.remove_entry();
                self.pending.insert(name, earlier.followed_by(pending));
            }
        }
    }

    fn take(&mut self, now: Instant) -> Work {
        self.taken = self.saves;
        self.running_since = Some(now);
        Work { saves: std::mem::take(&mut self.pending), seen: std::mem::take(&mut self.seen) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::inventory::{ChangeCounters, NumberStates};
    use crate::state::{AccountKey, StoredPoll};

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
        Pending { account, poll, counters: ChangeCounters::default(), listing: None, baseline: None }
    }

    fn work(queue: &Queue) -> Work {
        match queue.next() {
            Task::Write(work) => work,
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

        assert_eq!(work(&queue).saves["one"].poll.pages, 999);
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
        let first = work(&queue);
        queue.save(pending("two", 2), Duration::ZERO);
        queue.failed(first);
        let second = work(&queue);
        assert_eq!((second.saves["one"].poll.pages, second.saves["two"].poll.pages), (1, 2));
        assert!(second.seen.contains("three"));
        queue.written();
        assert!(!queue.close(Duration::ZERO));
        queue.save(pending("late", 1), Duration::from_mins(1));
        assert!(matches!(queue.next(), Task::Close(work) if work.is_empty()));
        queue.closed();
        assert!(queue.close(Duration::from_mins(1)));
    }

    #[test]
    fn combined_saves_keep_the_first_baseline_and_the_last_listing() {
        let listing = |ended_at| super::super::pending::PendingListing {
            listing: std::sync::Arc::default(),
            numbers: std::sync::Arc::default(),
            ended_at,
        };
        let [first, second]: [std::sync::Arc<NumberStates>; 2] = Default::default();
        let later = SystemTime::UNIX_EPOCH + TIMEOUT;
        let one = || Pending { listing: Some(listing(SystemTime::UNIX_EPOCH)), ..pending("one", 1) };
        let two = || Pending { listing: Some(listing(later)), baseline: Some(second.clone()), ..pending("one", 2) };
        let failed = pending("one", 3);

        let combined = Pending { baseline: Some(first.clone()), ..one() }.followed_by(two()).followed_by(failed);
        assert_eq!(combined.poll.pages, 3);
        assert_eq!(combined.listing.unwrap().ended_at, later);
        assert!(std::sync::Arc::ptr_eq(&combined.baseline.unwrap(), &first));
        // The first listing of an account has nothing to be compared with, but the second one has.
        assert!(std::sync::Arc::ptr_eq(&one().followed_by(two()).baseline.unwrap(), &second));
        let mut other = two();
        other.account.source.push('2');
        other.baseline = None;
        assert!(Pending { baseline: Some(first), ..one() }.followed_by(other).baseline.is_none());
    }
}
