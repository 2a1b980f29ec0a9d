//! Owners by what they match, for lookups whose cost does not depend on how many owners there are.
//!
//! Each pattern, trunk and application is a node with the owners that name it. The parent of a pattern is the longest prefix
//! that covers it, so the owners of a number are those of one node and of its ancestors. Nothing is copied from a node to
//! another: the size is linear in the number of matchers.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;

use super::index::index;
use super::number_pattern::PatternPlace;
use super::owner_matcher::OwnerMatcher;
use super::{E164, NumberPattern};

/// An index into the owners, in the order of the configuration.
pub(super) type OwnerIndex = u32;

type NodeIndex = u32;

/// The node of the owners that have every number of their countries.
const ROOT: NodeIndex = 0;

/// Some owners of a configuration, by what they match.
#[derive(Debug, Default)]
pub(super) struct OwnerTree {
    /// The root, a node for each of the patterns in the same order, and nodes of trunks and applications.
    nodes: Vec<Node>,
    /// In ascending order.
    patterns: Vec<PatternPlace>,
    by_trunk: HashMap<String, NodeIndex, RandomState>,
    by_application: HashMap<String, NodeIndex, RandomState>,
}

#[derive(Debug)]
struct Node {
    /// The node whose owners also have the numbers of this one; the root is its own parent.
    parent: NodeIndex,
    candidates: Candidates,
}

/// The owners that name the same pattern, trunk or application, in order.
#[derive(Debug, Default)]
struct Candidates {
    owners: Vec<OwnerIndex>,
    /// Whether the last owner has the numbers of every country, so that later ones never have any.
    is_complete: bool,
}

impl Candidates {
    fn add(&mut self, owner: OwnerIndex, matcher: &OwnerMatcher) {
        if !self.is_complete && self.owners.last() != Some(&owner) {
            self.owners.push(owner);
            self.is_complete = matcher.countries.is_empty();
        }
    }
}

impl OwnerTree {
    /// Creates the tree of some owners, which are in order.
    pub(super) fn new<'a>(owners: impl Iterator<Item = (OwnerIndex, &'a OwnerMatcher)>) -> Self {
        let mut of_countries = Candidates::default();
        let mut by_pattern = BTreeMap::<PatternPlace, Candidates>::new();
        let (mut by_trunk, mut by_application) = <(BTreeMap<&str, Candidates>, BTreeMap<&str, Candidates>)>::default();
        for (owner, matcher) in owners {
            for pattern in &matcher.numbers {
                by_pattern.entry(pattern.place()).or_default().add(owner, matcher);
            }
            for trunk in &matcher.trunks {
                by_trunk.entry(trunk).or_default().add(owner, matcher);
            }
            for application in &matcher.applications {
                by_application.entry(application).or_default().add(owner, matcher);
            }
            if matcher.has_every_number() {
                of_countries.add(owner, matcher);
            }
        }

        let mut nodes = vec![Node { parent: ROOT, candidates: of_countries }];
        let mut patterns = Vec::with_capacity(by_pattern.len());
        // The patterns that cover the last one, from the shortest to itself, with their nodes.
        let mut covering: Vec<(PatternPlace, NodeIndex)> = Vec::new();
        for (place, candidates) in by_pattern {
            while covering.pop_if(|(last, _)| !last.covers(place)).is_some() {}
            let parent = covering.last().map_or(ROOT, |(_, node)| *node);
            covering.push((place, index(nodes.len())));
            nodes.push(Node { parent, candidates });
            patterns.push(place);
        }
        let mut add_nodes = |candidates: BTreeMap<&str, Candidates>| {
            let add = |(id, candidates): (&str, Candidates)| {
                nodes.push(Node { parent: ROOT, candidates });
                (id.to_owned(), index(nodes.len() - 1))
            };
            candidates.into_iter().map(add).collect()
        };
        let (by_trunk, by_application) = (add_nodes(by_trunk), add_nodes(by_application));
        Self { nodes, patterns, by_trunk, by_application }
    }

    /// Returns whether no owner has any number.
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.iter().all(|node| node.candidates.owners.is_empty())
    }

    /// Returns the nodes of a trunk and an application, and the root for one that is absent or that no owner names.
    pub(super) fn nodes_of_assignment(&self, trunk: Option<&str>, application: Option<&str>) -> [NodeIndex; 2] {
        [(&self.by_trunk, trunk), (&self.by_application, application)]
            .map(|(nodes, id)| id.and_then(|id| nodes.get(id)).copied().unwrap_or(ROOT))
    }
}

/// A country that is looked up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Country<'a> {
    /// The same for two countries only if they have the same owners.
    pub(super) id: u32,
    pub(super) name: &'a str,
}

