//! How storing goes: counted, and logged at a limited rate.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tracing::{error, info};

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
    /// The last error that was logged, and when.
    logged: Option<(String, Instant)>,
    /// Whether the last attempt to write failed.
    is_failing: bool,
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

    /// Records that something in the file cannot be read, which therefore is not restored.
    pub(super) fn read_failed(&self, path: &Path, account: &str, problem: &str) {
        if self.lock().count(problem) {
            error!(file = %path.display(), account, error = problem, "stored state of an account not restored");
        }
    }

    /// Records a committed transaction.
    pub(super) fn written(&self, path: &Path, now: SystemTime) {
        let mut inner = self.lock();
        inner.status.last_write_at = Some(now);
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
    /// Counts an error and returns whether it is to be logged.
    fn count(&mut self, problem: &str) -> bool {
        self.status.errors += 1;
        let is_logged =
            self.logged.as_ref().is_some_and(|(logged, at)| logged == problem && at.elapsed() < LOG_INTERVAL);
        if !is_logged {
            self.logged = Some((problem.to_owned(), Instant::now()));
        }
        !is_logged
    }
}
