//! The rows of the journal.

use rusqlite::{Connection, Row, named_params};

use super::times::from_millis;
use super::{RecentChanges, RecordedChange};
use crate::inventory::{ChangeKind, ChangeRecord};

/// The polls, and the changes of each, that an account is restored with.
pub(super) const RECENT: u32 = 12;

/// Records changes of an account.
pub(super) fn insert(
    connection: &Connection,
    time: i64,
    account: &str,
    changes: impl Iterator<Item = ChangeRecord>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO changes (time, account, e164, kind, from_value, to_value, country, type, monthly_fee, currency)
         VALUES (:time, :account, :e164, :kind, :from, :to, :country, :type, :monthly_fee, :currency)",
    )?;
    for change in changes {
        statement.execute(named_params! {
            ":time": time,
            ":account": account,
            ":e164": change.e164.to_string(),
            ":kind": change.kind.as_str(),
            ":from": change.from,
            ":to": change.to,
            ":country": change.country,
            ":type": change.number_type,
            ":monthly_fee": change.monthly_fee,
            ":currency": change.currency,
        })?;
    }
    Ok(())
}

/// The columns that [`read`] needs.
pub(super) const COLUMNS: &str =
    "id, time, account, e164, kind, from_value, to_value, country, type, monthly_fee, currency";

/// Reads a row of the journal.
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<RecordedChange> {
    let invalid = |column: &str| rusqlite::Error::InvalidColumnName(format!("invalid value of {column}"));
    let kind: String = row.get("kind")?;
    Ok(RecordedChange {
        at: from_millis(row.get("time")?).ok_or_else(|| invalid("time"))?,
        account: row.get("account")?,
        change: ChangeRecord {
            e164: row.get::<_, String>("e164")?.parse().map_err(|_| invalid("e164"))?,
            kind: ChangeKind::ALL.into_iter().find(|known| known.as_str() == kind).ok_or_else(|| invalid("kind"))?,
            from: row.get("from_value")?,
            to: row.get("to_value")?,
            country: row.get("country")?,
            number_type: row.get("type")?,
            monthly_fee: row.get("monthly_fee")?,
            currency: row.get("currency")?,
        },
    })
}

/// Returns what the latest polls of an account found, the earliest of them first.
pub(super) fn recent(connection: &Connection, account: &str) -> rusqlite::Result<Vec<RecentChanges>> {
    let mut polls = connection.prepare_cached(
        "SELECT time, count(*) FROM changes WHERE account = ?1 GROUP BY time ORDER BY time DESC LIMIT ?2",
    )?;
    let mut first = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM changes WHERE account = ?1 AND time = ?2 ORDER BY id LIMIT ?3"
    ))?;
    let polls = polls.query_map((account, RECENT), |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
    let mut recent = Vec::new();
    for poll in polls {
        let (time, count) = poll?;
        let Some(at) = from_millis(time) else { continue };
        // A row that cannot be read is left out.
        let rows = first.query_map((account, time, RECENT), |row| Ok(read(row).ok()))?;
        let changes: Vec<Option<RecordedChange>> = rows.collect::<rusqlite::Result<_>>()?;
        let first = changes.into_iter().flatten().map(|recorded| recorded.change).collect();
        recent.push(RecentChanges { at, first, count: u64::try_from(count).unwrap_or_default() });
    }
    recent.reverse();
    Ok(recent)
}