/// Lookups of one listing in a tree, in any order: what follows from a node and a country is found once.
pub(super) struct TreeLookup<'a> {
    tree: &'a OwnerTree,
    /// All owners of the configuration.
    matchers: &'a [OwnerMatcher],
    /// The place of the last number that was looked up.
    place: Option<PatternPlace>,
    /// How many patterns are not after the last number.
    position: usize,
    /// The node of the last number.
    node: NodeIndex,
    /// The last node and country whose first owner was looked up, with that owner.
    last: Option<(NodeIndex, u32, Option<OwnerIndex>)>,
    /// The first owner by node and country.
    first_owners: HashMap<(NodeIndex, u32), Option<OwnerIndex>, RandomState>,
    /// How many owners were compared with a country.
    #[cfg(test)]
    compared: usize,
}

impl<'a> TreeLookup<'a> {
    pub(super) fn new(tree: &'a OwnerTree, matchers: &'a [OwnerMatcher]) -> Self {
        Self {
            tree,
            matchers,
            place: None,
            position: 0,
            node: ROOT,
            last: None,
            first_owners: HashMap::default(),
            #[cfg(test)]
            compared: 0,
        }
    }

    /// Returns the tree in which this looks owners up.
    pub(super) fn tree(&self) -> &'a OwnerTree {
        self.tree
    }

    /// Returns the first owner of a number; neighbors in ascending order cost least. `assignment` is what
    /// [`OwnerTree::nodes_of_assignment`] returns.
    pub(super) fn first_owner(
        &mut self,
        e164: E164,
        country: Country<'_>,
        assignment: [NodeIndex; 2],
    ) -> Option<OwnerIndex> {
        // The root is an ancestor of the pattern's node.
        let node = self.node_of_number(e164);
        // Neighbors usually share both.
        let by_number = match self.last {
            Some((last_node, last_country, owner)) if (last_node, last_country) == (node, country.id) => owner,
            _ => {
                let owner = self.first_owner_of_node(node, country);
                self.last = Some((node, country.id, owner));
                owner
            }
        };
        let by_assignment = assignment.map(|node| match node {
            ROOT => None,
            node => self.first_owner_of_node(node, country),
        });
        [by_number].into_iter().chain(by_assignment).flatten().min()
    }

    /// Returns the node of the longest pattern that matches the number, or the root.
    fn node_of_number(&mut self, e164: E164) -> NodeIndex {
        let (place, OwnerTree { nodes, patterns, .. }) = (NumberPattern::Exact(e164).place(), self.tree);
        // The order of numbers of the same length is that of their places.
        let is_ascending = self.place.replace(place).is_some_and(|last| last <= place);
        let start = if is_ascending { self.position } else { 0 };
        let position = start + count_until(patterns.get(start..).unwrap_or_default(), &place);
        // All patterns that match the number are ancestors of the last one that is not after it. If that is the same as for the
        // last number, the patterns between it and that node end before the last number, so they do not match this one either.
        let mut node = if is_ascending && position == self.position { self.node as usize } else { position };
        self.position = position;
        while let Some(pattern) = node.checked_sub(1).and_then(|pattern| patterns.get(pattern)) {
            if pattern.covers(place) {
                break;
            }
            node = nodes.get(node).map_or(ROOT, |node| node.parent) as usize;
        }
        self.node = index(node);
        self.node
    }

    /// Returns the first owner in the country of a node and its ancestors.
    fn first_owner_of_node(&mut self, node: NodeIndex, country: Country<'_>) -> Option<OwnerIndex> {
        if let Some(known) = self.first_owners.get(&(node, country.id)) {
            return *known;
        }
        let Node { parent, candidates } = self.tree.nodes.get(node as usize)?;
        let has_country = |owner: &OwnerIndex| {
            self.matchers.get(*owner as usize).is_some_and(|matcher| matcher.matches_country(country.name))
        };
        let position = candidates.owners.iter().position(has_country);
        #[cfg(test)]
        {
            self.compared += position.map_or(candidates.owners.len(), |position| position + 1);
        }
        let own = position.and_then(|position| candidates.owners.get(position)).copied();
        // There are at most as many ancestors as a number has digits, and the root.
        let inherited = if node == ROOT { None } else { self.first_owner_of_node(*parent, country) };
        let first = [own, inherited].into_iter().flatten().min();
        self.first_owners.insert((node, country.id), first);
        first
    }
}

