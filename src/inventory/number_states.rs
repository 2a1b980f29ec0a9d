//! The state of every number in a listing: what the next listing is compared with, and what a state file stores.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;
use indexmap::IndexSet;
use serde::{Deserialize, Serialize};

use super::index::index;
use super::{E164, Money};

/// The state of every number in a listing, in 12 bytes each.
#[derive(Debug, Clone, Default)]
pub struct NumberStates {
    /// The distinct states; several may be equal.
    classes: Vec<NumberState>,
    /// The distinct assignments.
    assignments: IndexSet<Assignment, RandomState>,
    /// The distinct pairs of a class and an assignment.
    pairs: Vec<StatePair>,
    /// All numbers in ascending order without duplicates, each with the index of its pair.
    numbers: Vec<(E164, u32)>,
}

/// The index of a class and of an assignment.
type StatePair = (u32, u32);

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
const _: () = assert!(size_of::<(E164, u32)>() == 12);

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

impl NumberState {
    /// Returns the state of a number whose records have all been invalid so far. Its texts are empty, which no valid
    /// record has.
    fn unknown() -> Self {
        let [country, kind, status, currency] = std::array::from_fn(|_| Arc::from(""));
        Self { country, kind, status, currency, monthly_fee: Money::default(), is_unreadable: true }
    }

    /// Returns whether any listing had a valid record of the number. If not, the other fields mean nothing.
    pub(super) fn is_known(&self) -> bool {
        !self.status.is_empty()
    }
}

#[cfg(test)]
impl NumberState {
    /// Returns the state of an active local number in the US.
    pub(crate) fn example() -> Self {
        Self {
            country: "US".into(),
            kind: "local".into(),
            status: "active".into(),
            currency: "USD".into(),
            monthly_fee: "1.15".parse().unwrap(),
            is_unreadable: false,
        }
    }
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

    /// Returns whether there is a trunk or an application; `None` if that is not known.
    pub(super) fn is_assigned(&self) -> Option<bool> {
        let has_id = [&self.trunk, &self.application].into_iter().flatten().any(|id| !id.is_empty());
        if has_id || self.is_known() { Some(has_id) } else { None }
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
        Ok(Self::collect(classes, assignments, numbers))
    }

