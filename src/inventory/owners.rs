//! Who uses a number: owners are matched by number, prefix, trunk, application and country.
//!
//! Owners are compiled to trees. Accounts share the tree of the owners that all accounts have, and those to which the same
//! other owners apply share a tree of these, so a lookup never visits an owner of another account.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use foldhash::fast::RandomState;
use indexmap::IndexSet;

use super::index::index;
use super::owner_matcher::OwnerMatcher;
use super::owner_tree::{Country, OwnerIndex, OwnerTree, TreeLookup};
use super::tables::limit_label_values;
use super::{Assignment, E164, FeeMovements, GroupTotals, LabelTable, NumberStates};

/// The owners of the numbers of one account; the first that matches a number has it.
#[derive(Debug, Default)]
pub struct Owners {
    all: Arc<AllOwners>,
    /// The owners that apply to this account, but not to all, in order.
    own: Box<[OwnerIndex]>,
    own_tree: OwnerTree,
}

/// All owners of a configuration.
#[derive(Debug, Default)]
struct AllOwners {
    /// A hash of the owners. Many accounts are compared at a reload, so their owners are not compared one by one.
    fingerprint: u64,
    /// In the order of the configuration.
    matchers: Vec<OwnerMatcher>,
    /// The countries that they name.
    countries: IndexSet<String, RandomState>,
    /// Those that apply to all accounts.
    common_tree: OwnerTree,
}

impl PartialEq for Owners {
    fn eq(&self, other: &Self) -> bool {
        self.all.fingerprint == other.all.fingerprint
            && self.all.matchers.len() == other.all.matchers.len()
            && self.own == other.own
    }
}

/// Totals by owner, status and currency. The owner is empty for numbers without one. Setup fees are always 0.
pub type OwnerTotals = LabelTable<3, GroupTotals>;

impl Owners {
    /// Compiles owners, in the order of the configuration. All of them apply.
    #[must_use]
    pub fn new(matchers: Vec<OwnerMatcher>) -> Self {
        let is_common = vec![true; matchers.len()];
        Self::common(matchers, &is_common)
    }

    /// Compiles owners, in the order of the configuration. An owner applies if `is_common` is true at its index.
    #[must_use]
    pub fn common(matchers: Vec<OwnerMatcher>, is_common: &[bool]) -> Self {
        let fingerprint = BuildHasherDefault::<DefaultHasher>::new().hash_one((&matchers, is_common));
        let common = (0..).zip(&matchers).zip(is_common).filter(|(_, is_common)| **is_common);
        let common_tree = OwnerTree::new(common.map(|(owner, _)| owner));
        let countries = matchers.iter().flat_map(|matcher| &matcher.countries).cloned().collect();
        Self { all: Arc::new(AllOwners { fingerprint, matchers, countries, common_tree }), ..Self::default() }
    }

    /// Returns the common owners and those of some other indexes, which are in ascending order.
    #[must_use]
    pub fn with_own(&self, own: &[usize]) -> Self {
        let own: Box<[OwnerIndex]> = own.iter().filter_map(|owner| OwnerIndex::try_from(*owner).ok()).collect();
        let matchers = own.iter().filter_map(|owner| Some((*owner, self.all.matchers.get(*owner as usize)?)));
        let own_tree = OwnerTree::new(matchers);
        Self { all: self.all.clone(), own, own_tree }
    }

