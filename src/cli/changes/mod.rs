//! `changes`: prints the changes recorded in a state file.
//!
//! It reads only the file, so it needs no accounts and no keys, works while an exporter writes, and on a copy of the file
//! elsewhere. Rows are printed as they are read, however many there are.

mod printer;
mod table;

use std::io::{self, IsTerminal, Write};
use std::time::SystemTime;

use super::{CommandEntry, CommandError, RUNNING_EXPORTER_OPTIONS};
use crate::config::{ChangesOptions, CommandSpec, Options, OutputFormat};
use crate::state::{ChangeFilter, Journal, JournalError, RecordedChange};
use crate::{plural, timestamp};
use printer::Printer;

pub(super) static COMMAND: CommandEntry = CommandEntry {
    spec: CommandSpec {
        name: "changes",
        about: "Print the changes of numbers that an exporter recorded in its state file",
        examples: &[
            "tryvox-exporter changes --state.file=/var/lib/tryvox-exporter/state.db",
            "tryvox-exporter changes --config.file=tryvox-exporter.yml --since=30d --kind=removed --output=csv",
        ],
        options: &["config.file", "state.file", "since", "account", "kind", "output"],
        ignored: RUNNING_EXPORTER_OPTIONS,
        defaults: &[],
        formats: &[OutputFormat::Table, OutputFormat::Csv, OutputFormat::Json],
        requires_keys: false,
        exports_watched_numbers: false,
    },
    // Without a runtime: a signal ends the command at once.
    run: |source| run(&source.options()?),
};

/// Why printing ended early.
#[derive(Debug, thiserror::Error)]
enum PrintError {
    /// The state file cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Stdout cannot be written.
    #[error("cannot write the output")]
    Output(#[from] io::Error),
}

/// Prints the changes that the options select, the earliest first.
///
/// # Errors
/// If there is no state file, or it cannot be read, or the output cannot be written. A closed pipe is not an error.
fn run(options: &Options) -> Result<(), CommandError> {
    let Some(path) = &options.state.file else {
        let message = "no state file; set --state.file or state.file in the configuration file";
        return Err(CommandError::Usage(message.to_owned()));
    };
    let ChangesOptions { since, accounts, kinds } = &options.changes;
    let now = SystemTime::now();
    let filter = ChangeFilter {
        since: since.resolve(now),
        accounts: accounts.clone().unwrap_or_default(),
        kinds: kinds.clone().unwrap_or_default(),
    };
    let journal = Journal::open(path).map_err(anyhow::Error::new)?;
    let is_terminal = io::stdout().is_terminal();
    let mut printer = Printer::new(options.output.format, is_terminal.then_some(now), io::stdout().lock());
    match print(&journal, &filter, &mut printer) {
        Ok(Printed { skipped: skipped @ 1.., .. }) => {
            let file = path.display();
            let rows = plural::choose(skipped, "row is", "rows are");
            Err(anyhow::anyhow!("{skipped} {rows} skipped: invalid data in state file {file}; another program wrote it, or the disk is damaged").into())
        }
        Ok(Printed { printed: 0, .. }) => {
            let is_filtered = !(filter.accounts.is_empty() && filter.kinds.is_empty());
            let (which, since) = (if is_filtered { "matching " } else { "" }, timestamp::to_seconds(filter.since));
            // If stderr is closed, only the exit status remains.
            _ = writeln!(io::stderr(), "tryvox-exporter: no {which}changes since {since}");
            Ok(())
        }
        Ok(_) => Ok(()),
        Err(PrintError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(anyhow::Error::new(error).into()),
    }
}

/// How many changes there are.
struct Printed {
    printed: u64,
    /// Those whose rows are invalid.
    skipped: u64,
}

/// Prints the selected changes. Those that precede an error are printed.
fn print(journal: &Journal, filter: &ChangeFilter, printer: &mut Printer<impl Write>) -> Result<Printed, PrintError> {
    let mut count = 0;
    let read = journal.read(filter, |change: RecordedChange| {
        count += 1;
        printer.print(change).map_err(PrintError::Output)
    });
    let finished = printer.finish();
    let skipped = read?;
    finished?;
    Ok(Printed { printed: count, skipped })
}
