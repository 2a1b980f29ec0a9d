//! What this process has stored of each account, or restored.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{AccountKey, StoredPoll};
use crate::inventory::{ChangeCounters, NumberStates};

/// The listing of an account that has not been saved for this long is no longer kept in memory.
const FORGET_LISTING_AFTER: Duration = Duration::from_hours(24);

/// Nothing is kept in memory of an account that has not been saved for this long; its row is deleted then.
const FORGET_AFTER: Duration = Duration::from_hours(7 * 24);

/// What the state file has of the accounts that this process has saved or restored, by their names.
#[derive(Debug, Default)]
pub(super) struct KnownAccounts(Mutex<HashMap<String, KnownAccount>>);

/// What the state file has of an account.
#[derive(Debug, Clone)]
pub(super) struct KnownAccount {
    pub(super) source: String,
    pub(super) poll: StoredPoll,
    /// The counters of this process, which continue those that it has restored.
    pub(super) counters: ChangeCounters,
    /// Counted by an earlier process, or between it and this one, if this process could not restore it. The file has
    /// the sum.
    pub(super) unrestored_counters: Option<ChangeCounters>,
    /// The numbers that an earlier process listed, with which the first listing of this process has to be compared.
    pub(super) unrestored_numbers: Option<Arc<NumberStates>>,
    pub(super) listing: Option<KnownListing>,
    /// When it was last read or written.
    pub(super) since: Instant,
}

/// What the state file has of a listing.
#[derive(Debug, Clone)]
pub(super) struct KnownListing {
    /// The compressed inventory.
    pub(super) inventory: Arc<[u8]>,
    /// The hash of the inventory as JSON.
    pub(super) inventory_hash: u64,
    /// The numbers; `None` if they were restored, in which case they are the previous ones of the next listing.
    pub(super) numbers: Option<Arc<NumberStates>>,
}

impl KnownAccounts {
    /// Returns what is known of an account of the same source.
    pub(super) fn get(&self, account: &AccountKey) -> Option<KnownAccount> {
        self.lock().get(&account.name).filter(|known| known.source == account.source).cloned()
    }

    /// Returns everything that is known.
    pub(super) fn all(&self) -> Vec<(String, KnownAccount)> {
        self.lock().iter().map(|(name, known)| (name.clone(), known.clone())).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Adds an account that was restored, unless it has been saved meanwhile.
    pub(super) fn add_restored(&self, name: &str, restored: KnownAccount) {
        let mut accounts = self.lock();
        if accounts.get(name).is_none_or(|known| known.source != restored.source) {
            accounts.insert(name.to_owned(), restored);
        }
    }

    /// Replaces what is known of accounts that were saved.
    pub(super) fn extend(&self, saved: impl IntoIterator<Item = (String, KnownAccount)>) {
        self.lock().extend(saved);
    }

    /// Forgets listings that only the file had.
    pub(super) fn forget_restored_listings(&self) {
        for known in self.lock().values_mut() {
            known.listing = known.listing.take().filter(|listing| listing.numbers.is_some());
        }
    }

    /// Forgets what has not been used for long.
    pub(super) fn forget_old(&self) {
        let mut accounts = self.lock();
        accounts.retain(|_, known| known.since.elapsed() < FORGET_AFTER);
        for known in accounts.values_mut().filter(|known| known.since.elapsed() >= FORGET_LISTING_AFTER) {
            known.listing = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, KnownAccount>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