    /// Returns whether no owners are configured, not even ones that do not apply.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.matchers.is_empty()
    }

    /// Returns the trees that have owners.
    fn trees(&self) -> impl Iterator<Item = &OwnerTree> {
        [&self.all.common_tree, &self.own_tree].into_iter().filter(|tree| !tree.is_empty())
    }

    /// Returns a lookup of the owners of single numbers.
    #[must_use]
    pub fn lookup(&self) -> OwnerLookup<'_> {
        let trees = self.trees().map(|tree| TreeLookup::new(tree, &self.all.matchers)).collect();
        OwnerLookup { all: &self.all, trees }
    }

    /// Returns the totals of a listing by owner. Numbers whose records are invalid are not counted. Statuses are limited to
    /// `label_limit` values, and currencies have the labels of the `fees`. Without owners it is empty.
    #[must_use]
    pub fn totals(&self, numbers: &NumberStates, label_limit: usize, fees: &FeeMovements) -> OwnerTotals {
        let mut totals = OwnerTotals::new();
        for ((owner, class), count) in self.counts(numbers) {
            let Some(state) = numbers.classes().get(class as usize) else { continue };
            let matcher = owner.and_then(|owner| self.all.matchers.get(owner as usize));
            let name = matcher.map_or_else(|| Arc::from(""), |matcher| matcher.name.clone());
            *totals.entry([name, state.status.clone(), fees.label_of(&state.currency)]).or_default() += GroupTotals {
                numbers: count,
                monthly_fees: state.monthly_fee.clone() * count,
                ..GroupTotals::default()
            };
        }
        // Owners come from the configuration, statuses from the API.
        limit_label_values(&mut totals, 1..2, label_limit, |totals| totals.numbers);
        totals
    }

    /// Counts the numbers whose records are valid, by owner and class.
    fn counts(&self, numbers: &NumberStates) -> HashMap<(Option<OwnerIndex>, u32), u64, RandomState> {
        let mut counts = HashMap::default();
        if self.is_empty() {
            return counts;
        }
        let countries =
            numbers.classes().iter().map(|state| (!state.is_unreadable).then(|| self.all.country(&state.country)));
        let classes: Vec<_> = countries.collect();
        let mut lookups: Vec<_> = self
            .trees()
            .map(|tree| {
                let nodes = |Assignment { trunk, application }: &Assignment| {
                    tree.nodes_of_assignment(trunk.as_deref(), application.as_deref())
                };
                let assignments: Vec<_> = numbers.assignments().map(nodes).collect();
                (TreeLookup::new(tree, &self.all.matchers), assignments)
            })
            .collect();
        for number in numbers.numbers() {
            let Some(Some(country)) = classes.get(number.class as usize) else { continue };
            let first_owner = |(lookup, assignments): &mut (TreeLookup<'_>, Vec<_>)| {
                let assignment = assignments.get(number.assignment as usize).copied().unwrap_or_default();
                lookup.first_owner(number.e164, *country, assignment)
            };
            let owner = lookups.iter_mut().filter_map(first_owner).min();
            *counts.entry((owner, number.class)).or_default() += 1;
        }
        counts
    }
}

impl AllOwners {
    /// Returns a country for lookups. Those that no owner names have the same owners, so what lookups keep is bounded by the
    /// configuration.
    fn country<'a>(&self, name: &'a str) -> Country<'a> {
        let id = self.countries.get_index_of(name).map_or(0, |country| index(country + 1));
        Country { id, name }
    }
}

/// Looks up the owners of the numbers of one account, one by one and in any order.
///
/// The owners that match the same numbers are compared once for each country, not for each number.
pub struct OwnerLookup<'a> {
    all: &'a AllOwners,
    trees: Vec<TreeLookup<'a>>,
}

