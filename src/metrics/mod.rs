//! How everything reads in Prometheus's exposition formats.
//!
//! Every family is declared once, in one of three tables: [`INVENTORY`] is filled from a listing
//! when a poll ends, [`POLLING`] from an account's state and [`EXPORTER`] from this process at each
//! scrape. To add a metric is to add an entry to a table. [`Scrape`] puts the pieces together, packed as a client
//! wants it.

mod encoding;
mod exporter;
mod exposition;
mod family;
mod inventory;
mod live;
mod polling;
mod scrape;

pub use encoding::Encoding;
pub use exporter::{ConfigStatus, EXPORTER, Exporter};
pub use exposition::{Format, Samples};
pub use family::{Family, Metric, MetricType};
pub use inventory::{INVENTORY, render_listing};
pub use polling::{POLLING, Polled};
pub use scrape::{Chunks, Scrape, families};
