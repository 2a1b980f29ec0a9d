//! The accounts of a configuration: those in the file, or the one that options name.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use clap::{Args, Command};

use super::API_KEY_VARIABLE;
use super::command::CommandSpec;
use super::file::{ACCOUNT_FIELDS, AccountEntry, Document};
use super::options::{Options, PollOptions};
use super::owners::WatchEntry;
use super::shard::shard_of;
use super::values::{Environment, OptionText, Values, amount, check_name, key_from_environment, parse};
use crate::inventory::{CollectorOptions, Money, Owners, WatchedNumber};
use crate::tryvox::{ApiKeySource, KeyFile, ListingFilter, STATUSES, TryvoxOptions};

/// Everything that polling one account needs, validated.
#[derive(Debug, Clone, PartialEq)]
pub struct AccountConfig {
    /// The value of the `account` label.
    pub name: String,
    /// The ID in the API's paths.
    pub account_id: String,
    /// Where its API key comes from.
    pub key: ApiKeySource,
    /// Where its API is, what is listed there, and how many requests are sent.
    pub tryvox: TryvoxOptions,
    /// When it is polled, and which listings are valid.
    pub poll: PollOptions,
    /// Which tables are made of its listings.
    pub collector: Arc<CollectorOptions>,
    /// Maximum monthly fees by currency, in units of it.
    pub budget: BTreeMap<String, Money>,
    /// Who uses its numbers.
    pub owners: Arc<Owners>,
    /// Numbers that must work.
    pub watch: Arc<[WatchedNumber]>,
}

impl AccountConfig {
    /// Returns an account with the options of the process.
    #[must_use]
    pub fn new(options: &Options, account_id: String, key: ApiKeySource) -> Self {
        Self {
            name: account_id.clone(),
            account_id,
            key,
            tryvox: options.tryvox.clone(),
            poll: options.poll.clone(),
            collector: Arc::new(options.collector.clone()),
            budget: BTreeMap::new(),
            owners: Arc::default(),
            watch: Arc::default(),
        }
    }

    /// Returns whether listings of both accounts are comparable: whether they have the same numbers in the same API. The
    /// order of filters does not matter.
    #[must_use]
    pub fn lists_same_numbers(&self, other: &Self) -> bool {
        self.source() == other.source()
    }

    /// Returns a text that identifies the numbers that the account lists: its API, its ID there, and its filters.
    #[must_use]
    pub fn source(&self) -> String {
        let sorted = |filter: &Option<Vec<String>>| {
            filter.clone().map(|mut values| {
                values.sort_unstable();
                values
            })
        };
        let TryvoxOptions { url, countries, statuses, .. } = &self.tryvox;
        format!("{:?}", (url.as_str(), &self.account_id, sorted(countries), sorted(statuses)))
    }

    /// Returns the queries whose results together are the listing; no number is in two of them.
    #[must_use]
    pub fn filters(&self) -> Vec<ListingFilter> {
        let TryvoxOptions { countries, statuses, .. } = &self.tryvox;
        ListingFilter::combinations(countries.as_deref().unwrap_or_default(), statuses.as_deref().unwrap_or_default())
    }

    /// Returns the documented statuses that a listing can contain.
    #[must_use]
    pub fn listed_statuses(&self) -> Vec<Arc<str>> {
        let is_listed = |status: &str| {
            self.tryvox.statuses.as_ref().is_none_or(|statuses| statuses.iter().any(|listed| listed == status))
        };
        STATUSES.into_iter().filter(|status| is_listed(status)).map(Arc::from).collect()
    }
}

/// The option groups that the fields of an account override.
#[derive(Args)]
struct AccountOptions {
    #[command(flatten)]
    tryvox: TryvoxOptions,
    #[command(flatten)]
    poll: PollOptions,
}

/// Reads accounts and collects what is wrong with them.
pub(super) struct Accounts<'a, E> {
    command: &'a CommandSpec,
    environment: &'a E,
    values: &'a Values,
    options: &'a Options,
    /// The shard whose accounts are polled; `None` if it is invalid.
    shard: Option<u32>,
    collector: Arc<CollectorOptions>,
    parser: Command,
    /// Whether the key file of the process is invalid, which is reported once and not for each account.
    is_shared_key_invalid: bool,
    problems: &'a mut Vec<String>,
}

impl<'a, E: Environment> Accounts<'a, E> {
    pub(super) fn new(
        command: &'a CommandSpec,
        environment: &'a E,
        values: &'a Values,
        options: &'a Options,
        shard: Option<u32>,
        problems: &'a mut Vec<String>,
    ) -> Self {
        let collector = Arc::new(options.collector.clone());
        let parser = AccountOptions::augment_args(Command::new("options"));
        Self { command, environment, values, options, shard, collector, parser, is_shared_key_invalid: false, problems }
    }

