//! Reads YAML as a tree of texts with their places.
//!
//! Configuration values are texts, whatever YAML would make of them: `+18005550100` stays a phone number and the
//! country `NO` a country. Text goes in; a [`Node`] for each value comes out, with line and column, aliases and merge
//! keys resolved. A [`Section`] takes the values of a mapping by key and collects every [`Problem`] instead of
//! stopping at the first. Nothing here knows what a key means.

use std::fmt::{self, Display};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::NonFiniteFloatPolicy;
use serde_saphyr::{Error, Location, Spanned};

/// A line and a column, from 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    line: u64,
    column: u64,
}

impl Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl From<Location> for Position {
    fn from(location: Location) -> Self {
        Self { line: location.line(), column: location.column() }
    }
}

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The position of the key or the value.
    pub position: Position,
    /// What is wrong and what to do.
    pub message: String,
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.position, self.message)
    }
}

/// A value and its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Where the value is defined; of an alias that is its anchor.
    pub position: Position,
    /// The value.
    pub value: Value,
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// No value: an empty one, `~` or `null`.
    Null,
    /// A scalar as written, without its quotes.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping.
    Mapping(Mapping),
}

/// The keys and values of a mapping, in the order of the file; no key appears twice.
pub type Mapping = Vec<(Key, Node)>;

/// A key and its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Where the key is.
    pub position: Position,
    /// The key as written, without its quotes.
    pub text: String,
}

impl Node {
    /// Returns the text of a scalar, or of a list of scalars the texts separated by commas: what a flag would have.
    #[must_use]
    pub fn flag_text(&self) -> Option<String> {
        let texts = match &self.value {
            Value::List(nodes) => nodes.iter().map(Self::text).collect::<Option<Vec<_>>>()?,
            _ => vec![self.text()?],
        };
        Some(texts.join(","))
    }

    /// Returns the text of a scalar.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Parses a document that is a mapping; one without content is an empty mapping.
///
/// # Errors
/// If the text is not YAML, holds several documents, or is not a mapping at its top; `example` shows one.
pub fn parse(text: &str, example: &str) -> Result<Mapping, Problem> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        // A file of 100,000 accounts that share their settings through one anchor is valid; the budget stops files
        // that expand to far more than that.
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 20_000_000 },
        budget: serde_saphyr::budget! {
            max_events: 20_000_000,
            max_nodes: 10_000_000,
            max_aliases: 1_000_000,
            max_anchors: 1_000_000,
            max_merge_keys: 1_000_000,
            enforce_alias_anchor_ratio: false,
        },
    };
    let root: Spanned<Raw> = serde_saphyr::from_str_with_options(text, options).map_err(|error| problem(&error))?;
    let root = resolve(root, text);
    match root.value {
        Value::Mapping(mapping) => Ok(mapping),
        Value::Null => Ok(Mapping::new()),
        _ => Err(Problem { position: root.position, message: format!("must be a mapping, like `{example}`") }),
    }
}

/// Returns what a YAML error means to the author of the file.
fn problem(error: &Error) -> Problem {
    let location = error.location().unwrap_or(Location::UNKNOWN);
    let message = match error.without_snippet() {
        Error::DuplicateMappingKey { key, .. } => {
            format!("{} appears twice; remove one", key.as_deref().unwrap_or("a key").escape_debug())
        }
        Error::Budget { .. } => "is nested or expanded too far; write it out more plainly".to_owned(),
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            "an alias is part of its own anchor; write it out".to_owned()
        }
        Error::NullIntoString { .. } => "a key is missing or null; quote it or remove it".to_owned(),
        Error::MultipleDocuments { .. } => "a second document begins; write everything in one".to_owned(),
        other => {
            let message = other.to_string();
            format!("is not valid YAML: {}", message.split(" at line ").next().unwrap_or(&message))
        }
    };
    Problem { position: location.into(), message }
}

/// A value as the YAML parser types it.
enum Raw {
    Null,
    Text(String),
    /// A plain scalar that YAML takes for a number or a truth value: its text is in the source.
    Typed,
    List(Vec<Spanned<Raw>>),
    Mapping(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            list.push(element);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut mapping = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            mapping.push(entry);
        }
        Ok(Raw::Mapping(mapping))
    }
}

/// Gives each typed scalar its text back.
fn resolve(node: Spanned<Raw>, source: &str) -> Node {
    let position = node.defined.into();
    let value = match node.value {
        Raw::Null => Value::Null,
        Raw::Text(text) => Value::Text(text),
        Raw::Typed => Value::Text(slice(source, node.defined).to_owned()),
        Raw::List(list) => Value::List(list.into_iter().map(|node| resolve(node, source)).collect()),
        Raw::Mapping(mapping) => Value::Mapping(
            mapping
                .into_iter()
                .map(|(key, node)| (Key { position: key.defined.into(), text: key.value }, resolve(node, source)))
                .collect(),
        ),
    };
    Node { position, value }
}