impl<'a> OwnerLookup<'a> {
    /// Returns the owner of a number; `None` if it has none. The ids are those of what the number is assigned to, as far as
    /// they are known.
    pub fn owner_of(
        &mut self,
        e164: E164,
        country: &str,
        trunk: Option<&str>,
        application: Option<&str>,
    ) -> Option<&'a Arc<str>> {
        let country = self.all.country(country);
        let first_owner = |lookup: &mut TreeLookup<'_>| {
            let assignment = lookup.tree().nodes_of_assignment(trunk, application);
            lookup.first_owner(e164, country, assignment)
        };
        let owner = self.trees.iter_mut().filter_map(first_owner).min()?;
        self.all.matchers.get(owner as usize).map(|matcher| &matcher.name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::inventory::{NumberPattern, NumberState, StatedNumber};

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

    /// Numbers of which many begin with others, up to the maximum length.
    fn digits() -> impl Strategy<Value = String> {
        let nested = (0..15_usize, "[12]").prop_map(|(length, last)| format!("+{}{last}", &"21211212112112"[..length]));
        prop_oneof![r"\+[12]{1,5}", nested]
    }

    prop_compose! {
        fn matcher()(
            countries in prop::collection::btree_set(prop::sample::select(vec!["US", "DE"]), 0..2),
            numbers in prop::collection::vec((digits(), any::<bool>()), 0..6),
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

    /// The accounts that an owner has.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Scope {
        All,
        Own,
        Others,
    }

    proptest! {
        #[test]
        fn first_match_in_the_order_of_the_configuration_wins(
            scoped in prop::collection::vec(
                (matcher(), prop::sample::select(vec![Scope::All, Scope::Own, Scope::Others])), 0..10,
            ),
            numbers in prop::collection::btree_map(digits(), (0..4_u8, 0..4_u8, any::<bool>()), 0..40),
        ) {
            let (mut matchers, scopes): (Vec<_>, Vec<_>) = scoped.into_iter().unzip();
            for (index, matcher) in matchers.iter_mut().enumerate() {
                matcher.name = format!("owner {index}").into();
            }
            let has_owners = !matchers.is_empty();
            let own: Vec<_> = (0..scopes.len()).filter(|index| scopes[*index] == Scope::Own).collect();
            let is_common: Vec<_> = scopes.iter().map(|scope| *scope == Scope::All).collect();
            let owners = Owners::common(matchers.clone(), &is_common).with_own(&own);
            let mut index = 0..;
            matchers.retain(|_| index.next().is_none_or(|index| scopes[index] != Scope::Others));
            let state = |country: &str| NumberState { country: country.into(), ..NumberState::example() };
            let ids = |prefix: &str, id: u8| if id == 0 { String::new() } else { format!("{prefix}{id}") };
            let (mut expected, mut stated) = (BTreeMap::<String, u64>::new(), Vec::new());
            let assignments: Vec<_> =
                (0..16).map(|index| assignment(&ids("t", index / 4), &ids("a", index % 4))).collect();
            // Numbers of different length are not in ascending order here.
            let mut lookup = owners.lookup();
            for (text, (trunk, application, is_german)) in &numbers {
                let (e164, country) = (text.parse().unwrap(), if *is_german { "DE" } else { "US" });
                let owner = first_match(&matchers, text, country, &ids("t", *trunk), &ids("a", *application));
                let index = trunk * 4 + application;
                let Assignment { trunk, application } = &assignments[usize::from(index)];
                let found = lookup.owner_of(e164, country, trunk.as_deref(), application.as_deref());
                prop_assert_eq!(found.map_or("", |owner| owner), &*owner, "{}", text);
                *expected.entry(owner).or_default() += 1;
                stated.push(StatedNumber { e164, class: u32::from(*is_german), assignment: index.into() });
            }
            stated.sort_by_key(|number| number.e164);
            let states = NumberStates::new(vec![state("US"), state("DE")], assignments, stated).unwrap();
            let mut totals = BTreeMap::<String, u64>::new();
            for ([owner, ..], group) in owners.totals(&states, 300, &FeeMovements::default()) {
                *totals.entry(owner.to_string()).or_default() += group.numbers;
            }
            if has_owners {
                prop_assert_eq!(totals, expected);
            } else {
                prop_assert!(totals.is_empty());
            }
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
        let is_common: Vec<_> = (0..70).map(|index| index < 60).collect();
        let common = || Owners::common(owners("+1*").all.matchers.clone(), &is_common);
        let with_own = |own: usize| common().with_own(&[own]);
        assert_eq!(with_own(69), with_own(69));
        assert_ne!(with_own(69), with_own(68));
        assert_ne!(with_own(69), common());
        assert_ne!(common(), owners("+1*"));
    }
}
