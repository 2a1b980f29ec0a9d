//! How to ask `TryVox`: one account's credentials and limits in, the pages of a listing out.
//!
//! [`Client::list`] lists every number of an account once, at the pace that the account allows, and
//! hands each [`Page`] on as it arrives; nothing of a page is kept. A page that cannot be had is
//! asked for again, patiently, where that can help. What goes wrong in the end is a [`Failure`],
//! whose [`Reason`] is what the metrics count. A [`Transport`] is what sends a request; a [`Gate`]
//! is what all accounts have to pass.

mod address;
mod answer;
mod client;
mod failure;
mod gate;
mod key;
mod pacing;
mod requests;
mod retry;
mod transport;
mod wire;

pub use address::{Filter, numbers_url};
pub use client::{Client, Endpoint, Limits, Listing};
pub use failure::{Advice, Attempt, Failure, Reason};
pub use gate::Gate;
pub use key::{ApiKey, InvalidKey, KeySource, NoKey};
pub use requests::{DURATION_BUCKETS, Requests};
pub use transport::{Answer, HttpClients, Transport, read_body};
pub use wire::{Moment, Name, Page, Pagination, Record, Unreadable, Written};
