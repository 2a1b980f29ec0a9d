//! Changes in each output format.

use std::io::{self, BufWriter, Write};
use std::time::SystemTime;

use serde::Serialize;

use super::super::rows::{CsvPrinter, exact_number, io_error};
use super::super::table::{TablePrinter, sanitize};
use super::table;
use crate::config::OutputFormat;
use crate::inventory::ChangeRecord;
use crate::state::RecordedChange;
use crate::timestamp;

/// The names of the fields of a [`Row`].
const FIELDS: [&str; 10] =
    ["time", "account", "e164", "kind", "from", "to", "country", "type", "monthly_fee", "currency"];

/// A change as a row of CSV or a JSON object.
#[derive(Serialize)]
struct Row<'a, F> {
    time: String,
    account: &'a str,
    e164: String,
    kind: &'static str,
    from: Option<&'a str>,
    to: Option<&'a str>,
    country: &'a str,
    #[serde(rename = "type")]
    number_type: &'a str,
    monthly_fee: F,
    currency: &'a str,
}

impl<'a, F> Row<'a, F> {
    fn new(RecordedChange { at, account, change }: &'a RecordedChange, monthly_fee: F) -> Self {
        let ChangeRecord { e164, kind, from, to, country, number_type, currency, .. } = change;
        Self {
            time: timestamp::to_milliseconds(*at),
            account,
            e164: e164.to_string(),
            kind: kind.as_str(),
            from: from.as_deref(),
            to: to.as_deref(),
            country,
            number_type,
            monthly_fee,
            currency,
        }
    }
}

/// Writes changes in one of the formats.
pub(super) struct Printer<W: Write> {
    format: FormatPrinter<W>,
    /// Whether control characters must not be written as they are.
    is_sanitized: bool,
}

enum FormatPrinter<W: Write> {
    Table {
        printer: TablePrinter<BufWriter<W>, { table::COLUMNS }>,
        /// The time that the times of changes are relative to; `None` if they are absolute.
        relative_to: Option<SystemTime>,
    },
    Csv(CsvPrinter<W>),
    Json(BufWriter<W>),
}

impl<W: Write> Printer<W> {
    /// Returns a printer. `terminal_time` is the current time if the output is a terminal.
    pub(super) fn new(format: OutputFormat, terminal_time: Option<SystemTime>, out: W) -> Self {
        let is_sanitized = terminal_time.is_some() || format == OutputFormat::Table;
        let format = match format {
            OutputFormat::Table => FormatPrinter::Table {
                printer: TablePrinter::new(table::HEADER, table::AMOUNTS, BufWriter::new(out)),
                relative_to: terminal_time,
            },
            OutputFormat::Csv => FormatPrinter::Csv(CsvPrinter::new(&FIELDS, csv::QuoteStyle::Necessary, out)),
            OutputFormat::Json => FormatPrinter::Json(BufWriter::new(out)),
        };
        Self { format, is_sanitized }
    }

    /// Prints a change.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub(super) fn print(&mut self, change: RecordedChange) -> io::Result<()> {
        let change = if self.is_sanitized { sanitized(&change) } else { change };
        match &mut self.format {
            FormatPrinter::Table { printer, relative_to } => printer.print(table::row(&change, *relative_to)),
            FormatPrinter::Csv(csv) => {
                csv.writer()?.serialize(Row::new(&change, &*change.change.monthly_fee)).map_err(io_error)
            }
            FormatPrinter::Json(out) => {
                serde_json::to_writer(&mut *out, &Row::new(&change, exact_number(&change.change.monthly_fee)))?;
                out.write_all(b"\n")
            }
        }
    }

    /// Writes what is buffered, and the header of an empty CSV file.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        match &mut self.format {
            FormatPrinter::Table { printer, .. } => printer.finish(),
            FormatPrinter::Csv(csv) => csv.finish(),
            FormatPrinter::Json(out) => out.flush(),
        }
    }
}

/// Returns a change without control characters.
fn sanitized(RecordedChange { at, account, change }: &RecordedChange) -> RecordedChange {
    let ChangeRecord { e164, kind, from, to, country, number_type, monthly_fee, currency } = change;
    RecordedChange {
        at: *at,
        account: sanitize(account),
        change: ChangeRecord {
            e164: *e164,
            kind: *kind,
            from: from.as_deref().map(sanitize),
            to: to.as_deref().map(sanitize),
            country: sanitize(country),
            number_type: sanitize(number_type),
            monthly_fee: sanitize(monthly_fee),
            currency: sanitize(currency),
        },
    }
}
