//! The configuration file: YAML in, texts with their places out.
//!
//! What a text means is for [`super::options`] to say, as for a flag's.

use std::collections::BTreeMap;
use std::fmt;

use marked_yaml::types::{MarkedMappingNode, MarkedScalarNode, MarkedSequenceNode};
use marked_yaml::{LoaderOptions, Marker, Node, Span, parse_yaml_with_options};

use super::option::{CommandOptions, OptionSpec};
use super::options::OPTIONS;

/// A line and a column, from 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    line: usize,
    column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl From<&Marker> for Place {
    fn from(marker: &Marker) -> Self {
        Self { line: marker.line(), column: marker.column() }
    }
}

impl From<&Span> for Place {
    fn from(span: &Span) -> Self {
        span.start().map(Self::from).unwrap_or_default()
    }
}

/// What is wrong, and where.
pub(super) type Problem = (Place, String);

/// A value as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) text: String,
    pub(super) place: Place,
}

/// One of the accounts.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) place: Place,
    /// By the name of the field, see [`ACCOUNT_FIELDS`].
    pub(super) fields: BTreeMap<&'static str, Written>,
    /// `monthly_budget`, by currency.
    pub(super) budget: BTreeMap<String, Written>,
}

/// All that a file says.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// By the name of the option.
    pub(super) values: BTreeMap<&'static str, Written>,
    /// None where the file has no `accounts`.
    pub(super) accounts: Option<Vec<Entry>>,
}

/// A field of an account in the file.
#[derive(Debug)]
pub struct AccountField {
    /// Its key.
    pub name: &'static str,
    /// The option whose place it takes for that account, if any.
    pub option: Option<&'static str>,
    /// What it does.
    pub help: &'static str,
}

const fn field(name: &'static str, option: Option<&'static str>, help: &'static str) -> AccountField {
    AccountField { name, option, help }
}

/// Every field of an account, in the order of the documentation.
pub static ACCOUNT_FIELDS: [AccountField; 11] = [
    field("name", None, "The value of the `account` label; by default the account id"),
    field("account_id", Some("tryvox.account-id"), "The id in the API's paths"),
    field("api_key_file", Some("tryvox.api-key-file"), "The file that holds its API key, read anew at each poll"),
    field("api_key_env", None, "The environment variable that holds its API key"),
    field("url", Some("tryvox.url"), "Where its API is"),
    field("interval", Some("poll.interval"), "How often it is polled"),
    field("concurrency", Some("tryvox.concurrency"), "Requests in flight"),
    field("rate_limit", Some("tryvox.rate-limit"), "Requests a second, 0 for no limit"),
    field("countries", Some("tryvox.countries"), "List only these"),
    field("statuses", Some("tryvox.statuses"), "List only these"),
    field(BUDGET, None, "What it may cost a month, by currency, as in `{USD: 500}`"),
];

const ACCOUNTS: &str = "accounts";
const BUDGET: &str = "monthly_budget";

/// Reads a file's text and adds what is wrong with it to `problems`.
pub(super) fn read(text: &str, problems: &mut Vec<Problem>) -> Document {
    let options = LoaderOptions::default().error_on_duplicate_keys(true).prevent_coercion(true);
    let mut document = Document::default();
    // Editors of some systems begin a file with it.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = (1..).zip(text.lines()).skip_while(|(_, line)| !is_content(line));
    if let Some((line, _)) = lines.find(|(_, line)| *line == "---" || line.starts_with("--- ")) {
        problems.push((Place { line, column: 1 }, "a second document begins; write all in one".to_owned()));
        return document;
    }
    // Nothing but comments is a file that says nothing.
    if !text.lines().any(is_content) {
        return document;
    }
    match parse_yaml_with_options(0, text, options) {
        Ok(Node::Mapping(root)) => Reader { problems }.root(&root, &mut document),
        Ok(other) => problems.push((other.span().into(), "must be a mapping, like `poll: {interval: 5m}`".to_owned())),
        Err(error) => problems.push(unreadable(&error)),
    }
    document
}

/// Whether a line is more than a comment, a directive or the begin of a document.
fn is_content(line: &str) -> bool {
    let line = line.trim();
    !(line.is_empty() || line.starts_with(['#', '%']) || line == "---")
}

