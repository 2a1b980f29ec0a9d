//! The thread on which accounts are polled.

use std::io;

use tokio::runtime::{Handle, Runtime};

/// A runtime with one thread, for the pollers of all accounts.
///
/// Polling never delays a scrape and takes one core at most, and a page is not passed from one thread to another.
/// Dropping it stops all pollers without waiting for them.
#[derive(Debug)]
pub struct PollingThread {
    /// Always there until this is dropped.
    runtime: Option<Runtime>,
    handle: Handle,
}

impl PollingThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the operating system cannot start it.
    pub fn start() -> io::Result<Self> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).thread_name("polling").enable_all().build()?;
        let handle = runtime.handle().clone();
        Ok(Self { runtime: Some(runtime), handle })
    }

    /// Returns a handle that spawns tasks on the thread.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for PollingThread {
    fn drop(&mut self) {
        // Polls publish nothing before their end, so there is nothing to wait for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
