//! How to ask `TryVox`: one account's credentials and limits in, the pages of a listing out.
//!
//! [`Client::list`] lists every number of an account once, at the pace that the account allows, and
//! hands each [`Page`] on as it arrives; nothing of a page is kept. What goes wrong is a
//! [`Failure`], whose [`Reason`] is what the metrics count.

mod client;
mod failure;
mod key;
mod pacing;
mod requests;
mod wire;

pub use client::{Client, HttpClients, Limits, Listing, numbers_url};
pub use failure::{Failure, Reason};
pub use key::{ApiKey, InvalidKey, KeySource, NoKey};
pub use requests::{DURATION_BUCKETS, Requests};
pub use wire::{Page, Pagination, Record};
