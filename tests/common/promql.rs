//! What a query of Prometheus names.

use std::collections::BTreeSet;
use std::time::Duration;

use promql_parser::label::Matchers;
use promql_parser::parser::{AggregateExpr, Call, Expr, LabelModifier, parse};
use tryvox_exporter::metrics::families;

/// A query, taken apart.
#[derive(Debug, Default)]
pub(crate) struct Query {
    pub(crate) selectors: Vec<Selector>,
    /// The labels that it groups or matches by.
    pub(crate) labels: BTreeSet<String>,
    /// The labels that it makes.
    pub(crate) made: BTreeSet<String>,
}

#[derive(Debug)]
pub(crate) struct Selector {
    pub(crate) name: String,
    /// Labels and what they are compared with.
    pub(crate) matchers: Vec<(String, String)>,
    /// Of a range selector: how long it is, and the function that it is given to.
    pub(crate) range: Option<(Duration, Option<&'static str>)>,
}

impl Query {
    /// Takes a query apart.
    ///
    /// # Panics
    /// Where it is none.
    pub(crate) fn parse(text: &str) -> Self {
        let mut query = Self::default();
        query.walk(&parse(text).unwrap_or_else(|error| panic!("{text}: {error}")), None);
        query
    }

    /// The labels that its selectors' series have, by name of the metric, and those that it makes.
    ///
    /// # Panics
    /// Where it names a metric or label that is not there.
    pub(crate) fn known_labels(&self, labels_of: impl Fn(&str) -> Option<BTreeSet<String>>) -> BTreeSet<String> {
        let mut known = self.made.clone();
        for Selector { name, matchers, .. } in &self.selectors {
            let labels = labels_of(name).unwrap_or_else(|| panic!("there is no {name}"));
            for (label, _) in matchers {
                assert!(labels.contains(label), "{name} has no {label}");
            }
            known.extend(labels);
        }
        for label in &self.labels {
            assert!(known.contains(label), "nothing has {label}: {:?}", self.selectors);
        }
        known
    }

    fn walk(&mut self, expr: &Expr, call: Option<&'static str>) {
        match expr {
            Expr::Aggregate(AggregateExpr { expr, param, modifier, op }) => {
                self.group(modifier.as_ref());
                match param.as_deref() {
                    Some(Expr::StringLiteral(label)) if op.to_string() == "count_values" => {
                        self.made.insert(label.val.clone());
                    }
                    Some(param) => self.walk(param, None),
                    None => {}
                }
                self.walk(expr, None);
            }
            Expr::Binary(binary) => {
                if let Some(modifier) = &binary.modifier {
                    self.group(modifier.matching.as_ref());
                    self.labels.extend(modifier.card.labels().into_iter().flat_map(|labels| labels.labels.clone()));
                }
                self.walk(&binary.lhs, None);
                self.walk(&binary.rhs, None);
            }
            Expr::Call(Call { func, args }) => {
                args.args.iter().for_each(|argument| self.walk(argument, Some(func.name)));
            }
            Expr::Paren(paren) => self.walk(&paren.expr, call),
            Expr::Unary(unary) => self.walk(&unary.expr, None),
            Expr::Subquery(subquery) => self.walk(&subquery.expr, None),
            Expr::VectorSelector(selector) => self.select(selector.name.as_ref(), &selector.matchers, None),
            Expr::MatrixSelector(selector) => {
                self.select(selector.vs.name.as_ref(), &selector.vs.matchers, Some((selector.range, call)));
            }
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
        }
    }

    fn group(&mut self, modifier: Option<&LabelModifier>) {
        self.labels.extend(modifier.into_iter().flat_map(|modifier| modifier.labels().labels.clone()));
    }

    fn select(&mut self, name: Option<&String>, matchers: &Matchers, range: Option<(Duration, Option<&'static str>)>) {
        let matchers = matchers.matchers.iter().map(|matcher| (matcher.name.clone(), matcher.value.clone())).collect();
        self.selectors.push(Selector { name: name.unwrap().clone(), matchers, range });
    }
}

/// What Prometheus itself keeps of each target, and what the exporter says of its process.
const OF_TARGETS: [&str; 8] = [
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "up",
];

/// The labels that a family's series have in a Prometheus, those of the target included; none for a
/// family that there is not.
pub(crate) fn labels_of(name: &str) -> Option<BTreeSet<String>> {
    let mut labels = BTreeSet::from(["instance", "job", "pod"]);
    if !OF_TARGETS.contains(&name) {
        let bucket = name.strip_suffix("_bucket");
        labels.extend(families().find(|family| family.name == bucket.unwrap_or(name))?.labels);
        labels.extend(bucket.map(|_| "le"));
    }
    Some(labels.into_iter().map(str::to_owned).collect())
}
