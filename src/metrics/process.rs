//! The `process_*` families, which the `prometheus` crate's collector reads from the operating system.

use std::fmt::{self, Write};

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;

use super::exposition::push_unit;
use super::format::Format;

/// The `process_*` families of this process.
pub(super) struct ProcessMetrics(ProcessCollector);

impl fmt::Debug for ProcessMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessMetrics").finish_non_exhaustive()
    }
}

impl ProcessMetrics {
    pub(super) fn new() -> Self {
        Self(ProcessCollector::for_self())
    }

    /// Collects the families and appends them to `out`.
    pub(super) fn push(&self, out: &mut String, format: Format) {
        let mut text = String::new();
        // It fails only for families without a name or samples, which this collector does not have.
        _ = prometheus::TextEncoder::new().encode_utf8(&self.0.collect(), &mut text);
        for line in text.lines() {
            let Some(header) = line.strip_prefix("# ").filter(|_| format == Format::OpenMetrics) else {
                _ = writeln!(out, "{line}");
                continue;
            };
            // In OpenMetrics the name of a counter's family lacks the suffix of its samples.
            let header = header.replacen("_total ", " ", 1);
            _ = writeln!(out, "# {header}");
            if let Some((name, _)) = header.strip_prefix("TYPE ").and_then(|rest| rest.split_once(' ')) {
                push_unit(out, name, format);
            }
        }
    }
}
