//! `once`: lists every account once and prints the metrics, or writes them to a file.
//!
//! The file is replaced atomically. If every account fails, it is not changed.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, anyhow};
use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::{CommandEntry, CommandError, print, with_config};
use crate::config::{CommandSpec, Config};
use crate::metrics::{AccountMetrics, ConfigStatus, ExporterMetrics, Format, Scrape};
use crate::poller::{Poller, build_pollers};

pub(super) static COMMAND: CommandEntry = CommandEntry {
    spec: CommandSpec {
        name: "once",
        about: "List every account once and print the metrics or write them to a file",
        examples: &["tryvox-exporter once --output.file=/var/lib/prometheus/node-exporter/tryvox.prom"],
        options: &["config.file", "tryvox.*", "poll.*", "collector.*", "shard", "total-shards", "log.*", "output.file"],
        defaults: &[
            // What fails is in the last line of stderr.
            ("log.level", "error"),
        ],
        requires_keys: false,
    },
    run: |source| with_config(&source, run),
};

/// Polls every account once. If one of them fails, the metrics of the others are printed or written all the same.
///
/// # Errors
/// If a poll fails, the file cannot be written, or `stop` is cancelled.
async fn run(config: &Config, stop: CancellationToken) -> Result<(), CommandError> {
    let mut pollers = build_pollers(config).map_err(anyhow::Error::msg)?;
    let accounts: Vec<_> = pollers.iter_mut().map(AccountMetrics::attach).collect();
    let polls = join_all(pollers.iter().map(Poller::once));
    stop.run_until_cancelled(polls).await.ok_or_else(|| anyhow!("interrupted before all accounts were listed"))?;

    let failures = failures(&accounts);
    let (shard, total_shards) = (config.shard, config.options.shard.total_shards);
    let status = ConfigStatus { is_valid: true, loaded_at: SystemTime::now(), shard, total_shards };
    let scrape = Scrape::new(&accounts, Arc::new(ExporterMetrics::new(status)));
    // The process is about to end, and node_exporter, which reads the file, has `process_*` metrics of its own.
    let text = scrape.without_process().text(Format::Text);
    match &config.options.output.file {
        // A file with the metrics of an earlier run is kept if there is nothing new.
        Some(_) if failures.len() == accounts.len() && !accounts.is_empty() => {}
        Some(path) => replace(path, &text).with_context(|| {
            format!("cannot write {}; check that its directory exists and is writable", path.display())
        })?,
        None => print(&text),
    }
    match &failures[..] {
        [] => Ok(()),
        [first, ..] => {
            let (failed, all) = (failures.len(), accounts.len());
            let plural = if all == 1 { "" } else { "s" };
            Err(anyhow!("{failed} of {all} account{plural} could not be listed: {first}").into())
        }
    }
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

/// Replaces a file atomically: readers see the old content or the new one, but no mixture.
fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    // Without the extension `.prom`, so that node_exporter does not read it before it is complete.
    let mut file = tempfile::Builder::new().prefix(".tryvox-exporter-").suffix(".tmp").tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(PermissionsExt::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    std::fs::File::open(folder)?.sync_all()?;
    Ok(())
}