    /// Returns the valid accounts, of all shards.
    pub(super) fn read(mut self, document: &Document) -> Vec<AccountConfig> {
        match (self.values.get("tryvox.account-id"), document.accounts.as_deref()) {
            (None, None) => {
                if document.is_complete {
                    self.report(
                        "no account: set --tryvox.account-id, or accounts in the file of --config.file, or run \
                         `tryvox-exporter demo` to see it without one",
                    );
                }
                Vec::new()
            }
            (Some(id), None) => {
                let id = id.text.clone();
                let key = self.key(&id, None);
                key.map(|key| AccountConfig::new(self.options, id, key)).into_iter().collect()
            }
            (Some(_), Some(_)) => {
                let path = self.file();
                self.report(format!("both --tryvox.account-id and accounts in {path} are set; remove one of them"));
                Vec::new()
            }
            (None, Some([])) => {
                let path = self.file();
                self.report(format!("{path}: accounts is empty; add one"));
                Vec::new()
            }
            (None, Some(entries)) => self.entries(entries),
        }
    }

    fn file(&self) -> String {
        self.values.get("config.file").map(|path| path.text.clone()).unwrap_or_default()
    }

    fn entries(&mut self, entries: &[AccountEntry]) -> Vec<AccountConfig> {
        let mut origins: HashMap<&str, &str> = HashMap::new();
        let mut accounts = Vec::with_capacity(entries.len());
        for entry in entries {
            accounts.extend(self.entry(entry));
            let Some(name) = entry.name() else { continue };
            if let Some(first) = origins.get(name) {
                let origin = &entry.origin;
                self.report(format!("{origin}: the name {name:?} is already used at {first}; choose another name"));
            } else {
                origins.insert(name, &entry.origin);
            }
        }
        accounts
    }

    /// Reads one account: the options of the process, overridden by the fields of its entry.
    fn entry(&mut self, entry: &AccountEntry) -> Option<AccountConfig> {
        let problems = self.problems.len();
        let mut values = self.overlay(entry);
        self.check_watch(entry, &values);
        let options: Result<AccountOptions, _> = parse(&mut self.parser, &mut values, self.problems);
        let options = options.map_err(|problem| self.report(problem)).ok();
        let account_id = entry.fields.get("account_id").map(|value| value.text.clone());
        if account_id.is_none() {
            let origin = &entry.origin;
            self.report(format!("{origin}: the account has no account_id; find it in the TryVox console"));
        }
        let name = entry.fields.get("name");
        if let Some(Err(error)) = name.map(|name| check_name(&name.text).map_err(|error| format!("{name}: {error}"))) {
            self.report(error);
        }
        let budget = self.budget(entry);
        let label = name.map(|name| &name.text).or(account_id.as_ref());
        let key = self.key(label.map_or("", String::as_str), Some(entry));
        if self.problems.len() > problems {
            return None;
        }
        let AccountOptions { tryvox, poll } = options?;
        let account_id = account_id?;
        Some(AccountConfig {
            name: name.map_or_else(|| account_id.clone(), |name| name.text.clone()),
            account_id,
            key: key?,
            tryvox,
            poll,
            collector: self.collector.clone(),
            budget,
            owners: Arc::default(),
            watch: entry.watch.as_ref().map(|watch| watch.numbers.clone()).unwrap_or_default(),
        })
    }

    /// Reports numbers that are watched in an account that does not list all statuses, if the command exports them.
    fn check_watch(&mut self, entry: &AccountEntry, values: &Values) {
        if self.command.exports_watched_numbers
            && let (Some(WatchEntry { origin, .. }), Some(statuses)) = (&entry.watch, values.get("tryvox.statuses"))
        {
            let place = statuses.position();
            self.report(format!(
                "{origin}: watch needs an account that lists all statuses, because a watched number with another status \
                 would seem to be missing, but {place} is set; remove one of them"
            ));
        }
    }

    /// Returns the values of an account's options. A flag or a variable applies to all accounts, but each account
    /// has a key of its own.
    fn overlay(&self, entry: &AccountEntry) -> Values {
        let is_overlaid = |id: &str| id.starts_with("tryvox.") || id.starts_with("poll.");
        let overlaid = self.values.iter().filter(|(id, _)| is_overlaid(id));
        let mut values: Values = overlaid.map(|(id, value)| (id.clone(), value.clone())).collect();
        for field in &ACCOUNT_FIELDS {
            let (Some(id), Some(value)) = (field.option, entry.fields.get(field.name)) else { continue };
            let is_overridden =
                id != "tryvox.api-key-file" && self.values.get(id).is_some_and(OptionText::beats_the_file);
            if !is_overridden {
                values.insert(id.to_owned(), value.clone());
            }
        }
        values
    }

