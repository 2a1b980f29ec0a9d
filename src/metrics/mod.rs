//! Renders metrics in Prometheus's exposition formats.
//!
//! Publications of the [`poller`](crate::poller) and the state of this process go in; the encoded body of a scrape
//! comes out.
//!
//! The metrics are declared as constants, in tables of families: [`INVENTORY`] is what a listing adds up to,
//! [`POLLING`] is how the polls of an account go, and [`EXPORTER`] is the exporter itself; its process and its web server
//! have tables of their own. Each entry has the function that reads its samples, so a new metric is a new entry. There is
//! no other registration.
//!
//! [`AccountMetrics`] owns the metrics of one account. It is a reaction of the account's poller: at the end of each
//! poll it renders the inventory, once for all scrapes, and replaces its view. It belongs to the poller and to the list
//! of accounts that scrapes read, so the metrics of an account that is removed disappear with the account.
//! [`ExporterMetrics`] owns the metrics of the process and the cache of what is rendered at scrapes; the web server counts
//! requests and connections in its [`HttpMetrics`]. A [`Scrape`] loads
//! the view of each account once, copies the inventory and renders the rest if that has changed, so it costs the same
//! for any number of phone numbers, never waits for a poll, and never mixes two listings of an account.
//!
//! Families are rendered from snapshots rather than set on a registry of gauges. Setting gauges one by one would let a
//! scrape see half of a listing, would keep the series of groups and numbers that no longer exist until each is
//! removed, and would take memory and time for every series at every scrape.
//!
//! Nothing here knows HTTP: content negotiation and headers are up to the web server.

mod account;
mod body;
mod cache;
mod encoding;
mod exporter;
mod exporter_families;
mod exposition;
mod family;
mod format;
mod http;
mod inventory_families;
mod listing_samples;
mod metric;
mod polling_families;
mod previous;
mod process;
mod render;
mod scrape;
mod text;

pub use account::AccountMetrics;
pub use encoding::Encoding;
pub use exporter::ExporterMetrics;
pub use exporter_families::{ConfigStatus, EXPORTER, ExporterStatus};
pub use exposition::{SampleValue, Samples};
pub use family::{Example, Family, MetricType};
pub use format::Format;
pub use http::HttpMetrics;
pub use inventory_families::INVENTORY;
pub use metric::Metric;
pub use polling_families::{POLLING, PollingStatus};
pub use previous::{PreviousAccount, PreviousMetrics, PreviousMetricsError, seal};
pub use render::{RenderedListing, render_listing};
pub use scrape::{Chunks, Scrape, families};
pub use text::CachedText;