fn unreadable(error: &marked_yaml::LoadError) -> Problem {
    use marked_yaml::LoadError as E;
    let (marker, message) = match error {
        E::TopLevelMustBeMapping(marker) | E::TopLevelMustBeSequence(marker) => {
            (*marker, "must be a mapping, like `poll: {interval: 5m}`".to_owned())
        }
        E::UnexpectedAnchor(marker) => {
            (*marker, "anchors and aliases are not supported; write the value out".to_owned())
        }
        E::MappingKeyMustBeScalar(marker) => (*marker, "a key must be a word".to_owned()),
        E::UnexpectedTag(marker) => (*marker, "tags are not supported; leave it out".to_owned()),
        E::ScanError(marker, error) => (*marker, format!("is not YAML: {}", error.info())),
        E::DuplicateKey(both) => {
            let first = Place::from(both.prev_key.span());
            let place = both.key.span().into();
            return (place, format!("{} is there twice, first at {first}; leave one out", both.key.as_str()));
        }
    };
    (Place::from(&marker), message)
}

struct Reader<'a> {
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn root(&mut self, root: &MarkedMappingNode, document: &mut Document) {
        for (key, node) in root.iter() {
            match node {
                _ if key.as_str() != ACCOUNTS => self.option("", key, node, &mut document.values),
                Node::Sequence(list) => document.accounts = Some(self.accounts(list)),
                _ => self.wrong(node.span(), "accounts must be a list, each begun with `- `"),
            }
        }
    }

    /// An option, or a group of them.
    fn option(
        &mut self,
        group: &str,
        key: &MarkedScalarNode,
        node: &Node,
        values: &mut BTreeMap<&'static str, Written>,
    ) {
        let name = format!("{group}{}", key.as_str().replace('_', "-"));
        let below = format!("{name}.");
        let in_file = || OPTIONS.iter().filter(|option| option.in_file());
        // A dash in a key is none of ours: it stands for nothing else.
        let known = !key.as_str().contains(['-', '.']);
        if let Some(option) = in_file().find(|option| known && option.name == name) {
            if let Some(written) = self.value(option.name, node) {
                values.insert(option.name, written);
            }
        } else if known && in_file().any(|option| option.name.starts_with(&below)) {
            match node {
                Node::Mapping(mapping) => {
                    for (key, node) in mapping.iter() {
                        self.option(&below, key, node, values);
                    }
                }
                _ => self.wrong(node.span(), &format!("{} must be a mapping", key.as_str())),
            }
        } else {
            let here = in_file().filter_map(|option| option.name.strip_prefix(group)?.split('.').next());
            let keys = here.map(|key| key.replace('-', "_")).chain(group.is_empty().then(|| ACCOUNTS.to_owned()));
            self.unknown(key, group, keys);
        }
    }

    fn accounts(&mut self, list: &MarkedSequenceNode) -> Vec<Entry> {
        list.iter()
            .filter_map(|node| {
                let Node::Mapping(mapping) = node else {
                    self.wrong(node.span(), "an account must be a mapping, like `account_id: acc_4XQ2`");
                    return None;
                };
                Some(self.account(mapping))
            })
            .collect()
    }

    fn account(&mut self, mapping: &MarkedMappingNode) -> Entry {
        // A mapping's own mark is behind its first key.
        let place = mapping.iter().map(|(key, _)| Place::from(key.span())).min();
        let mut entry = Entry { place: place.unwrap_or_else(|| mapping.span().into()), ..Entry::default() };
        for (key, node) in mapping.iter() {
            let Some(field) = ACCOUNT_FIELDS.iter().find(|field| field.name == key.as_str()) else {
                self.unknown(key, "accounts.", ACCOUNT_FIELDS.iter().map(|field| field.name.to_owned()));
                continue;
            };
            match node {
                Node::Mapping(budget) if field.name == BUDGET => {
                    for (currency, amount) in budget.iter() {
                        if let Some(written) = self.value(BUDGET, amount) {
                            entry.budget.insert(currency.as_str().to_owned(), written);
                        }
                    }
                }
                _ if field.name == BUDGET => self.wrong(node.span(), "monthly_budget must be like {USD: 500}"),
                _ => {
                    if let Some(written) = self.value(field.name, node) {
                        entry.fields.insert(field.name, written);
                    }
                }
            }
        }
        entry
    }

    /// A value, or a list of them, as a flag would have it.
    fn value(&mut self, name: &str, node: &Node) -> Option<Written> {
        let text = match node {
            Node::Scalar(scalar) if scalar.may_coerce() && matches!(scalar.as_str(), "" | "~" | "null") => {
                self.wrong(node.span(), &format!("{name} has no value; give it one or leave it out"));
                return None;
            }
            Node::Scalar(scalar) => Some(scalar.as_str().to_owned()),
            Node::Sequence(list) => {
                let words: Option<Vec<_>> = list.iter().map(|node| Some(node.as_scalar()?.as_str())).collect();
                words.map(|words| words.join(","))
            }
            Node::Mapping(_) => None,
        };
        if text.is_none() {
            self.wrong(node.span(), &format!("{name} must be a value or a list of values"));
        }
        Some(Written { text: text?, place: node.span().into() })
    }

    fn unknown(&mut self, key: &MarkedScalarNode, group: &str, keys: impl Iterator<Item = String>) {
        let key_text = key.as_str();
        let nearest = keys
            .map(|known| (strsim::jaro_winkler(key_text, &known), known))
            .max_by(|(a, _), (b, _)| a.total_cmp(b))
            .filter(|(likeness, _)| *likeness > 0.75);
        let hint = match nearest {
            Some((_, known)) => format!("did you mean {known}?"),
            None => "leave it out".to_owned(),
        };
        self.wrong(key.span(), &format!("{group}{} is not known; {hint}", key_text.escape_debug()));
    }

    fn wrong(&mut self, span: &Span, message: &str) {
        self.problems.push((span.into(), message.to_owned()));
    }
}

