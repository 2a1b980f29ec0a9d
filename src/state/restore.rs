//! The state of an account that is polled from now on: what waits to be written, what this process has written, and what
//! the file has.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rusqlite::Connection;

use super::blob::InvalidBlob;
use super::fault::Fault;
use super::known::{KnownAccount, KnownListing};
use super::shared::Shared;
use super::{AccountKey, RecentChanges, StoredAccount, StoredListing, accounts, blob, changes};
use crate::inventory::NumberStates;

/// An older listing is neither served nor compared.
const MAX_AGE: Duration = Duration::from_hours(7 * 24);

/// What the file has of an account.
#[derive(Debug)]
pub(super) struct Restored {
    pub(super) account: StoredAccount,
    pub(super) known: KnownAccount,
    /// Why the stored listing is not restored.
    problem: Option<String>,
}

/// Returns the latest state of an account of the same source. It does not wait for the writer.
pub(super) fn restore(shared: &Shared, account: &AccountKey) -> Option<StoredAccount> {
    let now = (shared.now)();
    // In the order in which a save moves, so that none is overlooked.
    let pending = shared.queue.pending(account);
    let known = shared.known.get(account);
    let stored = read_file(shared, account, now);
    let Some(latest) = pending.last() else {
        let Some(known) = known else {
            let Restored { account: restored, known, .. } = stored?;
            shared.known.add_restored(&account.name, known);
            return Some(restored);
        };
        let recent_changes = stored.as_ref().map(|stored| stored.account.recent_changes.clone()).unwrap_or_default();
        let listing = known_listing(&known, now).or_else(|| stored?.account.listing);
        return Some(StoredAccount { poll: known.poll, counters: known.counters, listing, recent_changes });
    };

    let (poll, counters) = (latest.poll.clone(), latest.counters.clone());
    let mut recent_changes: Vec<RecentChanges> =
        stored.as_ref().map(|stored| stored.account.recent_changes.clone()).unwrap_or_default();
    for recent in pending.iter().flat_map(|pending| pending.recent_changes(changes::RECENT as usize)) {
        // The writer may have written it meanwhile.
        if recent_changes.iter().all(|other| other.at != recent.at) {
            recent_changes.push(recent);
        }
    }
    let newest = pending.iter().rev().find_map(|pending| pending.listing.as_ref());
    let newest = newest.filter(|_| is_recent(poll.last_success_at, now)).map(|pending| StoredListing {
        listing: (*pending.listing).clone(),
        numbers: NumberStates::clone(&pending.numbers),
    });
    let listing = newest
        .or_else(|| known.as_ref().and_then(|known| known_listing(known, now)))
        .or_else(|| stored?.account.listing);
    Some(StoredAccount { poll, counters, listing, recent_changes })
}

/// Returns a listing that this process has written.
fn known_listing(known: &KnownAccount, now: SystemTime) -> Option<StoredListing> {
    let KnownListing { inventory, numbers, .. } = known.listing.as_ref()?;
    let numbers = numbers.as_ref().filter(|_| is_recent(known.poll.last_success_at, now))?;
    let (listing, _) = blob::decode_inventory(inventory).ok()?;
    Some(StoredListing { listing, numbers: NumberStates::clone(numbers) })
}

/// Returns what the file has of an account, and reports why it cannot be read.
fn read_file(shared: &Shared, account: &AccountKey, now: SystemTime) -> Option<Restored> {
    let path = shared.reader.path();
    match shared.reader.read(|connection| read(connection, account, now)) {
        Ok(None | Some(None)) => None,
        Ok(Some(Some(restored))) => {
            if let Some(problem) = &restored.problem {
                shared.report.invalid(path, &account.name, problem);
            }
            Some(restored)
        }
        Err(fault @ (Fault::Corrupt(_) | Fault::InvalidValue(_))) => {
            shared.report.invalid(path, &account.name, &fault.to_string());
            None
        }
        Err(fault) => {
            shared.report.not_restored(path, &account.name, &fault.to_string());
            None
        }
    }
}

/// Returns what a file has of an account of the same source.
pub(super) fn read(connection: &Connection, account: &AccountKey, now: SystemTime) -> Result<Option<Restored>, Fault> {
    let Some(row) = accounts::find(connection, &account.name)?.filter(|row| row.source == account.source) else {
        return Ok(None);
    };
    let counters: crate::inventory::ChangeCounters = serde_json::from_str(&row.counters)
        .map_err(|error| Fault::InvalidValue(format!("invalid counters: {error}")))?;
    let is_recent = is_recent(row.poll.last_success_at, now);
    let listing = if is_recent { accounts::with_listing(connection, row.id, decode)? } else { None };
    let (listing, known_listing, problem) = match listing {
        None => (None, None, None),
        Some(Ok((listing, known))) => (Some(listing), Some(known), None),
        Some(Err(error)) => (None, None, Some(format!("invalid listing: {error}"))),
    };
    let recent_changes = changes::recent(connection, &account.name)?;
    let known = KnownAccount {
        source: row.source,
        poll: row.poll.clone(),
        counters: counters.clone(),
        unrestored_counters: None,
        unrestored_numbers: None,
        listing: known_listing,
        since: Instant::now(),
    };
    let account = StoredAccount { poll: row.poll, counters, listing, recent_changes };
    Ok(Some(Restored { account, known, problem }))
}

fn decode(inventory: &[u8], numbers: &[u8]) -> Result<(StoredListing, KnownListing), InvalidBlob> {
    let (listing, inventory_hash) = blob::decode_inventory(inventory)?;
    let listing = StoredListing { listing, numbers: blob::decode_numbers(numbers)? };
    Ok((listing, KnownListing { inventory: Arc::from(inventory), inventory_hash, numbers: None }))
}

/// Returns whether a listing of this time is served or compared. The clock may have been set back.
fn is_recent(listed_at: Option<SystemTime>, now: SystemTime) -> bool {
    let distance = |time: SystemTime| time.duration_since(now).unwrap_or_else(|error| error.duration());
    listed_at.is_some_and(|time| distance(time) <= MAX_AGE)
}
