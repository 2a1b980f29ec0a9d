//! What a check found, for people.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::report::{AccountReport, Report, Totals};

const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const RESET: &str = "\x1b[0m";

/// The report as text, in colour or not.
pub(super) fn render(report: &Report, color: bool) -> String {
    let paint = |text: &str, with: &str| if color { format!("{with}{text}{RESET}") } else { text.to_owned() };
    let mut out = String::new();
    // Writing to a string cannot fail.
    for account in &report.accounts {
        let state = if account.ok { paint("listed", GREEN) } else { paint("failed", RED) };
        _ = writeln!(out, "{}  {state}", paint(&shown(&account.account), BOLD));
        if let Some(error) = &account.error {
            _ = writeln!(out, "  {}: {}", paint(error.reason, RED), shown(&error.message));
        }
        if !account.groups.is_empty() {
            out.push_str(&groups(account));
        }
        for problem in &account.problems {
            _ = writeln!(out, "  {} {}", paint("problem:", YELLOW), shown(problem));
        }
        _ = writeln!(
            out,
            "  {} pages in {:.1} s, of an interval of {:.0} s; about {} series",
            account.pages, account.seconds, account.interval_seconds, account.series
        );
        for advice in &account.advice {
            _ = writeln!(out, "  {advice}");
        }
        out.push('\n');
    }
    if report.accounts.len() > 1 {
        let Totals { numbers, monthly_fees, setup_fees } = &report.totals;
        _ = writeln!(out, "{}  {numbers} numbers", paint("all accounts", BOLD));
        _ = writeln!(out, "  a month {}; once {}", amounts(monthly_fees), amounts(setup_fees));
    }
    out
}

fn groups(account: &AccountReport) -> String {
    let head = ["country", "type", "status", "numbers", "a month", "once", ""].map(str::to_owned);
    let mut rows = vec![head];
    for group in &account.groups {
        rows.push([
            shown(&group.country),
            shown(&group.kind),
            shown(&group.status),
            group.numbers.to_string(),
            group.monthly_fees.clone(),
            group.setup_fees.clone(),
            shown(&group.currency),
        ]);
    }
    for (currency, monthly) in &account.totals.monthly_fees {
        let numbers = account.groups.iter().filter(|group| group.currency == *currency).map(|group| group.numbers);
        let setup = account.totals.setup_fees.get(currency).cloned().unwrap_or_default();
        let total = numbers.sum::<u64>().to_string();
        rows.push(["total".to_owned(), String::new(), String::new(), total, monthly.clone(), setup, shown(currency)]);
    }
    align_points(&mut rows, 4);
    align_points(&mut rows, 5);
    aligned(&rows)
}

/// Gives all amounts of a column as many digits behind the point.
fn align_points<const N: usize>(rows: &mut [[String; N]], column: usize) {
    let digits = |text: &str| text.split_once('.').map_or(0, |(_, digits)| digits.len());
    let amounts = &mut rows[1..];
    let most = amounts.iter().map(|row| digits(&row[column])).max().unwrap_or(0);
    for row in amounts {
        let cell = &mut row[column];
        let missing = most - digits(cell);
        if missing > 0 && !cell.contains('.') {
            cell.push('.');
        }
        cell.extend(std::iter::repeat_n('0', missing));
    }
}

/// Columns as wide as they need: texts to the left, figures (the fourth to the sixth) to the right.
fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::from(" ");
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            _ = match column {
                3..=5 => write!(line, " {cell:>width$} "),
                _ => write!(line, " {cell:<width$} "),
            };
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn amounts(amounts: &BTreeMap<String, String>) -> String {
    let texts: Vec<_> = amounts.iter().map(|(currency, amount)| format!("{amount} {}", shown(currency))).collect();
    if texts.is_empty() { "nothing".to_owned() } else { texts.join(" and ") }
}

/// A text from elsewhere, which must not move a terminal's cursor.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_characters() {
        let row = |cells: [&str; 5]| cells.map(str::to_owned);
        let text = aligned(&[row(["a", "東京都", "x", "5", "10.5"]), row(["bbb", "c", "", "1234", "7"])]);
        assert_eq!(text, "  a    東京都  x     5  10.5\n  bbb  c       1234     7\n");
    }

    #[test]
    fn what_comes_from_elsewhere_moves_no_cursor() {
        assert_eq!(shown("a\x1b[2J\n"), "a\u{fffd}[2J\u{fffd}");
    }
}
