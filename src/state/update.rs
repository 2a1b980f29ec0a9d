//! What a save changes in the state file: prepared without a lock, written in a transaction.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use rusqlite::Connection;

use super::fault::Fault;
use super::known::{KnownAccount, KnownAccounts, KnownListing};
use super::pending::{Pending, PollChanges, Start, is_equal};
use super::times::to_millis;
use super::{accounts, blob, changes, restore};
use crate::inventory::{self, ChangeRecord, ListingDifference, NumberStates};

/// Pairs of statuses that are counted separately among the changes that no process could count.
const STATUS_PAIRS: usize = 100;

/// What has to be written of an account.
#[derive(Debug)]
pub(super) struct Update<'a> {
    name: &'a str,
    /// The counters as JSON.
    counters: String,
    /// The inventory and the numbers; `None` if the file has them.
    blobs: Option<Blobs>,
    /// Changes since the listing of an earlier process.
    unrestored: Option<Difference>,
    records: &'a [PollChanges],
    /// Changes that the last poll found.
    last: Option<Difference>,
    /// What the file has afterwards.
    account: KnownAccount,
}

/// A compressed inventory and compressed numbers.
type Blobs = (Arc<[u8]>, Vec<u8>);

/// Two listings whose differences are recorded.
#[derive(Debug)]
struct Difference {
    at: SystemTime,
    before: Arc<NumberStates>,
    after: Arc<NumberStates>,
}

impl Difference {
    /// Returns the difference of listings; `None` if they are equal.
    fn new(before: &Arc<NumberStates>, after: &Arc<NumberStates>, at: SystemTime) -> Option<Self> {
        (!is_equal(before, after)).then(|| Self { at, before: before.clone(), after: after.clone() })
    }

    fn write(&self, connection: &Connection, account: &str) -> rusqlite::Result<()> {
        let records = inventory::changes(&self.before, &self.after).map(|change| ChangeRecord::from(&change));
        changes::insert(connection, to_millis(self.at), account, records)
    }
}

impl<'a> Update<'a> {
    /// Prepares a save. `is_written` is whether the file has what is known.
    pub(super) fn of_save(
        connection: &Connection,
        known: &KnownAccounts,
        is_written: bool,
        pending: &'a Pending,
        now: SystemTime,
    ) -> Result<Self, Fault> {
        let Pending { account, poll, counters, listing, start, records } = pending;
        let (known, is_written) = match known.get(account) {
            Some(known) => (Some(known), is_written),
            // State that was not restored must not be lost.
            None => (unrestored(connection, pending, now)?, true),
        };
        let mut updated = KnownAccount {
            source: account.source.clone(),
            poll: poll.clone(),
            counters: counters.clone(),
            unrestored_counters: None,
            unrestored_numbers: None,
            listing: None,
            since: Instant::now(),
        };
        if let Some(known) = known {
            updated.poll.last_success_at = poll.last_success_at.or(known.poll.last_success_at);
            updated.unrestored_counters = known.unrestored_counters;
            updated.unrestored_numbers = known.unrestored_numbers;
            updated.listing = known.listing;
        }

        let mut unrestored = None;
        if let Some(start) = start
            && let Some(before) = updated.unrestored_numbers.take()
            && let Start::Nothing(numbers, at) = start
        {
            unrestored = Difference::new(&before, numbers, *at);
            let missed = ListingDifference::between(&before, numbers);
            updated.unrestored_counters.get_or_insert_default().add(&missed, STATUS_PAIRS);
        }

        let mut is_stored = is_written;
        let mut last = None;
        if let Some(new) = listing {
            let json = blob::inventory_json(&new.listing)?;
            let inventory_hash = blob::hash(&json);
            let start = start.as_ref().and_then(|start| match start {
                Start::Previous(previous) => Some(previous),
                Start::Nothing(..) => None,
            });
            let stored = updated.listing.take();
            let same_inventory = stored.as_ref().filter(|stored| stored.inventory_hash == inventory_hash);
            is_stored &= same_inventory.is_some();
            let inventory = match same_inventory {
                Some(stored) => stored.inventory.clone(),
                None => Arc::from(blob::compress_inventory(&json)?),
            };
            let before = stored.as_ref().and_then(|stored| stored.numbers.as_ref()).or(start);
            is_stored &= before.is_some_and(|before| is_equal(before, &new.numbers));
            last = new.previous.as_ref().and_then(|before| Difference::new(before, &new.numbers, new.ended_at));
            updated.listing = Some(KnownListing { inventory, inventory_hash, numbers: Some(new.numbers.clone()) });
        }
        let blobs = if is_stored { None } else { blobs(&updated)? };
        let counters = counters_json(&updated)?;
        Ok(Self { name: &account.name, counters, blobs, unrestored, records, last, account: updated })
    }

    /// Prepares writing what is known to a new file.
    pub(super) fn of_known(name: &'a str, known: &KnownAccount) -> Result<Self, Fault> {
        let (counters, blobs) = (counters_json(known)?, blobs(known)?);
        Ok(Self { name, counters, blobs, unrestored: None, records: &[], last: None, account: known.clone() })
    }

    pub(super) fn write(&self, connection: &Connection, now: i64) -> rusqlite::Result<()> {
        let KnownAccount { source, poll, .. } = &self.account;
        let id = accounts::store(connection, self.name, source, poll, &self.counters, now)?;
        if let Some((inventory, numbers)) = &self.blobs {
            accounts::store_listing(connection, id, inventory, numbers)?;
        }
        if let Some(unrestored) = &self.unrestored {
            unrestored.write(connection, self.name)?;
        }
        for PollChanges { at, changes } in self.records {
            changes::insert(connection, to_millis(*at), self.name, changes.iter().cloned())?;
        }
        self.last.as_ref().map_or(Ok(()), |last| last.write(connection, self.name))
    }

    /// Returns what the file has after the transaction.
    pub(super) fn into_known(self) -> (String, KnownAccount) {
        (self.name.to_owned(), self.account)
    }
}

/// Returns what the file has of an account that this process has neither restored nor saved.
fn unrestored(connection: &Connection, pending: &Pending, now: SystemTime) -> Result<Option<KnownAccount>, Fault> {
    let restored = match restore::read(connection, &pending.account, now) {
        Ok(restored) => restored,
        // What cannot be used is replaced.
        Err(Fault::InvalidValue(_)) => None,
        Err(fault) => return Err(fault),
    };
    Ok(restored.map(|restored| {
        let numbers = restored.account.listing.map(|listing| Arc::new(listing.numbers));
        let mut known = restored.known;
        known.unrestored_counters = Some(std::mem::take(&mut known.counters));
        if let Some(listing) = &mut known.listing {
            listing.numbers.clone_from(&numbers);
        }
        known.unrestored_numbers = numbers;
        known
    }))
}

fn counters_json(account: &KnownAccount) -> Result<String, Fault> {
    let mut sum = account.counters.clone();
    if let Some(unrestored) = &account.unrestored_counters {
        sum += unrestored;
    }
    Ok(serde_json::to_string(&sum).map_err(std::io::Error::from)?)
}

fn blobs(account: &KnownAccount) -> Result<Option<Blobs>, Fault> {
    let Some(KnownListing { inventory, numbers: Some(numbers), .. }) = &account.listing else { return Ok(None) };
    Ok(Some((inventory.clone(), blob::encode_numbers(numbers)?)))
}
