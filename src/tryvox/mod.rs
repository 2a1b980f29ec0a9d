//! Client of the `TryVox` API: lists the phone numbers of one account.
//!
//! A [`TryvoxClient`] is made from an account's [`TryvoxOptions`]. Its [`list`](TryvoxClient::list) requests every
//! page of a listing and passes each [`ListingPage`] to a callback as it arrives; what comes back is a
//! [`ListingSummary`], or the [`Failure`] that ended the listing, whose [`FailureReason`] is a metric label. Requests
//! are paced, limited over all accounts by a [`FairLimit`], retried if that can help, and counted in [`RequestStats`].
//! They go through a [`Transport`], which tests replace.
//!
//! This module keeps no pages and no records, does not decide whether a listing is complete, never follows a
//! redirect, and never puts the API key into a message.
//!
//! The files, from the top down: `client` (a listing and the attempts at its pages), `poll_key` (the key during a
//! poll), `retry` (whether an attempt is repeated), `sender` (one request), `gate`, `pacer` and `fair_limit` (when it
//! may start), `transport` and `certificates` (the network), `response`, `message`, `body` and `wire` (what comes back), `timer` (the
//! timeout of a request). Each imports only files further down, and those on their own: `urls`, `key`, `redaction`,
//! `proxy`, `resolver`, `failure`, `request_stats`, `options`.

mod body;
mod certificates;
mod client;
mod failure;
mod fair_limit;
mod gate;
mod key;
mod message;
mod options;
mod pacer;
mod poll_key;
mod proxy;
mod redaction;
mod request_stats;
mod resolver;
mod response;
mod retry;
mod sender;
mod timer;
mod transport;
mod urls;
mod wire;

use std::time::Duration;

pub use body::ResponseBody;
pub use client::{ClientContext, ListingProgress, ListingSummary, TryvoxClient};
pub use failure::{Advice, Failure, FailureReason, PageAttempt};
pub use fair_limit::FairLimit;
pub use key::{ApiKey, ApiKeyError, ApiKeySource, InvalidApiKey, KeyFile};
pub use options::{TryvoxOptions, account_id};
pub use poll_key::PollKey;
pub use proxy::check_proxy;
pub use request_stats::{DURATION_BUCKETS, RequestStats};
pub use response::ApiResponse;
pub use transport::{HttpClients, Transport};
pub use urls::ListingFilter;
pub use wire::{
    Deviation, FieldSet, GenerationWindow, InvalidPage, ListingPage, MAX_TEXT, MalformedRecord, NumberRecord,
    OptionalField, PageText, Pagination, optional_text, optional_timestamp,
};

/// The statuses that the API documents.
pub const STATUSES: [&str; 3] = ["active", "pending", "suspended"];

/// Returns the duration in whole seconds, rounded up.
fn round_up_to_seconds(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs() + u64::from(duration.subsec_nanos() > 0))
}
