//! Who uses a number: owners are matched by number, prefix, trunk, application and country.
//!
//! A listing has many numbers and few owners, so what can be decided for many numbers is decided once: patterns become
//! segments of the sorted numbers, which are walked together, and the owners of a trunk or an application are looked up
//! once per assignment. All accounts share what is compiled, and differ in which owners apply to them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::str::FromStr;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::tables::limit_label_values;
use super::{Assignment, E164, GroupTotals, LabelTable, NumberStates};

/// A phone number, or all numbers with a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NumberPattern {
    /// One number, written like `+18005550100`.
    Exact(E164),
    /// All numbers that begin with these digits, written like `+1415555*`; the number itself is one of them.
    Prefix(E164),
}

/// The text is not a pattern of numbers.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("must be a number like +18005550100 or a prefix like +1415555*")]
pub struct InvalidNumberPattern;

impl FromStr for NumberPattern {
    type Err = InvalidNumberPattern;

    fn from_str(text: &str) -> Result<Self, InvalidNumberPattern> {
        let parse = |text: &str| text.parse().map_err(|_| InvalidNumberPattern);
        match text.strip_suffix('*') {
            Some(prefix) => Ok(Self::Prefix(parse(prefix)?)),
            None => Ok(Self::Exact(parse(text)?)),
        }
    }
}

impl fmt::Display for NumberPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(e164) => write!(f, "{e164}"),
            Self::Prefix(e164) => write!(f, "{e164}*"),
        }
    }
}

impl NumberPattern {
    /// Returns the numbers that match, as ranges of [`E164::integer`] without the ends: one range for each length.
    fn ranges(self) -> impl Iterator<Item = (u64, u64)> {
        let (e164, lengths) = match self {
            Self::Exact(e164) => (e164, 1),
            Self::Prefix(e164) => (e164, u32::MAX),
        };
        let first = e164.integer();
        (0..lengths).map_while(move |digits| {
            let scale = 10_u64.checked_pow(digits)?;
            let (start, end) = (first.checked_mul(scale)?, (first + 1).checked_mul(scale)?);
            // Longer than any number.
            E164::from_integer(start)?;
            Some((start, end))
        })
    }

    /// Returns whether this matches every number that `other` matches.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        match (self, other) {
            (Self::Exact(_), _) => self == other,
            (Self::Prefix(prefix), Self::Exact(e164) | Self::Prefix(e164)) => {
                e164.to_string().starts_with(&prefix.to_string())
            }
        }
    }
}

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
    fn matches_country(&self, country: &str) -> bool {
        self.countries.is_empty() || self.countries.contains(country)
    }

    /// Returns whether the owner has all numbers of its countries.
    fn has_every_number(&self) -> bool {
        self.numbers.is_empty() && self.trunks.is_empty() && self.applications.is_empty()
    }
}

/// An index into the owners, in the order of the configuration.
type OwnerIndex = u32;

/// The owners of the numbers of one account; the first that matches a number has it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Owners {
    compiled: Arc<CompiledOwners>,
    /// The owners that apply to the account; `None` if all do.
    applicable: Option<OwnerSet>,
}

/// Owners as they are looked up.
#[derive(Debug, Default)]
struct CompiledOwners {
    /// A hash of the matchers. Many accounts are compared at a reload, so their owners are not compared one by one.
    fingerprint: u64,
    matchers: Vec<OwnerMatcher>,
    /// Disjoint segments of [`E164::integer`] in ascending order, each with the owners whose patterns match all of it,
    /// in order.
    segments: Vec<Segment>,
    /// The owners that name a trunk, in order.
    by_trunk: HashMap<String, Vec<OwnerIndex>, RandomState>,
    /// The owners that name an application, in order.
    by_application: HashMap<String, Vec<OwnerIndex>, RandomState>,
    /// The owners that have every number of their countries, in order.
    of_countries: Vec<OwnerIndex>,
}

impl PartialEq for CompiledOwners {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint && self.matchers.len() == other.matchers.len()
    }
}

/// A set of owners, in one bit each.
#[derive(Debug, Clone, PartialEq)]
struct OwnerSet(Box<[u64]>);

impl OwnerSet {
    fn contains(&self, owner: OwnerIndex) -> bool {
        self.0.get((owner / u64::BITS) as usize).is_some_and(|bits| bits >> (owner % u64::BITS) & 1 == 1)
    }
}

impl FromIterator<bool> for OwnerSet {
    /// Returns the set of the owners at whose index there is `true`.
    fn from_iter<I: IntoIterator<Item = bool>>(flags: I) -> Self {
        let mut bits: Vec<u64> = Vec::new();
        for (index, flag) in flags.into_iter().enumerate() {
            let (word, bit) = (index / u64::BITS as usize, index % u64::BITS as usize);
            bits.resize(bits.len().max(word + 1), 0);
            if let Some(word) = bits.get_mut(word) {
                *word |= u64::from(flag) << bit;
            }
        }
        Self(bits.into())
    }
}

