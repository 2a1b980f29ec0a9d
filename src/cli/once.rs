//! `once`: list every account once and print the metrics, or write them to a file.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::serve::{configured, pollers};
use super::{CommandError, print};
use crate::config::Config;
use crate::metrics::{Exporter, Format, Scrape};
use crate::poller::{Account, Poller};

pub(super) async fn run(config: &Config, stop: CancellationToken) -> Result<(), CommandError> {
    let pollers = pollers(config)?;
    let polls = join_all(pollers.iter().map(Poller::once));
    stop.run_until_cancelled(polls).await.ok_or_else(|| anyhow!("interrupted before all accounts were listed"))?;

    let accounts: Vec<_> = pollers.iter().map(|poller| poller.account.clone()).collect();
    let failed = failures(&accounts);
    // Nobody asks about the process, which is about to end; and node_exporter has `process_*` of its own.
    let text = Scrape::new(&accounts, Arc::new(Exporter::new(configured(config)))).without_process().text(Format::Text);
    match &config.options.output.file {
        // What was good there is better than nothing new.
        Some(_) if failed.len() == accounts.len() && !accounts.is_empty() => {}
        Some(path) => replace(path, &text).with_context(|| {
            format!("cannot write {}; check that its folder exists and may be written to", path.display())
        })?,
        None => print(&text),
    }
    match &failed[..] {
        [] => Ok(()),
        [first, ..] => {
            let (failed, all) = (failed.len(), accounts.len());
            Err(anyhow!("{failed} of {all} account(s) could not be listed: {first}").into())
        }
    }
}

/// The accounts that could not be listed, and why.
fn failures(accounts: &[Arc<Account>]) -> Vec<String> {
    let failure = |account: &Arc<Account>| {
        let published = account.snapshot();
        let failure = published.polls.failure.as_ref()?;
        Some(format!("{}: {} ({})", account.name(), failure, failure.reason.as_str()))
    };
    accounts.iter().filter_map(failure).collect()
}

/// Puts a file in the place of another in one step: whoever reads it sees the one or the other.
fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    // Not `.prom`: node_exporter must not read it before it is whole.
    let mut file = tempfile::Builder::new().prefix(".tryvox-exporter-").suffix(".tmp").tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(PermissionsExt::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    std::fs::File::open(folder)?.sync_all()?;
    Ok(())
}
