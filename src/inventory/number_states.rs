//! The state of every number in a listing: what the next listing is compared with, and what a state file stores.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use indexmap::IndexSet;
use serde::{Deserialize, Serialize};

use super::{E164, Money};

/// The state of every number in a listing, in 16 bytes each.
#[derive(Debug, Clone, Default)]
pub struct NumberStates {
    /// The distinct states; several may be equal.
    pub(super) classes: Vec<NumberState>,
    /// The distinct assignments.
    pub(super) assignments: IndexSet<Assignment, RandomState>,
    /// All numbers in ascending order without duplicates.
    pub(super) numbers: Vec<StatedNumber>,
}

/// A number, its state and its assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatedNumber {
    /// The number.
    pub e164: E164,
    /// An index into the classes of the [`NumberStates`].
    pub class: u32,
    /// An index into the assignments of the [`NumberStates`].
    pub assignment: u32,
}

// Between polls this is nearly all of the memory that an account takes.
const _: () = assert!(size_of::<StatedNumber>() == 16);

/// The fields of a number whose changes are counted or recorded, apart from its assignment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the other fields are the API's")]
pub struct NumberState {
    pub country: Arc<str>,
    pub kind: Arc<str>,
    pub status: Arc<str>,
    pub currency: Arc<str>,
    pub monthly_fee: Money,
    /// Whether the record of the number in this listing is invalid, so that the other fields are those of an earlier
    /// listing.
    pub is_unreadable: bool,
}

/// What a number is assigned to: ids as the API wrote them, empty if there is none. `None` if a field cannot be read and
/// no earlier listing has its value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Assignment {
    /// The id of the trunk.
    pub trunk: Option<Arc<str>>,
    /// The id of the application.
    pub application: Option<Arc<str>>,
}

impl Assignment {
    /// Returns whether both have the same trunk and application, as far as they are known.
    pub(super) fn may_equal(&self, other: &Self) -> bool {
        let may_equal = |one: &Option<Arc<str>>, other: &Option<Arc<str>>| {
            one.as_ref().zip(other.as_ref()).is_none_or(|(one, other)| one == other)
        };
        may_equal(&self.trunk, &other.trunk) && may_equal(&self.application, &other.application)
    }

    fn is_known(&self) -> bool {
        self.trunk.is_some() && self.application.is_some()
    }
}

/// The parts of [`NumberStates`] do not belong together.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the numbers are not in ascending order, or an index is out of range")]
pub struct InvalidNumberStates;

impl NumberStates {
    /// Creates the states of the given numbers.
    ///
    /// # Errors
    /// If the numbers are not in ascending order without duplicates, or an index is out of range.
    pub fn new(
        classes: Vec<NumberState>,
        assignments: impl IntoIterator<Item = Assignment>,
        numbers: Vec<StatedNumber>,
    ) -> Result<Self, InvalidNumberStates> {
        let assignments: IndexSet<_, _> = assignments.into_iter().collect();
        let has_indexes = |number: &StatedNumber| {
            (number.class as usize) < classes.len() && (number.assignment as usize) < assignments.len()
        };
        if !numbers.is_sorted_by(|a, b| a.e164 < b.e164) || !numbers.iter().all(has_indexes) {
            return Err(InvalidNumberStates);
        }
        Ok(Self { classes, assignments, numbers })
    }

    /// Returns the distinct states, to which [`StatedNumber::class`] refers; several may be equal.
    #[must_use]
    pub fn classes(&self) -> &[NumberState] {
        &self.classes
    }

    /// Returns the distinct assignments, to which [`StatedNumber::assignment`] refers.
    #[must_use]
    pub fn assignments(&self) -> impl ExactSizeIterator<Item = &Assignment> {
        self.assignments.iter()
    }

    /// Returns all numbers in ascending order without duplicates.
    #[must_use]
    pub fn numbers(&self) -> &[StatedNumber] {
        &self.numbers
    }

    /// Takes over from an earlier listing what this one could not read.
    ///
    /// `unreadable` are the numbers that have only invalid records, in ascending order without duplicates and none of
    /// them in this listing: they are added with their earlier states, as far as there are any, so that they do not count
    /// as removed. A trunk or an application that could not be read is the earlier one.
    pub fn carry_over(&mut self, earlier: &Self, unreadable: &[E164]) {
        self.carry_over_assignments(earlier);
        if unreadable.is_empty() {
            return;
        }
        let mut classes = HashMap::new();
        // A buffer that doubles would take three times its size while it is copied.
        self.numbers.reserve_exact(unreadable.len());
        for e164 in unreadable {
            let Some(number) = earlier.get(*e164) else { continue };
            let (Some(state), Some(assignment)) = (earlier.state(number), earlier.assignment(number)) else { continue };
            let class = *classes.entry(number.class).or_insert_with(|| {
                self.classes.push(NumberState { is_unreadable: true, ..state.clone() });
                index(self.classes.len() - 1)
            });
            let assignment = index(self.assignments.insert_full(assignment.clone()).0);
            self.numbers.push(StatedNumber { e164: *e164, class, assignment });
        }
        self.numbers.sort_unstable_by_key(|number| number.e164);
        self.numbers.shrink_to_fit();
    }

