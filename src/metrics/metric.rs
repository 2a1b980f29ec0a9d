//! A metric family together with the function that reads its samples from a subject.

use super::exposition::Samples;
use super::family::{Example, Family, MetricType};

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
        Self::new(MetricType::Gauge, name, labels, help, fill)
    }

    /// Declares a counter; its name ends with `_total`.
    pub(super) const fn counter(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
        fill: fn(&S, &mut Samples<'_>),
    ) -> Self {
        Self::new(MetricType::Counter, name, labels, help, fill)
    }

    /// Declares a histogram.
    pub(super) const fn histogram(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
        fill: fn(&S, &mut Samples<'_>),
    ) -> Self {
        Self::new(MetricType::Histogram, name, labels, help, fill)
    }

    /// Declares an info family; its name ends with `_info`, and its values are 1.
    pub(super) const fn info(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
        fill: fn(&S, &mut Samples<'_>),
    ) -> Self {
        Self::new(MetricType::Info, name, labels, help, fill)
    }

    const fn new(
        kind: MetricType,
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
        fill: fn(&S, &mut Samples<'_>),
    ) -> Self {
        let example = Example { result: "", query: name };
        Self { family: Family { name, help, kind, labels, unit: "", is_opt_in: false, example }, fill }
    }

    /// Adds the unit of the values, for the documentation.
    pub(super) const fn unit(self, unit: &'static str) -> Self {
        Self { family: Family { unit, ..self.family }, ..self }
    }

    /// Marks the family as present only if an option enables it.
    pub(super) const fn opt_in(self) -> Self {
        Self { family: Family { is_opt_in: true, ..self.family }, ..self }
    }

    /// Adds an example for the documentation: what a query returns, and the query.
    pub(super) const fn example(self, result: &'static str, query: &'static str) -> Self {
        Self { family: Family { example: Example { result, query }, ..self.family }, ..self }
    }
}
