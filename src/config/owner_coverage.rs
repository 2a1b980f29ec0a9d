//! Which matchers of owners can never match, because an earlier owner has all of their numbers.
//!
//! A pattern is covered by few others: itself and the prefixes of its number. So the owners before are looked up by
//! these instead of being compared one by one.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use indexmap::IndexSet;

use super::owners::{OwnerEntry, Placed};
use crate::inventory::{E164, NumberPattern};
use crate::plural;
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

/// Maximum number of matchers that are reported on their own.
const MAX_WARNINGS: usize = 20;

/// Returns warnings of matchers that can never match, in the order of the file; those beyond a limit are only counted.
/// `accounts` is the number of accounts of the configuration.
pub(super) fn coverage_warnings(path: &str, owners: &[OwnerEntry], accounts: usize) -> Vec<String> {
    let mut warnings = covered_matchers(path, owners, accounts);
    let omitted = warnings.len().saturating_sub(MAX_WARNINGS);
    if omitted > 0 {
        warnings.truncate(MAX_WARNINGS);
        let noun = plural::choose(omitted as u64, "owner or matcher", "owners or matchers");
        warnings.push(format!(
            "{path}: {omitted} more {noun} can never match; fix those above, and check the configuration again"
        ));
    }
    warnings
}

/// Returns a warning for each matcher that can never match, in the order of the file.
fn covered_matchers(path: &str, owners: &[OwnerEntry], accounts: usize) -> Vec<String> {
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

    /// The fields of some owners, and what must be warned of: the index of an owner, its matcher ("" for the owner as a
    /// whole), and the index of the owner that covers it.
    type Case<'a> = (&'a [&'a str], &'a [(usize, &'a str, usize)]);

    #[test]
    fn a_matcher_is_covered_by_a_wider_one_of_an_earlier_owner_with_the_same_scope() {
        let cases: &[Case<'_>] = &[
            (
                &["numbers: [+1415*]", "numbers: [+14155550100, +1415*, +141*]"],
                &[(1, "+14155550100", 0), (1, "+1415*", 0)],
            ),
            (
                &["numbers: [+1415]", "numbers: [+1415*]", "numbers: [+1415, +14150]"],
                &[(2, "+1415", 0), (2, "+14150", 1)],
            ),
            (&["numbers: [+1*, +12*, +12]"], &[]),
            (&["trunks: [t]", "applications: [t]", "trunks: [u, t]"], &[(2, "t", 0)]),
            (&["countries: [US]", "numbers: [+1*]", "numbers: [+1*], countries: [US]"], &[(2, "", 0)]),
            (
                &["numbers: [+1*], countries: [US]", "numbers: [+1*]", "numbers: [+1*], countries: [US]"],
                &[(2, "+1*", 0)],
            ),
            (&["numbers: [+1*], countries: [US]", "numbers: [+12*], countries: [US, CA]"], &[]),
            (&["numbers: [+1*], accounts: [x, y]", "numbers: [+12*], accounts: [y]"], &[(1, "+12*", 0)]),
            // There are two accounts, so these are all.
            (&["accounts: [x, y]", "trunks: [t]", "countries: [US]"], &[(1, "", 0), (2, "", 0)]),
            (&["accounts: [x]", "accounts: [y]", "trunks: [t]"], &[]),
            // The first one that covers it is named.
            (
                &["numbers: [+12*]", "numbers: [+1*]", "numbers: [+123]", "numbers: [+13]"],
                &[(2, "+123", 0), (3, "+13", 1)],
            ),
        ];
        for (fields, expected) in cases {
            let owners: Vec<String> =
                fields.iter().zip('a'..).map(|(fields, name)| format!("- {{name: {name}, {fields}}}\n")).collect();
            let text = format!("owners:\n{}", owners.concat());
            let warnings = covered_matchers("c.yml", &read(&text), 2);
            let name = |index: usize| char::from(b'a' + u8::try_from(index).unwrap());
            let expected: Vec<_> = expected
                .iter()
                .map(|(owner, matcher, cause)| {
                    let line = owner + 2;
                    let column = if matcher.is_empty() { 3 } else { column_of(&owners[*owner], matcher) };
                    let what = match *matcher {
                        "" => format!("the owner {:?} never has a number", name(*owner).to_string()),
                        matcher => format!("{matcher} of the owner {:?} never matches", name(*owner).to_string()),
                    };
                    let by = format!("because the owner {:?} at c.yml:{}:3", name(*cause).to_string(), cause + 2);
                    (format!("c.yml:{line}:{column}: {what}"), by)
                })
                .collect();
            assert_eq!(warnings.len(), expected.len(), "{text}{warnings:#?}");
            for (warning, (what, by)) in warnings.iter().zip(&expected) {
                assert!(warning.starts_with(what) && warning.contains(by), "{text}{what}, {by}: {warning}");
            }
        }
    }

    /// Returns the column of an element of a list.
    fn column_of(line: &str, element: &str) -> usize {
        let is_end = |rest: &str| rest.starts_with([',', ']']);
        let found = line.match_indices(element).find(|(at, _)| is_end(&line[at + element.len()..]));
        found.unwrap().0 + 1
    }

    /// An owner of the model: lists of texts as in the file.
    #[derive(Debug, Clone)]
    struct ModelOwner {
        numbers: Vec<String>,
        trunks: Vec<String>,
        applications: Vec<String>,
        accounts: Vec<String>,
        countries: Vec<String>,
    }

    /// A number as it is in a listing: account, number, country, trunk, application.
    type Listed<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str);

    impl ModelOwner {
        fn has_in_scope(&self, (account, _, country, _, _): Listed<'_>) -> bool {
            let contains = |list: &[String], text| list.is_empty() || list.iter().any(|element| element == text);
            contains(&self.accounts, account) && contains(&self.countries, country)
        }

        fn has(&self, number: Listed<'_>) -> bool {
            let matchers = self.matchers();
            self.has_in_scope(number)
                && (matchers.is_empty() || matchers.iter().any(|matcher| matches(*matcher, number)))
        }

        /// Returns the matchers, each with the key of its list.
        fn matchers(&self) -> Vec<(&'static str, &str)> {
            let lists = [("numbers", &self.numbers), ("trunks", &self.trunks), ("applications", &self.applications)];
            lists.into_iter().flat_map(|(key, list)| list.iter().map(move |element| (key, &**element))).collect()
        }
    }

    /// Returns whether a matcher matches a number, by the text of the documentation.
    fn matches((key, matcher): (&str, &str), (_, e164, _, trunk, application): Listed<'_>) -> bool {
        match key {
            "numbers" => matcher.strip_suffix('*').map_or(e164 == matcher, |prefix| e164.starts_with(prefix)),
            "trunks" => trunk == matcher,
            _ => application == matcher,
        }
    }

    /// Returns a number for each way in which the owners below can differ: their patterns have fewer digits and values.
    fn every_number(e164s: &[String]) -> Vec<Listed<'_>> {
        let mut all = Vec::new();
        for account in ["x", "y", "z"] {
            for e164 in e164s {
                for country in ["US", "DE", "FR"] {
                    for (trunk, application) in [("", ""), ("s", ""), ("t", ""), ("", "s"), ("", "t")] {
                        all.push((account, &**e164, country, trunk, application));
                    }
                }
            }
        }
        all
    }

    fn list(element: &'static str, max: usize) -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec(element, 0..=max)
    }

    prop_compose! {
        fn model_owner()(
            numbers in list(r"\+[12]{1,2}\*?", 2),
            trunks in list("[st]", 1),
            applications in list("[st]", 1),
            accounts in list("[xyz]", 3),
            countries in prop::collection::vec(prop::sample::select(vec!["US", "DE"]), 0..2),
        ) -> ModelOwner {
            let countries = countries.into_iter().map(str::to_owned).collect();
            ModelOwner { numbers, trunks, applications, accounts, countries }
        }
    }

    /// Returns what must be warned of: the index of an owner, the index of its matcher (`None` for all of it), and the
    /// owner that has the same numbers before it. Every number is tried.
    fn model(owners: &[ModelOwner]) -> Vec<(usize, Option<usize>, usize)> {
        let longer = |shorter: &[String]| -> Vec<String> {
            shorter.iter().flat_map(|e164| ["1", "2", "3"].map(|digit| format!("{e164}{digit}"))).collect()
        };
        let one = longer(&["+".to_owned()]);
        let two = longer(&one);
        let e164s = [longer(&two), two, one].concat();
        let all = every_number(&e164s);
        let mut covered = Vec::new();
        for (index, owner) in owners.iter().enumerate() {
            let first = |is_whole: bool, is_of: &dyn Fn(Listed<'_>) -> bool| {
                let numbers: Vec<_> =
                    all.iter().copied().filter(|number| owner.has_in_scope(*number) && is_of(*number)).collect();
                let has_all = |earlier: &ModelOwner| numbers.iter().all(|number| earlier.has(*number));
                owners[..index]
                    .iter()
                    .position(|earlier| (!is_whole || earlier.matchers().is_empty()) && has_all(earlier))
            };
            if let Some(cause) = first(true, &|_| true) {
                covered.push((index, None, cause));
                continue;
            }
            for (place, matcher) in owner.matchers().into_iter().enumerate() {
                let cause = first(false, &|number| matches(matcher, number));
                covered.extend(cause.map(|cause| (index, Some(place), cause)));
            }
        }
        covered
    }

    proptest! {
        #[test]
        fn warnings_are_of_matchers_whose_every_number_an_earlier_owner_has(owners in prop::collection::vec(model_owner(), 1..7)) {
            // Each matcher is on a line of its own, so that its line says which one it is.
            let (mut text, mut lines) = (String::from("owners:\n"), Vec::new());
            for (index, owner) in owners.iter().enumerate() {
                lines.extend([None, Some((index, None))]);
                write!(text, "-\n  name: o{index}\n").unwrap();
                for (key, list) in [("accounts", &owner.accounts), ("countries", &owner.countries)] {
                    if !list.is_empty() {
                        lines.push(None);
                        writeln!(text, "  {key}: [{}]", list.join(", ")).unwrap();
                    }
                }
                let mut previous = "";
                for (place, (key, matcher)) in owner.matchers().into_iter().enumerate() {
                    if key != previous {
                        lines.push(None);
                        writeln!(text, "  {key}:").unwrap();
                    }
                    previous = key;
                    lines.push(Some((index, Some(place))));
                    writeln!(text, "  - {matcher}").unwrap();
                }
            }
            let warned: Vec<_> = covered_matchers("c.yml", &read(&text), 3)
                .iter()
                .map(|warning| {
                    let line: usize = warning.split(':').nth(1).unwrap().parse().unwrap();
                    let cause = warning.split("because the owner \"o").nth(1).unwrap().split('"').next().unwrap();
                    // The first line is the key.
                    let (owner, place) = lines[line - 2].unwrap();
                    (owner, place, cause.parse().unwrap())
                })
                .collect();
            prop_assert_eq!(warned, model(&owners), "{}", text);
        }
    }

    #[test]
    fn warnings_beyond_the_limit_are_counted() {
        let warnings = |covered: usize| {
            let numbers = vec!["+12"; covered].join(", ");
            let text = format!("owners:\n- {{name: a, numbers: [+1*]}}\n- {{name: b, numbers: [{numbers}, +2]}}\n");
            coverage_warnings("c.yml", &read(&text), 1)
        };
        assert_eq!(warnings(MAX_WARNINGS).len(), MAX_WARNINGS);
        for (covered, rest) in [(21, "1 more owner or matcher can"), (9_999, "9979 more owners or matchers can")] {
            let warnings = warnings(covered);
            assert_eq!(warnings.len(), MAX_WARNINGS + 1);
            assert!(warnings[MAX_WARNINGS].starts_with(&format!("c.yml: {rest}")), "{warnings:?}");
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
        let warnings = covered_matchers("c.yml", &owners, 10);
        assert_eq!(warnings.len(), (1_000 - 7) * 11, "all but the first owner of each account");
        assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    }
}
