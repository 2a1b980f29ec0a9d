//! The configuration file: YAML in, the texts of options and accounts with their places out.
//!
//! A text means what the same text of a flag means: the option's own value parser reads it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Arg;

use super::command::{declared_options, selects};
use super::values::{Origin, Sourced, Values};
use crate::yaml::{self, Key, Mapping, Node, Place, Problem, Value};

/// Larger files are refused.
const MAX_FILE_BYTES: u64 = 64 << 20;

const ACCOUNTS: &str = "accounts";
const BUDGET: &str = "monthly_budget";

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
pub static ACCOUNT_FIELDS: [AccountField; 11] = [
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
];

/// The content of a file.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// The options by their ID.
    pub(super) values: Values,
    /// `None` if the file has no `accounts`.
    pub(super) accounts: Option<Vec<AccountEntry>>,
}

/// An account as written.
#[derive(Debug)]
pub(super) struct AccountEntry {
    /// The file and the place of the entry, for messages.
    pub(super) origin: String,
    /// By the name of the field, without `monthly_budget`.
    pub(super) fields: BTreeMap<&'static str, Sourced>,
    /// `monthly_budget` by currency.
    pub(super) budget: BTreeMap<String, Sourced>,
}

/// Reads a file and adds everything that is wrong with it to `problems`.
pub(super) fn read(path: &Path, problems: &mut Vec<String>) -> Document {
    let text = std::fs::metadata(path).and_then(|metadata| match metadata.len() {
        0..=MAX_FILE_BYTES => std::fs::read_to_string(path),
        _ => Err(std::io::Error::other("it is too large")),
    });
    match text {
        Ok(text) => {
            let mut reader = Reader { path, options: file_options(), problems: Vec::new() };
            let document = reader.document(&text);
            problems.extend(reader.problems.iter().map(|problem| format!("{}:{problem}", path.display())));
            document
        }
        Err(error) => {
            let path = path.display();
            problems.push(format!("--config.file={path}: cannot be read: {error}; check its path, owner and content"));
            Document::default()
        }
    }
}

/// The options that a file may set: those of a running exporter, except the ones that name the file.
const FILE_OPTIONS: &[&str] = &["tryvox.*", "poll.*", "collector.*", "web.*", "shard", "total-shards", "log.*"];

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
        let mut document = Document::default();
        match yaml::parse(text, "poll: {interval: 5m}") {
            Ok(root) => {
                for (key, node) in &root {
                    match &node.value {
                        _ if key.text != ACCOUNTS => self.option("", key, node, &mut document.values),
                        Value::List(nodes) => {
                            document.accounts = Some(nodes.iter().filter_map(|node| self.account(node)).collect());
                        }
                        _ => self.report(node.place, "accounts must be a list, each begun with `- `"),
                    }
                }
            }
            Err(problem) => self.problems.push(problem),
        }
        document
    }

    /// Reads an option, or a group of them; `group` holds the keys above, each followed by a dot.
    fn option(&mut self, group: &str, key: &Key, node: &Node, values: &mut Values) {
        let id = format!("{group}{}", key.text.replace('_', "-"));
        let prefix = format!("{id}.");
        // Keys of the file are written with `_` and nested at the dots.
        let is_plain = !key.text.contains(['-', '.']);
        let option = self.options.iter().find(|option| is_plain && option.get_id() == id.as_str());
        if let Some(is_path) = option.map(is_path) {
            let place_name = id.replace('-', "_");
            if let Some(mut value) = self.value(&place_name, node) {
                if is_path {
                    value.text = self.relative(&value.text);
                }
                values.insert(id, value);
            }
        } else if is_plain && self.options.iter().any(|option| option.get_id().as_str().starts_with(&prefix)) {
            match &node.value {
                Value::Mapping(mapping) => {
                    for (key, node) in mapping {
                        self.option(&prefix, key, node, values);
                    }
                }
                _ => self.report(node.place, &format!("{} must be a mapping", key.text)),
            }
        } else {
            let ids = self.options.iter().filter_map(|option| option.get_id().as_str().strip_prefix(group));
            let mut known: Vec<_> =
                ids.filter_map(|id| id.split('.').next()).map(|key| key.replace('-', "_")).collect();
            known.extend(group.is_empty().then(|| ACCOUNTS.to_owned()));
            known.dedup();
            self.problems.push(yaml::unknown_key(group, key, &known));
        }
    }

    fn account(&mut self, node: &Node) -> Option<AccountEntry> {
        let Value::Mapping(mapping) = &node.value else {
            self.report(node.place, "an account must be a mapping, like `account_id: acc_4XQ2`");
            return None;
        };
        let origin = format!("{}:{}", self.path.display(), node.place);
        let mut entry = AccountEntry { origin, fields: BTreeMap::new(), budget: BTreeMap::new() };
        for (key, node) in mapping {
            match (ACCOUNT_FIELDS.iter().find(|field| field.name == key.text), &node.value) {
                (None, _) => {
                    let known = ACCOUNT_FIELDS.each_ref().map(|field| field.name);
                    self.problems.push(yaml::unknown_key("accounts.", key, &known));
                }
                (Some(AccountField { name: BUDGET, .. }), Value::Mapping(budget)) => self.budget(budget, &mut entry),
                (Some(AccountField { name: BUDGET, .. }), _) => {
                    self.report(node.place, "monthly_budget must be like {USD: 500}");
                }
                (Some(field), _) => {
                    if let Some(mut value) = self.value(field.name, node) {
                        if field.option.is_some_and(|id| self.options.iter().any(|o| o.get_id() == id && is_path(o))) {
                            value.text = self.relative(&value.text);
                        }
                        entry.fields.insert(field.name, value);
                    }
                }
            }
        }
        Some(entry)
    }

    fn budget(&mut self, budget: &Mapping, entry: &mut AccountEntry) {
        for (currency, amount) in budget {
            if let Some(value) = self.value(&format!("{BUDGET}.{}", currency.text), amount) {
                entry.budget.insert(currency.text.clone(), value);
            }
        }
    }

    /// Returns a value, or a list of them, as the text that a flag would have.
    fn value(&mut self, name: &str, node: &Node) -> Option<Sourced> {
        let problem = match (node.flag_text(), &node.value) {
            (Some(text), _) => {
                let origin =
                    Origin::File { path: self.path.display().to_string(), place: node.place, key: name.to_owned() };
                return Some(Sourced { text, origin });
            }
            (None, Value::Null) => format!("{name} has no value; set one or remove the key"),
            (None, _) => format!("{name} must be a value or a list of values"),
        };
        self.report(node.place, &problem);
        None
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

    fn report(&mut self, place: Place, message: &str) {
        self.problems.push(Problem { place, message: message.to_owned() });
    }
}

/// Returns whether an option's value is the path of a file.
fn is_path(option: &Arg) -> bool {
    option.get_value_names().is_some_and(|names| names.iter().any(|name| name == "PATH"))
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
    fn every_problem_has_its_place_and_a_hint() {
        let (_, problems) = read(
            "poll:\n  intervall: 5m\n  stale-after: 1m\npol: {}\naccounts:\n- acount_id: a\n  url: {}\n- x\nzzz: 1\n",
        );
        let expected = [
            "2:3: poll.intervall is not known; did you mean interval?",
            "3:3: poll.stale-after is not known; did you mean stale_after?",
            "4:1: pol is not known; did you mean poll?",
            "6:3: accounts.acount_id is not known; did you mean account_id?",
            "7:8: url must be a value or a list of values",
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