fn slice(source: &str, location: Location) -> &str {
    let span = location.span();
    let offset = |offset: Option<u64>| offset.and_then(|offset| usize::try_from(offset).ok()).unwrap_or(0);
    let start = offset(span.byte_offset());
    source.get(start..start + offset(span.byte_len())).unwrap_or_default()
}

/// A mapping whose values are taken by key; [`Section::finish`] refuses the keys that were not taken.
#[derive(Debug)]
pub struct Section<'a> {
    /// The keys above, each followed by a dot.
    path: String,
    mapping: &'a [(Key, Node)],
    known: Vec<&'static str>,
    /// What is wrong so far.
    pub problems: &'a mut Vec<Problem>,
}

impl<'a> Section<'a> {
    /// Returns the section of a mapping; `path` begins every message about it.
    pub fn new(path: &str, mapping: &'a [(Key, Node)], problems: &'a mut Vec<Problem>) -> Self {
        Self { path: path.to_owned(), mapping, known: Vec::new(), problems }
    }

    /// Returns the section below a key, an empty one if the key is absent or not a mapping.
    pub fn section(&mut self, key: &'static str) -> Section<'_> {
        let mapping = match self.take(key) {
            Some(Node { value: Value::Mapping(mapping), .. }) => mapping.as_slice(),
            Some(node) => {
                self.report_value(node, key, "must be a mapping");
                &[]
            }
            None => &[],
        };
        Section::new(&format!("{}{key}.", self.path), mapping, self.problems)
    }

    /// Returns whether the mapping has no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.mapping.is_empty()
    }

    /// Returns all keys with their texts, for a mapping whose keys are free; other values are reported.
    pub fn texts(&mut self) -> Vec<(&'a Key, &'a str)> {
        let mapping = self.mapping;
        let mut texts = Vec::with_capacity(mapping.len());
        for (key, node) in mapping {
            match node.text() {
                Some(text) => texts.push((key, text)),
                None => self.report_value(node, &key.text, "must be a text"),
            }
        }
        texts
    }

    /// Parses a value; `None` if the key is absent, has no value, or an invalid one, which is reported.
    pub fn value<T>(&mut self, key: &'static str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let node = self.take(key)?;
        let parsed = node.text().ok_or_else(|| "must be a text".to_owned()).and_then(parse);
        parsed.map_err(|error| self.report_value(node, key, &error)).ok()
    }

    /// Returns a text that is not empty.
    pub fn text(&mut self, key: &'static str) -> Option<String> {
        self.value(key, |text| Ok(text.to_owned())).filter(|text| !text.is_empty())
    }

    /// Parses a truth value as YAML 1.1 writes it (<https://yaml.org/type/bool.html>).
    pub fn boolean(&mut self, key: &'static str) -> Option<bool> {
        self.value(key, |text| match &*text.to_ascii_lowercase() {
            "true" | "yes" | "on" => Ok(true),
            "false" | "no" | "off" => Ok(false),
            _ => Err("must be true or false".to_owned()),
        })
    }

    /// Parses the elements of a list; `None` if the key is absent or not a list. Invalid elements are reported.
    pub fn list<T>(&mut self, key: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> Option<Vec<T>> {
        let node = self.take(key)?;
        let Value::List(nodes) = &node.value else {
            self.report_value(node, key, "must be a list");
            return None;
        };
        let mut values = Vec::with_capacity(nodes.len());
        for node in nodes {
            match node.text().ok_or_else(|| "must be a list of texts".to_owned()).and_then(&parse) {
                Ok(value) => values.push(value),
                Err(error) => self.report_value(node, key, &error),
            }
        }
        Some(values)
    }

    /// Reports a problem at a key, or if that is absent at the first key of the section.
    pub fn report(&mut self, key: &str, problem: impl Display) {
        let keys = || self.mapping.iter().map(|(key, _)| key);
        let position = keys().find(|other| other.text == key).or_else(|| keys().next()).map(|key| key.position);
        self.problems
            .push(Problem { position: position.unwrap_or_default(), message: format!("{}{problem}", self.path) });
    }

    /// Reports the keys that were not taken.
    pub fn finish(self) {
        for (key, _) in self.mapping.iter().filter(|(key, _)| !self.known.contains(&key.text.as_str())) {
            self.problems.push(unknown_key(&self.path, key, &self.known));
        }
    }

    /// Returns the value of a key, if it has one.
    fn take(&mut self, key: &'static str) -> Option<&'a Node> {
        self.known.push(key);
        let (_, node) = self.mapping.iter().find(|(other, _)| other.text == key)?;
        (node.value != Value::Null).then_some(node)
    }

    fn report_value(&mut self, node: &Node, key: &str, problem: &str) {
        let message = format!("{}{}: {problem}", self.path, key.escape_debug());
        self.problems.push(Problem { position: node.position, message });
    }
}

/// How similar a key must be to a known one to be taken for a typo of it (Jaro-Winkler, 0 to 1).
const SIMILARITY: f64 = 0.75;

/// Returns the problem of a key that is not among the `known` ones, with the one that was probably meant.
#[must_use]
pub fn unknown_key(path: &str, key: &Key, known: &[impl AsRef<str>]) -> Problem {
    let known = || known.iter().map(AsRef::as_ref);
    let nearest = known()
        .map(|known| (strsim::jaro_winkler(&key.text, known), known))
        .filter(|(similarity, _)| *similarity > SIMILARITY)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    let hint = match nearest {
        Some((_, nearest)) => format!("did you mean {nearest}?"),
        None => format!("remove it or use one of {}", known().collect::<Vec<_>>().join(", ")),
    };
    Problem { position: key.position, message: format!("{path}{} is not known; {hint}", key.text.escape_debug()) }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    fn parsed(text: &str) -> Mapping {
        parse(text, "a: b").unwrap()
    }

    fn text<'a>(mapping: &'a [(Key, Node)], key: &str) -> Option<&'a str> {
        mapping.iter().find(|(other, _)| other.text == key).unwrap().1.text()
    }

