//! What the state file has of an account, and the statements that change it to what a save says.

use std::sync::Arc;
use std::time::Instant;

use rusqlite::Connection;

use super::fault::Fault;
use super::pending::Pending;
use super::times::to_millis;
use super::{StoredPoll, accounts, blob, changes};
use crate::inventory::{ChangeRecord, NumberStates, is_same};

/// What the state file has of an account.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) source: String,
    pub(super) poll: StoredPoll,
    /// As JSON.
    pub(super) counters: String,
    pub(super) listing: Option<StoredBlobs>,
    /// When it was last read or written.
    pub(super) since: Instant,
}

/// What the state file has of a listing.
#[derive(Debug, Clone)]
pub(super) struct StoredBlobs {
    /// The compressed inventory.
    pub(super) inventory: Arc<[u8]>,
    /// The numbers; `None` if they were restored, in which case they are the previous ones of the next save.
    pub(super) numbers: Option<Arc<NumberStates>>,
}

impl Stored {
    /// Forgets a listing that only the file had.
    pub(super) fn forget_restored_listing(&mut self) {
        self.listing = self.listing.take().filter(|listing| listing.numbers.is_some());
    }

    /// Writes everything to a new file.
    pub(super) fn write_again(&self, connection: &Connection, name: &str, now: i64) -> Result<(), Fault> {
        let id = accounts::store(connection, name, &self.source, &self.poll, &self.counters, now)?;
        self.listing.as_ref().map_or(Ok(()), |listing| listing.write(connection, id))
    }
}

impl StoredBlobs {
    fn write(&self, connection: &Connection, account_id: i64) -> Result<(), Fault> {
        let Some(numbers) = &self.numbers else { return Ok(()) };
        let numbers = blob::encode_numbers(numbers)?;
        accounts::store_listing(connection, account_id, &self.inventory, &numbers)?;
        Ok(())
    }
}

/// Writes what differs from `stored`, which the file has if `is_written`. Returns what the file has afterwards.
pub(super) fn write(
    connection: &Connection,
    stored: Option<&Stored>,
    is_written: bool,
    pending: &Pending,
    now: i64,
) -> Result<Stored, Fault> {
    let Pending { account, poll, listing, .. } = pending;
    let counters = serde_json::to_string(&pending.counters).map_err(std::io::Error::from)?;
    let id = accounts::store(connection, &account.name, &account.source, poll, &counters, now)?;

    let stored = stored.and_then(|stored| stored.listing.as_ref());
    let (listing, is_stored) = match listing {
        None => (stored.cloned(), is_written),
        Some(new) => {
            let inventory = Arc::from(blob::encode_inventory(&new.listing)?);
            let before = stored.and_then(|stored| stored.numbers.as_ref()).or(pending.baseline.as_ref());
            let is_same =
                before.is_some_and(|before| Arc::ptr_eq(before, &new.numbers) || is_same(before, &new.numbers));
            if let Some(before) = before.filter(|_| !is_same) {
                let changes = crate::inventory::changes(before, &new.numbers);
                let records = changes.map(|change| ChangeRecord::from(&change));
                changes::insert(connection, to_millis(new.ended_at), &account.name, records)?;
            }
            let is_stored = is_written && is_same && stored.is_some_and(|stored| stored.inventory == inventory);
            (Some(StoredBlobs { inventory, numbers: Some(Arc::clone(&new.numbers)) }), is_stored)
        }
    };
    if let Some(listing) = listing.as_ref().filter(|_| !is_stored) {
        listing.write(connection, id)?;
    }
    Ok(Stored { source: account.source.clone(), poll: poll.clone(), counters, listing, since: Instant::now() })
}