    /// Creates the states of numbers that are in ascending order without duplicates and whose indexes are in range. If they
    /// are the items of a vector, its memory is used for the result.
    pub(super) fn collect(
        classes: Vec<NumberState>,
        assignments: IndexSet<Assignment, RandomState>,
        numbers: Vec<StatedNumber>,
    ) -> Self {
        let mut pairs = PairTable::default();
        let mut numbers: Vec<_> = numbers
            .into_iter()
            .map(|number| (number.e164, pairs.index_of((number.class, number.assignment))))
            .collect();
        numbers.shrink_to_fit();
        Self { classes, assignments, pairs: pairs.pairs, numbers }
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
    pub fn numbers(&self) -> impl ExactSizeIterator<Item = StatedNumber> + Clone {
        self.numbers.iter().map(|number| self.resolve(*number))
    }

    /// Returns how many numbers each currency has.
    pub(super) fn numbers_by_currency(&self) -> BTreeMap<Arc<str>, u64> {
        let mut numbers_by_currency = BTreeMap::<Arc<str>, u64>::new();
        let mut numbers_by_pair = vec![0; self.pairs.len()];
        for (_, pair) in &self.numbers {
            if let Some(numbers) = numbers_by_pair.get_mut(*pair as usize) {
                *numbers += 1;
            }
        }
        for ((class, _), numbers) in self.pairs.iter().zip(numbers_by_pair) {
            if let Some(state) = self.classes.get(*class as usize).filter(|state| state.is_known()) {
                *numbers_by_currency.entry(state.currency.clone()).or_default() += numbers;
            }
        }
        numbers_by_currency
    }

    /// Takes over from an earlier listing what this one could not read.
    ///
    /// `unreadable` are the numbers that have only invalid records, in ascending order without duplicates and none of
    /// them in this listing: they are added with their earlier states, as far as there are any, so that they do not count
    /// as removed. A trunk or an application that could not be read is the earlier one.
    ///
    /// Without an `earlier` listing, they are added with an unknown state, so that they do not count as added when they
    /// can be read: nothing says that the account did not have them before.
    pub fn carry_over(&mut self, earlier: Option<&Self>, unreadable: &[E164]) {
        if let Some(earlier) = earlier {
            self.carry_over_assignments(earlier);
        }
        if unreadable.is_empty() {
            return;
        }
        let (unknown_state, unknown_assignment) = (NumberState::unknown(), Assignment::default());
        let mut classes = HashMap::new();
        let mut pairs = PairTable::new(std::mem::take(&mut self.pairs));
        // A buffer that doubles would take three times its size while it is copied.
        self.numbers.reserve_exact(unreadable.len());
        for e164 in unreadable {
            let before = match earlier {
                Some(earlier) => earlier
                    .get(*e164)
                    .and_then(|number| Some((Some(number.class), earlier.state(number)?, earlier.assignment(number)?))),
                None => Some((None, &unknown_state, &unknown_assignment)),
            };
            let Some((class, state, assignment)) = before else { continue };
            let class = *classes.entry(class).or_insert_with(|| {
                self.classes.push(NumberState { is_unreadable: true, ..state.clone() });
                index(self.classes.len() - 1)
            });
            let assignment = index(self.assignments.insert_full(assignment.clone()).0);
            self.numbers.push((*e164, pairs.index_of((class, assignment))));
        }
        self.pairs = pairs.pairs;
        self.numbers.sort_unstable_by_key(|(e164, _)| *e164);
        self.numbers.shrink_to_fit();
    }

    fn carry_over_assignments(&mut self, earlier: &Self) {
        if self.assignments.iter().all(Assignment::is_known) {
            return;
        }
        let mut numbers = std::mem::take(&mut self.numbers);
        let mut pairs = PairTable::new(std::mem::take(&mut self.pairs));
        for (e164, pair) in &mut numbers {
            let Some(&(class, assignment)) = pairs.pairs.get(*pair as usize) else { continue };
            let assignment = self.assignments.get_index(assignment as usize);
            let Some(assignment) = assignment.filter(|assignment| !assignment.is_known()) else { continue };
            let Some(before) = earlier.get(*e164).and_then(|number| earlier.assignment(number)) else { continue };
            let (trunk, application) = (&assignment.trunk, &assignment.application);
            let completed = Assignment {
                trunk: trunk.as_ref().or(before.trunk.as_ref()).cloned(),
                application: application.as_ref().or(before.application.as_ref()).cloned(),
            };
            *pair = pairs.index_of((class, index(self.assignments.insert_full(completed).0)));
        }
        (self.numbers, self.pairs) = (numbers, pairs.pairs);
    }

    pub(super) fn get(&self, e164: E164) -> Option<StatedNumber> {
        let index = self.numbers.binary_search_by_key(&e164, |(e164, _)| *e164).ok()?;
        self.numbers.get(index).map(|number| self.resolve(*number))
    }

    fn resolve(&self, (e164, pair): (E164, u32)) -> StatedNumber {
        // The index is in range.
        let (class, assignment) = self.pairs.get(pair as usize).copied().unwrap_or((u32::MAX, u32::MAX));
        StatedNumber { e164, class, assignment }
    }

    pub(super) fn state(&self, number: StatedNumber) -> Option<&NumberState> {
        self.classes.get(number.class as usize)
    }

    pub(super) fn assignment(&self, number: StatedNumber) -> Option<&Assignment> {
        self.assignments.get_index(number.assignment as usize)
    }
}

/// The pairs of a class and an assignment that occur, and their indexes.
#[derive(Default)]
struct PairTable {
    pairs: Vec<StatePair>,
    indexes: HashMap<StatePair, u32, RandomState>,
    /// Neighbors often have the same pair.
    last: Option<(StatePair, u32)>,
}

impl PairTable {
    fn new(pairs: Vec<StatePair>) -> Self {
        let indexes = pairs.iter().enumerate().map(|(position, pair)| (*pair, index(position))).collect();
        Self { pairs, indexes, last: None }
    }

