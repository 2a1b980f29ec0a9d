//! What happened between two listings.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::{E164, Money};

/// A listing, number by number: 12 bytes each.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NumberStates {
    /// What numbers of one class have in common.
    pub(super) classes: Vec<NumberState>,
    /// In ascending order, each with its class.
    pub(super) numbers: Vec<(E164, u32)>,
}

/// What of a number may change.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the fields are the API's")]
pub struct NumberState {
    pub status: Arc<str>,
    pub currency: Arc<str>,
    pub monthly_fee: Money,
}

/// What happened to one number.
#[derive(Debug, Clone, PartialEq)]
pub enum NumberChange {
    /// It was not there before.
    Added(E164),
    /// It is there no more.
    Removed(E164),
    /// Its status was the one and is the other.
    Status(E164, Arc<str>, Arc<str>),
    /// Its monthly fee was the one and is the other, in the same currency.
    Fee(E164, Money, Money),
}

/// What happened between two listings, counted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Difference {
    /// Numbers that were not there before.
    pub added: u64,
    /// Numbers that are there no more.
    pub removed: u64,
    /// Numbers whose status changed, by what it was and what it is.
    pub statuses: BTreeMap<[Arc<str>; 2], u64>,
    /// Numbers whose monthly fee went up.
    pub fee_increases: u64,
    /// Numbers whose monthly fee went down.
    pub fee_decreases: u64,
    /// The first of these changes, one by one, up to [`Difference::MAX_CHANGES`].
    pub changes: Vec<NumberChange>,
}

impl Difference {
    /// So many changes are told one by one.
    pub const MAX_CHANGES: usize = 100;

    /// What happened from one listing to the next.
    #[must_use]
    pub fn between(before: &NumberStates, after: &NumberStates) -> Self {
        let mut difference = Self::default();
        let (mut old, mut new) = (before.numbers.iter().peekable(), after.numbers.iter().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return difference,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((old, _)), Some((new, _))) => old.cmp(new),
            };
            let was = if order.is_le() { old.next() } else { None };
            let is = if order.is_ge() { new.next() } else { None };
            match (was, is) {
                (None, Some((e164, _))) => difference.tell(NumberChange::Added(*e164)),
                (Some((e164, _)), None) => difference.tell(NumberChange::Removed(*e164)),
                (Some((e164, was)), Some((_, is))) => {
                    let (was, is) = (before.classes.get(*was as usize), after.classes.get(*is as usize));
                    if let (Some(was), Some(is)) = (was, is) {
                        difference.compare(*e164, was, is);
                    }
                }
                (None, None) => {}
            }
        }
    }

    fn compare(&mut self, e164: E164, was: &NumberState, is: &NumberState) {
        if was.status != is.status {
            self.tell(NumberChange::Status(e164, was.status.clone(), is.status.clone()));
        }
        // An amount in another currency is neither more nor less.
        if was.currency == is.currency && was.monthly_fee != is.monthly_fee {
            self.tell(NumberChange::Fee(e164, was.monthly_fee.clone(), is.monthly_fee.clone()));
        }
    }

    fn tell(&mut self, change: NumberChange) {
        match &change {
            NumberChange::Added(_) => self.added += 1,
            NumberChange::Removed(_) => self.removed += 1,
            NumberChange::Status(_, was, is) => {
                *self.statuses.entry([was.clone(), is.clone()]).or_default() += 1;
            }
            NumberChange::Fee(_, was, is) if was < is => self.fee_increases += 1,
            NumberChange::Fee(..) => self.fee_decreases += 1,
        }
        if self.changes.len() < Self::MAX_CHANGES {
            self.changes.push(change);
        }
    }

    /// How many changes there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.added + self.removed + self.fee_increases + self.fee_decreases + self.statuses.values().sum::<u64>()
    }
}
