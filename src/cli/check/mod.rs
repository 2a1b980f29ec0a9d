//! `check`: lists every account once and prints its numbers and fees, the problems found, and advice.
//!
//! A table or JSON goes to stdout, a progress bar to stderr if that is a terminal. No state is kept.

mod group;
mod problems;
mod report;
mod savings;
mod table;

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::progress::PageProgress;
use super::{CommandEntry, CommandError, RUNNING_EXPORTER_OPTIONS, print, with_config};
use crate::config::{CommandSpec, Config, Options, OutputFormat};
use crate::duration;
use crate::plural;
use crate::poller::{Poller, build_pollers};
use report::{AccountReport, Report};

pub(super) static COMMAND: CommandEntry = CommandEntry {
    spec: CommandSpec {
        name: "check",
        about: "List every account once and report counts, fees and problems",
        examples: &["tryvox-exporter check --config.file=tryvox-exporter.yml --output=json"],
        options: &["config.file", "tryvox.*", "poll.*", "collector.*", "shard", "total-shards", "log.*", "output"],
        ignored: RUNNING_EXPORTER_OPTIONS,
        defaults: &[
            // What fails is in the output and in the last line of stderr.
            ("log.level", "error"),
        ],
        formats: &[OutputFormat::Table, OutputFormat::Json],
        requires_keys: false,
        exports_watched_numbers: false,
    },
    run: |source| with_config(&source, run),
};

/// Lists every account and prints the report.
///
/// # Errors
/// If an account cannot be listed, or `stop` is cancelled.
async fn run(config: &Config, stop: CancellationToken) -> Result<(), CommandError> {
    let pollers = build_pollers(config).map_err(anyhow::Error::msg)?;
    let reports = join_all(pollers.iter().map(|poller| check(poller, &config.options)));
    let progress = std::io::stderr().is_terminal().then(|| PageProgress::start(&pollers, stop.child_token()));
    let reports = stop.run_until_cancelled(reports).await;
    if let Some(progress) = progress {
        progress.finish().await;
    }
    let report = Report::new(reports.ok_or_else(|| anyhow!("interrupted before all accounts were listed"))?);
    match config.options.output.format {
        // CSV is not a format of this command.
        OutputFormat::Table | OutputFormat::Csv => print(&table::render(&report, is_colored())),
        OutputFormat::Json => {
            let json = serde_json::to_string_pretty(&report).map_err(anyhow::Error::new)?;
            print(&format!("{json}\n"));
        }
    }
    match report.failed_accounts.len() {
        0 => Ok(()),
        failed => {
            let accounts = plural(pollers.len() as u64, "account");
            Err(anyhow!("{failed} of {accounts} could not be listed; see the errors in the output").into())
        }
    }
}

/// Formats a count of things whose plural ends in `s`.
fn plural(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", plural::choose(count, "", "s"))
}

/// Maximum number of values that one line names.
const MAX_VALUES: usize = 20;

/// Names the first of some values, and says how many others there are.
fn some_of<'a>(values: impl ExactSizeIterator<Item = &'a str>) -> String {
    let omitted = values.len().saturating_sub(MAX_VALUES);
    let named = values.take(MAX_VALUES).collect::<Vec<_>>().join(", ");
    if omitted > 0 { format!("{named} and {omitted} more") } else { named }
}

/// Formats how long something took, like `250ms`, `4.04s` or `1m 30s`.
fn format_elapsed(duration: Duration) -> String {
    if (Duration::from_secs(1)..Duration::from_mins(1)).contains(&duration) {
        let hundredths = duration.as_millis() / 10;
        return format!("{}.{:02}s", hundredths / 100, hundredths % 100);
    }
    duration::format(duration)
}

/// Lists an account and measures how long that takes.
async fn check(poller: &Poller, options: &Options) -> AccountReport {
    let started_at = Instant::now();
    let outcome = poller.listing().await;
    AccountReport::new(poller, outcome, started_at.elapsed(), options)
}

/// Returns whether to print colors: only to a terminal, and not if the user opted out (<https://no-color.org>).
fn is_colored() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elapsed_seconds_have_two_decimals() {
        for (milliseconds, text) in
            [(2, "2ms"), (999, "999ms"), (1_000, "1.00s"), (4_040, "4.04s"), (59_999, "59.99s"), (90_500, "1m 30s")]
        {
            assert_eq!(format_elapsed(Duration::from_millis(milliseconds)), text);
        }
    }
}
