//! What survives a restart: a SQLite database with the last valid listing, the counters and the last poll of each
//! account, and a journal of all changes.
//!
//! A [`StateStore`] belongs to a running exporter: accounts are restored from it at the start, and polls are saved when
//! they end. A [`Journal`] only reads changes, also while an exporter writes. Nothing here knows polls, metrics or HTTP.
//!
//! Saves wait in a queue, of which one thread writes everything that waits in one transaction.

mod accounts;
mod blob;
mod changes;
mod connection;
mod database;
mod error;
mod fault;
mod files;
mod journal;
mod known;
mod lock;
mod options;
mod pending;
mod prune;
mod queue;
mod reader;
mod record;
mod report;
mod restore;
mod schema;
mod shared;
mod state_file;
mod store;
mod times;
mod update;
mod writer;

pub use error::StateError;
pub use journal::{ChangeFilter, Journal, JournalError};
pub use options::StateOptions;
pub use record::{
    AccountKey, RecentChanges, RecordedChange, Save, SavedListing, StoredAccount, StoredFailure, StoredListing,
    StoredPoll,
};
pub use report::StateStatus;
pub use store::StateStore;
