//! What changed between two listings: two [`NumberStates`] go in, counts and the first changes come out.
//!
//! Both are sorted by number, so they are compared in one pass and without a lookup table.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::{E164, Money};

/// The state of every number in a listing, in 12 bytes each.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NumberStates {
    /// The distinct states; several may be equal.
    pub(super) classes: Vec<NumberState>,
    /// All numbers in ascending order without duplicates, each with the index of its state in `classes`.
    pub(super) numbers: Vec<(E164, u32)>,
}

// Between polls this is nearly all of the memory that an account takes.
const _: () = assert!(size_of::<(E164, u32)>() == 12);

/// The fields of a number whose changes are counted.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the other fields are the API's")]
pub struct NumberState {
    pub status: Arc<str>,
    pub currency: Arc<str>,
    pub monthly_fee: Money,
    /// Whether the record of the number in this listing is invalid, so that the other fields are those of an earlier
    /// listing.
    pub is_unreadable: bool,
}

impl NumberStates {
    /// Adds the given numbers with their states in an earlier listing, as far as it has them, so that they do not
    /// count as removed.
    ///
    /// The numbers must be in ascending order without duplicates, and none of them may be in this listing.
    pub fn carry_over(&mut self, earlier: &Self, unreadable: &[E164]) {
        if unreadable.is_empty() {
            return;
        }
        let state_of = |e164: &E164| {
            let index = earlier.numbers.binary_search_by_key(e164, |(e164, _)| *e164).ok()?;
            let (_, class) = earlier.numbers.get(index)?;
            Some((*class, earlier.classes.get(*class as usize)?))
        };
        let mut carried = BTreeMap::new();
        // A buffer that doubles would take three times its size while it is copied.
        self.numbers.reserve_exact(unreadable.len());
        for e164 in unreadable {
            let Some((class, state)) = state_of(e164) else { continue };
            let class = *carried.entry(class).or_insert_with(|| {
                self.classes.push(NumberState { is_unreadable: true, ..state.clone() });
                u32::try_from(self.classes.len() - 1).unwrap_or(u32::MAX)
            });
            self.numbers.push((*e164, class));
        }
        self.numbers.sort_unstable_by_key(|(e164, _)| *e164);
        self.numbers.shrink_to_fit();
    }
}

/// One change of one number.
#[derive(Debug, Clone, PartialEq)]
pub enum NumberChange {
    /// The number is in the later listing only.
    Added(E164),
    /// The number is in the earlier listing only.
    Removed(E164),
    /// The status changed from the first to the second value.
    Status(E164, Arc<str>, Arc<str>),
    /// The monthly fee changed from the first to the second amount, in the same currency.
    Fee(E164, Money, Money),
}

/// All changes between two listings, counted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ListingDifference {
    /// Numbers that only the later listing has.
    pub added: u64,
    /// Numbers that only the earlier listing has.
    pub removed: u64,
    /// Numbers whose status changed, by old and new status.
    pub status_changes: BTreeMap<[Arc<str>; 2], u64>,
    /// Numbers whose monthly fee increased.
    pub fee_increases: u64,
    /// Numbers whose monthly fee decreased.
    pub fee_decreases: u64,
    /// The first [`Self::MAX_CHANGES`] changes, in ascending order of their numbers.
    pub changes: Vec<NumberChange>,
}

impl ListingDifference {
    /// Maximum number of changes that are stored one by one; the others are only counted.
    pub const MAX_CHANGES: usize = 100;

    /// Compares an earlier with a later listing.
    #[must_use]
    pub fn between(before: &NumberStates, after: &NumberStates) -> Self {
        let mut difference = Self::default();
        let (mut old_numbers, mut new_numbers) = (before.numbers.iter().peekable(), after.numbers.iter().peekable());
        loop {
            let order = match (old_numbers.peek(), new_numbers.peek()) {
                (None, None) => return difference,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((old_e164, _)), Some((new_e164, _))) => old_e164.cmp(new_e164),
            };
            let old = if order.is_le() { old_numbers.next() } else { None };
            let new = if order.is_ge() { new_numbers.next() } else { None };
            match (old, new) {
                (None, Some((e164, _))) => difference.add(NumberChange::Added(*e164)),
                (Some((e164, _)), None) => difference.add(NumberChange::Removed(*e164)),
                (Some((e164, old_class)), Some((_, new_class))) => {
                    let states = (before.classes.get(*old_class as usize), after.classes.get(*new_class as usize));
                    if let (Some(old_state), Some(new_state)) = states {
                        difference.compare(*e164, old_state, new_state);
                    }
                }
                (None, None) => {}
            }
        }
    }

    fn compare(&mut self, e164: E164, old: &NumberState, new: &NumberState) {
        if old.status != new.status {
            self.add(NumberChange::Status(e164, old.status.clone(), new.status.clone()));
        }
        // Amounts in different currencies cannot be compared.
        if old.currency == new.currency && old.monthly_fee != new.monthly_fee {
            self.add(NumberChange::Fee(e164, old.monthly_fee.clone(), new.monthly_fee.clone()));
        }
    }

    fn add(&mut self, change: NumberChange) {
        match &change {
            NumberChange::Added(_) => self.added += 1,
            NumberChange::Removed(_) => self.removed += 1,
            NumberChange::Status(_, old, new) => {
                *self.status_changes.entry([old.clone(), new.clone()]).or_default() += 1;
            }
            NumberChange::Fee(_, old, new) if old < new => self.fee_increases += 1,
            NumberChange::Fee(..) => self.fee_decreases += 1,
        }
        if self.changes.len() < Self::MAX_CHANGES {
            self.changes.push(change);
        }
    }

    /// Returns the total number of changes. A number whose status and fee both changed counts twice.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.added + self.removed + self.fee_increases + self.fee_decreases + self.status_changes.values().sum::<u64>()
    }
}
