//! Declarations of metric families.

use super::format::Format;

/// The types of metric families that are used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricType {
    /// Only increases, until the process restarts.
    Counter,
    /// Increases and decreases.
    Gauge,
    /// Cumulative buckets, a sum and a count.
    Histogram,
    /// Labels of a sample that is always 1.
    Info,
}

impl MetricType {
    /// Returns the type as a `# TYPE` line has it. The text format has no type for info families.
    #[must_use]
    pub fn name(self, format: Format) -> &'static str {
        match (self, format) {
            (Self::Counter, _) => "counter",
            (Self::Gauge, _) | (Self::Info, Format::Text) => "gauge",
            (Self::Histogram, _) => "histogram",
            (Self::Info, Format::OpenMetrics) => "info",
        }
    }
}

/// The declaration of a metric family.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// The name of its samples in the text format, with `_total` if it is a counter and `_info` if it is an info
    /// family.
    pub name: &'static str,
    /// The HELP text, one sentence: what the value is, its unit, and when it is absent.
    pub help: &'static str,
    /// The type.
    pub kind: MetricType,
    /// The label names, `account` included, in the order of their values.
    pub labels: &'static [&'static str],
    /// What the values count or measure, for the documentation; empty if they have no unit.
    pub unit: &'static str,
    /// Whether the family is present only if an option enables it.
    pub is_opt_in: bool,
    /// A query that uses the family, for the documentation.
    pub example: Example,
}

/// An example query.
#[derive(Debug, Clone, Copy)]
pub struct Example {
    /// What the query returns: a noun phrase.
    pub result: &'static str,
    /// The query, in `PromQL`.
    pub query: &'static str,
}

impl Family {
    /// Returns the name of the family in a format. In `OpenMetrics` it lacks the suffix of the samples of counters and
    /// info families.
    #[must_use]
    pub fn name_in(&self, format: Format) -> &'static str {
        let suffix = match (format, self.kind) {
            (Format::OpenMetrics, MetricType::Counter) => "_total",
            (Format::OpenMetrics, MetricType::Info) => "_info",
            _ => "",
        };
        self.name.strip_suffix(suffix).unwrap_or(self.name)
    }

    /// Returns `stable` if the family changes only with a major version, or `opt-in` if moreover an option has to
    /// enable it.
    #[must_use]
    pub fn stability(&self) -> &'static str {
        if self.is_opt_in { "opt-in" } else { "stable" }
    }
}
