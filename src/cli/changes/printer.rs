//! Changes in each output format.

use std::io::{self, BufWriter, Write};
use std::time::SystemTime;

use serde::Serialize;
use serde_json::value::RawValue;

use super::super::table::sanitize;
use super::table::TablePrinter;
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
    Table(TablePrinter<BufWriter<W>>),
    Csv { writer: csv::Writer<W>, has_header: bool },
    Json(BufWriter<W>),
}

impl<W: Write> Printer<W> {
    /// Returns a printer. `terminal_time` is the current time if the output is a terminal.
    pub(super) fn new(format: OutputFormat, terminal_time: Option<SystemTime>, out: W) -> Self {
        let is_sanitized = terminal_time.is_some() || format == OutputFormat::Table;
        let format = match format {
            OutputFormat::Table => FormatPrinter::Table(TablePrinter::new(terminal_time, BufWriter::new(out))),
            OutputFormat::Csv => {
                let writer = csv::WriterBuilder::new().has_headers(false).from_writer(out);
                FormatPrinter::Csv { writer, has_header: false }
            }
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
            FormatPrinter::Table(table) => table.print(&change),
            FormatPrinter::Csv { writer, has_header } => {
                write_header(writer, has_header)?;
                writer.serialize(Row::new(&change, &*change.change.monthly_fee)).map_err(io_error)
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
            FormatPrinter::Table(table) => table.finish(),
            FormatPrinter::Csv { writer, has_header } => {
                write_header(writer, has_header)?;
                writer.flush()
            }
            FormatPrinter::Json(out) => out.flush(),
        }
    }
}

/// Writes the header of a CSV file, unless that has been done.
fn write_header(writer: &mut csv::Writer<impl Write>, has_header: &mut bool) -> io::Result<()> {
    if !std::mem::replace(has_header, true) {
        writer.write_record(FIELDS).map_err(io_error)?;
    }
    Ok(())
}

/// Returns the I/O error itself, whose kind the conversion that `csv` has would hide.
fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// Returns the digits of an amount as a JSON number; `None` if they are none.
fn exact_number(amount: &str) -> Option<Box<RawValue>> {
    serde_json::from_str::<serde_json::Number>(amount).ok()?;
    RawValue::from_string(amount.to_owned()).ok()
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
