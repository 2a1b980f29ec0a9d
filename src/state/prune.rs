//! Deleting what is no longer needed, in steps that take a moment each.

use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OptionalExtension};

use super::fault::Fault;
use super::times::{millis, to_millis};

/// Accounts that no exporter has polled for this long are deleted.
const ACCOUNT_RETENTION: Duration = Duration::from_hours(7 * 24);

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
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({})", excess.min(PAGES)))?;
    // Each step of the statement frees one page.
    let mut steps = statement.query([])?;
    while steps.next()?.is_some() {}
    // A file that was created otherwise cannot be made smaller.
    Ok(count("freelist_count")? < free)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::schema;

    const DAY: Duration = Duration::from_hours(24);

    fn day(day: u32) -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY * day
    }

    /// Returns a database with `count` changes on each of these days.
    fn database(path: &str, days: std::ops::Range<u32>, count: u32) -> Connection {
        let mut connection = Connection::open(path).unwrap();
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").unwrap();
        schema::migrate(&mut connection).unwrap();
        let transaction = connection.transaction().unwrap();
        for at in days.flat_map(|at| (0..count).map(move |_| at)) {
            let sql = "INSERT INTO changes (time, account, e164, kind, country, type, monthly_fee, currency)
                VALUES (?1, 'main', '+14155550123', 'added', 'US', 'local', '1.15', 'USD')";
            transaction.prepare_cached(sql).unwrap().execute([to_millis(day(at))]).unwrap();
        }
        transaction.commit().unwrap();
        connection
    }

    fn see(connection: &Connection, name: &str, at: u32) {
        let sql = "INSERT INTO accounts (name, source, seen_at, polled_at, poll_duration, poll_pages, counters)
            VALUES (?1, '', ?2, ?2, 1, 1, '{}')";
        connection.execute(sql, (name, to_millis(day(at)))).unwrap();
    }

    fn prune(connection: &Connection, now: SystemTime, retention: Duration) -> u32 {
        (0..1000).find(|_| !step(connection, now, retention).unwrap()).unwrap()
    }

    fn count(connection: &Connection, table: &str) -> u32 {
        connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn old_changes_and_accounts_are_deleted_in_steps() {
        let connection = database(":memory:", 0..100, 100);
        for at in 0..100 {
            see(&connection, &at.to_string(), at);
        }
        // The changes of 70 days and the accounts of 93.
        assert_eq!(prune(&connection, day(100), DAY * 30), 4 + 5);
        assert_eq!((count(&connection, "changes"), count(&connection, "accounts")), (3000, 7));
        assert_eq!(prune(&connection, day(100), DAY * 30), 0);
    }

    #[test]
    fn nothing_is_deleted_by_a_clock_before_the_newest_time() {
        let connection = database(":memory:", 0..100, 1);
        see(&connection, "main", 0);
        prune(&connection, day(99) - Duration::from_millis(1), DAY);
        assert_eq!((count(&connection, "changes"), count(&connection, "accounts")), (100, 1));
        prune(&connection, day(99), DAY);
        assert_eq!((count(&connection, "changes"), count(&connection, "accounts")), (2, 0));
        see(&connection, "other", 50);
        see(&connection, "future", 200);
        prune(&connection, day(199), DAY);
        assert_eq!((count(&connection, "changes"), count(&connection, "accounts")), (2, 2));
    }

    #[test]
    fn file_becomes_smaller_when_most_of_it_is_unused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let connection = database(path.to_str().unwrap(), 0..100, 1500);
        connection.pragma_update(None, "synchronous", "OFF").unwrap();
        let size = || path.metadata().unwrap().len();
        let before = size();
        assert!(prune(&connection, day(99), DAY) > 30);
        assert!(size() < before * 2 / 3, "{} of {before} bytes", size());
        let (free, all): (i64, i64) = ["freelist_count", "page_count"]
            .map(|name| connection.pragma_query_value(None, name, |row| row.get(0)).unwrap())
            .into();
        assert!(free <= (all / 2).max(FREE_PAGES), "{free} of {all} pages are free");
    }
}
