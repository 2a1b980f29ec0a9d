//! What an owner matches.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::NumberPattern;

/// Which numbers of one account belong to an owner: those in its countries, if any are given, that match any of its
/// numbers, trunks and applications, if any are given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct OwnerMatcher {
    /// The value of the `owner` label.
    pub name: Arc<str>,
    /// Countries; empty means all.
    pub countries: BTreeSet<String>,
    /// Numbers and prefixes.
    pub numbers: Vec<NumberPattern>,
    /// IDs of trunks.
    pub trunks: BTreeSet<String>,
    /// IDs of applications.
    pub applications: BTreeSet<String>,
}

impl OwnerMatcher {
    pub(super) fn matches_country(&self, country: &str) -> bool {
        self.countries.is_empty() || self.countries.contains(country)
    }

    /// Returns whether the owner has all numbers of its countries.
    pub(super) fn has_every_number(&self) -> bool {
        self.numbers.is_empty() && self.trunks.is_empty() && self.applications.is_empty()
    }
}
