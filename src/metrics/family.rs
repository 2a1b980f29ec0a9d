//! Declarations of metric families.

/// The types of Prometheus's text format that are used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricType {
    /// Only increases, until the process restarts.
    Counter,
    /// Increases and decreases.
    Gauge,
    /// Cumulative buckets, a sum and a count.
    Histogram,
}

impl MetricType {
    /// Returns the type as a `# TYPE` line has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// The declaration of a metric family.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// The name of its samples in the text format, with `_total` if it is a counter.
    pub name: &'static str,
    /// The HELP text, one sentence: what the value is, its unit, and when it is absent.
    pub help: &'static str,
    /// The type.
    pub kind: MetricType,
    /// The label names, `account` included, in the order of their values.
    pub labels: &'static [&'static str],
    /// What the values count or measure, for the documentation; empty if they have no unit.
    pub unit: &'static str,
    /// A question that the family answers, in `PromQL`, for the documentation.
    pub query: &'static str,
}

impl Family {
    /// Returns `stable` if the family changes only with a major version, or `opt-in` if it is present only with an
    /// option.
    #[must_use]
    pub fn stability(&self) -> &'static str {
        if self.help.contains("only with --") { "opt-in" } else { "stable" }
    }
}
