//! Tables for terminals: columns as wide as their content, amounts aligned at their decimal points, and no control
//! characters.

use std::fmt::Write;

/// The widths of the columns of a table, in characters.
pub(super) struct Columns<const N: usize> {
    widths: [usize; N],
    /// The columns whose cells are aligned at the right.
    right_aligned: &'static [usize],
}

impl<const N: usize> Columns<N> {
    /// Returns columns that are as wide as the content of these rows, the header included.
    pub(super) fn new(rows: &[[String; N]], right_aligned: &'static [usize]) -> Self {
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        Self { widths: std::array::from_fn(width), right_aligned }
    }

    /// Renders a row as one line. A cell that is wider than its column moves those after it.
    pub(super) fn line(&self, row: &[String; N]) -> String {
        let mut line = String::from(" ");
        for (column, (cell, width)) in row.iter().zip(self.widths).enumerate() {
            // Writing to a string cannot fail.
            _ = if self.right_aligned.contains(&column) {
                write!(line, " {cell:>width$} ")
            } else {
                write!(line, " {cell:<width$} ")
            };
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    }
}

/// Returns the largest number of decimals of these amounts.
pub(super) fn max_decimals<'a>(amounts: impl Iterator<Item = &'a String>) -> usize {
    amounts.map(|text| decimals(text)).max().unwrap_or(0)
}

/// Pads an amount with zeros to a number of decimals.
pub(super) fn pad_decimals(amount: &mut String, count: usize) {
    let missing = count.saturating_sub(decimals(amount));
    // An amount with an exponent is not padded.
    if missing == 0 || amount.contains(['e', 'E']) {
        return;
    }
    if !amount.contains('.') {
        amount.push('.');
    }
    amount.extend(std::iter::repeat_n('0', missing));
}

fn decimals(text: &str) -> usize {
    text.split_once('.').map_or(0, |(_, decimals)| decimals.len())
}

/// Replaces control characters in text from the API or the configuration, which must not control the terminal.
pub(super) fn sanitize(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_characters_not_bytes() {
        let rows = [["a", "東京都", "x", "5", "10.5"], ["bbb", "c", "", "1234", "7"]].map(|row| row.map(str::to_owned));
        let columns = Columns::new(&rows, &[3, 4]);
        let text: String = rows.iter().map(|row| columns.line(row)).collect();
        assert_eq!(text, "  a    東京都  x     5  10.5\n  bbb  c       1234     7\n");
        let wider = ["dddd", "e", "", "5", "6"].map(str::to_owned);
        assert_eq!(columns.line(&wider), "  dddd  e          5     6\n");
    }

    #[test]
    fn amounts_are_padded_to_the_same_number_of_decimals() {
        let mut amounts = ["1", "1.15", "-0.5", "1E-9"].map(str::to_owned);
        let count = max_decimals(amounts.iter());
        for amount in &mut amounts {
            pad_decimals(amount, count);
        }
        assert_eq!(amounts, ["1.00", "1.15", "-0.50", "1E-9"]);
    }

    #[test]
    fn control_characters_are_replaced() {
        assert_eq!(sanitize("a\x1b[2J\n\u{9b}"), "a\u{fffd}[2J\u{fffd}\u{fffd}");
    }
}
