//! What this process says of itself, at each scrape.

use std::fmt;

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;

use super::family::Metric;

/// The build, and the process as the operating system sees it.
pub struct Exporter {
    process: ProcessCollector,
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").finish_non_exhaustive()
    }
}

impl Default for Exporter {
    fn default() -> Self {
        Self { process: ProcessCollector::for_self() }
    }
}

/// The families that have no account.
pub static EXPORTER: &[Metric<Exporter>] = &[Metric::gauge(
    "tryvox_exporter_build_info",
    &["version", "revision", "rustc"],
    "1, labelled by what this exporter was built from.",
    |_, samples| {
        samples
            .push([env!("CARGO_PKG_VERSION"), env!("TRYVOX_EXPORTER_REVISION"), env!("TRYVOX_EXPORTER_RUSTC")], 1_u64);
    },
)];

impl Exporter {
    /// Writes the `process_*` families to the end of `out`.
    pub(super) fn push_process(&self, out: &mut String) {
        // It fails only for families without a name or samples, which this collector has not.
        _ = prometheus::TextEncoder::new().encode_utf8(&self.process.collect(), out);
    }
}
