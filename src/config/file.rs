//! The configuration file: YAML in, the texts of options and accounts with their places out.
//!
//! A text means what the same text of a flag means: the option's own value parser reads it.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use clap::Arg;

use super::ListenAddress;
use super::command::{declared_options, selects};
use super::owners::{OwnerEntry, WatchEntry, read_owners, read_watch};
use super::shard::stable_hash;
use super::values::{OptionText, Origin, Values};
use crate::options::List;
use crate::yaml::{self, Key, Mapping, Node, Position, Problem, Value};

/// Larger files are refused.
const MAX_FILE_BYTES: u64 = 64 << 20;

const ACCOUNTS: &str = "accounts";
const OWNERS: &str = "owners";
const BUDGET: &str = "monthly_budget";
const WATCH: &str = "watch";

/// A field of an account in the file.
#[derive(Debug)]
pub struct AccountField {
    /// The key.
    pub name: &'static str,
    /// The option that the field overrides for its account, if any.
    pub option: Option<&'static str>,
    /// What the field does.
    pub help: &'static str,
}

const fn field(name: &'static str, option: Option<&'static str>, help: &'static str) -> AccountField {
    AccountField { name, option, help }
}

/// Every field of an account, in the order of the documentation.
pub static ACCOUNT_FIELDS: [AccountField; 12] = [
    field("name", None, "Value of the `account` label; by default the account ID"),
    field("account_id", Some("tryvox.account-id"), "ID in the API's paths"),
    field("api_key_file", Some("tryvox.api-key-file"), "File with the API key, read again at each poll"),
    field("api_key_env", None, "Environment variable with the API key"),
    field("url", Some("tryvox.url"), "Base URL of the API"),
    field("interval", Some("poll.interval"), "Time between the starts of two polls"),
    field("concurrency", Some("tryvox.concurrency"), "Maximum requests in flight"),
    field("rate_limit", Some("tryvox.rate-limit"), "Maximum requests per second, 0 for unlimited"),
    field("countries", Some("tryvox.countries"), "List only numbers of these countries"),
    field("statuses", Some("tryvox.statuses"), "List only numbers with these statuses"),
    field(BUDGET, None, "Maximum monthly fees by currency, as in `{USD: 500}`"),
    field(WATCH, None, "Numbers that must work, as in `[{number: +18005550100, name: support hotline}]`"),
];

/// The content of a file.
#[derive(Debug)]
pub(super) struct Document {
    /// The options by their ID.
    pub(super) values: Values,
    /// `None` if the file has no `accounts`.
    pub(super) accounts: Option<Vec<AccountEntry>>,
    /// Who uses the numbers, in the order of the file.
    pub(super) owners: Vec<OwnerEntry>,
    /// Whether there is no file or it could be read and parsed.
    pub(super) is_complete: bool,
    /// `None` if there is no file.
    pub(super) content: Option<ContentHash>,
}

/// A hash of the content of the configuration file. It is the same in each run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentHash(u64);

impl ContentHash {
    /// Returns the hash of a file that has been read. If it cannot be read, why not counts as its content; `None` if
    /// there is no file.
    fn new(content: &std::io::Result<Vec<u8>>) -> Option<Self> {
        match content {
            Ok(bytes) => Some(Self(stable_hash(&String::from_utf8_lossy(bytes)))),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => Some(Self(stable_hash(&error.to_string()))),
        }
    }

    /// Returns the hash of a file; `None` if there is none.
    pub(crate) fn of_file(path: &Path) -> Option<Self> {
        Self::new(&read_bytes(path))
    }
}

/// An account as written.
#[derive(Debug)]
pub(super) struct AccountEntry {
    /// The file and the position of the entry, for messages.
    pub(super) origin: String,
    /// By the name of the field, without `monthly_budget` and `watch`.
    pub(super) fields: BTreeMap<&'static str, OptionText>,
    /// `monthly_budget` by currency.
    pub(super) budget: BTreeMap<String, OptionText>,
    /// `watch`, if it is valid.
    pub(super) watch: Option<WatchEntry>,
}

