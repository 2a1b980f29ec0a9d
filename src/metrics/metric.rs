//! A metric family together with the function that reads its samples from a subject.

use super::exposition::Samples;
use super::family::{Family, MetricType};

/// A metric family whose samples are read from a subject of type `S`.
#[derive(Debug)]
pub struct Metric<S: ?Sized> {
    /// The declaration.
    pub family: Family,
    /// Pushes the samples that the subject has, if any.
    pub fill: fn(&S, &mut Samples<'_>),
}

impl<S: ?Sized> Metric<S> {
    /// Declares a gauge.
    pub(super) const fn gauge(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
        fill: fn(&S, &mut Samples<'_>),
    ) -> Self {
        Self { family: Family { name, help, kind: MetricType::Gauge, labels, unit: "", query: name }, fill }
    }

    /// Declares a counter.
    pub(super) const fn counter(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
        fill: fn(&S, &mut Samples<'_>),
    ) -> Self {
        Self { family: Family { name, help, kind: MetricType::Counter, labels, unit: "", query: name }, fill }
    }

    /// Adds what only the documentation has: the unit, and a question that the family answers, in `PromQL`.
    pub(super) const fn about(self, unit: &'static str, query: &'static str) -> Self {
        Self { family: Family { unit, query, ..self.family }, ..self }
    }
}