    /// Returns the index of a pair, adding it if it is new.
    fn index_of(&mut self, pair: StatePair) -> u32 {
        if let Some((_, index)) = self.last.filter(|(last, _)| *last == pair) {
            return index;
        }
        let index = *self.indexes.entry(pair).or_insert_with(|| {
            self.pairs.push(pair);
            index(self.pairs.len() - 1)
        });
        self.last = Some((pair, index));
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{Change, changes, is_same};

    fn states(numbers: &[(&str, Option<&str>)]) -> NumberStates {
        let mut assignments = IndexSet::<_, RandomState>::default();
        let mut number = |(e164, trunk): &(&str, Option<&str>)| {
            let assignment = Assignment { trunk: trunk.map(Arc::from), application: Some("".into()) };
            let assignment = index(assignments.insert_full(assignment).0);
            StatedNumber { e164: e164.parse().unwrap(), class: 0, assignment }
        };
        let numbers = numbers.iter().map(&mut number).collect();
        NumberStates::new(vec![NumberState::example()], assignments, numbers).unwrap()
    }

    #[test]
    fn trunk_that_cannot_be_read_is_the_earlier_one() {
        let first = states(&[("+11", Some("a")), ("+12", Some("a")), ("+13", None)]);
        let mut second = states(&[("+11", None), ("+12", None), ("+13", Some("b"))]);
        assert_eq!(changes(&first, &second).count(), 0, "what is not known is not a change");
        second.carry_over(Some(&first), &[]);
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
        second.carry_over(Some(&first), &["+11", "+13", "+14"].map(|e164| e164.parse().unwrap()));
        assert_eq!(changes(&first, &second).count(), 0);
        assert_eq!(second.numbers().len(), 3, "+14 was never listed");
        assert!(!is_same(&first, &second), "the records are unreadable now");
    }

    #[test]
    fn number_that_was_never_read_is_neither_added_nor_changed_when_it_can_be_read() {
        let [first, second] = [(); 2].map(|()| {
            let mut numbers = states(&[("+12", Some("b"))]);
            numbers.carry_over(None, &["+11".parse().unwrap()]);
            numbers
        });
        assert!(is_same(&first, &second));
        let mut still_unreadable = states(&[("+12", Some("b"))]);
        still_unreadable.carry_over(Some(&first), &["+11", "+13"].map(|e164| e164.parse().unwrap()));
        assert!(is_same(&first, &still_unreadable), "+13 may have been purchased");
        let readable = states(&[("+11", Some("a")), ("+12", Some("b"))]);
        assert_eq!([changes(&first, &readable).count(), changes(&readable, &first).count()], [0, 0]);
        let removed: Vec<_> = changes(&first, &states(&[("+12", Some("b"))])).map(|change| change.change).collect();
        assert_eq!(removed, [Change::Removed]);
    }

    #[test]
    fn parts_that_do_not_belong_together_are_rejected() {
        let valid = states(&[("+11", Some("a")), ("+12", Some("b"))]);
        let numbers: Vec<_> = valid.numbers().collect();
        let unsorted = numbers.iter().rev().copied().collect();
        let out_of_range = |class, assignment| vec![StatedNumber { class, assignment, ..numbers[0] }];
        for numbers in [unsorted, out_of_range(1, 0), out_of_range(0, 2), vec![numbers[0]; 2]] {
            let states = NumberStates::new(valid.classes.clone(), valid.assignments.clone(), numbers);
            assert_eq!(states.unwrap_err(), InvalidNumberStates);
        }
    }
}
