//! `check`: list every account once and say what is there and what is wrong.

mod report;
mod table;

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use futures_util::future::join_all;
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use super::{CommandError, print};
use crate::config::{OutputFormat, ServeConfig, Settings};
use crate::poller::{Account, Poller, build_pollers};
use report::{AccountReport, Report};

/// How often the bar moves.
const BEAT: Duration = Duration::from_millis(100);

pub(super) async fn run(
    settings: &Settings,
    config: &ServeConfig,
    stop: CancellationToken,
) -> Result<(), CommandError> {
    let pollers = build_pollers(config).map_err(anyhow::Error::msg)?;
    let reports = join_all(pollers.iter().map(check));
    let bar = std::io::stderr().is_terminal().then(|| Bar::start(&pollers, stop.child_token()));
    let reports = stop.run_until_cancelled(reports).await;
    if let Some(bar) = bar {
        bar.end().await;
    }
    let report = Report::new(reports.ok_or_else(|| anyhow!("interrupted before all accounts were listed"))?);
    match settings.output {
        OutputFormat::Table => print(&table::render(&report, color())),
        OutputFormat::Json => {
            let json = serde_json::to_string_pretty(&report).map_err(anyhow::Error::new)?;
            print(&format!("{json}\n"));
        }
    }
    match report.accounts.iter().filter(|account| !account.ok).count() {
        0 => Ok(()),
        failed => {
            Err(anyhow!("{failed} of {} account(s) could not be listed; the reasons are above", pollers.len()).into())
        }
    }
}

async fn check(poller: &Poller) -> AccountReport {
    let start = Instant::now();
    let listing = poller.listing().await;
    AccountReport::new(poller, listing, start.elapsed())
}

/// Colour where a person looks at it and has not asked for none (<https://no-color.org>).
fn color() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A bar on stderr over the pages of all accounts.
struct Bar {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Bar {
    fn start(pollers: &[Poller], stop: CancellationToken) -> Self {
        let accounts: Vec<Arc<Account>> = pollers.iter().map(|poller| poller.account.clone()).collect();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let bar = ProgressBar::new(0);
            let style = "{bar:30} {pos}/{len} pages  {per_sec}  {eta} left  {msg}";
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
            loop {
                let (mut read, mut pages, mut begun) = (0, 0, 0);
                for (done, of) in accounts.iter().map(|account| account.progress()) {
                    read += u64::from(done);
                    pages += u64::from(of);
                    begun += usize::from(of > 0);
                }
                bar.set_length(pages);
                bar.set_position(read);
                bar.set_message(format!("of {begun}/{} accounts", accounts.len()));
                if stopped.run_until_cancelled(tokio::time::sleep(BEAT)).await.is_none() {
                    break;
                }
            }
            bar.finish_and_clear();
        });
        Self { stop, task }
    }

    async fn end(self) {
        self.stop.cancel();
        // Only a fault of this program keeps it from ending.
        _ = self.task.await;
    }
}
