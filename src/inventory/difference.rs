//! What changed between two listings: two [`NumberStates`] go in, changes and their counts come out.
//!
//! Both are sorted by number, so they are compared in one pass and without a lookup table.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{Assignment, E164, FeeMovements, Money, NumberState, NumberStates, StatedNumber};

/// One change of one number between two listings.
#[derive(Debug, Clone, PartialEq)]
pub struct NumberChange {
    /// The number.
    pub e164: E164,
    /// What changed.
    pub change: Change,
    /// The state of the number in the later listing; in the earlier one if it was removed.
    pub state: NumberState,
}

/// What changed about a number.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the values before and after the change")]
pub enum Change {
    /// The number is in the later listing only.
    Added,
    /// The number is in the earlier listing only.
    Removed,
    /// The status changed.
    Status { from: Arc<str>, to: Arc<str> },
    /// The monthly fee changed within one currency.
    Fee { from: Money, to: Money },
    /// The currency changed, and maybe the monthly fee.
    Currency { from: (Money, Arc<str>), to: (Money, Arc<str>) },
    /// The trunk or the application changed.
    Assignment { from: Assignment, to: Assignment },
}

/// The kind of a change, by which recorded changes are selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// A number was added.
    Added,
    /// A number was removed.
    Removed,
    /// A status changed.
    Status,
    /// A monthly fee or its currency changed.
    Fee,
    /// A trunk or an application changed.
    Assignment,
}

impl ChangeKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Added, Self::Removed, Self::Status, Self::Fee, Self::Assignment];

    /// Returns the name: `added`, `removed`, `status`, `fee` or `assignment`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Status => "status",
            Self::Fee => "fee",
            Self::Assignment => "assignment",
        }
    }
}

impl NumberChange {
    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> ChangeKind {
        match self.change {
            Change::Added => ChangeKind::Added,
            Change::Removed => ChangeKind::Removed,
            Change::Status { .. } => ChangeKind::Status,
            Change::Fee { .. } | Change::Currency { .. } => ChangeKind::Fee,
            Change::Assignment { .. } => ChangeKind::Assignment,
        }
    }
}

/// A change as it is shown and recorded: the values before and after it as text.
///
/// The values are statuses, amounts (with their currencies if these differ) or assignments. A number that was added has
/// no value before, and one that was removed has none after; the other value is its status. If a removed number could
/// never be read, the fields that are texts are empty.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the other fields are the API's, after the change, or before it if the number was removed"
)]
pub struct ChangeRecord {
    pub e164: E164,
    /// What changed.
    pub kind: ChangeKind,
    /// The value before.
    pub from: Option<String>,
    /// The value after.
    pub to: Option<String>,
    pub country: String,
    pub number_type: String,
    pub monthly_fee: String,
    pub currency: String,
}

impl From<&NumberChange> for ChangeRecord {
    fn from(change: &NumberChange) -> Self {
        let NumberState { country, kind, status, currency, monthly_fee, .. } = &change.state;
        let price = |(amount, currency): &(Money, Arc<str>)| Some(format!("{amount} {currency}"));
        let [from, to] = match &change.change {
            Change::Added => [None, Some(status.to_string())],
            Change::Removed => [change.state.is_known().then(|| status.to_string()), None],
            Change::Status { from, to } => [from, to].map(|status| Some(status.to_string())),
            Change::Fee { from, to } => [from, to].map(|amount| Some(amount.to_string())),
            Change::Currency { from, to } => [from, to].map(price),
            Change::Assignment { from, to } => [from, to].map(|assignment| Some(assignment.to_string())),
        };
        Self {
            e164: change.e164,
            kind: change.kind(),
            from,
            to,
            country: country.to_string(),
            number_type: kind.to_string(),
            monthly_fee: if change.state.is_known() { monthly_fee.to_string() } else { String::new() },
            currency: currency.to_string(),
        }
    }
}

impl fmt::Display for Assignment {
    /// Formats the ids that the number has, for example `trunk_id=trk_9f2c application_id=app_11eb`, or `none`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = [("trunk_id", &self.trunk), ("application_id", &self.application)];
        let mut separator = "";
        for (name, id) in ids {
            if let Some(id) = id.as_deref().filter(|id| !id.is_empty()) {
                write!(f, "{separator}{name}={id}")?;
                separator = " ";
            }
        }
        f.write_str(if separator.is_empty() { "none" } else { "" })
    }
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
    /// Numbers whose monthly fee increased, within one currency.
    pub fee_increases: u64,
    /// Numbers whose monthly fee decreased, within one currency.
    pub fee_decreases: u64,
    /// Numbers whose currency changed.
    pub currency_changes: u64,
    /// Numbers whose trunk or application changed.
    pub assignment_changes: u64,
    /// Why the sums of the monthly fees changed.
    pub fees: FeeMovements,
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
        for pair @ (old, new) in differing_numbers(before, after) {
            difference.fees.add_number(old.and_then(|old| before.state(old)), new.and_then(|new| after.state(new)));
            changes_of(before, after, pair).into_iter().flatten().for_each(|change| difference.add(change));
        }
        difference
    }

    fn add(&mut self, change: NumberChange) {
        match &change.change {
            Change::Added => self.added += 1,
            Change::Removed => self.removed += 1,
            Change::Status { from, to } => {
                *self.status_changes.entry([from.clone(), to.clone()]).or_default() += 1;
            }
            Change::Fee { from, to } if from < to => self.fee_increases += 1,
            Change::Fee { .. } => self.fee_decreases += 1,
            Change::Currency { .. } => self.currency_changes += 1,
            Change::Assignment { .. } => self.assignment_changes += 1,
        }
        if self.changes.len() < Self::MAX_CHANGES {
            self.changes.push(change);
        }
    }

    /// Returns the total number of changes. A number whose status and fee both changed counts twice.
    #[must_use]
    pub fn count(&self) -> u64 {
        let Self { added, removed, fee_increases, fee_decreases, currency_changes, assignment_changes, .. } = self;
        [added, removed, fee_increases, fee_decreases, currency_changes, assignment_changes]
            .into_iter()
            .chain(self.status_changes.values())
            .sum()
    }
}