    fn budget(&mut self, entry: &AccountEntry) -> BTreeMap<String, Money> {
        let mut budget = BTreeMap::new();
        for (currency, value) in &entry.budget {
            match amount(currency, &value.text) {
                Ok(amount) => _ = budget.insert(currency.clone(), amount),
                Err(error) => self.report(format!("{value}: {error}")),
            }
        }
        budget
    }

    /// Returns where the key of an account comes from: the variable or the file that its entry names, or those of the
    /// process. A file is read again at each poll.
    fn key(&mut self, name: &str, entry: Option<&AccountEntry>) -> Option<ApiKeySource> {
        let need = self.key_need(name, entry);
        let field = |name| entry.and_then(|entry| entry.fields.get(name));
        let key = match (field("api_key_env"), field("api_key_file"), self.values.get("tryvox.api-key-file")) {
            // The text may be a key by mistake.
            (Some(_), Some(file), _) => {
                Err(format!("{}: api_key_env is set, too; remove one of them", file.position()))
            }
            (Some(variable), None, _) => self.key_of_variable(variable, need),
            (None, Some(file), _) => key_of_file(file, need),
            (None, None, Some(_)) if self.is_shared_key_invalid => return None,
            (None, None, Some(file)) => key_of_file(file, need).inspect_err(|_| self.is_shared_key_invalid = true),
            (None, None, None) => self.shared_key(entry, need),
        };
        key.map_err(|problem| self.report(problem)).ok()
    }

    /// Returns whether the configuration is invalid if the key of an account cannot be read.
    fn key_need(&self, name: &str, entry: Option<&AccountEntry>) -> KeyNeed {
        if self.shard.is_some_and(|shard| shard_of(name, self.options.shard.total_shards) != shard) {
            KeyNeed::NotPolled
        } else if self.options.config.check || entry.is_none() && self.command.requires_keys {
            KeyNeed::Required
        } else {
            KeyNeed::AtPolls
        }
    }

    fn key_of_variable(&self, variable: &OptionText, need: KeyNeed) -> Result<ApiKeySource, String> {
        let name = &variable.text;
        // The text may be a key by mistake, which must not be shown.
        if !name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_') {
            let position = variable.position();
            return Err(format!("{position}: must be the name of an environment variable, like TRYVOX_PRODUCTION_KEY"));
        }
        match key_from_environment(self.environment, name) {
            Ok(Some(key)) => Ok(ApiKeySource::Value(key)),
            Ok(None) => need.without_key(format!(
                "{variable}: the environment variable is not set; set it and restart the exporter, or use api_key_file"
            )),
            Err(problem) => need.without_key(problem),
        }
    }

    /// Returns the key in the environment variable of the process.
    fn shared_key(&self, entry: Option<&AccountEntry>, need: KeyNeed) -> Result<ApiKeySource, String> {
        let problem = match key_from_environment(self.environment, API_KEY_VARIABLE) {
            Ok(Some(key)) => return Ok(ApiKeySource::Value(key)),
            Ok(None) => match entry {
                Some(AccountEntry { origin, .. }) => format!(
                    "{origin}: the account has no API key; set api_key_file, api_key_env, or the environment variable \
                     {API_KEY_VARIABLE}"
                ),
                None => format!(
                    "no API key: set the environment variable {API_KEY_VARIABLE}, or --tryvox.api-key-file to a file \
                     that contains it"
                ),
            },
            Err(problem) => return need.without_key(problem),
        };
        // An account that is polled needs a source of its key, even if that cannot be read.
        if need == KeyNeed::NotPolled { Ok(ApiKeySource::Missing(problem)) } else { Err(problem) }
    }

    fn report(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }
}

/// What follows if the key of an account cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyNeed {
    /// The configuration is invalid.
    Required,
    /// The polls of the account fail.
    AtPolls,
    /// Nothing: another shard polls the account.
    NotPolled,
}

impl KeyNeed {
    /// Returns the source of a key that is missing.
    fn without_key(self, problem: String) -> Result<ApiKeySource, String> {
        match self {
            Self::Required => Err(problem),
            Self::AtPolls | Self::NotPolled => Ok(ApiKeySource::Missing(problem)),
        }
    }
}

/// Returns the key file that an option or a field names.
fn key_of_file(file: &OptionText, need: KeyNeed) -> Result<ApiKeySource, String> {
    let source = ApiKeySource::File(KeyFile::new(&file.text, file.written()));
    if need == KeyNeed::Required {
        source.read().map_err(|error| format!("{}: {error}", file.position()))?;
    }
    Ok(source)
}
