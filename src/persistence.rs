//! Connects polls with a state file: their results are saved, and restored at the next start.

use std::sync::Arc;
use std::time::Duration;

use crate::config::AccountConfig;
use crate::inventory::Listing;
use crate::poller::{
    History, LastPoll, PollReaction, PollStats, Poller, Publication, RestoredAccount, RestoredListing,
};
use crate::state::{
    AccountKey, RecentChanges, Save, SavedListing, StateStore, StoredAccount, StoredFailure, StoredListing, StoredPoll,
};
use crate::tryvox::{Failure, FailureReason};

/// How long the publication of a poll waits until it is stored. A listing is stored before it is published, so that no
/// counter is scraped that a crash could take back.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Restores the account of a poller that has not polled yet, and stores the result of each of its polls. Returns the last
/// valid listing if it is restored.
///
/// It must be attached before reactions that publish.
#[must_use]
pub fn attach(store: &Arc<StateStore>, poller: &mut Poller) -> Option<Arc<Listing>> {
    let stored = store.restore(&key_of(&poller.account.config()));
    let listing = stored.and_then(|stored| restore(poller, stored));
    poller.reactions.push(Arc::new(PollSaver { store: store.clone() }));
    listing
}

/// Saves the result of each poll of an account.
#[derive(Debug)]
struct PollSaver {
    store: Arc<StateStore>,
}

impl PollReaction for PollSaver {
    fn poll_ended(&self, publication: &Publication<'_>) {
        let Publication { account, snapshot, new_listing } = publication;
        let Some(poll) = stored_poll(&snapshot.polls) else { return };
        let listing = new_listing.map(|new| SavedListing {
            listing: new.listing.clone(),
            numbers: new.numbers.clone(),
            previous: new.previous.map(|previous| previous.numbers.clone()),
        });
        let save = Save { account: key_of(&account.config()), poll, counters: snapshot.changes.clone(), listing };
        self.store.save(save, MAX_WAIT);
    }
}

fn key_of(account: &AccountConfig) -> AccountKey {
    AccountKey { name: account.name.clone(), source: account.source() }
}

/// Returns what is stored of the last poll, if there is one.
fn stored_poll(polls: &PollStats) -> Option<StoredPoll> {
    let LastPoll { ended_at, duration, pages } = polls.last?;
    let failure = polls.failure.as_ref();
    let failure =
        failure.map(|failure| StoredFailure { reason: failure.reason.as_str().to_owned(), cause: failure.to_string() });
    Some(StoredPoll { ended_at, duration, pages, failure, last_success_at: polls.last_success_at })
}

/// Restores an account, and returns its listing if that is restored, too.
fn restore(poller: &Poller, stored: StoredAccount) -> Option<Arc<Listing>> {
    let StoredAccount { poll, counters, listing, recent_changes } = stored;
    let mut history = History::default();
    for RecentChanges { at, first, count } in recent_changes {
        history.add_changes(at, first, count);
    }
    let listing = listing.zip(poll.last_success_at);
    let listing = listing.map(|(StoredListing { listing, numbers }, listed_at)| RestoredListing {
        listing,
        listed_at,
        numbers: Arc::new(numbers),
    });
    poller.restore(RestoredAccount { polls: restored_polls(poll), changes: counters, history, listing })
}

/// Returns how polling went in an earlier run. Polls of this run are counted from 0.
fn restored_polls(poll: StoredPoll) -> PollStats {
    let StoredPoll { ended_at, duration, pages, failure, last_success_at } = poll;
    let failure = failure.map(|StoredFailure { reason, cause }| {
        // A version that has other reasons may have written it.
        let reason = FailureReason::ALL.into_iter().find(|known| known.as_str() == reason);
        Failure::new(reason.unwrap_or(FailureReason::Internal), cause)
    });
    let last = Some(LastPoll { ended_at, duration, pages });
    PollStats { failure, last, last_success_at, ..PollStats::default() }
}
