//! Pollers made from the configuration.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::account::Account;
use super::suspension::total_suspended_time;
use super::task::Poller;
use crate::config::{AccountConfig, Config, stable_hash};
use crate::tryvox::{ClientContext, FairLimit, HttpClients, TryvoxClient};

/// Builds pollers that share their connections and the limit of requests in flight.
#[derive(Debug, Clone)]
pub struct PollerFactory {
    http: Arc<HttpClients>,
    limit: Arc<FairLimit>,
    /// Whether the polls of many accounts are spread over the interval.
    is_spread: bool,
}

impl PollerFactory {
    /// Creates a factory for the accounts of a configuration.
    ///
    /// # Errors
    /// If there is no HTTP client for their URLs.
    pub fn new(config: &Config) -> Result<Self, String> {
        let limit = Arc::new(FairLimit::new(config.options.tryvox.total_concurrency));
        let mut factory = Self { http: Arc::default(), limit, is_spread: false };
        factory.configure(config)?;
        Ok(factory)
    }

    /// Adapts the factory, and the limit of the pollers that it has built, to another configuration.
    ///
    /// # Errors
    /// If there is no HTTP client for the URLs of its accounts; nothing has changed then.
    pub fn configure(&mut self, config: &Config) -> Result<(), String> {
        self.http.prepare(config.accounts.iter().map(|account| &account.tryvox.url))?;
        self.limit.resize(config.options.tryvox.total_concurrency);
        // A single account keeps to its interval from the start.
        self.is_spread = config.total_accounts > 1;
        Ok(())
    }

    /// Builds a poller of an account that is in the factory's configuration.
    #[must_use]
    pub fn build(&self, config: &AccountConfig) -> Poller {
        let context = ClientContext {
            transport: self.http.clone(),
            fair_limit: self.limit.clone(),
            now: SystemTime::now,
            rng: fastrand::Rng::new(),
        };
        let client = TryvoxClient::new(&config.name, &config.account_id, config.tryvox.clone(), context);
        let interval = config.poll.interval;
        Poller {
            account: Arc::new(Account::new(config.clone(), client)),
            first_interval: if self.is_spread { first_interval(&config.name, interval) } else { interval },
            reactions: Vec::new(),
            now: SystemTime::now,
            suspended: total_suspended_time,
            rng: fastrand::Rng::new(),
        }
    }
}

/// Builds a poller for each account of a configuration.
///
/// # Errors
/// If there is no HTTP client for their URLs.
pub fn build_pollers(config: &Config) -> Result<Vec<Poller>, String> {
    let factory = PollerFactory::new(config)?;
    Ok(config.accounts.iter().map(|account| factory.build(account)).collect())
}

/// Returns an account's time from the first poll to the second: 0.5 to 1.5 intervals, always the same for a name.
fn first_interval(name: &str, interval: Duration) -> Duration {
    #[expect(clippy::cast_precision_loss, reason = "the share need not be exact")]
    let share = stable_hash(name) as f64 / u64::MAX as f64;
    interval.mul_f64(0.5 + share)
}
