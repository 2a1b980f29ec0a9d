//! Deleting what is no longer needed, in steps that take a moment each.

use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OptionalExtension};

use super::fault::Fault;
use super::times::{millis, to_millis};

/// Accounts that no exporter has polled for this long are deleted.
const ACCOUNT_RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Rows of the journal that one step deletes.
const CHANGES: u32 = 2000;

/// Accounts that one step deletes.
const ACCOUNTS: u32 = 20;

/// Free pages that one step gives back to the file system.
const PAGES: i64 = 500;

/// Free pages that a file may have although they are most of it.
const FREE_PAGES: i64 = 1000;

/// Does one step. Returns whether there is more to do.
pub(super) fn step(connection: &Connection, now: SystemTime, retention: Duration) -> Result<bool, Fault> {
    let now = to_millis(now);
    // If the clock was set back, nothing is as old as it seems, or everything else is.
    if newest_time(connection)?.is_none_or(|newest| newest <= now) {
        let deleted = connection
            .prepare_cached(
                "DELETE FROM changes WHERE id IN (SELECT id FROM changes WHERE time < ?1 ORDER BY time LIMIT ?2)",
            )?
            .execute((now.saturating_sub(millis(retention)), CHANGES))?;
        if deleted > 0 {
            return Ok(true);
        }
        let deleted = connection
            .prepare_cached("DELETE FROM accounts WHERE id IN (SELECT id FROM accounts WHERE seen_at < ?1 LIMIT ?2)")?
            .execute((now.saturating_sub(millis(ACCOUNT_RETENTION)), ACCOUNTS))?;
        if deleted > 0 {
            return Ok(true);
        }
    }
    vacuum(connection)
}

/// Returns the latest time in the file.
fn newest_time(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    let mut statement = connection.prepare_cached(
        "SELECT max(time) FROM (SELECT max(time) AS time FROM changes
         UNION ALL SELECT max(max(seen_at, polled_at)) FROM accounts)",
    )?;
    statement.query_row([], |row| row.get(0)).optional().map(Option::flatten)
}

/// Makes the file smaller if most of it is unused. A listing is replaced by a new one before it is deleted, so half of
/// the file may well be.
fn vacuum(connection: &Connection) -> Result<bool, Fault> {
    let count = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let (free, all) = (count("freelist_count")?, count("page_count")?);
    let excess = free - (all / 2).max(FREE_PAGES);
    if excess <= 0 {
        return Ok(false);
    }
    connection.execute_batch(&format!("PRAGMA incremental_vacuum({})", excess.min(PAGES)))?;
    // A file that was created otherwise cannot be made smaller.
    Ok(count("freelist_count")? < free)
}
