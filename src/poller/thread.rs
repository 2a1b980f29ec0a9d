//! The thread on which accounts are polled.

use std::io;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

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
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        thread::Builder::new().name("polling".to_owned()).spawn(move || {
            // An error means that the sender has been dropped.
            _ = runtime.block_on(stopped);
            // Polls publish nothing before their end, so there is nothing to wait for.
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, _stop: stop })
    }

    /// Returns a handle that spawns tasks on the thread.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}
