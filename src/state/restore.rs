//! Reading the state of an account after a restart.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rusqlite::Connection;

use super::blob::InvalidBlob;
use super::fault::Fault;
use super::stored::{Stored, StoredBlobs};
use super::{AccountKey, StoredAccount, StoredListing, accounts, blob, changes};

/// An older listing is neither served nor compared.
const MAX_AGE: Duration = Duration::from_hours(7 * 24);

/// The state of an account.
#[derive(Debug)]
pub(super) struct Restored {
    pub(super) account: StoredAccount,
    pub(super) stored: Stored,
    /// Why the listing is not restored although the file has one of use.
    pub(super) problem: Option<String>,
}

/// Returns the state of an account of the same source.
pub(super) fn restore(
    connection: &Connection,
    account: &AccountKey,
    now: SystemTime,
) -> Result<Option<Restored>, Fault> {
    let Some(row) = accounts::find(connection, &account.name)?.filter(|row| row.source == account.source) else {
        return Ok(None);
    };
    let counters = serde_json::from_str(&row.counters)
        .map_err(|error| Fault::InvalidValue(format!("invalid counters: {error}")))?;
    let is_recent = row.poll.last_success_at.is_some_and(|time| distance(time, now) <= MAX_AGE);
    let listing = if is_recent { accounts::with_listing(connection, row.id, decode)? } else { None };
    let (listing, blobs, problem) = match listing {
        None => (None, None, None),
        Some(Ok((listing, blobs))) => (Some(listing), Some(blobs), None),
        Some(Err(error)) => (None, None, Some(format!("invalid listing: {error}"))),
    };
    let recent_changes = changes::recent(connection, &account.name)?;
    let stored = Stored {
        source: row.source,
        poll: row.poll.clone(),
        counters: row.counters,
        listing: blobs,
        since: Instant::now(),
    };
    let account = StoredAccount { poll: row.poll, counters, listing, recent_changes };
    Ok(Some(Restored { account, stored, problem }))
}

fn decode(inventory: &[u8], numbers: &[u8]) -> Result<(StoredListing, StoredBlobs), InvalidBlob> {
    let listing =
        StoredListing { listing: blob::decode_inventory(inventory)?, numbers: blob::decode_numbers(numbers)? };
    Ok((listing, StoredBlobs { inventory: Arc::from(inventory), numbers: None }))
}

/// Returns the time between two times, in whichever order they are: a clock may have been set back.
fn distance(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other).unwrap_or_else(|error| error.duration())
}
