//! What commands share that print rows as CSV or JSON.

use std::io::{self, Write};

use serde_json::value::RawValue;

/// Writes CSV with a header, which is written before the first row, or at the end if there are no rows.
pub(super) struct CsvPrinter<W: Write> {
    writer: csv::Writer<W>,
    /// The names of the columns, until they are written.
    header: Option<&'static [&'static str]>,
}

impl<W: Write> CsvPrinter<W> {
    pub(super) fn new(header: &'static [&'static str], quotes: csv::QuoteStyle, out: W) -> Self {
        let writer = csv::WriterBuilder::new().has_headers(false).quote_style(quotes).from_writer(out);
        Self { writer, header: Some(header) }
    }

    /// Returns the writer of rows, which has written the header.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub(super) fn writer(&mut self) -> io::Result<&mut csv::Writer<W>> {
        if let Some(header) = self.header.take() {
            self.writer.write_record(header).map_err(io_error)?;
        }
        Ok(&mut self.writer)
    }

    /// Writes what is buffered.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.writer()?.flush()
    }
}

/// Returns the I/O error itself, whose kind the conversion that `csv` has would hide.
pub(super) fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// Returns the digits of an amount as a JSON number; `None` if they are none.
pub(super) fn exact_number(amount: &str) -> Option<Box<RawValue>> {
    serde_json::from_str::<serde_json::Number>(amount).ok()?;
    RawValue::from_string(amount.to_owned()).ok()
}
