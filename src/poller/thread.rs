//! The thread on which accounts are polled.

use std::sync::mpsc;
use std::{io, thread};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Maximum number of threads for work that takes longer than a page or waits for a disk. Accounts are polled at once at the
/// start, and each thread takes memory.
const MAX_BLOCKING_THREADS: usize = 64;

/// A runtime with one thread, for the pollers of all accounts.
///
/// Polling never delays a scrape and takes one core at most, and a page is not passed from one thread to another.
/// Dropping it stops all pollers without waiting for them.
#[derive(Debug)]
pub struct PollingThread {
    handle: Handle,
    /// The thread ends when this is dropped.
    _stop: oneshot::Sender<()>,
}

impl PollingThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the operating system cannot start it.
    pub fn start() -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let (started, handle) = mpsc::channel();
        // A runtime must not be dropped on a thread that runs tasks, so that of this thread never leaves it.
        thread::Builder::new().name("polling".to_owned()).spawn(move || {
            let mut runtime = Builder::new_current_thread();
            runtime.enable_all().max_blocking_threads(MAX_BLOCKING_THREADS);
            let runtime = match runtime.build() {
                Ok(runtime) => runtime,
                Err(error) => {
                    _ = started.send(Err(error));
                    return;
                }
            };
            _ = started.send(Ok(runtime.handle().clone()));
            // An error means that the sender has been dropped.
            _ = runtime.block_on(stopped);
            // Polls publish nothing before their end, so there is nothing to wait for.
            runtime.shutdown_background();
        })?;
        let handle = handle.recv().unwrap_or_else(|error| Err(io::Error::other(error)))?;
        Ok(Self { handle, _stop: stop })
    }

    /// Returns a handle that spawns tasks on the thread.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}