    fn carry_over_assignments(&mut self, earlier: &Self) {
        if self.assignments.iter().all(Assignment::is_known) {
            return;
        }
        let mut numbers = std::mem::take(&mut self.numbers);
        for number in &mut numbers {
            let Some(assignment) = self.assignment(number).filter(|assignment| !assignment.is_known()) else {
                continue;
            };
            let Some(before) = earlier.get(number.e164).and_then(|number| earlier.assignment(number)) else { continue };
            let (trunk, application) = (&assignment.trunk, &assignment.application);
            let completed = Assignment {
                trunk: trunk.as_ref().or(before.trunk.as_ref()).cloned(),
                application: application.as_ref().or(before.application.as_ref()).cloned(),
            };
            number.assignment = index(self.assignments.insert_full(completed).0);
        }
        self.numbers = numbers;
    }

    pub(super) fn get(&self, e164: E164) -> Option<&StatedNumber> {
        let index = self.numbers.binary_search_by_key(&e164, |number| number.e164).ok()?;
        self.numbers.get(index)
    }

    pub(super) fn state(&self, number: &StatedNumber) -> Option<&NumberState> {
        self.classes.get(number.class as usize)
    }

    pub(super) fn assignment(&self, number: &StatedNumber) -> Option<&Assignment> {
        self.assignments.get_index(number.assignment as usize)
    }
}

/// Converts an index; memory runs out before it does not fit.
fn index(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{Change, changes, is_same};

    fn states(numbers: &[(&str, Option<&str>)]) -> NumberStates {
        let state = NumberState {
            country: "US".into(),
            kind: "local".into(),
            status: "active".into(),
            currency: "USD".into(),
            monthly_fee: "1.15".parse().unwrap(),
            is_unreadable: false,
        };
        let mut assignments = IndexSet::<_, RandomState>::default();
        let mut number = |(e164, trunk): &(&str, Option<&str>)| {
            let assignment = Assignment { trunk: trunk.map(Arc::from), application: Some("".into()) };
            let assignment = index(assignments.insert_full(assignment).0);
            StatedNumber { e164: e164.parse().unwrap(), class: 0, assignment }
        };
        let numbers = numbers.iter().map(&mut number).collect();
        NumberStates::new(vec![state], assignments, numbers).unwrap()
    }

    #[test]
    fn trunk_that_cannot_be_read_is_the_earlier_one() {
        let first = states(&[("+11", Some("a")), ("+12", Some("a")), ("+13", None)]);
        let mut second = states(&[("+11", None), ("+12", None), ("+13", Some("b"))]);
        assert_eq!(changes(&first, &second).count(), 0, "what is not known is not a change");
        second.carry_over(&first, &[]);
        let third = states(&[("+11", Some("a")), ("+12", Some("b")), ("+13", Some("b"))]);
        let changed: Vec<_> = changes(&second, &third).map(|change| (change.e164.to_string(), change.change)).collect();
        let assignment = |trunk: &str| Assignment { trunk: Some(trunk.into()), application: Some("".into()) };
        let expected = Change::Assignment { from: assignment("a"), to: assignment("b") };
        assert_eq!(changed, [("+12".to_owned(), expected)]);
    }

    #[test]
    fn number_that_cannot_be_read_keeps_its_state() {
        let first = states(&[("+11", Some("a")), ("+12", Some("b")), ("+13", Some("c"))]);
        let mut second = states(&[("+12", Some("b"))]);
        second.carry_over(&first, &["+11", "+13", "+14"].map(|e164| e164.parse().unwrap()));
        assert_eq!(changes(&first, &second).count(), 0);
        assert_eq!(second.numbers().len(), 3, "+14 was never listed");
        assert!(!is_same(&first, &second), "the records are unreadable now");
    }

    #[test]
    fn parts_that_do_not_belong_together_are_rejected() {
        let NumberStates { classes, assignments, numbers } = states(&[("+11", Some("a")), ("+12", Some("b"))]);
        let unsorted = numbers.iter().rev().copied().collect();
        let out_of_range = |class, assignment| vec![StatedNumber { class, assignment, ..numbers[0] }];
        for numbers in [unsorted, out_of_range(1, 0), out_of_range(0, 2), vec![numbers[0]; 2]] {
            let states = NumberStates::new(classes.clone(), assignments.clone(), numbers);
            assert_eq!(states.unwrap_err(), InvalidNumberStates);
        }
    }
}
