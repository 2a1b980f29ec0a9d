//! The status page: what an operator wants to know first, on one HTML page.
//!
//! Snapshots of the accounts go in, HTML comes out. The page is self-contained: it loads nothing from other hosts and
//! runs no script but its own. Text that others wrote, such as names and errors, never becomes markup.

mod account;
mod assets;
mod chart;
mod country_counts;
mod events;
mod format;
mod pagination;
mod query;
mod status_page;
mod summary;
mod tables;
mod watched;

pub(super) use assets::headers;
pub(super) use query::PageQuery;
pub(super) use status_page::{PageInput, render};
