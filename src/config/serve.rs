//! What `serve` is asked to do: flags, environment and file in, a checked configuration out.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::SecretString;
use url::Url;

use super::file::{self, ACCOUNT_FIELDS, Document, Entry};
use super::groups::PollOptions;
use super::option::CommandOptions;
use super::options::OPTIONS;
use super::settings::Settings;
use super::shard::shard_of;
use super::source::{Environment, Flags, in_file, merge, variable};
use super::values::{account_name, amount};
use super::{API_KEY_VARIABLE, ConfigError, ListenAddress};
use crate::inventory::{CollectorOptions, Money};
use crate::tryvox::{ApiKey, ApiKeySource, ListingFilter, STATUSES, TryvoxOptions};

/// All that serving needs, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct ServeConfig {
    /// The accounts to poll, with distinct names: those of this shard.
    pub accounts: Vec<AccountConfig>,
    /// How many accounts all shards have.
    pub all_accounts: usize,
    /// Requests in flight over all accounts.
    pub total_concurrency: usize,
    /// This process's number among [`ServeConfig::total_shards`].
    pub shard: u32,
    /// How many processes share the accounts.
    pub total_shards: u32,
    /// What takes effect at the start alone.
    pub fixed: Fixed,
    /// What is not wrong, but should be known.
    pub warnings: Vec<String>,
}

/// What a reload does not change.
#[derive(Debug, Clone, PartialEq)]
pub struct Fixed {
    /// Where to listen.
    pub listen_addresses: Vec<ListenAddress>,
    /// The path of the metrics.
    pub telemetry_path: String,
    /// TLS, users and the like.
    pub web_config_file: Option<PathBuf>,
    /// Whether to listen on what systemd passes instead.
    pub systemd_socket: bool,
    /// Connections at one time.
    pub max_connections: usize,
    /// Whether `POST /-/reload` is allowed.
    pub enable_lifecycle: bool,
}

/// All that polling one account needs, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct AccountConfig {
    /// The value of the `account` label.
    pub name: String,
    /// The id in the API's paths.
    pub account_id: String,
    /// Where its key comes from.
    pub key: ApiKeySource,
    /// Where its API is, what is listed there, and how many requests are sent.
    pub tryvox: TryvoxOptions,
    /// When it is polled, and which listings are valid.
    pub poll: PollOptions,
    /// Which tables are made of its listings.
    pub collector: Arc<CollectorOptions>,
    /// What it may cost a month, by currency.
    pub budget: BTreeMap<String, Money>,
}

/// Where the configuration comes from; it can be read again at any time.
#[derive(Debug, Clone)]
pub struct Source<E> {
    /// The command that it is for.
    pub command: CommandOptions,
    /// The flags of the command line.
    pub flags: Flags,
    /// The environment.
    pub environment: E,
    /// What others find wrong with what the settings name.
    pub more_problems: fn(&Settings) -> Vec<String>,
}

impl<E: Environment> Source<E> {
    /// Reads and checks everything, the file too.
    ///
    /// # Errors
    /// Everything that is wrong, not only the first.
    pub fn read(&self) -> Result<(Settings, ServeConfig), ConfigError> {
        let mut problems = Vec::new();
        let Options { path, settings, given, document } = self.options(&mut problems);
        let accounts =
            Accounts { source: self, settings: &settings, given: &given, path: &path, problems: &mut problems };
        let (accounts, warnings) = accounts.read(document.accounts.as_deref());
        let config = assemble(&settings, accounts, warnings, &mut problems);
        problems.extend((self.more_problems)(&settings));
        ConfigError::unless_empty(problems).map_or(Ok((settings, config)), Err)
    }

