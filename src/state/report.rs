//! How storing goes: counted, and logged at a limited rate.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tracing::{error, info, warn};

/// Minimum time between two messages about the same error.
const LOG_INTERVAL: Duration = Duration::from_mins(1);

/// How storing goes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct StateStatus {
    /// Errors so far.
    pub errors: u64,
    /// When the last transaction was committed.
    pub last_write_at: Option<SystemTime>,
}

/// Counts and logs errors of a state file.
#[derive(Debug, Default)]
pub(super) struct Report(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    status: StateStatus,
    /// The last error of writing that was logged, and when.
    logged: Option<(String, Instant)>,
    /// The last error of reading that was logged, and when.
    read_logged: Option<(String, Instant)>,
    /// Whether the last attempt to write failed.
    is_failing: bool,
    /// Whether it was logged since then that changes are combined.
    is_combined: bool,
}

impl Report {
    /// Returns the counts.
    pub(super) fn status(&self) -> StateStatus {
        self.lock().status
    }

    /// Records that the file cannot be written for now.
    pub(super) fn write_failed(&self, path: &Path, problem: &str) {
        let mut inner = self.lock();
        inner.is_failing = true;
        if inner.count(problem) {
            error!(file = %path.display(), error = problem, "state file not written, keeping the state in memory");
        }
    }

    /// Records that the file was corrupt and has been moved aside, if that was possible.
    pub(super) fn moved_aside(&self, path: &Path, problem: &str, target: &Path) {
        if self.lock().count(problem) {
            error!(
                file = %path.display(), error = problem, moved_to = %target.display(),
                "state file was corrupt, starting a new one; check the disk"
            );
        }
    }

    /// Records that something in the file is invalid, which therefore is not restored.
    pub(super) fn invalid(&self, path: &Path, account: &str, problem: &str) {
        if self.lock().count_read(problem) {
            error!(file = %path.display(), account, error = problem, "stored state of an account is invalid, not restored");
        }
    }

    /// Records that the file cannot be read for now.
    pub(super) fn not_restored(&self, path: &Path, account: &str, problem: &str) {
        if self.lock().count_read(problem) {
            error!(
                file = %path.display(), account, error = problem,
                "stored state not restored, adding to it when the file can be read"
            );
        }
    }

    /// Records that the file was removed or replaced while it was open.
    pub(super) fn replaced(&self, path: &Path) {
        self.lock().status.errors += 1;
        error!(
            file = %path.display(),
            "state file was removed or replaced, recorded changes are lost, writing a new one"
        );
    }

    /// Records that too many changes wait, so that those of several polls are combined.
    pub(super) fn combined(&self, path: &Path) {
        if !std::mem::replace(&mut self.lock().is_combined, true) {
            warn!(
                file = %path.display(),
                "too many changes wait to be written, recording only the net difference of further polls"
            );
        }
    }

    /// Records a committed transaction.
    pub(super) fn written(&self, path: &Path, now: SystemTime) {
        let mut inner = self.lock();
        inner.status.last_write_at = Some(now);
        inner.is_combined = false;
        if std::mem::take(&mut inner.is_failing) {
            inner.logged = None;
            info!(file = %path.display(), "state file is written again");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Counts an error of writing and returns whether it is to be logged.
    fn count(&mut self, problem: &str) -> bool {
        self.status.errors += 1;
        is_logged(&mut self.logged, problem)
    }

    /// Counts an error of reading and returns whether it is to be logged.
    fn count_read(&mut self, problem: &str) -> bool {
        self.status.errors += 1;
        is_logged(&mut self.read_logged, problem)
    }
}

/// Returns whether an error is to be logged after the last one of its kind.
fn is_logged(last: &mut Option<(String, Instant)>, problem: &str) -> bool {
    let is_repeated = last.as_ref().is_some_and(|(last, at)| last == problem && at.elapsed() < LOG_INTERVAL);
    if !is_repeated {
        *last = Some((problem.to_owned(), Instant::now()));
    }
    !is_repeated
}
