//! `list`: prints every number of every account, one row each.
//!
//! The records of an account are spooled to a temporary file while its pages arrive, and printed when the listing is known to
//! be valid. Accounts are listed concurrently and printed in the order of the configuration.

mod printer;
mod row;
mod spool;

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, anyhow};
use futures_util::{StreamExt, stream};
use rustix::process::{Resource, getrlimit};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::output_file::OutputFile;
use super::progress::PageProgress;
use super::{CommandEntry, CommandError, RUNNING_EXPORTER_OPTIONS, warn, with_config};
use crate::blocking::run_blocking;
use crate::config::{AccountConfig, CommandSpec, Config, ListOptions, OutputFormat};
use crate::inventory::Listing;
use crate::plural;
use crate::poller::{ListedRecords, Poller, build_pollers};
use printer::Printer;
use row::Row;
use spool::{Spool, SpooledListing};

pub(super) static COMMAND: CommandEntry = CommandEntry {
    spec: CommandSpec {
        name: "list",
        about: "List every number of every account, one row each",
        examples: &[
            "tryvox-exporter list --config.file=tryvox-exporter.yml --status=suspended",
            "tryvox-exporter list --config.file=tryvox-exporter.yml --output=csv --output.file=numbers.csv",
        ],
        options: &[
            "config.file",
            "tryvox.*",
            "poll.*",
            "shard",
            "total-shards",
            "log.*",
            "country",
            "status",
            "type",
            "assignment",
            "owner",
            "output",
            "output.file",
        ],
        ignored: RUNNING_EXPORTER_OPTIONS,
        defaults: &[
            // What fails is in the last lines of stderr.
            ("log.level", "error"),
        ],
        formats: &[OutputFormat::Table, OutputFormat::Csv, OutputFormat::Json],
        requires_keys: false,
        exports_watched_numbers: false,
    },
    run: |source| with_config(&source, run),
};

/// Maximum number of accounts that are being listed or wait for an earlier one to be printed. It bounds the number of
/// temporary files.
const MAX_ACCOUNTS_AHEAD: usize = 256;

/// Temporary files that an account may have: one of the best attempt so far, and one of the attempt in progress.
const FILES_PER_ACCOUNT: usize = 2;

/// Files that are open besides temporary files and connections to the API: streams, the output, key files.
const SPARE_FILES: usize = 32;