#[derive(Debug)]
struct Segment {
    start: u64,
    /// The first integer that is not in the segment.
    end: u64,
    owners: Box<[OwnerIndex]>,
}

/// Totals by owner, status and currency. The owner is empty for numbers without one. Setup fees are always 0.
pub type OwnerTotals = LabelTable<3, GroupTotals>;

impl CompiledOwners {
    fn new(matchers: Vec<OwnerMatcher>) -> Self {
        let fingerprint = BuildHasherDefault::<DefaultHasher>::new().hash_one(&matchers);
        let mut owners = Self { fingerprint, ..Self::default() };
        let mut ranges = Vec::new();
        for (index, matcher) in matchers.iter().enumerate() {
            let index = OwnerIndex::try_from(index).unwrap_or(OwnerIndex::MAX);
            ranges.extend(matcher.numbers.iter().flat_map(|pattern| pattern.ranges()).map(|range| (range, index)));
            for trunk in &matcher.trunks {
                owners.by_trunk.entry(trunk.clone()).or_default().push(index);
            }
            for application in &matcher.applications {
                owners.by_application.entry(application.clone()).or_default().push(index);
            }
            if matcher.has_every_number() {
                owners.of_countries.push(index);
            }
        }
        owners.segments = segments(ranges);
        owners.matchers = matchers;
        owners
    }

    /// Returns the owners that name the trunk or the application, in order.
    fn of_assignment(&self, assignment: &Assignment) -> Vec<OwnerIndex> {
        let ids = [(&self.by_trunk, &assignment.trunk), (&self.by_application, &assignment.application)];
        let named = ids.into_iter().filter_map(|(owners, id)| owners.get(&**id.as_ref()?)).flatten();
        let owners: BTreeSet<_> = named.copied().collect();
        owners.into_iter().collect()
    }
}

impl Owners {
    /// Compiles owners, in the order of the configuration. All of them apply.
    #[must_use]
    pub fn new(matchers: Vec<OwnerMatcher>) -> Self {
        Self { compiled: Arc::new(CompiledOwners::new(matchers)), applicable: None }
    }

    /// Returns the same owners, of which only those apply for whose index `applies` returns true.
    #[must_use]
    pub fn restricted(&self, applies: impl FnMut(usize) -> bool) -> Self {
        let applicable = (0..self.compiled.matchers.len()).map(applies).collect();
        Self { compiled: self.compiled.clone(), applicable: Some(applicable) }
    }

    /// Returns whether no owners are configured, not even ones that do not apply.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.compiled.matchers.is_empty()
    }

    /// Returns the owner of a number; `None` if it has none.
    #[must_use]
    pub fn owner_of(&self, e164: E164, country: &str, assignment: &Assignment) -> Option<&Arc<str>> {
        let CompiledOwners { matchers, segments, .. } = &*self.compiled;
        let segments = segments_from(segments, e164.integer());
        let owner = self.first_match(e164, country, segments, &self.compiled.of_assignment(assignment))?;
        matchers.get(owner as usize).map(|matcher| &matcher.name)
    }

    /// Returns the totals of a listing by owner. Numbers whose records are invalid are not counted. Statuses and currencies
    /// are limited to `label_limit` values each. Without owners it is empty.
    #[must_use]
    pub fn totals(&self, numbers: &NumberStates, label_limit: usize) -> OwnerTotals {
        if self.is_empty() {
            return OwnerTotals::new();
        }
        let CompiledOwners { matchers, segments, .. } = &*self.compiled;
        let by_assignment: Vec<_> =
            numbers.assignments().map(|assignment| self.compiled.of_assignment(assignment)).collect();
        let mut counts: HashMap<(Option<OwnerIndex>, u32), u64, RandomState> = HashMap::default();
        let mut segments = &segments[..];
        for number in numbers.numbers() {
            let Some(state) = numbers.state(number).filter(|state| !state.is_unreadable) else { continue };
            segments = segments_from(segments, number.e164.integer());
            let by_assignment = by_assignment.get(number.assignment as usize).map_or(&[][..], Vec::as_slice);
            let owner = self.first_match(number.e164, &state.country, segments, by_assignment);
            *counts.entry((owner, number.class)).or_default() += 1;
        }
        let mut totals = OwnerTotals::new();
        for ((owner, class), count) in counts {
            let Some(state) = numbers.classes().get(class as usize) else { continue };
            let matcher = owner.and_then(|owner| matchers.get(owner as usize));
            let name = matcher.map_or_else(|| Arc::from(""), |matcher| matcher.name.clone());
            *totals.entry([name, state.status.clone(), state.currency.clone()]).or_default() += GroupTotals {
                numbers: count,
                monthly_fees: state.monthly_fee.clone() * count,
                ..GroupTotals::default()
            };
        }
        // Owners come from the configuration, the other labels from the API.
        limit_label_values(&mut totals, 1..3, label_limit, |totals| totals.numbers);
        totals
    }

    /// Returns the first owner that matches a number. `segments` begin with the first one that does not end before the
    /// number, and `by_assignment` are the owners of its assignment.
    fn first_match(
        &self,
        e164: E164,
        country: &str,
        segments: &[Segment],
        by_assignment: &[OwnerIndex],
    ) -> Option<OwnerIndex> {
        let by_number = segments.first().filter(|segment| segment.start <= e164.integer());
        let by_number = by_number.map_or(&[][..], |segment| &segment.owners);
        [by_number, by_assignment, &self.compiled.of_countries]
            .into_iter()
            .filter_map(|candidates| self.first_applicable(candidates, country))
            .min()
    }

    /// Returns the first of the owners that applies to the account and has numbers in the country.
    fn first_applicable(&self, candidates: &[OwnerIndex], country: &str) -> Option<OwnerIndex> {
        let applies = |owner: &OwnerIndex| {
            self.applicable.as_ref().is_none_or(|applicable| applicable.contains(*owner))
                && self.compiled.matchers.get(*owner as usize).is_some_and(|matcher| matcher.matches_country(country))
        };
        candidates.iter().copied().find(applies)
    }
}

