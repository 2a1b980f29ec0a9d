//! The thread that writes a state file.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::core::Core;
use super::fault::Fault;
use super::queue::{Queue, Task, Work};
use super::report::Report;

/// What the store and its writer share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) core: Mutex<Core>,
    pub(super) queue: Queue,
    pub(super) report: Report,
    pub(super) retention: Duration,
}

/// Writes what is saved until the store is closed.
pub(super) fn run(shared: &Shared) {
    loop {
        match shared.queue.next() {
            Task::Write(work) => {
                match write(shared, &work) {
                    Ok(()) => shared.queue.written(),
                    Err(_) => shared.queue.failed(work),
                }
                // No poll waits for this.
                shared.core.lock().unwrap_or_else(PoisonError::into_inner).shrink_wal();
            }
            Task::Maintain => {
                let mut core = shared.core.lock().unwrap_or_else(PoisonError::into_inner);
                let has_more = core.maintain(shared.retention, &shared.report);
                if let Err(fault) = &has_more {
                    shared.report.write_failed(core.path(), &fault.to_string());
                }
                drop(core);
                shared.queue.maintained(has_more.unwrap_or(false));
            }
            Task::Close(work) => {
                if !work.is_empty() {
                    _ = write(shared, &work);
                }
                shared.core.lock().unwrap_or_else(PoisonError::into_inner).close();
                shared.queue.closed();
                return;
            }
        }
    }
}

fn write(shared: &Shared, work: &Work) -> Result<(), Fault> {
    let mut core = shared.core.lock().unwrap_or_else(PoisonError::into_inner);
    let written = core.write(&work.saves, &work.seen, &shared.report);
    if let Err(fault) = &written {
        shared.report.write_failed(core.path(), &fault.to_string());
    }
    written
}