impl AccountEntry {
    /// Returns the name of the account, whether it is valid or not.
    pub(super) fn name(&self) -> Option<&str> {
        let name = self.fields.get("name").or_else(|| self.fields.get("account_id"))?;
        Some(&name.text)
    }
}

impl Document {
    /// Returns a document without content.
    pub(super) fn empty(is_complete: bool) -> Self {
        Self { values: Values::new(), accounts: None, owners: Vec::new(), is_complete, content: None }
    }
}

/// Reads a file and adds everything that is wrong with it to `problems`.
pub(super) fn read(path: &Path, problems: &mut Vec<String>) -> Document {
    let bytes = read_bytes(path);
    let content = ContentHash::new(&bytes);
    let text = bytes.and_then(|bytes| {
        String::from_utf8(bytes).map_err(|error| std::io::Error::new(ErrorKind::InvalidData, error.utf8_error()))
    });
    match text {
        Ok(text) => {
            let mut reader = Reader { path, options: file_options(), problems: Vec::new() };
            let document = reader.document(&text);
            problems.extend(reader.problems.iter().map(|problem| format!("{}:{problem}", path.display())));
            Document { content, ..document }
        }
        Err(error) => {
            let path = path.display();
            problems.push(format!("--config.file={path}: cannot be read: {error}; check its path, owner and content"));
            Document { content, ..Document::empty(false) }
        }
    }
}

fn read_bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let length = File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    match length as u64 {
        0..=MAX_FILE_BYTES => Ok(bytes),
        _ => Err(std::io::Error::other("it is too large")),
    }
}

/// The options that a file may set: those of a running exporter, except the ones that name the file.
const FILE_OPTIONS: &[&str] =
    &["tryvox.*", "poll.*", "collector.*", "state.*", "web.*", "shard", "total-shards", "log.*"];

fn file_options() -> Vec<Arg> {
    declared_options().filter(|option| selects(FILE_OPTIONS, option.get_id().as_str())).collect()
}

