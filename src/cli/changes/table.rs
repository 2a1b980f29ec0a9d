//! Changes as a table.

use std::time::SystemTime;

use crate::inventory::ChangeRecord;
use crate::state::RecordedChange;
use crate::timestamp;

pub(super) const COLUMNS: usize = 8;
pub(super) const HEADER: [&str; COLUMNS] =
    ["time", "account", "number", "change", "country", "type", "monthly fee", "currency"];

/// The column of amounts.
pub(super) const AMOUNTS: &[usize] = &[6];

/// Returns the cells of a change, with a time that is relative to another one, or absolute.
pub(super) fn row(
    RecordedChange { at, account, change }: &RecordedChange,
    relative_to: Option<SystemTime>,
) -> [String; COLUMNS] {
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