    /// Reads and checks the options alone, those in the file too.
    ///
    /// # Errors
    /// Everything that is wrong with them, not only the first.
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        let mut problems = Vec::new();
        let settings = self.options(&mut problems).settings;
        ConfigError::unless_empty(problems).map_or(Ok(settings), Err)
    }

    fn options(&self, problems: &mut Vec<String>) -> Options {
        let (settings, _) = self.merge(&Document::default(), "", &mut Vec::new());
        let path = settings.config_file;
        let document = path.as_deref().map_or_else(Document::default, |path| read_file(path, problems));
        let path = path.unwrap_or_default();
        let shown = path.display().to_string();
        let (mut settings, given) = self.merge(&document, &shown, problems);
        for (option, named) in
            [(API_KEY_FILE, &mut settings.tryvox.api_key_file), (WEB_CONFIG_FILE, &mut settings.web_config_file)]
        {
            if document.values.contains_key(option) && !given.contains(option) {
                *named = named.take().map(|named| beside(&path, &named));
            }
        }
        Options { path, settings, given, document }
    }

    /// Whether the configuration is to be checked and nothing else.
    pub fn checks_only(&self) -> bool {
        self.merge(&Document::default(), "", &mut Vec::new()).0.config_check
    }

    fn merge(&self, document: &Document, path: &str, problems: &mut Vec<String>) -> (Settings, HashSet<&'static str>) {
        merge(self.command, &self.flags, &self.environment, &document.values, path, problems)
    }
}

/// What all sources together say.
struct Options {
    /// The file's path, empty for none.
    path: PathBuf,
    settings: Settings,
    /// What a flag or a variable has set.
    given: HashSet<&'static str>,
    document: Document,
}

const API_KEY_FILE: &str = "tryvox.api-key-file";
const WEB_CONFIG_FILE: &str = "web.config.file";

/// A longer file is none that anybody wrote.
const MAX_FILE: u64 = 64 << 20;

fn read_file(path: &Path, problems: &mut Vec<String>) -> Document {
    let text = std::fs::metadata(path).and_then(|metadata| match metadata.len() {
        0..=MAX_FILE => std::fs::read_to_string(path),
        _ => Err(std::io::Error::other("it is too large")),
    });
    match text {
        Err(error) => {
            let path = path.display();
            problems.push(format!("--config.file={path}: cannot be read: {error}; check its path, owner and content"));
            Document::default()
        }
        Ok(text) => {
            let mut found = Vec::new();
            let document = file::read(&text, &mut found);
            problems.extend(found.iter().map(|(place, message)| format!("{}:{place}: {message}", path.display())));
            document
        }
    }
}

fn assemble(
    settings: &Settings,
    mut accounts: Vec<AccountConfig>,
    warnings: Vec<String>,
    problems: &mut Vec<String>,
) -> ServeConfig {
    let total_shards = settings.total_shards;
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let shard = settings.shard.resolve(&host).unwrap_or_else(|error| {
        problems.push(format!("--shard: {error}"));
        0
    });
    if shard >= total_shards {
        problems.push(format!("--shard: is {shard}, but --total-shards is {total_shards}; the first shard is 0"));
    }
    let all_accounts = accounts.len();
    accounts.retain(|account| shard_of(&account.name, total_shards) == shard);
    ServeConfig {
        accounts,
        all_accounts,
        total_concurrency: settings.tryvox.total_concurrency,
        shard,
        total_shards,
        fixed: Fixed {
            listen_addresses: settings.listen_addresses.clone(),
            telemetry_path: settings.telemetry_path.clone(),
            web_config_file: settings.web_config_file.clone(),
            systemd_socket: settings.systemd_socket,
            max_connections: settings.max_connections,
            enable_lifecycle: settings.enable_lifecycle,
        },
        warnings,
    }
}

impl AccountConfig {
    /// What is listed: the numbers of all of these queries, none twice.
    #[must_use]
    pub fn filters(&self) -> Vec<ListingFilter> {
        let list = |values: &Option<Vec<String>>| values.clone().unwrap_or_default();
        ListingFilter::combinations(&list(&self.tryvox.countries), &list(&self.tryvox.statuses))
    }

