//! Extracts the metrics and labels that a `PromQL` query names, and checks that they exist.

use std::collections::BTreeSet;
use std::time::Duration;

use promql_parser::label::Matchers;
use promql_parser::parser::{AggregateExpr, Call, Expr, LabelModifier, parse};
use tryvox_exporter::metrics::families;

/// The selectors and labels of a `PromQL` query.
#[derive(Debug, Default)]
pub(crate) struct Query {
    pub(crate) selectors: Vec<Selector>,
    /// The labels in `by`, `without`, `on`, `ignoring` and `group_left` clauses.
    pub(crate) labels: BTreeSet<String>,
    /// The labels that the query itself creates, with `count_values` or `label_replace`.
    pub(crate) created_labels: BTreeSet<String>,
}

/// An instant or range selector.
#[derive(Debug)]
pub(crate) struct Selector {
    /// The metric's name.
    pub(crate) name: String,
    /// Labels and the values they are matched against.
    pub(crate) matchers: Vec<(String, String)>,
    /// For a range selector: its length and the function that is applied to it.
    pub(crate) range: Option<(Duration, Option<&'static str>)>,
}

impl Query {
    /// Parses a query.
    ///
    /// # Panics
    /// If the query is invalid or a selector names no metric.
    pub(crate) fn parse(text: &str) -> Self {
        let mut query = Self::default();
        query.walk(&parse(text).unwrap_or_else(|error| panic!("{text}: {error}")), None);
        query
    }

    /// Returns the labels of all selected series and those that the query creates. `labels_of` returns the
    /// labels of a metric, or `None` if the metric does not exist.
    ///
    /// # Panics
    /// If the query names a metric or a label that does not exist.
    pub(crate) fn known_labels(&self, labels_of: impl Fn(&str) -> Option<BTreeSet<String>>) -> BTreeSet<String> {
        let mut known = self.created_labels.clone();
        for Selector { name, matchers, .. } in &self.selectors {
            let labels = labels_of(name).unwrap_or_else(|| panic!("metric {name} does not exist"));
            for (label, _) in matchers {
                assert!(labels.contains(label), "{name} has no label {label}");
            }
            known.extend(labels);
        }
        for label in &self.labels {
            assert!(known.contains(label), "no selected series has the label {label}: {:?}", self.selectors);
        }
        known
    }

    fn walk(&mut self, expr: &Expr, call: Option<&'static str>) {
        match expr {
            Expr::Aggregate(AggregateExpr { expr, param, modifier, op }) => {
                self.add_labels(modifier.as_ref());
                match param.as_deref() {
                    Some(Expr::StringLiteral(label)) if op.to_string() == "count_values" => {
                        self.created_labels.insert(label.val.clone());
                    }
                    Some(param) => self.walk(param, None),
                    None => {}
                }
                self.walk(expr, None);
            }
            Expr::Binary(binary) => {
                if let Some(modifier) = &binary.modifier {
                    self.add_labels(modifier.matching.as_ref());
                    self.labels.extend(modifier.card.labels().into_iter().flat_map(|labels| labels.labels.clone()));
                }
                self.walk(&binary.lhs, None);
                self.walk(&binary.rhs, None);
            }
            Expr::Call(Call { func, args }) => {
                if let ("label_replace", Some(Expr::StringLiteral(label))) =
                    (func.name, args.args.get(1).map(|arg| &**arg))
                {
                    self.created_labels.insert(label.val.clone());
                }
                args.args.iter().for_each(|argument| self.walk(argument, Some(func.name)));
            }
            Expr::Paren(paren) => self.walk(&paren.expr, call),
            Expr::Unary(unary) => self.walk(&unary.expr, None),
            Expr::Subquery(subquery) => self.walk(&subquery.expr, None),
            Expr::VectorSelector(selector) => self.add_selector(selector.name.as_ref(), &selector.matchers, None),
            Expr::MatrixSelector(selector) => {
                self.add_selector(selector.vs.name.as_ref(), &selector.vs.matchers, Some((selector.range, call)));
            }
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
        }
    }

    fn add_labels(&mut self, modifier: Option<&LabelModifier>) {
        self.labels.extend(modifier.into_iter().flat_map(|modifier| modifier.labels().labels.clone()));
    }

    fn add_selector(
        &mut self,
        name: Option<&String>,
        matchers: &Matchers,
        range: Option<(Duration, Option<&'static str>)>,
    ) {
        let matchers = matchers.matchers.iter().map(|matcher| (matcher.name.clone(), matcher.value.clone())).collect();
        self.selectors.push(Selector { name: name.unwrap().clone(), matchers, range });
    }
}

/// Metrics that are not in [`families`]: those that Prometheus adds for each target, and those of the
/// exporter's process.
const TARGET_METRICS: [&str; 8] = [
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "up",
];

/// Returns the labels that a metric of the exporter has in Prometheus, including those of the target, or
/// `None` if the metric does not exist.
pub(crate) fn labels_of(name: &str) -> Option<BTreeSet<String>> {
    let mut labels = BTreeSet::from(["instance", "job", "pod"]);
    if !TARGET_METRICS.contains(&name) {
        let bucket = name.strip_suffix("_bucket");
        labels.extend(families().find(|family| family.name == bucket.unwrap_or(name))?.labels);
        labels.extend(bucket.map(|_| "le"));
    }
    Some(labels.into_iter().map(str::to_owned).collect())
}
