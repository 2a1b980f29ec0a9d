//! What survives a restart: a SQLite database with the last valid listing, the counters and the last poll of each
//! account, and a journal of all changes.
//!
//! A [`StateStore`] belongs to a running exporter: accounts are restored from it at the start, and polls are saved when
//! they end. A [`Journal`] only reads changes, also while an exporter writes. Nothing here knows polls, metrics or HTTP.

mod journal;
mod options;
mod record;
mod store;

pub use journal::{ChangeFilter, Journal, JournalError, RecordedChange};
pub use options::StateOptions;
pub use record::{
    AccountKey, RecentChanges, Save, SavedListing, StoredAccount, StoredFailure, StoredListing, StoredPoll,
};
pub use store::{StateError, StateStatus, StateStore};