    /// The documented statuses that a listing can contain.
    #[must_use]
    pub fn listed_statuses(&self) -> Vec<Arc<str>> {
        let is_listed = |status: &str| {
            self.tryvox.statuses.as_ref().is_none_or(|statuses| statuses.iter().any(|listed| listed == status))
        };
        STATUSES.into_iter().filter(|status| is_listed(status)).map(Arc::from).collect()
    }
}

impl ServeConfig {
    /// The settings of one account that is known otherwise.
    #[must_use]
    pub fn of_account(settings: &Settings, account_id: String, url: Url, key: ApiKeySource) -> Self {
        let account = account(settings, account_id, url, key);
        assemble(settings, vec![account], Vec::new(), &mut Vec::new())
    }
}

fn account(settings: &Settings, account_id: String, url: Url, key: ApiKeySource) -> AccountConfig {
    AccountConfig {
        name: account_id.clone(),
        account_id,
        key,
        tryvox: TryvoxOptions { url, ..settings.tryvox.clone() },
        poll: settings.poll.clone(),
        collector: Arc::new(settings.collector.clone()),
        budget: BTreeMap::new(),
    }
}

/// The accounts of a file, or the one of the flags.
struct Accounts<'a, E> {
    source: &'a Source<E>,
    settings: &'a Settings,
    given: &'a HashSet<&'static str>,
    path: &'a Path,
    problems: &'a mut Vec<String>,
}