/// Returns the segments without those before `integer`.
///
/// This is an exponential search. Its cost is the logarithm of the number of skipped segments, so a small account does
/// not walk all segments, and a large one visits each about once.
fn segments_from(segments: &[Segment], integer: u64) -> &[Segment] {
    let is_before = |segment: &Segment| segment.end <= integer;
    let mut bound = 1;
    while segments.get(bound - 1).is_some_and(is_before) {
        bound *= 2;
    }
    let bounded = &segments[..bound.min(segments.len())];
    &segments[bounded.partition_point(is_before)..]
}

/// Splits overlapping ranges into disjoint segments, each with the owners of all ranges that contain it.
fn segments(ranges: Vec<((u64, u64), OwnerIndex)>) -> Vec<Segment> {
    /// By owner, the number of ranges that start here minus the number of those that end here.
    type Change = BTreeMap<OwnerIndex, i64>;

    let mut changes: BTreeMap<u64, Change> = BTreeMap::new();
    for ((start, end), owner) in ranges {
        *changes.entry(start).or_default().entry(owner).or_default() += 1;
        *changes.entry(end).or_default().entry(owner).or_default() -= 1;
    }
    let (mut open, mut segments, mut start) = (Change::new(), Vec::<Segment>::new(), 0);
    for (position, change) in changes {
        if !open.is_empty() {
            segments.push(Segment { start, end: position, owners: open.keys().copied().collect() });
        }
        for (owner, change) in change {
            *open.entry(owner).or_default() += change;
        }
        open.retain(|_, ranges| *ranges > 0);
        start = position;
    }
    segments
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::inventory::{NumberState, StatedNumber};

    fn assignment(trunk: &str, application: &str) -> Assignment {
        Assignment { trunk: Some(trunk.into()), application: Some(application.into()) }
    }

    /// Returns the name of the first owner that matches, by the text of the contract.
    fn first_match(matchers: &[OwnerMatcher], e164: &str, country: &str, trunk: &str, application: &str) -> String {
        let matches_number = |pattern: &NumberPattern| match pattern.to_string().strip_suffix('*') {
            Some(prefix) => e164.starts_with(prefix),
            None => e164 == pattern.to_string(),
        };
        let is_owner = |matcher: &&OwnerMatcher| {
            let nothing = matcher.numbers.is_empty() && matcher.trunks.is_empty() && matcher.applications.is_empty();
            let any = matcher.numbers.iter().any(matches_number)
                || matcher.trunks.contains(trunk)
                || matcher.applications.contains(application);
            (matcher.countries.is_empty() || matcher.countries.contains(country)) && (nothing || any)
        };
        matchers.iter().find(is_owner).map(|matcher| matcher.name.to_string()).unwrap_or_default()
    }

    prop_compose! {
        fn matcher()(
            countries in prop::collection::btree_set(prop::sample::select(vec!["US", "DE"]), 0..2),
            numbers in prop::collection::vec((r"\+[12]{1,5}", any::<bool>()), 0..4),
            trunks in prop::collection::btree_set("t[0-3]", 0..2),
            applications in prop::collection::btree_set("a[0-3]", 0..2),
        ) -> OwnerMatcher {
            let pattern = |(digits, is_prefix): (String, bool)| {
                format!("{digits}{}", if is_prefix { "*" } else { "" }).parse().unwrap()
            };
            OwnerMatcher {
                name: "".into(),
                countries: countries.into_iter().map(str::to_owned).collect(),
                numbers: numbers.into_iter().map(pattern).collect(),
                trunks,
                applications,
            }
        }
    }

    proptest! {
        #[test]
        fn first_match_in_the_order_of_the_configuration_wins(
            mut matchers in prop::collection::vec(matcher(), 0..8),
            numbers in prop::collection::btree_map(r"\+[12]{1,6}", (0..4_u8, 0..4_u8, any::<bool>()), 0..40),
            excluded in prop::collection::vec(any::<bool>(), 0..8),
        ) {
            for (index, matcher) in matchers.iter_mut().enumerate() {
                matcher.name = format!("owner {index}").into();
            }
            let has_owners = !matchers.is_empty();
            let owners = Owners::new(matchers.clone());
            let applies = |index: usize| excluded.get(index) != Some(&true);
            let is_restricted = excluded.contains(&true);
            let owners = if is_restricted { owners.restricted(applies) } else { owners };
            let mut index = 0..;
            matchers.retain(|_| index.next().is_none_or(applies));
            let state = |country: &str| NumberState { country: country.into(), ..NumberState::example() };
            let ids = |prefix: &str, id: u8| if id == 0 { String::new() } else { format!("{prefix}{id}") };
            let (mut expected, mut stated) = (BTreeMap::<String, u64>::new(), Vec::new());
            let assignments: Vec<_> =
                (0..16).map(|index| assignment(&ids("t", index / 4), &ids("a", index % 4))).collect();
            for (text, (trunk, application, is_german)) in &numbers {
                let (e164, country) = (text.parse().unwrap(), if *is_german { "DE" } else { "US" });
                let owner = first_match(&matchers, text, country, &ids("t", *trunk), &ids("a", *application));
                let index = trunk * 4 + application;
                let found = owners.owner_of(e164, country, &assignments[usize::from(index)]);
                prop_assert_eq!(found.map_or("", |owner| owner), &*owner, "{}", text);
                *expected.entry(owner).or_default() += 1;
                stated.push(StatedNumber { e164, class: u32::from(*is_german), assignment: index.into() });
            }
            stated.sort_by_key(|number| number.e164);
            let states = NumberStates::new(vec![state("US"), state("DE")], assignments, stated).unwrap();
            let mut totals = BTreeMap::<String, u64>::new();
            for ([owner, ..], group) in owners.totals(&states, 300) {
                *totals.entry(owner.to_string()).or_default() += group.numbers;
            }
            if has_owners {
                prop_assert_eq!(totals, expected);
            } else {
                prop_assert!(totals.is_empty());
            }
        }

        #[test]
        fn pattern_covers_another_exactly_if_it_matches_all_of_its_numbers(
            one in r"\+[12]{1,3}\*?", other in r"\+[12]{1,3}\*?",
        ) {
            let (one, other): (NumberPattern, NumberPattern) = (one.parse().unwrap(), other.parse().unwrap());
            let matched = |pattern: NumberPattern| pattern.ranges().collect::<Vec<_>>();
            let is_within = |(start, end): &(u64, u64)| matched(one).iter().any(|(s, e)| s <= start && end <= e);
            prop_assert_eq!(one.covers(other), matched(other).iter().all(is_within));
        }
    }

    #[test]
    fn owners_are_equal_if_they_match_the_same_numbers_and_apply_to_the_same_accounts() {
        let owners = |pattern: &str| {
            let numbers = vec![pattern.parse().unwrap()];
            let names = (0..70).map(|index: u8| format!("owner {index}").into());
            Owners::new(
                names.map(|name| OwnerMatcher { name, numbers: numbers.clone(), ..Default::default() }).collect(),
            )
        };
        assert_eq!(owners("+1*"), owners("+1*"));
        assert_ne!(owners("+1*"), owners("+1"));
        let restricted = |excluded| owners("+1*").restricted(|index| index != excluded);
        assert_eq!(restricted(69), restricted(69));
        assert_ne!(restricted(69), restricted(68));
        assert_ne!(restricted(69), owners("+1*"));
    }

    #[test]
    fn patterns_are_numbers_or_prefixes() {
        for valid in ["+1", "+1*", "+18005550100", "+123456789012345*"] {
            assert_eq!(valid.parse::<NumberPattern>().unwrap().to_string(), valid);
        }
        for invalid in ["", "*", "+", "+*", "1415*", "+1**", "+1*2", "+1 4", "+1234567890123456*"] {
            assert_eq!(invalid.parse::<NumberPattern>(), Err(InvalidNumberPattern), "{invalid}");
        }
    }
}