struct Reader<'a> {
    path: &'a Path,
    options: Vec<Arg>,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn document(&mut self, text: &str) -> Document {
        let mut document = Document::empty(true);
        match yaml::parse(text, "poll: {interval: 5m}") {
            Ok(root) => {
                for (key, node) in &root {
                    match &node.value {
                        _ if key.text == OWNERS => {
                            document.owners = read_owners(self.path, node, &mut self.problems);
                        }
                        _ if key.text != ACCOUNTS => self.option("", key, node, &mut document.values),
                        Value::List(nodes) => {
                            document.accounts = Some(nodes.iter().filter_map(|node| self.account(node)).collect());
                        }
                        _ => {
                            self.report(node.position, "accounts must be a list, each begun with `- `");
                            document.is_complete = false;
                        }
                    }
                }
            }
            Err(problem) => {
                self.problems.push(problem);
                document.is_complete = false;
            }
        }
        document
    }

    /// Reads an option, or a group of them; `group` holds the keys above, each followed by a dot.
    fn option(&mut self, group: &str, key: &Key, node: &Node, values: &mut Values) {
        let id = format!("{group}{}", key.text.replace('_', "-"));
        let prefix = format!("{id}.");
        // Keys of the file are written with `_` and nested at the dots.
        let is_plain = !key.text.contains(['-', '.']);
        let option = self.options.iter().position(|option| is_plain && option.get_id() == id.as_str());
        if let Some(index) = option {
            let value = self.value(&id.replace('-', "_"), node, Some(index));
            values.extend(value.map(|value| (id, value)));
        } else if is_plain && self.options.iter().any(|option| option.get_id().as_str().starts_with(&prefix)) {
            match &node.value {
                Value::Mapping(mapping) => {
                    for (key, node) in mapping {
                        self.option(&prefix, key, node, values);
                    }
                }
                _ => self.report(node.position, &format!("{} must be a mapping", key.text)),
            }
        } else {
            let ids = self.options.iter().filter_map(|option| option.get_id().as_str().strip_prefix(group));
            let mut known: Vec<_> =
                ids.filter_map(|id| id.split('.').next()).map(|key| key.replace('-', "_")).collect();
            known.extend([ACCOUNTS, OWNERS].into_iter().filter(|_| group.is_empty()).map(str::to_owned));
            known.dedup();
            self.problems.push(yaml::unknown_key(group, key, &known));
        }
    }

    fn account(&mut self, node: &Node) -> Option<AccountEntry> {
        let Value::Mapping(mapping) = &node.value else {
            self.report(node.position, "an account must be a mapping, like `account_id: acc_4XQ2`");
            return None;
        };
        let origin = format!("{}:{}", self.path.display(), node.position);
        let mut entry = AccountEntry { origin, fields: BTreeMap::new(), budget: BTreeMap::new(), watch: None };
        for (key, node) in mapping {
            match (ACCOUNT_FIELDS.iter().find(|field| field.name == key.text), &node.value) {
                (None, _) => {
                    let known = ACCOUNT_FIELDS.each_ref().map(|field| field.name);
                    self.problems.push(yaml::unknown_key("accounts.", key, &known));
                }
                (Some(AccountField { name: BUDGET, .. }), Value::Mapping(budget)) => self.budget(budget, &mut entry),
                (Some(AccountField { name: BUDGET, .. }), _) => {
                    self.report(node.position, "monthly_budget must be like {USD: 500}");
                }
                (Some(AccountField { name: WATCH, .. }), _) => {
                    entry.watch = read_watch(self.path, node, &mut self.problems);
                }
                (Some(field), _) => {
                    let id = field.option.unwrap_or_default();
                    let option = self.options.iter().position(|option| option.get_id() == id);
                    let value = self.value(field.name, node, option);
                    entry.fields.extend(value.map(|value| (field.name, value)));
                }
            }
        }
        Some(entry)
    }

    fn budget(&mut self, budget: &Mapping, entry: &mut AccountEntry) {
        for (currency, amount) in budget {
            if let Some(value) = self.value(&format!("{BUDGET}.{}", currency.text), amount, None) {
                entry.budget.insert(currency.text.clone(), value);
            }
        }
    }

    /// Returns the text that a flag would have: that of a scalar, or of a list if the option is one. `option` is the
    /// index of the option, if the key stands for one.
    fn value(&mut self, name: &str, node: &Node, option: Option<usize>) -> Option<OptionText> {
        let option = option.and_then(|index| self.options.get(index));
        let problem = match (&node.value, option) {
            (Value::Null, _) => "has no value; set one or remove the key",
            (Value::List(list), Some(option)) if is_list(option) && list.is_empty() => {
                "has no value; set one or remove the key"
            }
            (Value::List(list), Some(option)) if is_list(option) && list.iter().all(|node| node.text().is_some()) => "",
            (Value::List(_), Some(option)) if is_list(option) => "must be a list of values",
            (Value::Text(text), Some(option)) if is_required_path(option) && text.is_empty() => {
                "has no value; set one or remove the key"
            }
            (Value::Text(_), _) => "",
            _ => "must be a single value",
        };
        if !problem.is_empty() {
            self.report(node.position, &format!("{} {problem}", name.escape_debug()));
            return None;
        }
        let text = option.map_or_else(|| node.flag_text(), |option| self.resolve_paths(option, node))?;
        let (path, key, written) = (self.path.display().to_string(), name.to_owned(), node.flag_text()?);
        Some(OptionText { text, origin: Origin::File { path, position: node.position, key, written } })
    }

    /// Returns the text of a value, in which relative paths are resolved against the folder of the file.
    fn resolve_paths(&self, option: &Arg, node: &Node) -> Option<String> {
        let text = node.flag_text()?;
        if is_path(option) {
            return Some(self.relative(&text));
        }
        let socket = |address: &str| match address.trim().strip_prefix("unix:") {
            Some(path) => format!("unix:{}", self.relative(path)),
            None => address.to_owned(),
        };
        let is_address = option.get_id() == "web.listen-address";
        Some(if is_address { text.split(',').map(socket).collect::<Vec<_>>().join(",") } else { text })
    }

    /// Returns a path that is relative to the file; an empty one stays empty.
    fn relative(&self, text: &str) -> String {
        match self.path.parent() {
            Some(folder) if !text.is_empty() => folder.join(text),
            _ => PathBuf::from(text),
        }
        .display()
        .to_string()
    }

    fn report(&mut self, position: Position, message: &str) {
        self.problems.push(Problem { position, message: message.to_owned() });
    }
}