impl<E: Environment> Accounts<'_, E> {
    fn read(mut self, entries: Option<&[Entry]>) -> (Vec<AccountConfig>, Vec<String>) {
        let accounts = match (&self.settings.tryvox.account_id, entries) {
            (None, None) => {
                // What is wrong with the file may be why.
                if self.problems.is_empty() {
                    self.problems.push(
                        "no account: set --tryvox.account-id, or accounts in the file of --config.file, or run \
                         `tryvox-exporter demo` to see it without one"
                            .to_owned(),
                    );
                }
                Vec::new()
            }
            (Some(id), None) => {
                let id = id.clone();
                let key = self.key(self.settings, None, &format!("account {id:?}"));
                let url = self.settings.tryvox.url.clone();
                key.map(|key| account(self.settings, id, url, key)).into_iter().collect()
            }
            (Some(_), Some(_)) => {
                self.problems.push(
                    "there are both --tryvox.account-id and accounts in the file; take one of them out".to_owned(),
                );
                Vec::new()
            }
            (None, Some([])) => {
                self.problems.push(format!("{}: accounts is empty; add one", self.path.display()));
                Vec::new()
            }
            (None, Some(entries)) => self.entries(entries),
        };
        let warnings = accounts.iter().filter_map(|account| account.key.permission_warning()).collect();
        (accounts, warnings)
    }

    fn entries(&mut self, entries: &[Entry]) -> Vec<AccountConfig> {
        let mut places: HashMap<&str, String> = HashMap::new();
        let mut accounts = Vec::with_capacity(entries.len());
        for entry in entries {
            let place = format!("{}:{}", self.path.display(), entry.place);
            accounts.extend(self.entry(entry, &place));
            let Some(name) = entry.fields.get("name").or_else(|| entry.fields.get("account_id")) else { continue };
            if let Some(first) = places.get(&*name.text) {
                let name = &name.text;
                self.problems.push(format!("{place}: the name {name:?} is taken, at {first}; choose another name"));
            } else {
                places.insert(&name.text, place);
            }
        }
        accounts
    }

    /// One account of the file: the settings of all, but for its own.
    fn entry(&mut self, entry: &Entry, place: &str) -> Option<AccountConfig> {
        let before = self.problems.len();
        let path = self.path.display().to_string();
        let mut own = self.settings.clone();
        own.tryvox.account_id = None;
        for field in &ACCOUNT_FIELDS {
            let (Some(option), Some(written)) = (field.option, entry.fields.get(field.name)) else { continue };
            // A flag or a variable is the last word, for all accounts; but each has a key of its own.
            if self.given.contains(option) && option != API_KEY_FILE {
                continue;
            }
            let set = OPTIONS.iter().find(|spec| spec.name == option).map(|spec| spec.set);
            if let Some(Err(error)) = set.map(|set| set(&mut own, &written.text)) {
                self.problems.push(format!("{}: {error}", in_file(&path, field.name, written)));
            } else if option == API_KEY_FILE {
                own.tryvox.api_key_file = own.tryvox.api_key_file.map(|key| beside(self.path, &key));
            }
        }
        if own.tryvox.account_id.is_none() && !entry.fields.contains_key("account_id") {
            self.problems.push(format!("{place}: the account has no account_id; it is in the TryVox console"));
        }
        let name = entry.fields.get("name").map(|written| {
            account_name(&written.text)
                .map_err(|error| self.problems.push(format!("{}: {error}", in_file(&path, "name", written))))
        });
        let mut budget = BTreeMap::new();
        for (currency, written) in &entry.budget {
            match amount(currency, &written.text) {
                Ok(money) => _ = budget.insert(currency.clone(), money),
                Err(error) => {
                    let name = format!("monthly_budget.{currency}");
                    self.problems.push(format!("{}: {error}", in_file(&path, &name, written)));
                }
            }
        }
        let key = self.key(&own, entry.fields.get("api_key_env").map(|written| &*written.text), place);
        if self.problems.len() > before {
            return None;
        }
        let account = account(&own, own.tryvox.account_id.clone()?, own.tryvox.url.clone(), key?);
        Some(AccountConfig {
            name: name.and_then(Result::ok).unwrap_or_else(|| account.name.clone()),
            budget,
            ..account
        })
    }

    /// The key of an account: from the variable it names, from its file, or from the one for all.
    fn key(&mut self, settings: &Settings, named: Option<&str>, place: &str) -> Option<ApiKeySource> {
        let (source, what) = match (named, &settings.tryvox.api_key_file) {
            (Some(_), Some(_)) if self.settings.tryvox.api_key_file != settings.tryvox.api_key_file => {
                self.problems
                    .push(format!("{place}: there are both api_key_file and api_key_env; take one of them out"));
                return None;
            }
            (Some(name), _) => (self.key_of(name), name),
            (None, Some(file)) => {
                let own = self.settings.tryvox.api_key_file != settings.tryvox.api_key_file;
                let what = if own { "api_key_file" } else { "--tryvox.api-key-file" };
                (Ok(Some(ApiKeySource::File(file.clone()))), what)
            }
            (None, None) => (self.key_of(API_KEY_VARIABLE), API_KEY_VARIABLE),
        };
        let problem = match source {
            // A file is read again at each poll, but what is wrong from the start is said at the start.
            Ok(Some(source)) => match source.read() {
                Ok(_) => return Some(source),
                Err(error) => format!("{what}: {error}; check its path, owner and content"),
            },
            Ok(None) if named.is_some() => format!("{place}: the environment variable {what} is not set"),
            Ok(None) => format!(
                "no API key for {place}: set the environment variable {API_KEY_VARIABLE}, or \
                 --tryvox.api-key-file to a file that holds it"
            ),
            Err(error) => error,
        };
        let shown =
            if place.starts_with("account ") || problem.contains(place) { String::new() } else { format!("{place}: ") };
        self.problems.push(format!("{shown}{problem}"));
        None
    }

    fn key_of(&self, name: &str) -> Result<Option<ApiKeySource>, String> {
        Ok(key_from_environment(&self.source.environment, name)?.map(ApiKeySource::Value))
    }
}

/// A path of a file is relative to the file.
fn beside(file: &Path, path: &Path) -> PathBuf {
    file.parent().map_or_else(|| path.to_owned(), |folder| folder.join(path))
}

/// The key in a variable, if that is set.
pub(super) fn key_from_environment(environment: &impl Environment, name: &str) -> Result<Option<ApiKey>, String> {
    variable(environment, name)?
        .map(|text| {
            ApiKey::new(&SecretString::from(text))
                .map_err(|error| format!("{name}: {error}; set it to the account's API key"))
        })
        .transpose()
}
