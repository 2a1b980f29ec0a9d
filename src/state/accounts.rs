//! The rows of accounts and their listings.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, named_params};

use super::times::{from_millis, to_millis};
use super::{StoredFailure, StoredPoll};

/// A row of the table `accounts`.
#[derive(Debug)]
pub(super) struct AccountRow {
    pub(super) id: i64,
    pub(super) source: String,
    pub(super) poll: StoredPoll,
    /// As JSON.
    pub(super) counters: String,
}

/// Returns the row of an account.
pub(super) fn find(connection: &Connection, name: &str) -> rusqlite::Result<Option<AccountRow>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, source, polled_at, poll_duration, poll_pages, failure_reason, failure_cause, last_success_at,
             counters
         FROM accounts WHERE name = ?1",
    )?;
    statement.query_row([name], read).optional()
}

fn read(row: &Row<'_>) -> rusqlite::Result<AccountRow> {
    let invalid = |column| rusqlite::Error::IntegralValueOutOfRange(column, i64::MAX);
    let failure = match row.get::<_, Option<String>>("failure_reason")? {
        Some(reason) => {
            let cause = row.get::<_, Option<String>>("failure_cause")?.unwrap_or_default();
            Some(StoredFailure { reason, cause })
        }
        None => None,
    };
    Ok(AccountRow {
        id: row.get("id")?,
        source: row.get("source")?,
        poll: StoredPoll {
            ended_at: from_millis(row.get("polled_at")?).ok_or_else(|| invalid(2))?,
            duration: Duration::try_from_secs_f64(row.get("poll_duration")?).map_err(|_| invalid(3))?,
            pages: row.get("poll_pages")?,
            failure,
            last_success_at: row.get::<_, Option<i64>>("last_success_at")?.and_then(from_millis),
        },
        counters: row.get("counters")?,
    })
}

/// Inserts or updates the row of an account and returns its id. An account of another source is deleted before.
pub(super) fn store(
    connection: &Connection,
    name: &str,
    source: &str,
    poll: &StoredPoll,
    counters: &str,
    seen_at: i64,
) -> rusqlite::Result<i64> {
    // Deletes its listing, too.
    connection.prepare_cached("DELETE FROM accounts WHERE name = ?1 AND source <> ?2")?.execute([name, source])?;
    let mut statement = connection.prepare_cached(
        "INSERT INTO accounts (name, source, seen_at, polled_at, poll_duration, poll_pages, failure_reason,
             failure_cause, last_success_at, counters)
         VALUES (:name, :source, :seen_at, :polled_at, :duration, :pages, :reason, :cause, :last_success_at, :counters)
         ON CONFLICT (name) DO UPDATE SET seen_at = excluded.seen_at, polled_at = excluded.polled_at,
             poll_duration = excluded.poll_duration, poll_pages = excluded.poll_pages,
             failure_reason = excluded.failure_reason, failure_cause = excluded.failure_cause,
             last_success_at = excluded.last_success_at, counters = excluded.counters
         RETURNING id",
    )?;
    statement.query_row(
        named_params! {
            ":name": name,
            ":source": source,
            ":seen_at": seen_at,
            ":polled_at": to_millis(poll.ended_at),
            ":duration": poll.duration.as_secs_f64(),
            ":pages": poll.pages,
            ":reason": poll.failure.as_ref().map(|failure| &failure.reason),
            ":cause": poll.failure.as_ref().map(|failure| &failure.cause),
            ":last_success_at": poll.last_success_at.map(to_millis),
            ":counters": counters,
        },
        |row| row.get(0),
    )
}

/// Sets when an account was last seen.
pub(super) fn mark_seen(connection: &Connection, name: &str, seen_at: i64) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("UPDATE accounts SET seen_at = ?2 WHERE name = ?1")?;
    statement.execute((name, seen_at)).map(drop)
}

/// Calls `read` with the inventory and the numbers of an account's listing, if there is one.
pub(super) fn with_listing<T>(
    connection: &Connection,
    account_id: i64,
    read: impl FnOnce(&[u8], &[u8]) -> T,
) -> rusqlite::Result<Option<T>> {
    let mut statement = connection.prepare_cached("SELECT inventory, numbers FROM listings WHERE account_id = ?1")?;
    let blobs = |row: &Row<'_>| Ok(read(row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?));
    statement.query_row([account_id], blobs).optional()
}

/// Inserts or replaces the listing of an account.
pub(super) fn store_listing(
    connection: &Connection,
    account_id: i64,
    inventory: &[u8],
    numbers: &[u8],
) -> rusqlite::Result<()> {
    let mut statement = connection
        .prepare_cached("INSERT OR REPLACE INTO listings (account_id, inventory, numbers) VALUES (?1, ?2, ?3)")?;
    statement.execute((account_id, inventory, numbers)).map(drop)
}