/// Returns all changes between an earlier and a later listing, in ascending order of their numbers.
pub fn changes<'a>(before: &'a NumberStates, after: &'a NumberStates) -> impl Iterator<Item = NumberChange> + 'a {
    differing_numbers(before, after).flat_map(move |pair| changes_of(before, after, pair).into_iter().flatten())
}

/// Returns whether two listings have the same numbers with the same states.
#[must_use]
pub fn is_same(before: &NumberStates, after: &NumberStates) -> bool {
    differing_numbers(before, after).next().is_none()
}

/// A number in the earlier and in the later listing, at least in one of them.
type Pair = (Option<StatedNumber>, Option<StatedNumber>);

/// Returns the numbers that are in only one of the listings or whose states differ, in ascending order.
fn differing_numbers<'a>(before: &'a NumberStates, after: &'a NumberStates) -> impl Iterator<Item = Pair> + 'a {
    // Neighbors often have the same states, so the last comparison that found no difference is remembered.
    let mut last_equal = None;
    pairs(before, after).filter(move |pair| {
        let (Some(old), Some(new)) = *pair else { return true };
        let indexes = [old.class, new.class, old.assignment, new.assignment];
        let is_equal = last_equal == Some(indexes)
            || (before.state(old) == after.state(new) && before.assignment(old) == after.assignment(new));
        if is_equal {
            last_equal = Some(indexes);
        }
        !is_equal
    })
}

/// Joins two listings by number.
fn pairs<'a>(before: &'a NumberStates, after: &'a NumberStates) -> impl Iterator<Item = Pair> + 'a {
    let (mut old_numbers, mut new_numbers) = (before.numbers().peekable(), after.numbers().peekable());
    std::iter::from_fn(move || {
        let order = match (old_numbers.peek(), new_numbers.peek()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.e164.cmp(&new.e164),
        };
        let old = if order.is_le() { old_numbers.next() } else { None };
        let new = if order.is_ge() { new_numbers.next() } else { None };
        Some((old, new))
    })
}

/// Returns the changes of a number: it was added or removed, or its status, fee and assignment changed.
fn changes_of(before: &NumberStates, after: &NumberStates, (old, new): Pair) -> [Option<NumberChange>; 3] {
    let Some(e164) = new.or(old).map(|number| number.e164) else { return [None, None, None] };
    let single = |change, state: &NumberState| [Some(NumberChange { e164, change, state: state.clone() }), None, None];
    let (old_state, new_state) = match (old.and_then(|old| before.state(old)), new.and_then(|new| after.state(new))) {
        (None, Some(state)) => return single(Change::Added, state),
        (Some(state), None) => return single(Change::Removed, state),
        (Some(old), Some(new)) if old.is_known() && new.is_known() => (old, new),
        // What is not known is not a change.
        (None, None) | (Some(_), Some(_)) => return [None, None, None],
    };
    let status = (old_state.status != new_state.status)
        .then(|| Change::Status { from: old_state.status.clone(), to: new_state.status.clone() });
    let assignments = old.and_then(|old| before.assignment(old)).zip(new.and_then(|new| after.assignment(new)));
    let assignment = assignments
        .filter(|(from, to)| !from.may_equal(to))
        .map(|(from, to)| Change::Assignment { from: from.clone(), to: to.clone() });
    [status, fee_change(old_state, new_state), assignment]
        .map(|change| change.map(|change| NumberChange { e164, change, state: new_state.clone() }))
}

fn fee_change(old: &NumberState, new: &NumberState) -> Option<Change> {
    // Amounts in different currencies cannot be compared.
    if old.currency != new.currency {
        let price = |state: &NumberState| (state.monthly_fee.clone(), state.currency.clone());
        return Some(Change::Currency { from: price(old), to: price(new) });
    }
    let (from, to) = (&old.monthly_fee, &new.monthly_fee);
    (from != to).then(|| Change::Fee { from: from.clone(), to: to.clone() })
}
