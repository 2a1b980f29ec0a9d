//! A group of numbers in the report.

use std::sync::Arc;

use serde::Serialize;

use crate::inventory::{GroupTotals, Money};

/// The numbers with the same country, type, status and currency.
#[derive(Debug, Clone, Serialize)]
pub(super) struct GroupReport {
    pub(super) country: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) status: String,
    pub(super) currency: String,
    pub(super) numbers: u64,
    pub(super) monthly_fees: String,
    pub(super) setup_fees: String,
    #[serde(skip)]
    pub(super) exact_monthly_fees: Money,
}

impl GroupReport {
    pub(super) fn new([country, kind, status, currency]: &[Arc<str>; 4], totals: &GroupTotals) -> Self {
        Self {
            country: country.to_string(),
            kind: kind.to_string(),
            status: status.to_string(),
            currency: currency.to_string(),
            numbers: totals.numbers,
            monthly_fees: totals.monthly_fees.to_string(),
            setup_fees: totals.setup_fees.to_string(),
            exact_monthly_fees: totals.monthly_fees.clone(),
        }
    }
}
