//! Why the sum of the monthly fees changed between two listings.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::serialized::entries;
use super::{Money, NumberState, OTHER};

/// Why a fee entered or left the sum of its currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeeCause {
    /// The number was added.
    Purchase,
    /// The number was removed.
    Release,
    /// The fee changed within its currency.
    Repricing,
    /// The currency of the number changed, even if its fee also did.
    Currency,
    /// The record of the number became invalid or valid again.
    Unreadable,
}

impl FeeCause {
    /// All causes.
    pub const ALL: [Self; 5] = [Self::Purchase, Self::Release, Self::Repricing, Self::Currency, Self::Unreadable];

    /// Returns the value of the `cause` label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Purchase => "purchase",
            Self::Release => "release",
            Self::Repricing => "repricing",
            Self::Currency => "currency",
            Self::Unreadable => "unreadable",
        }
    }
}

/// Amounts that entered and left a sum, neither of them negative.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeeMovement {
    /// The amount by which the sum increased.
    pub added: Money,
    /// The amount by which the sum decreased.
    pub removed: Money,
}

/// Amounts by currency and cause. For each currency, everything added minus everything removed is the change of the sum
/// of the monthly fees.
///
/// The counters of an account have each currency that was listed, or `other`. They decide which currencies have label
/// values of their own wherever fees are, because changes and sums only match if both have the same ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FeeMovements(#[serde(with = "entries")] BTreeMap<(Arc<str>, FeeCause), FeeMovement>);

impl FeeMovements {
    /// Returns the amounts by currency and cause.
    pub fn iter(&self) -> impl Iterator<Item = (&str, FeeCause, &FeeMovement)> {
        self.0.iter().map(|((currency, cause), movement)| (&**currency, *cause, movement))
    }

    /// Adds what happened to the fee of a number: its states in the earlier and in the later listing.
    pub(super) fn add_number(&mut self, old: Option<&NumberState>, new: Option<&NumberState>) {
        let (cause, old, new) = match (old, new) {
            (None, new) => (FeeCause::Purchase, None, new),
            (old, None) => (FeeCause::Release, old, None),
            (Some(old), Some(new)) if old.is_unreadable || new.is_unreadable => {
                (FeeCause::Unreadable, Some(old), Some(new))
            }
            (Some(old), Some(new)) if old.currency != new.currency => (FeeCause::Currency, Some(old), Some(new)),
            (Some(old), Some(new)) => {
                let change = new.monthly_fee.clone() - old.monthly_fee.clone();
                self.add(&new.currency, FeeCause::Repricing, change);
                return;
            }
        };
        // The sum has only numbers whose records are valid.
        if let Some(old) = old.filter(|old| !old.is_unreadable) {
            self.add(&old.currency, cause, -old.monthly_fee.clone());
        }
        if let Some(new) = new.filter(|new| !new.is_unreadable) {
            self.add(&new.currency, cause, new.monthly_fee.clone());
        }
    }

    /// Adds the change of a sum. An increase that is negative is a decrease.
    fn add(&mut self, currency: &Arc<str>, cause: FeeCause, change: Money) {
        let movement = match change.cmp(&Money::default()) {
            std::cmp::Ordering::Equal => return,
            std::cmp::Ordering::Greater => FeeMovement { added: change, ..FeeMovement::default() },
            std::cmp::Ordering::Less => FeeMovement { removed: -change, ..FeeMovement::default() },
        };
        *self.0.entry((currency.clone(), cause)).or_default() += movement;
    }

    /// Adds the amounts of a difference.
    pub(super) fn add_difference(&mut self, difference: &Self) {
        for ((currency, cause), movement) in &difference.0 {
            *self.0.entry((self.label_of(currency), *cause)).or_default() += movement.clone();
        }
    }

    /// Makes the currencies of a listing present with each cause, so that their series begin at 0. `numbers` has how many
    /// numbers each currency has.
    ///
    /// This decides which currencies have label values of their own: up to `limit` of them, the first ones that are listed,
    /// and of those that are listed together, the most frequent ones. Once a currency is `other`, so is each new one, even
    /// if the limit is higher by then: the sum of a label value must not change because another currency is added to it or
    /// leaves it.
    pub(super) fn add_currencies(&mut self, numbers: &BTreeMap<Arc<str>, u64>, limit: usize) {
        let is_new = |(currency, numbers): &(&Arc<str>, &u64)| **numbers > 0 && !self.has(currency);
        let (mut new, others): (Vec<_>, Vec<_>) =
            numbers.iter().filter(is_new).partition(|(name, _)| ***name != *OTHER);
        // The sort is stable, so ties keep their alphabetical order.
        new.sort_by_key(|(_, numbers)| Reverse(**numbers));
        let known: BTreeSet<_> = self.0.keys().map(|(currency, _)| currency).collect();
        let free = if self.has(OTHER) { 0 } else { limit.saturating_sub(known.len()) };
        let has_others = new.len() > free || !others.is_empty();
        let own = new.into_iter().take(free).map(|(currency, _)| currency.clone());
        let labels: Vec<Arc<str>> = own.chain(has_others.then(|| OTHER.into())).collect();
        for (label, cause) in labels.iter().flat_map(|label| FeeCause::ALL.map(|cause| (label, cause))) {
            self.0.entry((label.clone(), cause)).or_default();
        }
    }

    /// Returns the value of the `currency` label for a currency.
    #[must_use]
    pub fn label_of(&self, currency: &Arc<str>) -> Arc<str> {
        if self.has(OTHER) && !self.has(currency) { OTHER.into() } else { currency.clone() }
    }

    /// Returns whether it is not decided yet if the currency has a label value of its own.
    pub(super) fn is_undecided(&self, currency: &str) -> bool {
        !self.has(currency) && !self.has(OTHER)
    }

    fn has(&self, label: &str) -> bool {
        let first = (Arc::from(label), FeeCause::Purchase);
        self.0.range(first..).next().is_some_and(|((currency, _), _)| **currency == *label)
    }
}

impl AddAssign<&Self> for FeeMovements {
    /// Adds what was counted by another run. A currency that is `other` in one of them is so in the sum.
    fn add_assign(&mut self, other: &Self) {
        let earlier = std::mem::take(self);
        for ((currency, cause), movement) in earlier.0.iter().chain(&other.0) {
            let label = earlier.label_of(&other.label_of(currency));
            *self.0.entry((label, *cause)).or_default() += movement.clone();
        }
    }
}

impl AddAssign for FeeMovement {
    fn add_assign(&mut self, other: Self) {
        self.added += other.added;
        self.removed += other.removed;
    }
}
