//! How to ask `TryVox`: one account's credentials and limits in, the pages of a listing out.
//!
//! [`Client::list`] lists every number of an account once, at the pace that the account allows, and
//! hands each [`Page`] on as it arrives; nothing of a page is kept. A page that cannot be had is
//! asked for again, patiently, where that can help. What goes wrong in the end is a [`Failure`],
//! whose [`Reason`] is what the metrics count. A [`Transport`] is what sends a request; a [`FairLimit`]
//! is what all accounts have to pass.

mod address;
mod answer;
mod client;
mod failure;
mod gate;
mod key;
mod options;
mod pacing;
mod requests;
mod retry;
mod transport;
mod wire;

pub use address::{Filter, numbers_url};
pub use client::{Client, ClientContext, ListingSummary};
pub use failure::{Advice, Attempt, Failure, Reason};
pub use gate::FairLimit;
pub use key::{ApiKey, InvalidKey, KeyError, KeySource};
pub use options::{TryvoxOptions, account_id};
pub use requests::{DURATION_BUCKETS, RequestStats};
pub use transport::{ApiResponse, HttpClients, Transport, read_body};
pub use wire::{InvalidRecords, OptionalText, OptionalTimestamp, Page, Pagination, Record, WriteWindow};

/// The statuses that the API documents.
pub const STATUSES: [&str; 3] = ["active", "pending", "suspended"];
