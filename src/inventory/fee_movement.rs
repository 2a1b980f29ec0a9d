//! Why the sum of the monthly fees changed between two listings.

use std::collections::BTreeMap;
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

    /// Adds other amounts. Beyond `limit` currencies, new ones are counted as `other`.
    pub(super) fn add_all(&mut self, other: &Self, limit: usize) {
        for ((currency, cause), movement) in &other.0 {
            let currency = self.limited(currency, limit);
            *self.0.entry((currency, *cause)).or_default() += movement.clone();
        }
    }

    /// Makes a currency present with each cause, so that its series begin at 0.
    pub(super) fn add_currency(&mut self, currency: &Arc<str>, limit: usize) {
        let currency = self.limited(currency, limit);
        for cause in FeeCause::ALL {
            self.0.entry((currency.clone(), cause)).or_default();
        }
    }

    /// Returns the label value for a currency.
    fn limited(&self, currency: &Arc<str>, limit: usize) -> Arc<str> {
        let is_known = FeeCause::ALL.iter().any(|cause| self.0.contains_key(&(currency.clone(), *cause)));
        if is_known || self.0.len() < limit.saturating_mul(FeeCause::ALL.len()) {
            currency.clone()
        } else {
            OTHER.into()
        }
    }
}

impl AddAssign for FeeMovement {
    fn add_assign(&mut self, other: Self) {
        self.added += other.added;
        self.removed += other.removed;
    }
}
