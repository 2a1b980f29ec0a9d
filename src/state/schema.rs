//! The schema of a state file, which is an interface: people query it with `sqlite3`, so it changes only by migrations.
//!
//! All times are Unix timestamps in milliseconds. The header of each file has the id of the application
//! (`application_id`) and the version of the schema (`user_version`).

use rusqlite::{Connection, Transaction, TransactionBehavior};

/// Identifies a state file: `TryV`.
pub(super) const APPLICATION_ID: u32 = u32::from_be_bytes(*b"TryV");

/// The version of the schema that this program reads and writes.
pub(super) const VERSION: u32 = {
    assert!(MIGRATIONS.len() < MAX_VERSION as usize);
    #[expect(clippy::cast_possible_truncation, reason = "checked above")]
    let version = MIGRATIONS.len() as u32;
    version
};

/// No release will ever write a higher version, so a file that has one is corrupt.
pub(super) const MAX_VERSION: u32 = 1000;

/// The tables that each version has.
pub(super) const TABLES: [&str; 3] = ["accounts", "listings", "changes"];

/// The steps from each version of the schema to the next one, beginning with an empty file.
const MIGRATIONS: [&str; 1] = [VERSION_1];

const VERSION_1: &str = "
CREATE TABLE accounts (                 -- one row per account that has been polled
    id              INTEGER PRIMARY KEY,
    name            TEXT    NOT NULL UNIQUE,
    source          TEXT    NOT NULL,   -- identifies the numbers that the account lists
    seen_at         INTEGER NOT NULL,   -- when an exporter last started with the account or polled it
    polled_at       INTEGER NOT NULL,   -- when the last poll ended
    poll_duration   REAL    NOT NULL,   -- in seconds
    poll_pages      INTEGER NOT NULL,
    failure_reason  TEXT,               -- NULL if the last poll was successful
    failure_cause   TEXT,
    last_success_at INTEGER,            -- when the last successful poll ended
    counters        TEXT    NOT NULL    -- the change counters, as JSON
);

CREATE TABLE listings (                 -- the last valid listing of each account
    account_id      INTEGER PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
    inventory       BLOB    NOT NULL,   -- a format byte (1) and the JSON of the counts and sums in zstd
    numbers         BLOB    NOT NULL    -- a format byte (1) and all numbers in zstd
);

CREATE TABLE changes (                  -- one row per change of a number
    id              INTEGER PRIMARY KEY,
    time            INTEGER NOT NULL,   -- when the poll that found the change ended
    account         TEXT    NOT NULL,   -- the name of the account
    e164            TEXT    NOT NULL,
    kind            TEXT    NOT NULL,   -- added, removed, status, fee or assignment
    from_value      TEXT,               -- the value before; NULL if the number was added
    to_value        TEXT,               -- the value after; NULL if the number was removed
    country         TEXT    NOT NULL,
    type            TEXT    NOT NULL,
    monthly_fee     TEXT    NOT NULL,   -- the exact decimal amount
    currency        TEXT    NOT NULL
);
CREATE INDEX changes_by_time ON changes (time);
CREATE INDEX changes_by_account ON changes (account, time);

CREATE VIEW readable_changes AS         -- the changes with times in UTC
SELECT datetime(time / 1000, 'unixepoch') AS time, account, e164, kind, from_value, to_value, country, type,
    monthly_fee, currency
FROM changes;
";

/// Creates the schema, or brings it to [`VERSION`], in one transaction.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version = version(&transaction)?;
    for step in MIGRATIONS.iter().skip(version as usize) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    Transaction::commit(transaction)
}

/// Returns the version of the schema; 0 if there is none, and [`MAX_VERSION`] if the number is none of a version.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<u32> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(u32::try_from(version).unwrap_or(MAX_VERSION).min(MAX_VERSION))
}

/// Returns the id of the application that the file belongs to.
pub(super) fn application_id(connection: &Connection) -> rusqlite::Result<u32> {
    // SQLite returns it as a signed number.
    let id: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    Ok(u32::try_from(id & i64::from(u32::MAX)).unwrap_or_default())
}

/// Returns the names of the tables.
pub(super) fn tables(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?;
    statement.query_map([], |row| row.get(0))?.collect()
}
