//! What a metric is, before it has a value.

use super::exposition::Samples;

/// The types of Prometheus's text format that are in use here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricType {
    /// Goes up only, until the process starts again.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Cumulative buckets, a sum and a count.
    Histogram,
}

impl MetricType {
    /// As a `# TYPE` line says it.
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
    /// The name of the family, as its samples have it in the text format.
    pub name: &'static str,
    /// One sentence: what it is, its unit, when it is absent.
    pub help: &'static str,
    /// Its type.
    pub kind: MetricType,
    /// Its label names, `account` included, in the order of their values.
    pub labels: &'static [&'static str],
    /// What its values count or measure; empty where that is nothing.
    pub unit: &'static str,
    /// A question that it answers, in `PromQL`.
    pub query: &'static str,
}

impl Family {
    /// What may be expected of it: `stable` families change with a major version alone, `opt-in` ones
    /// are there where an option asks for them.
    #[must_use]
    pub fn stability(&self) -> &'static str {
        if self.help.contains("only with --") { "opt-in" } else { "stable" }
    }
}

/// A family and how a subject fills it.
#[derive(Debug)]
pub struct Metric<S: ?Sized> {
    /// The declaration.
    pub family: Family,
    /// Writes the samples that the subject has; none is allowed.
    pub fill: fn(&S, &mut Samples<'_>),
}

impl<S: ?Sized> Metric<S> {
    /// A gauge.
    pub(super) const fn gauge(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
        fill: fn(&S, &mut Samples<'_>),
    ) -> Self {
        Self { family: Family { name, help, kind: MetricType::Gauge, labels, unit: "", query: name }, fill }
    }

    /// A counter.
    pub(super) const fn counter(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
        fill: fn(&S, &mut Samples<'_>),
    ) -> Self {
        Self { family: Family { name, help, kind: MetricType::Counter, labels, unit: "", query: name }, fill }
    }

    /// What the documentation says beside: its unit and a question that it answers.
    pub(super) const fn about(self, unit: &'static str, query: &'static str) -> Self {
        Self { family: Family { unit, query, ..self.family }, ..self }
    }
}