    #[test]
    fn scalars_keep_their_text() {
        for (written, expected) in [
            ("+18005550100", "+18005550100"),
            ("NO", "NO"),
            ("0x10", "0x10"),
            ("1.50", "1.50"),
            ("yes", "yes"),
            ("1_000", "1_000"),
            (".nan", ".nan"),
            ("+.INF", "+.INF"),
            ("'it''s'", "it's"),
            (r#""a\nb""#, "a\nb"),
            (r#""~""#, "~"),
            ("123456789012345678901234567890123456789012345", "123456789012345678901234567890123456789012345"),
        ] {
            assert_eq!(text(&parsed(&format!("key: {written} # comment")), "key"), Some(expected), "{written}");
        }
        for null in ["", "~", "null"] {
            assert_eq!(text(&parsed(&format!("key: {null}")), "key"), None, "{null}");
        }
        assert_eq!(parsed("NO: 1\n2: x\n")[0].0.text, "NO");
    }

    #[test]
    fn aliases_and_merge_keys_are_resolved_to_where_their_values_are_defined() {
        let mapping = parsed("a: &defaults {x: NO, y: 2}\nb: {<<: *defaults, y: 3}\nc: *defaults\n");
        let below = |key: &str| match &mapping.iter().find(|(other, _)| other.text == key).unwrap().1.value {
            Value::Mapping(mapping) => mapping,
            other => panic!("{other:?}"),
        };
        assert_eq!((text(below("b"), "x"), text(below("b"), "y")), (Some("NO"), Some("3")));
        assert_eq!(below("c"), below("a"));
        let (_, x) = below("b").iter().find(|(key, _)| key.text == "x").unwrap();
        assert_eq!(x.position, Position { line: 1, column: 18 });
    }

    #[test]
    fn one_anchor_serves_many_accounts() {
        let mut text = "defaults: &defaults {x: 1, y: 2}\naccounts:\n".to_owned();
        for number in 0..20_000 {
            writeln!(text, "- {{<<: *defaults, name: a{number}}}").unwrap();
        }
        let mapping = parsed(&text);
        let Value::List(list) = &mapping[1].1.value else { panic!() };
        assert_eq!(list.len(), 20_000);
    }

    #[test]
    fn invalid_documents_name_their_place() {
        for (text, expected) in [
            ("- a", "1:1: must be a mapping, like `a: b`"),
            ("5", "1:1: must be a mapping, like `a: b`"),
            ("a: 1\na: 2\n", "2:1: a appears twice; remove one"),
            ("a: 1\n---\nb: 2\n", "3:1: a second document begins; write everything in one"),
            ("a: [", "1:4: is not valid YAML: unclosed bracket '['"),
            ("a: *x", "1:4: is not valid YAML: alias references unknown anchor"),
            ("a:\n  b: 1\n c: 2\n", "3:2: is not valid YAML"),
        ] {
            let problem = parse(text, "a: b").unwrap_err().to_string();
            assert!(problem.starts_with(expected), "{problem}");
        }
        for empty in ["", "\n# nothing\n", "---\n", "{}", "---\n# nothing\n"] {
            assert_eq!(parsed(empty), [], "{empty:?}");
        }
        assert_eq!(parsed("\u{feff}%YAML 1.2\n---\na: {b: 1m}\r\n").len(), 1);
    }

    #[test]
    fn unknown_keys_are_reported_with_the_nearest_known_one() {
        let mapping = parsed("interval: 1s\nburts: 5\nzzz: {}\n");
        let mut problems = Vec::new();
        let mut section = Section::new("rate_limit.", &mapping, &mut problems);
        assert_eq!(section.text("interval").as_deref(), Some("1s"));
        assert_eq!(section.text("burst"), None);
        section.report("missing", "missing: is required");
        section.finish();
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "1:1: rate_limit.missing: is required",
                "2:1: rate_limit.burts is not known; did you mean burst?",
                "3:1: rate_limit.zzz is not known; remove it or use one of interval, burst",
            ]
        );
    }
}
