//! What `serve` is asked to do.

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::settings::Settings;
use super::source::{Environment, variable};
use super::{API_KEY_VARIABLE, ConfigError, ListenAddress};
use crate::tryvox::{ApiKey, KeySource, Limits};

/// All that serving needs, checked.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// The accounts to poll, at least one, with distinct names.
    pub accounts: Vec<AccountConfig>,
    /// Where to listen.
    pub listen_addresses: Vec<ListenAddress>,
    /// The path of the metrics.
    pub telemetry_path: String,
}

/// All that polling one account needs, checked.
#[derive(Debug, Clone)]
pub struct AccountConfig {
    /// The value of the `account` label.
    pub name: String,
    /// The id in the API's paths.
    pub account_id: String,
    /// Where its API is.
    pub url: Url,
    /// Where its key comes from.
    pub key: KeySource,
    /// How it may be asked.
    pub limits: Limits,
    /// From the start of one poll to the start of the next.
    pub interval: Duration,
    /// What a whole poll may take.
    pub poll_timeout: Duration,
    /// How long the last good listing is served while polls fail.
    pub stale_after: Duration,
    /// What share of the reported numbers a listing may miss.
    pub max_discrepancy: f64,
    /// The most distinct values of a label that comes from the API.
    pub label_limit: usize,
}

impl ServeConfig {
    /// What the settings mean.
    ///
    /// # Errors
    /// When there is no account, no key, or a key file that cannot be read or holds no key.
    pub fn new(settings: &Settings, environment: &impl Environment) -> Result<Self, ConfigError> {
        let account_id = settings.account_id.clone().ok_or_else(|| {
            ConfigError(
                "no account: set --tryvox.account-id, or run `tryvox-exporter demo` to see it without one".to_owned(),
            )
        })?;
        let key = match &settings.api_key_file {
            Some(path) => KeySource::File(path.clone()),
            None => KeySource::Given(key_from_environment(environment)?.ok_or_else(|| {
                ConfigError(format!(
                    "no API key for account {account_id:?}: set the environment variable {API_KEY_VARIABLE}, or \
                     --tryvox.api-key-file to a file that holds it"
                ))
            })?),
        };
        // A file is read again at each poll, but what is wrong from the start is said at the start.
        key.read().map_err(|error| {
            ConfigError(format!("--tryvox.api-key-file: {error}; check its path, owner and content"))
        })?;
        let url = settings.url.clone().ok_or_else(|| ConfigError("no --tryvox.url".to_owned()))?;
        Ok(Self::of_account(settings, account_id, url, key))
    }

    /// The settings of one account that is known otherwise.
    #[must_use]
    pub fn of_account(settings: &Settings, account_id: String, url: Url, key: KeySource) -> Self {
        let account = AccountConfig {
            name: account_id.clone(),
            account_id,
            url,
            key,
            limits: Limits {
                timeout: settings.timeout,
                concurrency: settings.concurrency,
                rate: settings.rate_limit,
                per_page: settings.per_page,
            },
            interval: settings.poll_interval,
            poll_timeout: settings.poll_timeout.unwrap_or(settings.poll_interval),
            stale_after: settings.stale_after.unwrap_or(settings.poll_interval * 3),
            max_discrepancy: settings.max_discrepancy,
            label_limit: settings.label_limit,
        };
        Self {
            accounts: vec![account],
            listen_addresses: settings.listen_addresses.clone(),
            telemetry_path: settings.telemetry_path.clone(),
        }
    }
}

/// The key in [`API_KEY_VARIABLE`], if that is set.
pub(super) fn key_from_environment(environment: &impl Environment) -> Result<Option<ApiKey>, ConfigError> {
    variable(environment, API_KEY_VARIABLE)?
        .map(|text| {
            ApiKey::new(&SecretString::from(text))
                .map_err(|error| ConfigError(format!("{API_KEY_VARIABLE}: {error}; set it to the account's API key")))
        })
        .transpose()
}
