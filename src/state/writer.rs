//! The thread that writes a state file.

use super::fault::Fault;
use super::queue::{PendingWrites, Task};
use super::shared::Shared;
use super::state_file::StateFile;

/// Writes what is saved until the store is closed.
pub(super) fn run(mut file: StateFile, shared: &Shared) {
    let path = shared.reader.path();
    loop {
        match shared.queue.next() {
            Task::Write(writes) => {
                match write(&mut file, shared, &writes) {
                    Ok(()) => shared.queue.written(),
                    Err(_) => {
                        if shared.queue.failed(&writes) {
                            shared.report.combined(path);
                        }
                    }
                }
                // No poll waits for this.
                file.shrink_wal();
            }
            Task::Maintain => {
                let has_more = file.maintain(shared.retention, shared);
                if let Err(fault) = &has_more {
                    shared.report.write_failed(path, &fault.to_string());
                }
                shared.queue.maintained(has_more.unwrap_or(false));
            }
            Task::Close(writes) => {
                if !writes.is_empty() {
                    _ = write(&mut file, shared, &writes);
                }
                // The connection that is closed last removes the WAL.
                shared.reader.close();
                file.close();
                shared.queue.closed();
                return;
            }
        }
    }
}

fn write(file: &mut StateFile, shared: &Shared, writes: &PendingWrites) -> Result<(), Fault> {
    let written = file.write(writes, shared);
    if let Err(fault) = &written {
        shared.report.write_failed(shared.reader.path(), &fault.to_string());
    }
    written
}
