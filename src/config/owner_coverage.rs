//! Which matchers of owners can never match, because an earlier owner has all of their numbers.
//!
//! A pattern is covered by few others: itself and the prefixes of its number. So the owners before are looked up by
//! these instead of being compared one by one.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use indexmap::IndexSet;

use super::owners::{OwnerEntry, Placed};
use crate::inventory::{E164, NumberPattern};
use crate::yaml::Position;

/// A part of an owner that matches numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Matcher<'a> {
    /// Every number of the owner's accounts and countries.
    All,
    Number(NumberPattern),
    Trunk(&'a str),
    Application(&'a str),
}

/// The accounts and the countries of an owner.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Scope<'a> {
    /// `None` means all.
    accounts: Option<BTreeSet<&'a str>>,
    /// `None` means all.
    countries: Option<BTreeSet<&'a str>>,
}

impl<'a> Scope<'a> {
    fn new(owner: &'a OwnerEntry, accounts: usize) -> Self {
        let values = |values: &'a [Placed<String>]| {
            let values: BTreeSet<&str> = values.iter().map(|value| &*value.value).collect();
            (!values.is_empty()).then_some(values)
        };
        // An owner that names every account has all.
        let is_part = |names: &BTreeSet<&str>| names.len() < accounts;
        Self { accounts: values(&owner.accounts).filter(is_part), countries: values(&owner.countries) }
    }

    fn covers(&self, other: &Self) -> bool {
        let is_superset = |one: &Option<BTreeSet<&str>>, other: &Option<BTreeSet<&str>>| match (one, other) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(one), Some(other)) => one.is_superset(other),
        };
        is_superset(&self.accounts, &other.accounts) && is_superset(&self.countries, &other.countries)
    }
}

impl<'a> Matcher<'a> {
    /// Returns the matchers of an owner with their places.
    fn of_owner(owner: &'a OwnerEntry) -> Vec<(Position, Self)> {
        let numbers = owner.numbers.iter().map(|number| (number.position, Self::Number(number.value)));
        let trunks = owner.trunks.iter().map(|trunk| (trunk.position, Self::Trunk(&trunk.value)));
        let applications = owner.applications.iter().map(|id| (id.position, Self::Application(&id.value)));
        let matchers: Vec<_> = numbers.chain(trunks).chain(applications).collect();
        if matchers.is_empty() { vec![(owner.position, Self::All)] } else { matchers }
    }

    /// Returns the matchers that match every number that this one matches, apart from [`Matcher::All`].
    fn covering(self) -> Vec<Self> {
        let mut covering = vec![self];
        if let Self::Number(NumberPattern::Exact(e164) | NumberPattern::Prefix(e164)) = self {
            let shorter = std::iter::successors(Some(e164), |e164| E164::from_integer(e164.integer() / 10));
            covering.extend(shorter.map(|prefix| Self::Number(NumberPattern::Prefix(prefix))));
        }
        covering
    }
}

impl fmt::Display for Matcher<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("every number"),
            Self::Number(pattern) => write!(f, "{pattern}"),
            Self::Trunk(id) | Self::Application(id) => f.write_str(id),
        }
    }
}

/// The owners that come before another one.
struct EarlierOwners<'a> {
    scopes: IndexSet<Scope<'a>>,
    /// The index of each owner's scope.
    scope_of: Vec<usize>,
    /// The owners that have a matcher, in order. Owners whose matcher never matches are left out.
    by_matcher: HashMap<Matcher<'a>, Vec<usize>>,
}

impl EarlierOwners<'_> {
    /// Returns the first owner that has the matcher and all of the accounts and countries of `owner`. `covering_scopes`
    /// are the scopes that have been compared with the owner's.
    fn first_with(
        &self,
        matcher: Matcher<'_>,
        owner: usize,
        covering_scopes: &mut HashMap<usize, bool>,
    ) -> Option<usize> {
        let scope_of = |owner: usize| self.scope_of.get(owner).copied().unwrap_or_default();
        let (scope, owners) = (scope_of(owner), self.by_matcher.get(&matcher)?);
        let mut has_scope = |earlier: &&usize| {
            let earlier = scope_of(**earlier);
            *covering_scopes.entry(earlier).or_insert_with(|| {
                earlier == scope
                    || self
                        .scopes
                        .get_index(earlier)
                        .zip(self.scopes.get_index(scope))
                        .is_some_and(|(one, other)| one.covers(other))
            })
        };
        owners.iter().find(&mut has_scope).copied()
    }
}

