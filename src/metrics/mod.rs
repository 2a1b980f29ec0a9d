//! How everything reads in Prometheus's exposition formats.
//!
//! Every family is declared once, in one of three tables: [`INVENTORY`] is filled from a listing
//! when a poll ends, [`POLLING`] from an account's state and [`EXPORTER`] from this process at each
//! scrape. To add a metric is to add an entry to a table. [`Scrape`] puts the pieces together, packed as a client
//! wants it.

mod coding;
mod encode;
mod exporter;
mod family;
mod inventory;
mod live;
mod polling;
mod scrape;

pub use coding::Coding;
pub use encode::{Format, Samples};
pub use exporter::{Configured, EXPORTER, Exporter};
pub use family::{Family, Kind, Metric};
pub use inventory::{INVENTORY, encode_listing};
pub use polling::{POLLING, Polled};
pub use scrape::{Pieces, Scrape, families};
