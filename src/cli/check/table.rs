//! The report of a check as a table, for terminals.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use super::report::{AccountReport, Report, Totals};
use super::{format_elapsed, plural};
use crate::duration;

const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const RESET: &str = "\x1b[0m";

/// Renders the report, with ANSI colors if `is_colored`.
pub(super) fn render(report: &Report, is_colored: bool) -> String {
    let paint = |text: &str, color: &str| if is_colored { format!("{color}{text}{RESET}") } else { text.to_owned() };
    let mut out = String::new();
    // Writing to a string cannot fail.
    for account in &report.accounts {
        let state = if account.ok { paint("listed", GREEN) } else { paint("failed", RED) };
        _ = writeln!(out, "{}  {state}", paint(&sanitize(&account.account), BOLD));
        if let Some(error) = &account.error {
            _ = writeln!(out, "  {}: {}", paint(error.reason, RED), sanitize(&error.message));
        }
        if !account.groups.is_empty() {
            out.push_str(&group_table(account));
        }
        for problem in &account.problems {
            _ = writeln!(out, "  {} {}", paint("problem:", YELLOW), sanitize(problem));
        }
        for advice in &account.advice {
            _ = writeln!(out, "  {} {advice}", paint("advice:", YELLOW));
        }
        let [elapsed, interval] = [account.seconds, account.interval_seconds]
            .map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default());
        let (elapsed, interval) = (format_elapsed(elapsed), duration::format(interval));
        let pages = plural(account.pages.into(), "page");
        _ = write!(out, "  {pages} in {elapsed}, interval {interval}");
        // Without a listing there is nothing to estimate them from.
        if account.ok {
            _ = write!(out, ", about {} time series", account.series);
        }
        out.push_str("\n\n");
    }
    if report.accounts.len() > 1 {
        let Totals { numbers, monthly_fees, setup_fees } = &report.totals;
        _ = writeln!(out, "{}  {}", paint("all accounts", BOLD), plural(*numbers, "number"));
        _ = writeln!(out, "  monthly fees: {}", join_amounts(monthly_fees));
        _ = writeln!(out, "  setup fees: {}", join_amounts(setup_fees));
    }
    out
}

/// Renders the groups of an account and their totals.
fn group_table(account: &AccountReport) -> String {
    let header = ["country", "type", "status", "numbers", "monthly fees", "setup fees", "currency"].map(str::to_owned);
    let mut rows = vec![header];
    for group in &account.groups {
        rows.push([
            sanitize(&group.country),
            sanitize(&group.kind),
            sanitize(&group.status),
            group.numbers.to_string(),
            group.monthly_fees.clone(),
            group.setup_fees.clone(),
            sanitize(&group.currency),
        ]);
    }
    for (currency, monthly) in &account.totals.monthly_fees {
        let numbers = account.groups.iter().filter(|group| group.currency == *currency).map(|group| group.numbers);
        let setup = account.totals.setup_fees.get(currency).cloned().unwrap_or_default();
        let total = numbers.sum::<u64>().to_string();
        rows.push([
            "total".to_owned(),
            String::new(),
            String::new(),
            total,
            monthly.clone(),
            setup,
            sanitize(currency),
        ]);
    }
    align_decimal_points(&mut rows, 4);
    align_decimal_points(&mut rows, 5);
    align_columns(&rows)
}

/// Pads the amounts of a column, which starts with its header, to the same number of decimals.
fn align_decimal_points<const N: usize>(rows: &mut [[String; N]], column: usize) {
    let decimals = |text: &str| text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let amounts = &mut rows[1..];
    let max = amounts.iter().map(|row| decimals(&row[column])).max().unwrap_or(0);
    for row in amounts {
        let cell = &mut row[column];
        let missing = max - decimals(cell);
        if missing > 0 && !cell.contains('.') {
            cell.push('.');
        }
        cell.extend(std::iter::repeat_n('0', missing));
    }
}

/// Renders columns as wide as their content: text left-aligned, figures (the fourth to the sixth column) right-aligned.
fn align_columns<const N: usize>(rows: &[[String; N]]) -> String {
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

/// Joins the amounts of all currencies.
fn join_amounts(amounts: &BTreeMap<String, String>) -> String {
    let texts: Vec<_> = amounts.iter().map(|(currency, amount)| format!("{amount} {}", sanitize(currency))).collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}

/// Replaces control characters in text from the API or the configuration, which must not control the terminal.
fn sanitize(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_characters_not_bytes() {
        let row = |cells: [&str; 5]| cells.map(str::to_owned);
        let text = align_columns(&[row(["a", "東京都", "x", "5", "10.5"]), row(["bbb", "c", "", "1234", "7"])]);
        assert_eq!(text, "  a    東京都  x     5  10.5\n  bbb  c       1234     7\n");
    }

    #[test]
    fn control_characters_are_replaced() {
        assert_eq!(sanitize("a\x1b[2J\n"), "a\u{fffd}[2J\u{fffd}");
    }
}