/// Returns whether an option's value is the path of a file.
fn is_path(option: &Arg) -> bool {
    is_required_path(option) || option.get_value_parser().type_id() == TypeId::of::<OsString>()
}

/// Returns whether an option's value is the path of a file that must not be empty.
fn is_required_path(option: &Arg) -> bool {
    option.get_value_parser().type_id() == TypeId::of::<PathBuf>()
}

/// Returns whether an option takes several values.
fn is_list(option: &Arg) -> bool {
    let parsed_type = option.get_value_parser().type_id();
    parsed_type == TypeId::of::<List<String>>() || parsed_type == TypeId::of::<List<ListenAddress>>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Document, Vec<String>) {
        let mut reader = Reader { path: Path::new("c.yml"), options: file_options(), problems: Vec::new() };
        let document = reader.document(text);
        (document, reader.problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn options_are_nested_at_their_dots() {
        let (document, problems) = read(
            "# all of it\npoll: {interval: 1m, max_discrepancy: 0.5}\ntryvox:\n  countries: [US, NO]\nweb:\n  \
             listen_address: ':1'\naccounts:\n- {account_id: a, monthly_budget: {USD: 5.50}}\n- name: +18005550100\n",
        );
        assert_eq!(problems, [""; 0]);
        let text = |id: &str| document.values[id].text.clone();
        assert_eq!(
            ["poll.interval", "poll.max-discrepancy", "tryvox.countries", "web.listen-address"].map(text),
            ["1m", "0.5", "US,NO", ":1"]
        );
        assert!(document.values["tryvox.countries"].to_string().starts_with("c.yml:4:14: tryvox.countries: US,NO"));
        let accounts = document.accounts.unwrap();
        assert_eq!(accounts[0].budget["USD"].text, "5.50");
        assert_eq!(accounts[1].fields["name"].text, "+18005550100");
        assert_eq!(accounts[1].origin, "c.yml:9:3");
    }

    #[test]
    fn every_problem_has_its_position_and_a_hint() {
        let (_, problems) = read(
            "poll:\n  intervall: 5m\n  stale-after: 1m\npol: {}\naccounts:\n- acount_id: a\n  url: {}\n- x\nzzz: 1\n",
        );
        let expected = [
            "2:3: poll.intervall is not known; did you mean interval?",
            "3:3: poll.stale-after is not known; did you mean stale_after?",
            "4:1: pol is not known; did you mean poll?",
            "6:3: accounts.acount_id is not known; did you mean account_id?",
            "7:8: url must be a single value",
            "8:3: an account must be a mapping, like `account_id: acc_4XQ2`",
            "9:1: zzz is not known; remove it or use one of ",
        ];
        assert_eq!(problems.len(), expected.len(), "{problems:#?}");
        for (problem, expected) in problems.iter().zip(expected) {
            assert!(problem.starts_with(expected), "{problem}");
        }
        for (text, words) in [
            ("poll: 5m", "1:7: poll must be a mapping"),
            ("accounts: {}", "accounts must be a list"),
            ("config: {file: x}", "config is not known"),
            ("numbers: 5", "numbers is not known"),
            ("poll: {interval: }", "poll.interval has no value"),
            ("poll: {interval: ~}", "poll.interval has no value"),
        ] {
            let (_, problems) = read(text);
            assert!(problems.len() == 1 && problems[0].contains(words), "{text}: {problems:?}");
        }
    }
}
