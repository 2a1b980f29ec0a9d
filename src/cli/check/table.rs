//! The report of a check as a table, for terminals.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use super::super::table::{Columns, max_decimals, pad_decimals, sanitize};
use super::report::{AccountReport, Report, Totals};
use super::savings::{ExpensiveGroup, Saving, SavingsReport};
use super::{format_elapsed, plural, some_of};
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
    let failed = report.failed_accounts.iter().map(|account| &**account);
    let failed =
        (failed.len() > 0).then(|| format!("  without {}, which could not be listed\n", sanitize(&some_of(failed))));
    let without_failed = failed.as_deref().unwrap_or_default();
    if report.accounts.len() > 1 {
        let Totals { numbers, monthly_fees, setup_fees } = &report.totals;
        _ = writeln!(out, "{}  {}", paint("all accounts", BOLD), plural(*numbers, "number"));
        _ = writeln!(out, "  monthly fees: {}", join_amounts(monthly_fees));
        _ = writeln!(out, "  setup fees: {}", join_amounts(setup_fees));
        _ = writeln!(out, "{without_failed}");
    }
    if !report.expensive_groups.is_empty() {
        _ = writeln!(out, "{}  monthly fees of numbers that may not be needed", paint("savings", BOLD));
        let SavingsReport { unassigned, suspended, pending } = &report.savings;
        for (name, Saving { numbers, monthly_fees }) in
            [("unassigned", unassigned), ("suspended", suspended), ("pending", pending)]
        {
            _ = writeln!(out, "  {name}: {}, {}", plural(*numbers, "number"), join_amounts(monthly_fees));
        }
        _ = writeln!(out, "{without_failed}\n{}", paint("most expensive groups", BOLD));
        out.push_str(&expensive_table(&report.expensive_groups));
    }
    out
}

/// Renders the most expensive groups.
fn expensive_table(groups: &[ExpensiveGroup]) -> String {
    let header = ["account", "country", "type", "status", "numbers", "monthly fees", "currency"].map(str::to_owned);
    let row = |ExpensiveGroup { account, group }: &ExpensiveGroup| {
        [
            sanitize(account),
            sanitize(&group.country),
            sanitize(&group.kind),
            sanitize(&group.status),
            group.numbers.to_string(),
            group.monthly_fees.clone(),
            sanitize(&group.currency),
        ]
    };
    let rows = std::iter::once(header).chain(groups.iter().map(row)).collect();
    render_rows(rows, &[5], &[4, 5])
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
    render_rows(rows, &[4, 5], &[3, 4, 5])
}

/// Renders rows, the first of which is the header, with columns of amounts and columns that are aligned at the right.
fn render_rows<const N: usize>(mut rows: Vec<[String; N]>, amounts: &[usize], right: &'static [usize]) -> String {
    for column in amounts {
        let decimals = max_decimals(rows.iter().skip(1).map(|row| &row[*column]));
        for row in rows.iter_mut().skip(1) {
            pad_decimals(&mut row[*column], decimals);
        }
    }
    let columns = Columns::new(&rows, right);
    rows.iter().map(|row| columns.line(row)).collect()
}

/// Joins the amounts of all currencies.
fn join_amounts(amounts: &BTreeMap<String, String>) -> String {
    let texts: Vec<_> = amounts.iter().map(|(currency, amount)| format!("{amount} {}", sanitize(currency))).collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}
