//! Owners and watched numbers as the configuration file has them: YAML in, parsed values with their places out.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use super::values::{amount, check_name};
use crate::inventory::{E164, Money, NumberPattern, WatchedNumber};
use crate::yaml::{self, Key, Mapping, Node, Position, Problem, Value};

/// A key and what it does, for the documentation.
pub type FieldHelp = (&'static str, &'static str);

/// Every field of an owner, in the order of the documentation.
pub static OWNER_FIELDS: [FieldHelp; 7] = [
    ("name", "Value of the `owner` label"),
    ("numbers", "Numbers like `+18005550100`, and prefixes like `+1415555*`"),
    ("trunks", "Numbers with these trunk IDs"),
    ("applications", "Numbers with these application IDs"),
    ("accounts", "Only numbers of these accounts, by their names"),
    ("countries", "Only numbers of these countries, as ISO 3166-1 alpha-2 codes"),
    ("monthly_budget", "Maximum monthly fees by currency over all accounts, as in `{USD: 200}`"),
];

/// The fields of a watched number.
const WATCH_FIELDS: [FieldHelp; 2] =
    [("number", "The number, like `+18005550100`"), ("name", "Value of the `name` label; by default the number")];

/// An owner as written.
#[derive(Debug)]
pub(super) struct OwnerEntry {
    /// Where it is in the file.
    pub(super) position: Position,
    /// The value of the `owner` label.
    pub(super) name: String,
    pub(super) numbers: Vec<Placed<NumberPattern>>,
    pub(super) trunks: Vec<Placed<String>>,
    pub(super) applications: Vec<Placed<String>>,
    /// The names of accounts; empty means all.
    pub(super) accounts: Vec<Placed<String>>,
    /// Empty means all.
    pub(super) countries: Vec<Placed<String>>,
    /// Maximum monthly fees by currency.
    pub(super) budget: BTreeMap<String, Money>,
}

/// A value and its place in the file.
#[derive(Debug, Clone)]
pub(super) struct Placed<T> {
    pub(super) position: Position,
    pub(super) value: T,
}

/// The watched numbers of an account.
#[derive(Debug)]
pub(super) struct WatchEntry {
    /// The file and the place of the list, for messages.
    pub(super) origin: String,
    pub(super) numbers: Arc<[WatchedNumber]>,
}

/// Reads the list of owners, and adds everything that is wrong with it to `problems`.
pub(super) fn read_owners(path: &Path, node: &Node, problems: &mut Vec<Problem>) -> Vec<OwnerEntry> {
    let mut reader = ListReader { path, name: "owners", example: "name: support", problems };
    let mut owners = Vec::new();
    let mut positions: HashMap<String, Position> = HashMap::new();
    for (position, mapping) in reader.mappings(node) {
        let Some(owner) = reader.owner(position, mapping) else { continue };
        match positions.get(&owner.name) {
            Some(first) => {
                let problem = format!("is already the name of the owner at {}; choose another name", reader.at(*first));
                reader.report_value(position, "name", &owner.name, problem);
            }
            None => _ = positions.insert(owner.name.clone(), position),
        }
        owners.push(owner);
    }
    owners
}

/// Reads the watched numbers of an account, and adds everything that is wrong with them to `problems`.
pub(super) fn read_watch(path: &Path, node: &Node, problems: &mut Vec<Problem>) -> Option<WatchEntry> {
    let example = "{number: +18005550100, name: support hotline}";
    let mut reader = ListReader { path, name: "watch", example, problems };
    let (mut numbers, mut known) = (Vec::new(), HashSet::new());
    for (position, mapping) in reader.mappings(node) {
        let Some(number) = reader.watched_number(position, mapping) else { continue };
        if known.insert(number.e164) {
            numbers.push(number);
        } else {
            let problem = "is watched twice in this account; remove one";
            reader.report_value(position, "number", &number.e164.to_string(), problem);
        }
    }
    let origin = reader.at(node.position);
    (!numbers.is_empty()).then(|| WatchEntry { origin, numbers: numbers.into() })
}

/// Reads a list of mappings, and collects what is wrong with it.
struct ListReader<'a> {
    path: &'a Path,
    /// The key of the list.
    name: &'static str,
    /// An element of the list.
    example: &'static str,
    problems: &'a mut Vec<Problem>,
}

