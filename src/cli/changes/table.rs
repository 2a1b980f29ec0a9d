//! Changes as a table.

use std::io::{self, Write};
use std::time::SystemTime;

use super::super::table::{Columns, max_decimals, pad_decimals};
use crate::inventory::ChangeRecord;
use crate::state::RecordedChange;
use crate::timestamp;

const COLUMNS: usize = 8;
const HEADER: [&str; COLUMNS] = ["time", "account", "number", "change", "country", "type", "monthly fee", "currency"];

/// The column of amounts, which are aligned at their decimal points.
const FEE: usize = 6;

/// Number of rows that decide how wide the columns are. It bounds the memory that a table takes, because rows that
/// follow are written at once.
const MEASURED_ROWS: usize = 1000;

type Row = [String; COLUMNS];

/// Writes changes as a table.
pub(super) struct TablePrinter<W> {
    out: W,
    /// The time that the times of changes are relative to; `None` if they are absolute.
    relative_to: Option<SystemTime>,
    /// The first rows, until they are measured.
    rows: Vec<Row>,
    layout: Option<Layout>,
}

/// How rows are aligned.
struct Layout {
    columns: Columns<COLUMNS>,
    /// Decimals of amounts.
    decimals: usize,
}

impl<W: Write> TablePrinter<W> {
    /// Returns a printer with times that are relative to a time, or absolute.
    pub(super) fn new(relative_to: Option<SystemTime>, out: W) -> Self {
        Self { out, relative_to, rows: Vec::new(), layout: None }
    }

    /// Prints a change.
    pub(super) fn print(&mut self, change: &RecordedChange) -> io::Result<()> {
        let row = row(change, self.relative_to);
        if let Some(layout) = &self.layout {
            return layout.write(row, &mut self.out);
        }
        self.rows.push(row);
        if self.rows.len() < MEASURED_ROWS { Ok(()) } else { self.write_measured() }
    }

    /// Prints what is buffered. A table without changes is empty.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if self.layout.is_none() && !self.rows.is_empty() {
            self.write_measured()?;
        }
        self.out.flush()
    }

    /// Measures and writes the rows so far.
    fn write_measured(&mut self) -> io::Result<()> {
        let mut rows = std::mem::take(&mut self.rows);
        let decimals = max_decimals(rows.iter().map(|row| &row[FEE]));
        for row in &mut rows {
            pad_decimals(&mut row[FEE], decimals);
        }
        rows.insert(0, HEADER.map(str::to_owned));
        let layout = self.layout.insert(Layout { columns: Columns::new(&rows, &[FEE]), decimals });
        rows.iter().try_for_each(|row| self.out.write_all(layout.columns.line(row).as_bytes()))
    }
}

impl Layout {
    fn write(&self, mut row: Row, out: &mut impl Write) -> io::Result<()> {
        pad_decimals(&mut row[FEE], self.decimals);
        out.write_all(self.columns.line(&row).as_bytes())
    }
}

fn row(RecordedChange { at, account, change }: &RecordedChange, relative_to: Option<SystemTime>) -> Row {
    let time = relative_to.map_or_else(|| timestamp::to_seconds(*at), |now| timestamp::ago(*at, now));
    let ChangeRecord { e164, country, number_type, monthly_fee, currency, .. } = change;
    [
        time,
        account.clone(),
        e164.to_string(),
        describe(change),
        country.clone(),
        number_type.clone(),
        monthly_fee.clone(),
        currency.clone(),
    ]
}

/// Describes a change by its kind and its values: `status active → suspended`, or `added (active)`.
fn describe(ChangeRecord { kind, from, to, .. }: &ChangeRecord) -> String {
    let kind = kind.as_str();
    match (from, to) {
        (Some(from), Some(to)) => format!("{kind} {from} → {to}"),
        (Some(value), None) | (None, Some(value)) => format!("{kind} ({value})"),
        (None, None) => kind.to_owned(),
    }
}
