//! The progress of listing accounts, on a terminal.

use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use crate::poller::{Account, Poller};

/// Time between two updates of the progress bar.
const REFRESH_INTERVAL: Duration = Duration::from_millis(100);

/// A progress bar on stderr that counts the pages of all accounts.
pub(super) struct PageProgress {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl PageProgress {
    /// Draws the bar until it is finished or `stop` is cancelled.
    pub(super) fn start(pollers: &[Poller], stop: CancellationToken) -> Self {
        let accounts: Vec<Arc<Account>> = pollers.iter().map(|poller| poller.account.clone()).collect();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let bar = ProgressBar::new(0);
            let style = "{bar:30} {pos}/{len} pages, {per_sec}, {eta} left, {msg}";
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
            loop {
                let (mut read, mut total, mut started) = (0, 0, 0);
                for progress in accounts.iter().map(|account| account.progress()) {
                    read += u64::from(progress.done);
                    total += u64::from(progress.total);
                    started += usize::from(progress.total > 0);
                }
                bar.set_length(total);
                bar.set_position(read);
                bar.set_message(format!("{started}/{} accounts started", accounts.len()));
                if stopped.run_until_cancelled(tokio::time::sleep(REFRESH_INTERVAL)).await.is_none() {
                    break;
                }
            }
            bar.finish_and_clear();
        });
        Self { stop, task }
    }

    /// Removes the bar.
    pub(super) async fn finish(self) {
        self.stop.cancel();
        // It fails only if the task has panicked, which does not matter to the report.
        _ = self.task.await;
    }
}