impl OptionSpec {
    /// Whether it may stand in a file: what a running exporter takes, but for what names the file.
    pub(super) fn in_file(&self) -> bool {
        self.commands.contains(&CommandOptions::Serve) && !self.name.starts_with("config.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let mut problems = Vec::new();
        read(text, &mut problems);
        problems.iter().map(|(place, message)| format!("{place}: {message}")).collect()
    }

    #[test]
    fn options_are_nested_at_their_dots() {
        let mut problems = Vec::new();
        let document = read(
            "# all of it\npoll: {interval: 1m, max_discrepancy: 0.5}\ntryvox:\n  countries: [US, CA]\nweb:\n  \
             listen_address: ':1'\naccounts:\n- {account_id: a, monthly_budget: {USD: 5.50}}\n- name: b\n",
            &mut problems,
        );
        assert_eq!(problems, []);
        let text = |name: &str| document.values[name].text.clone();
        assert_eq!(
            ["poll.interval", "poll.max-discrepancy", "tryvox.countries", "web.listen-address"].map(text),
            ["1m", "0.5", "US,CA", ":1"]
        );
        assert_eq!(document.values["tryvox.countries"].place, Place { line: 4, column: 14 });
        let accounts = document.accounts.unwrap();
        assert_eq!(accounts[0].budget["USD"].text, "5.50");
        assert_eq!(accounts[1].fields["name"].place, Place { line: 9, column: 9 });
    }

    #[test]
    fn every_problem_has_its_place_and_a_hint() {
        assert_eq!(
            problems(
                "poll:\n  intervall: 5m\n  stale-after: 1m\npol: {}\naccounts:\n- acount_id: a\n  url: {}\n- x\nzzz: 1\n"
            ),
            [
                "2:3: poll.intervall is not known; did you mean interval?",
                "3:3: poll.stale-after is not known; did you mean stale_after?",
                "4:1: pol is not known; did you mean poll?",
                "6:3: accounts.acount_id is not known; did you mean account_id?",
                "7:8: url must be a value or a list of values",
                "8:3: an account must be a mapping, like `account_id: acc_4XQ2`",
                "9:1: zzz is not known; leave it out",
            ]
        );
        for (text, word) in [
            ("poll: 5m", "1:7: poll must be a mapping"),
            ("accounts: {}", "accounts must be a list"),
            ("- a", "must be a mapping"),
            ("poll: {interval: 1m}\npoll: {}", "2:1: poll is there twice, first at 1:1"),
            ("a: [", "is not YAML"),
            ("a: &x 1", "anchors"),
            ("config: {file: x}", "config is not known"),
            ("numbers: 5", "numbers is not known"),
            ("poll: {interval: 1m}\n--- \npoll: {}", "2:1: a second document"),
            ("poll: {interval: }", "poll.interval has no value"),
            ("poll: {interval: ~}", "poll.interval has no value"),
        ] {
            let problems = problems(text);
            assert!(problems.len() == 1 && problems[0].contains(word), "{text}: {problems:?}");
        }
        for nothing in ["", "\n# nothing\n", "---\n", "\u{feff}%YAML 1.2\n---\npoll: {interval: 1m}\r\n"] {
            assert_eq!(problems(nothing), [""; 0]);
        }
    }
}
