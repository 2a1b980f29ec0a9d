//! Numbers in each output format.

use std::io::{self, BufWriter, Write};

use super::super::rows::{CsvPrinter, io_error};
use super::super::table::{TablePrinter, sanitize};
use super::row::{AMOUNTS, COLUMNS, FIELDS, Row};
use crate::config::OutputFormat;

/// Writes numbers in one of the formats.
pub(super) struct Printer<W: Write> {
    format: FormatPrinter<W>,
    /// Whether control characters must not be written as they are.
    is_sanitized: bool,
}

enum FormatPrinter<W: Write> {
    Table(Box<TablePrinter<BufWriter<W>, COLUMNS>>),
    Csv(Box<CsvPrinter<W>>),
    Json(BufWriter<W>),
}

impl<W: Write> Printer<W> {
    /// Returns a printer.
    pub(super) fn new(format: OutputFormat, is_terminal: bool, out: W) -> Self {
        let is_sanitized = is_terminal || format == OutputFormat::Table;
        let format = match format {
            OutputFormat::Table => {
                FormatPrinter::Table(Box::new(TablePrinter::new(FIELDS, AMOUNTS, BufWriter::new(out))))
            }
            OutputFormat::Csv => {
                // Every cell is quoted, so that no program takes a phone number for a number without being told to.
                FormatPrinter::Csv(Box::new(CsvPrinter::new(&FIELDS, csv::QuoteStyle::Always, out)))
            }
            OutputFormat::Json => FormatPrinter::Json(BufWriter::new(out)),
        };
        Self { format, is_sanitized }
    }

    /// Prints a number.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub(super) fn print(&mut self, row: &Row<'_>) -> io::Result<()> {
        let is_sanitized = self.is_sanitized;
        let cells = || if is_sanitized { row.cells().map(|cell| sanitize(&cell)) } else { row.cells() };
        match &mut self.format {
            FormatPrinter::Table(table) => table.print(cells()),
            FormatPrinter::Csv(csv) => csv.writer()?.write_record(cells()).map_err(io_error),
            FormatPrinter::Json(out) => {
                let json = serde_json::to_string(&row.json())?;
                let json = if is_sanitized { sanitize(&json) } else { json };
                out.write_all(json.as_bytes())?;
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
            FormatPrinter::Csv(csv) => csv.finish(),
            FormatPrinter::Json(out) => out.flush(),
        }
    }
}