/// Why printing ended early.
#[derive(Debug, thiserror::Error)]
enum PrintError {
    /// The output cannot be written.
    #[error("cannot write the output")]
    Output(#[from] io::Error),
    /// The records cannot be read.
    #[error(transparent)]
    Records(#[from] anyhow::Error),
}

/// Prints the numbers of all accounts.
///
/// # Errors
/// If an account cannot be listed, the output cannot be written, or `stop` is cancelled. A closed pipe is not an error, but
/// ends the command, so later accounts are not listed.
async fn run(config: &Config, stop: CancellationToken) -> Result<(), CommandError> {
    let path = config.options.output.file.as_deref();
    path.map(OutputFile::check).transpose()?;
    let file = path.map(|path| OutputFile::new(path).with_context(|| file_error(path))).transpose()?;
    let pollers = build_pollers(config).map_err(anyhow::Error::msg)?;
    if let Some(warning) = unknown_owners(config) {
        warn(&warning);
    }
    // A table on the same terminal would be mixed up with the bar.
    let has_progress = io::stderr().is_terminal() && (file.is_some() || !io::stdout().is_terminal());
    let progress = has_progress.then(|| PageProgress::start(&pollers, stop.child_token()));
    let mut results = AccountResults::default();
    let printed = stop.run_until_cancelled(print_accounts(config, pollers, file.as_ref(), &mut results)).await;
    if let Some(progress) = progress {
        progress.finish().await;
    }
    let AccountResults { rows, warnings, mut failures } = results;
    for warning in &warnings {
        warn(warning);
    }
    let mut fail = |error: anyhow::Error| {
        failures.push(format!("{error:#}"));
        Err(CommandError::Failures(std::mem::take(&mut failures)))
    };
    let is_complete = match printed {
        Some(Ok(())) => true,
        Some(Err(PrintError::Output(error))) if error.kind() == io::ErrorKind::BrokenPipe => false,
        Some(Err(error)) => return fail(error.into()),
        None => return fail(anyhow!("interrupted before all accounts were listed")),
    };
    let is_anything_listed = failures.len() < config.accounts.len() || failures.is_empty();
    if let (Some(file), Some(path), true) = (file, path, is_complete && is_anything_listed) {
        file.replace().with_context(|| file_error(path))?;
    }
    if !failures.is_empty() {
        return Err(CommandError::Failures(failures));
    }
    if is_complete && rows == 0 {
        // If stderr is closed, only the exit status remains.
        _ = writeln!(io::stderr(), "tryvox-exporter: no numbers, or none that the filters select");
    }
    Ok(())
}

/// Returns a warning of owners that `--owner` names, but the configuration does not have. An empty name stands for numbers
/// without owner.
fn unknown_owners(config: &Config) -> Option<String> {
    let is_unknown = |name: &&String| !name.is_empty() && !config.owner_names.contains(name.as_str());
    let selected = config.options.list.owners.iter().flatten();
    let unknown: Vec<_> = selected.filter(is_unknown).map(|name| format!("{name:?}")).collect();
    let names = unknown.join(" or ");
    let hint = if config.owner_names.iter().any(|name| name.contains(',')) {
        ", and put a name with a comma in double quotes, like --owner='\"Smith, Inc\"'"
    } else {
        ""
    };
    (!unknown.is_empty()).then(|| {
        format!(
            "--owner: the configuration has no owner named {names}; correct the name or add the owner to the file{hint}"
        )
    })
}

fn file_error(path: &Path) -> String {
    format!("cannot write {}; check that its directory exists and is writable", path.display())
}

/// What was printed, and what is to be said about the accounts, in one line each.
#[derive(Debug, Default)]
struct AccountResults {
    /// Number of rows printed.
    rows: u64,
    /// Why rows may be missing although their account was listed.
    warnings: Vec<String>,
    /// The accounts that could not be listed.
    failures: Vec<String>,
}

/// Prints the accounts to a file or to stdout, in the order of the configuration. What happened before an error is in
/// `results`.
async fn print_accounts(
    config: &Config,
    pollers: Vec<Poller>,
    file: Option<&OutputFile>,
    results: &mut AccountResults,
) -> Result<(), PrintError> {
    let (out, is_terminal): (Box<dyn Write + Send>, _) = match file {
        Some(file) => (Box::new(file.content().try_clone()?), false),
        None => (Box::new(io::stdout()), io::stdout().is_terminal()),
    };
    let mut printer = Printer::new(config.options.output.format, is_terminal, out);
    // Tasks of their own, because requests go on while an earlier account is printed to a slow reader.
    let listings = pollers.into_iter().map(|poller| async {
        let name = poller.account.name().to_owned();
        let listing = AbortOnDropHandle::new(tokio::spawn(async move { list(&poller).await })).await;
        listing.unwrap_or_else(|_| Err(format!("{name}: listing it panicked; please report this bug")))
    });
    let mut listings = stream::iter(listings).buffered(accounts_ahead(config)).zip(stream::iter(&config.accounts));
    while let Some((listing, account)) = listings.next().await {
        match listing {
            Ok((listing, warnings)) => {
                let (account, filters) = (account.clone(), config.options.list.clone());
                let result;
                (printer, result) = run_blocking(move || {
                    let result = print_account(&mut printer, &account, listing, &filters);
                    (printer, result)
                })
                .await;
                results.warnings.extend(warnings);
                results.rows += result?;
            }
            Err(failure) => results.failures.push(failure),
        }
    }
    Ok(run_blocking(move || printer.finish()).await?)
}

/// Returns how many accounts may be ahead of the one that is printed, so that this process can open their files.
fn accounts_ahead(config: &Config) -> usize {
    let limit = getrlimit(Resource::Nofile).current.and_then(|files| usize::try_from(files).ok());
    let others = config.options.tryvox.total_concurrency.saturating_add(SPARE_FILES);
    let files = limit.map_or(usize::MAX, |files| files.saturating_sub(others));
    (files / FILES_PER_ACCOUNT).clamp(1, MAX_ACCOUNTS_AHEAD)
}

/// Returns the numbers of an account and warnings, or why it cannot be listed.
async fn list(poller: &Poller) -> Result<(SpooledListing, Vec<String>), String> {
    let name = poller.account.name();
    let ListedRecords { listing, numbers, sink } = poller
        .records(Spool::default)
        .await
        .map_err(|failure| format!("{name}: {failure} ({}); its numbers are left out", failure.reason.as_str()))?;
    let warnings = warnings(name, &listing);
    drop(listing);
    let spooled = run_blocking(move || sink.finish(numbers)).await;
    Ok((spooled.map_err(|error| format!("{name}: {error:#}; its numbers are left out"))?, warnings))
}

/// Returns why rows may be missing although the listing is valid.
fn warnings(name: &str, listing: &Listing) -> Vec<String> {
    let (listed, invalid) = (listing.inventory.listed, listing.inventory.invalid);
    let mut warnings = Vec::new();
    if invalid > 0 {
        let records = plural::choose(invalid, "invalid record is", "invalid records are");
        warnings.push(format!("{name}: {invalid} {records} left out; tryvox-exporter check says what is wrong"));
    }
    if listing.discrepancy() > 0 {
        let reported = listing.reported;
        warnings.push(format!("{name}: the API reports {reported} numbers but listed {listed} valid ones"));
    }
    warnings
}

/// Prints the numbers of an account that the filters select, and returns how many there are.
fn print_account(
    printer: &mut Printer<impl Write>,
    account: &AccountConfig,
    listing: SpooledListing,
    filters: &ListOptions,
) -> Result<u64, PrintError> {
    let mut rows = 0;
    let mut owners = account.owners.lookup();
    listing.for_each(|e164, record| {
        let row = Row::new(&account.name, &mut owners, e164, record);
        if row.is_selected(filters) {
            printer.print(&row)?;
            rows += 1;
        }
        Ok::<_, PrintError>(())
    })?;
    Ok(rows)
}
