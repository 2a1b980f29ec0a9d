//! `once`: lists every account once and prints the metrics, or writes them to a file.
//!
//! The file is replaced atomically, also if accounts fail: it says so, and keeps the inventory that it had of them until
//! that is stale. A watched number whose status is not known from the listing keeps the status in the file.

mod file;

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use anyhow::{Context, anyhow};
use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::output_file::OutputFile;
use super::{CommandEntry, CommandError, RUNNING_EXPORTER_OPTIONS, print, warn, with_config};
use crate::config::{CommandSpec, Config};
use crate::metrics::{
    AccountMetrics, ConfigStatus, ExporterMetrics, Format, PreviousAccount, PreviousMetrics, Scrape, seal,
};
use crate::plural;
use crate::poller::{Poller, build_pollers};

pub(super) static COMMAND: CommandEntry = CommandEntry {
    spec: CommandSpec {
        name: "once",
        about: "List every account once and print the metrics or write them to a file",
        examples: &[
            "tryvox-exporter once --poll.interval=1h --output.file=/var/lib/prometheus/node-exporter/tryvox.prom",
        ],
        options: &["config.file", "tryvox.*", "poll.*", "collector.*", "shard", "total-shards", "log.*", "output.file"],
        ignored: RUNNING_EXPORTER_OPTIONS,
        defaults: &[
            // What fails is in the last line of stderr.
            ("log.level", "error"),
        ],
        formats: &[],
        requires_keys: false,
        exports_watched_numbers: true,
    },
    run: |source| with_config(&source, run),
};

/// Polls every account once. If one of them fails, the metrics of the others are still printed or written.
///
/// # Errors
/// If a poll fails, the file cannot be written, or `stop` is cancelled.
async fn run(config: &Config, stop: CancellationToken) -> Result<(), CommandError> {
    let output = config.options.output.file.as_deref();
    output.map(OutputFile::check).transpose()?;
    let mut pollers = build_pollers(config).map_err(anyhow::Error::msg)?;
    let accounts: Vec<_> = pollers.iter_mut().map(AccountMetrics::attach).collect();
    // A watched number whose status is not known from the listing keeps its previous one.
    let previous = LazyLock::new(|| output.and_then(read_previous));
    let polls = join_all(pollers.iter().map(|poller| {
        let account = poller.account.config();
        let is_watching = !account.watch.is_empty();
        let watched = is_watching.then(|| previous_account(previous.as_ref()?, poller)).flatten();
        poller.once_after(watched.map(|account| account.watched_at(SystemTime::now())).unwrap_or_default().into())
    }));
    stop.run_until_cancelled(polls).await.ok_or_else(|| anyhow!("interrupted before all accounts were listed"))?;

    let failures = failures(&accounts);
    let carried = if failures.is_empty() { 0 } else { carry_over(previous.as_ref(), &pollers, &accounts) };
    let (shard, total_shards) = (config.shard, config.options.shard.total_shards);
    let status = ConfigStatus { is_valid: true, loaded_at: SystemTime::now(), shard, total_shards };
    let scrape = Scrape::new(&accounts, Arc::new(ExporterMetrics::new(status)));
    let sources = config.accounts.iter().map(|account| (&*account.name, account.source()));
    let text = seal(scrape.without_exporter().text(Format::Text), sources);
    match output {
        Some(path) => replace(path, &text).with_context(|| {
            format!("cannot write {}; check that its directory exists and is writable", path.display())
        })?,
        None => print(&text),
    }
    match &failures[..] {
        [] => Ok(()),
        [first, ..] => {
            let (failed, all) = (failures.len(), accounts.len());
            let noun = plural::choose(all as u64, "account", "accounts");
            let kept = match (carried, failed) {
                (0, _) => String::new(),
                (_, 1) => "; the file keeps its previous inventory".to_owned(),
                _ => format!("; the file keeps the previous inventory of {carried} of them"),
            };
            Err(anyhow!("{failed} of {all} {noun} could not be listed: {first}{kept}").into())
        }
    }
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let file = OutputFile::new(path)?;
    file.content().write_all(text.as_bytes())?;
    file.replace()
}

/// Returns the metrics in the file of an earlier run, if there are any; warns of a file that cannot be used.
fn read_previous(path: &Path) -> Option<PreviousMetrics> {
    file::read(path).unwrap_or_else(|error| {
        let message = format!(
            "no inventory is carried over from {}: {error:#}; it is replaced; if it belongs to another program, change \
             --output.file and restore it",
            path.display()
        );
        warn(&message);
        None
    })
}

/// Returns the metrics of a poller's account in the file of an earlier run.
fn previous_account<'a>(previous: &'a PreviousMetrics, poller: &Poller) -> Option<&'a PreviousAccount> {
    let config = poller.account.config();
    previous.account(&config.name, &config.source())
}

/// Completes the metrics of the accounts whose poll failed by those in the file of an earlier run. Returns how many
/// accounts have inventory from there.
fn carry_over(previous: Option<&PreviousMetrics>, pollers: &[Poller], accounts: &[Arc<AccountMetrics>]) -> usize {
    let Some(previous) = previous else { return 0 };
    let is_carried = |(poller, metrics): &(&Poller, &Arc<AccountMetrics>)| {
        let account = previous_account(previous, poller);
        account.is_some_and(|account| metrics.carry_over(account, poller.account.config().poll.stale_after()))
    };
    pollers.iter().zip(accounts).filter(is_carried).count()
}

/// Returns the accounts whose poll failed, and why, in one line each.
fn failures(accounts: &[Arc<AccountMetrics>]) -> Vec<String> {
    let failure = |metrics: &Arc<AccountMetrics>| {
        let account = metrics.account();
        let snapshot = account.snapshot();
        let failure = snapshot.polls.failure.as_ref()?;
        Some(format!("{}: {} ({})", account.name(), failure, failure.reason.as_str()))
    };
    accounts.iter().filter_map(failure).collect()
}