/// Returns how many patterns at the beginning are not after a place.
///
/// This is an exponential search. Its cost is the logarithm of the result, so a small account does not visit all patterns,
/// a large one visits each about once, and a search from the beginning costs at most twice as much as a binary search.
fn count_until<T: PartialOrd>(patterns: &[T], place: &T) -> usize {
    let mut bound = 1;
    while patterns.get(bound - 1).is_some_and(|pattern| pattern <= place) {
        bound *= 2;
    }
    // All patterns in the first half are known not to be after the place.
    let start = (bound / 2).min(patterns.len());
    let rest = patterns.get(start..bound.min(patterns.len())).unwrap_or_default();
    start + rest.partition_point(|pattern| pattern <= place)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::cmp::Ordering;

    use super::*;

    /// Returns the number of nodes and the number of their candidates.
    fn size(matchers: &[OwnerMatcher]) -> [usize; 2] {
        let OwnerTree { nodes, patterns, .. } = OwnerTree::new((0..).zip(matchers));
        assert!(patterns.len() < nodes.len());
        [nodes.len(), nodes.iter().map(|node| node.candidates.owners.len()).sum()]
    }

    /// Returns owners that all have `+1*`, nine more nested prefixes and numbers, and these countries.
    fn overlapping_owners(countries: &[&str]) -> Vec<OwnerMatcher> {
        let owner = |owner: usize| {
            let nested = (2..=8).map(|length| format!("{}*", &"+1415555"[..length]));
            let numbers = nested.chain([format!("+1415555{owner:04}"), format!("+1415555{owner:04}*")]);
            OwnerMatcher {
                name: format!("owner {owner}").into(),
                countries: countries.iter().map(|country| (*country).to_owned()).collect(),
                numbers: numbers.map(|pattern| pattern.parse().unwrap()).collect(),
                trunks: [format!("trk_{}", owner % 10)].into(),
                ..OwnerMatcher::default()
            }
        };
        (0..1_000).map(owner).collect()
    }

    #[test]
    fn size_is_linear_in_the_number_of_matchers_even_if_all_overlap() {
        // The root, the nested prefixes, the trunks, and two patterns of each owner.
        let nodes = 1 + 7 + 10 + 2_000;
        assert_eq!(size(&overlapping_owners(&[])), [nodes, nodes - 1], "the first owner hides the others");
        assert_eq!(size(&overlapping_owners(&["US"])), [nodes, 1_000 * 10], "one candidate for each matcher");
    }

    #[test]
    fn candidates_of_a_node_are_compared_once_for_each_country() {
        let mut matchers = overlapping_owners(&["DE"]);
        matchers.push(OwnerMatcher { name: "everything".into(), ..OwnerMatcher::default() });
        let tree = OwnerTree::new((0..).zip(&matchers));
        let mut lookup = TreeLookup::new(&tree, &matchers);
        for number in 0..10_000_u64 {
            let e164 = E164::from_integer(114_155_550_000 + number).unwrap();
            let owner = lookup.first_owner(e164, Country { id: 0, name: "US" }, [ROOT; 2]);
            assert_eq!(owner, Some(1_000));
        }
        // The prefixes, the root and the two patterns of each owner, of which the exact one has the number.
        assert_eq!(lookup.first_owners.len(), 1 + 7 + 2_000);
        assert_eq!(lookup.compared, 1 + 9 * 1_000, "each owner once for each of its patterns");
    }

    #[test]
    fn owners_of_one_prefix_are_compared_once_for_each_country_in_any_order_of_the_numbers() {
        let owner = |owner: usize| OwnerMatcher {
            name: format!("owner {owner}").into(),
            countries: [format!("{}", owner % 500), format!("{owner}")].into(),
            numbers: vec!["+1*".parse().unwrap()],
            ..OwnerMatcher::default()
        };
        let matchers: Vec<_> = (0..2_000).map(owner).collect();
        let tree = OwnerTree::new((0..).zip(&matchers));
        let mut lookup = TreeLookup::new(&tree, &matchers);
        let countries = ["0", "499", "1999", "none"];
        for (number, (id, name)) in (0..100_000).zip((0..).zip(countries).cycle()) {
            // A permutation that goes up and down.
            let e164 = E164::from_integer(110_000_000_000 + number * 38_197 % 100_000).unwrap();
            let owner = lookup.first_owner(e164, Country { id, name }, [ROOT; 2]);
            assert_eq!(owner, name.parse().ok());
        }
        assert_eq!(lookup.compared, 1 + 500 + 2_000 + 2_000);
    }

    /// A value whose comparisons are counted.
    struct Counted<'a>(usize, &'a Cell<u32>);

    impl PartialEq for Counted<'_> {
        fn eq(&self, other: &Self) -> bool {
            self.partial_cmp(other) == Some(Ordering::Equal)
        }
    }

    impl PartialOrd for Counted<'_> {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            self.1.set(self.1.get() + 1);
            self.0.partial_cmp(&other.0)
        }
    }

    #[test]
    fn search_from_the_beginning_compares_at_most_twice_as_many_patterns_as_a_binary_search() {
        for length in (0..70).chain([1_000, 20_000]) {
            let compared = Cell::default();
            let values: Vec<_> = (0..length).map(|value| Counted(2 * value, &compared)).collect();
            for searched in 0..=2 * length {
                compared.set(0);
                assert_eq!(count_until(&values, &Counted(searched, &compared)), (searched / 2 + 1).min(length));
                let binary_search = length.checked_ilog2().map_or(0, |logarithm| logarithm + 1);
                assert!(compared.get() <= 2 * binary_search, "{compared:?} {searched} of {length}");
            }
        }
    }
}