/// Returns a warning for each matcher that can never match, in the order of the file. `accounts` is the number of
/// accounts of the configuration.
pub(super) fn coverage_warnings(path: &str, owners: &[OwnerEntry], accounts: usize) -> Vec<String> {
    let mut scopes = IndexSet::new();
    let scope_of = owners.iter().map(|owner| scopes.insert_full(Scope::new(owner, accounts)).0).collect();
    let mut earlier = EarlierOwners { scopes, scope_of, by_matcher: HashMap::new() };
    let mut warnings = Vec::new();
    for (index, owner) in owners.iter().enumerate() {
        let mut warn = |position: Position, what: String, cause: usize, has: String| {
            let Some(OwnerEntry { name, position: place, .. }) = owners.get(cause) else { return };
            warnings.push(format!(
                "{path}:{position}: {what}, because the owner {name:?} at {path}:{place} comes before it and has {has}; \
                 move it up or remove it"
            ));
        };
        let mut covering_scopes = HashMap::new();
        if let Some(cause) = earlier.first_with(Matcher::All, index, &mut covering_scopes) {
            let (name, has) = (&owner.name, "every number of the same accounts and countries");
            warn(owner.position, format!("the owner {name:?} never has a number"), cause, has.to_owned());
            continue;
        }
        for (position, matcher) in Matcher::of_owner(owner) {
            let covering = matcher.covering().into_iter().filter_map(|covering| {
                earlier.first_with(covering, index, &mut covering_scopes).map(|owner| (owner, covering))
            });
            match covering.min_by_key(|(owner, _)| *owner).filter(|(owner, _)| *owner != index) {
                Some((cause, covering)) => {
                    warn(
                        position,
                        format!("{matcher} of the owner {:?} never matches", owner.name),
                        cause,
                        covering.to_string(),
                    );
                }
                None => earlier.by_matcher.entry(matcher).or_default().push(index),
            }
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;
    use std::path::Path;
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;
    use crate::config::owners::read_owners;
    use crate::yaml;

    fn read(text: &str) -> Vec<OwnerEntry> {
        let root = yaml::parse(text, "").unwrap();
        let mut problems = Vec::new();
        let owners = read_owners(Path::new("c.yml"), &root[0].1, &mut problems);
        assert_eq!(problems, []);
        owners
    }

    /// Returns the places of the matchers that no number can tell from an earlier owner's, by comparing all with all.
    fn covered(owners: &[OwnerEntry], accounts: usize) -> Vec<Position> {
        let covers = |one: Matcher<'_>, other: Matcher<'_>| match (one, other) {
            (Matcher::Number(one), Matcher::Number(other)) => one.covers(other),
            (one, other) => one == Matcher::All || one == other,
        };
        let mut covered = Vec::new();
        for (index, owner) in owners.iter().enumerate() {
            let scope = Scope::new(owner, accounts);
            let earlier = owners[..index].iter().filter(|earlier| Scope::new(earlier, accounts).covers(&scope));
            let earlier: Vec<_> = earlier.flat_map(Matcher::of_owner).map(|(_, matcher)| matcher).collect();
            if earlier.contains(&Matcher::All) {
                covered.push(owner.position);
                continue;
            }
            let is_covered = |matcher| earlier.iter().any(|earlier| covers(*earlier, matcher));
            covered.extend(
                Matcher::of_owner(owner)
                    .into_iter()
                    .filter(|(_, matcher)| is_covered(*matcher))
                    .map(|(place, _)| place),
            );
        }
        covered
    }

    prop_compose! {
        fn owner()(
            numbers in prop::collection::vec(r"\+[12]{1,4}\*?", 0..3),
            trunks in prop::collection::vec("t[0-2]", 0..2),
            applications in prop::collection::vec("[at][0-2]", 0..2),
            accounts in prop::collection::vec("acc[0-2]", 0..3),
            countries in prop::collection::vec("[UD][SE]", 0..2),
        ) -> String {
            let lists = [numbers, trunks, applications, accounts, countries];
            let keys = ["numbers", "trunks", "applications", "accounts", "countries"];
            let fields = keys.iter().zip(lists).filter(|(_, list)| !list.is_empty());
            fields.map(|(key, list)| format!(", {key}: [{}]", list.join(", "))).collect()
        }
    }

    proptest! {
        #[test]
        fn warnings_are_those_of_comparing_all_matchers_with_all(owners in prop::collection::vec(owner(), 0..8)) {
            let mut text = String::from("owners:\n");
            for (index, owner) in owners.iter().enumerate() {
                writeln!(text, "- {{name: o{index}{owner}}}").unwrap();
            }
            let owners = if owners.is_empty() { Vec::new() } else { read(&text) };
            let warnings = coverage_warnings("c.yml", &owners, 3);
            let places = warnings.iter().map(|warning| warning.split(": ").next().unwrap().to_owned());
            let expected = covered(&owners, 3).into_iter().map(|place| format!("c.yml:{place}"));
            prop_assert_eq!(places.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{}", text);
        }
    }

    #[test]
    fn many_patterns_are_compared_quickly() {
        let mut text = String::from("owners:\n");
        for owner in 0..1_000 {
            let numbers: Vec<_> = (0..10).map(|number| format!("+1{owner:04}{number}*")).collect();
            let account = owner % 7;
            writeln!(text, "- {{name: o{owner}, accounts: [a{account}], numbers: [{}, +1*]}}", numbers.join(", "))
                .unwrap();
        }
        let owners = read(&text);
        let start = Instant::now();
        let warnings = coverage_warnings("c.yml", &owners, 10);
        assert_eq!(warnings.len(), (1_000 - 7) * 11, "all but the first owner of each account");
        assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    }
}