impl ListReader<'_> {
    /// Returns the elements that are mappings.
    fn mappings<'a>(&mut self, node: &'a Node) -> Vec<(Position, &'a Mapping)> {
        let (name, example) = (self.name, self.example);
        let nodes = match &node.value {
            Value::List(nodes) if !nodes.is_empty() => nodes.as_slice(),
            Value::List(_) | Value::Null => {
                self.report(node.position, format!("{name} is empty; add one like `{example}` or remove the key"));
                &[]
            }
            _ => {
                self.report(node.position, format!("{name} must be a list, each begun with `- `"));
                &[]
            }
        };
        let mut mappings = Vec::with_capacity(nodes.len());
        for node in nodes {
            match &node.value {
                Value::Mapping(mapping) => mappings.push((node.position, mapping)),
                _ => self.report(node.position, format!("{name} must be a list of mappings, like `{example}`")),
            }
        }
        mappings
    }

    /// Reads an owner; `None` if it has no valid name.
    fn owner(&mut self, position: Position, mapping: &Mapping) -> Option<OwnerEntry> {
        let mut owner = OwnerEntry {
            position,
            name: String::new(),
            numbers: Vec::new(),
            trunks: Vec::new(),
            applications: Vec::new(),
            accounts: Vec::new(),
            countries: Vec::new(),
            budget: BTreeMap::new(),
        };
        for (key, node) in mapping {
            match &*key.text {
                "name" => owner.name = self.text(key, node, name)?,
                "numbers" => owner.numbers = self.list(key, node, pattern),
                "trunks" => owner.trunks = self.list(key, node, name),
                "applications" => owner.applications = self.list(key, node, name),
                "accounts" => owner.accounts = self.list(key, node, name),
                "countries" => owner.countries = self.list(key, node, country),
                "monthly_budget" => owner.budget = self.budget(key, node),
                _ => self.report_unknown(key, &OWNER_FIELDS),
            }
        }
        if owner.name.is_empty() {
            self.report(position, "the owner has no name; set one, like `name: support`".to_owned());
            return None;
        }
        Some(owner)
    }

    fn watched_number(&mut self, position: Position, mapping: &Mapping) -> Option<WatchedNumber> {
        let (mut number, mut label) = (None, None);
        for (key, node) in mapping {
            match &*key.text {
                "number" => number = Some(self.text(key, node, e164)?),
                "name" => label = self.text(key, node, name),
                _ => self.report_unknown(key, &WATCH_FIELDS),
            }
        }
        let Some(number) = number else {
            let example = self.example;
            self.report(position, format!("the watched number has no number; write it like `{example}`"));
            return None;
        };
        Some(WatchedNumber { e164: number, name: label.unwrap_or_else(|| number.to_string()).into() })
    }

    /// Parses a text.
    fn text<T>(&mut self, key: &Key, node: &Node, parse: fn(&str) -> Result<T, String>) -> Option<T> {
        let name = &key.text;
        match &node.value {
            Value::Text(text) => {
                parse(text).map_err(|problem| self.report_value(node.position, name, text, problem)).ok()
            }
            Value::Null => {
                self.report_field(node.position, name, "has no value; set one or remove the key");
                None
            }
            Value::List(_) | Value::Mapping(_) => {
                self.report_field(node.position, name, "must be a single value");
                None
            }
        }
    }

    /// Parses a list of texts, which must not be empty.
    fn list<T>(&mut self, key: &Key, node: &Node, parse: fn(&str) -> Result<T, String>) -> Vec<Placed<T>> {
        let name = &key.text;
        let nodes = match &node.value {
            Value::List(nodes) if !nodes.is_empty() => nodes.as_slice(),
            Value::List(_) | Value::Null => {
                self.report_field(node.position, name, "has no value; set one or remove the key");
                &[]
            }
            Value::Text(_) | Value::Mapping(_) => {
                self.report_field(node.position, name, "must be a list, in brackets and separated by commas");
                &[]
            }
        };
        let mut values = Vec::with_capacity(nodes.len());
        for node in nodes {
            let value = self.text(key, node, parse);
            values.extend(value.map(|value| Placed { position: node.position, value }));
        }
        values
    }

    fn budget(&mut self, key: &Key, node: &Node) -> BTreeMap<String, Money> {
        let Value::Mapping(mapping) = &node.value else {
            self.report_field(node.position, &key.text, "must be like {USD: 200}");
            return BTreeMap::new();
        };
        let mut budget = BTreeMap::new();
        for (currency, node) in mapping {
            let name = format!("{}.{}", key.text, currency.text);
            match node.text().map(|text| (text, amount(&currency.text, text))) {
                Some((_, Ok(amount))) => _ = budget.insert(currency.text.clone(), amount),
                Some((text, Err(problem))) => self.report_value(node.position, &name, text, problem),
                None => self.report_field(node.position, &name, "must be a single value"),
            }
        }
        budget
    }

    /// Returns the file and a place in it.
    fn at(&self, position: Position) -> String {
        format!("{}:{position}", self.path.display())
    }

    fn report(&mut self, position: Position, message: String) {
        self.problems.push(Problem { position, message });
    }

    fn report_field(&mut self, position: Position, field: &str, problem: &str) {
        self.report(position, format!("{}.{} {problem}", self.name, field.escape_debug()));
    }

    fn report_value(&mut self, position: Position, field: &str, text: &str, problem: impl Display) {
        let (field, text) = (field.escape_debug(), text.escape_debug());
        self.report(position, format!("{}.{field}: {text}: {problem}", self.name));
    }

    fn report_unknown(&mut self, key: &Key, fields: &[FieldHelp]) {
        let known: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
        self.problems.push(yaml::unknown_key(&format!("{}.", self.name), key, &known));
    }
}

/// Parses a text that is a label value or compared with one.
fn name(text: &str) -> Result<String, String> {
    check_name(text).map(|()| text.to_owned())
}

fn pattern(text: &str) -> Result<NumberPattern, String> {
    text.parse().map_err(|error| format!("{error}"))
}

fn e164(text: &str) -> Result<E164, String> {
    text.parse().map_err(|_| "must be a number like +18005550100: a plus sign and 1 to 15 digits".to_owned())
}

fn country(text: &str) -> Result<String, String> {
    let is_alpha2 = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase());
    is_alpha2.then(|| text.to_owned()).ok_or_else(|| "is not a country code; write it like US".to_owned())
}
