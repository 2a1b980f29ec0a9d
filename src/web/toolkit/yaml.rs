//! YAML with places: what is wrong is told with line and column.

use std::fmt::Display;

use marked_yaml::types::MarkedMappingNode;
use marked_yaml::{LoadError, LoaderOptions, Marker, Node, Span, parse_yaml_with_options};

/// What is wrong with a file, as `line:column: what`.
#[derive(Debug, Default)]
pub(super) struct Problems(pub(super) Vec<String>);

impl Problems {
    pub(super) fn add(&mut self, span: &Span, problem: impl Display) {
        self.add_at(span.start(), problem);
    }

    fn add_at(&mut self, marker: Option<&Marker>, problem: impl Display) {
        let place = marker.map(|marker| format!("{}:{}: ", marker.line(), marker.column())).unwrap_or_default();
        self.0.push(format!("{place}{problem}"));
    }
}

/// The mapping that a file is; none where it says nothing, or cannot be read.
pub(super) fn root(text: &str, problems: &mut Problems) -> Option<MarkedMappingNode> {
    // A file of comments alone says nothing.
    let says_nothing = |line: &str| matches!(line.trim(), "" | "---" | "{}") || line.trim().starts_with('#');
    if text.lines().all(says_nothing) {
        return None;
    }
    let options = LoaderOptions::default().error_on_duplicate_keys(true).prevent_coercion(true);
    match parse_yaml_with_options(0, text, options) {
        Ok(Node::Mapping(mapping)) => return Some(mapping),
        Ok(other) => problems.add(other.span(), "must be a mapping, like `basic_auth_users: {…}`"),
        Err(LoadError::DuplicateKey(both)) => {
            problems.add(both.key.span(), format_args!("{} is there twice; leave one out", both.key.as_str()));
        }
        Err(LoadError::ScanError(marker, error)) => {
            problems.add_at(Some(&marker), format_args!("is not YAML: {}", error.info()));
        }
        Err(LoadError::UnexpectedAnchor(marker) | LoadError::UnexpectedTag(marker)) => {
            problems.add_at(Some(&marker), "anchors, aliases and tags are not supported; write the value out");
        }
        Err(LoadError::TopLevelMustBeMapping(marker) | LoadError::TopLevelMustBeSequence(marker)) => {
            problems.add_at(Some(&marker), "must be a mapping, like `basic_auth_users: {…}`");
        }
        Err(LoadError::MappingKeyMustBeScalar(marker)) => problems.add_at(Some(&marker), "a key must be a word"),
    }
    None
}

/// A mapping whose keys are taken out by name; what is never asked for is not known.
pub(super) struct Section<'a> {
    /// What it is called in an error, with a dot behind, or nothing.
    name: &'static str,
    mapping: Option<&'a MarkedMappingNode>,
    asked: Vec<&'static str>,
    pub(super) problems: &'a mut Problems,
}

impl<'a> Section<'a> {
    pub(super) fn new(
        name: &'static str,
        mapping: Option<&'a MarkedMappingNode>,
        problems: &'a mut Problems,
    ) -> Section<'a> {
        Self { name, mapping, asked: Vec::new(), problems }
    }

    /// The section below a key.
    pub(super) fn section(&mut self, key: &'static str, name: &'static str) -> Section<'_> {
        let mapping = match self.take(key) {
            Some(Node::Mapping(mapping)) => Some(mapping),
            Some(node) => {
                self.wrong(node, key, "must be a mapping");
                None
            }
            None => None,
        };
        Section::new(name, mapping, self.problems)
    }

    /// Whether it has any key.
    pub(super) fn is_empty(&self) -> bool {
        self.mapping.is_none_or(|mapping| mapping.iter().next().is_none())
    }

    /// Its keys and their texts, for one whose keys are free, and where to complain about them.
    pub(super) fn texts(self) -> (Vec<(&'a str, &'a str, &'a Span)>, &'a mut Problems) {
        let mut texts = Vec::new();
        for (key, node) in self.mapping.into_iter().flat_map(|mapping| mapping.iter()) {
            match node.as_scalar() {
                Some(scalar) => texts.push((key.as_str(), scalar.as_str(), key.span())),
                None => self.problems.add(node.span(), format_args!("{}{}: must be a text", self.name, key.as_str())),
            }
        }
        (texts, self.problems)
    }

    /// What a text says, by `read`; none where the key is absent, has no value, or a wrong one.
    pub(super) fn value<T>(&mut self, key: &'static str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let node = self.take(key)?;
        let Some(scalar) = node.as_scalar() else {
            self.wrong(node, key, "must be a text");
            return None;
        };
        read(scalar.as_str()).map_err(|error| self.wrong(node, key, &error)).ok()
    }

    /// A text.
    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.value(key, |text| Ok(text.to_owned())).filter(|text| !text.is_empty())
    }

    /// On or off, as YAML 1.1 writes it.
    pub(super) fn switch(&mut self, key: &'static str) -> Option<bool> {
        self.value(key, |text| match &*text.to_ascii_lowercase() {
            "true" | "yes" | "on" => Ok(true),
            "false" | "no" | "off" => Ok(false),
            _ => Err("must be true or false".to_owned()),
        })
    }

    /// A list of texts, each by `read`.
    pub(super) fn list<T>(&mut self, key: &'static str, read: impl Fn(&str) -> Result<T, String>) -> Option<Vec<T>> {
        let node = self.take(key)?;
        let Some(sequence) = node.as_sequence() else {
            self.wrong(node, key, "must be a list");
            return None;
        };
        let mut values = Vec::new();
        for node in sequence.iter() {
            match node.as_scalar().map(|scalar| read(scalar.as_str())) {
                Some(Ok(value)) => values.push(value),
                Some(Err(error)) => self.wrong(node, key, &error),
                None => self.wrong(node, key, "must be a list of texts"),
            }
        }
        Some(values)
    }

    /// Where a key is, for an error about it.
    pub(super) fn span(&self, key: &str) -> Span {
        let keys = || self.mapping.into_iter().flat_map(|mapping| mapping.iter()).map(|(name, _)| name);
        // Of one that is absent, that of the first that is not.
        let found = keys().find(|name| name.as_str() == key).or_else(|| keys().next());
        found.map_or_else(Span::new_blank, |name| *name.span())
    }

    /// Says what is wrong with a key.
    pub(super) fn complain(&mut self, key: &str, problem: impl Display) {
        let span = self.span(key);
        self.problems.add(&span, format_args!("{}{problem}", self.name));
    }

    /// Refuses the keys that nobody asked for.
    pub(super) fn finish(self) {
        for (key, _) in self.mapping.into_iter().flat_map(|mapping| mapping.iter()) {
            if !self.asked.contains(&key.as_str()) {
                let known = self.asked.join(", ");
                let key_text = key.as_str().escape_debug();
                self.problems.add(key.span(), format_args!("{}{key_text} is not known; there are {known}", self.name));
            }
        }
    }

    /// The value of a key, if it has one.
    fn take(&mut self, key: &'static str) -> Option<&'a Node> {
        self.asked.push(key);
        let node = self.mapping?.get_node(key)?;
        let nothing =
            node.as_scalar().is_some_and(|scalar| scalar.may_coerce() && matches!(scalar.as_str(), "" | "~" | "null"));
        (!nothing).then_some(node)
    }

    fn wrong(&mut self, node: &Node, key: &str, problem: &str) {
        self.problems.add(node.span(), format_args!("{}{key}: {problem}", self.name));
    }
}
