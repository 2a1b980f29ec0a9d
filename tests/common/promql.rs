//! What a query of Prometheus names.

use std::collections::BTreeSet;
use std::time::Duration;

use promql_parser::label::Matchers;
use promql_parser::parser::{AggregateExpr, Call, Expr, LabelModifier, parse};

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
                args.args.iter().for_each(|argument| self.walk(argument, Some(func.name)))
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
