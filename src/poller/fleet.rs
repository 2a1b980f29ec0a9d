//! All accounts of the process.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::build::PollerFactory;
use super::task::Poller;
use crate::config::{AccountConfig, Config};

/// The accounts that are polled. Each has an entry of type `E`, which is the account in the form in which it is read,
/// for example the [`Account`](super::Account) itself or its metrics.
#[derive(Debug)]
pub struct Fleet<E>(ArcSwap<Vec<E>>);

impl<E> Fleet<E> {
    /// Returns the entry of each current account, in the order of the configuration.
    #[must_use]
    pub fn accounts(&self) -> Arc<Vec<E>> {
        self.0.load_full()
    }
}

impl<E> FromIterator<E> for Fleet<E> {
    /// Creates a fleet whose accounts do not change.
    fn from_iter<T: IntoIterator<Item = E>>(accounts: T) -> Self {
        Self(ArcSwap::from_pointee(accounts.into_iter().collect()))
    }
}

/// The difference between two configurations, in accounts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FleetChange {
    /// Accounts whose configuration is the same; their pollers keep running.
    pub unchanged: usize,
    /// Accounts whose configuration differs; it applies to their running pollers.
    pub changed: usize,
    /// Accounts whose listings are not comparable any more, because the URL, the account ID or a filter differs; their
    /// pollers are replaced.
    pub restarted: usize,
    /// New accounts.
    pub added: usize,
    /// Accounts whose pollers are stopped and whose entries are dropped.
    pub removed: usize,
}

/// Starts and stops pollers to match the configuration.
pub struct FleetManager<E> {
    fleet: Arc<Fleet<E>>,
    factory: PollerFactory,
    create_entry: Box<dyn Fn(&mut Poller) -> E + Send>,
    /// By account name.
    running: HashMap<String, RunningPoller<E>>,
    runtime: Handle,
    stop: CancellationToken,
}

impl<E> fmt::Debug for FleetManager<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetManager").field("accounts", &self.running.keys()).finish_non_exhaustive()
    }
}

struct RunningPoller<E> {
    poller: Poller,
    entry: E,
    stop: CancellationToken,
}

impl<E: Clone> FleetManager<E> {
    /// Creates a manager without accounts. Pollers are built by the factory, run on `runtime` and stop when `stop`
    /// is cancelled. `create_entry` returns the entry of a new poller's account, and may add reactions to the poller.
    #[must_use]
    pub fn new(
        factory: PollerFactory,
        create_entry: impl Fn(&mut Poller) -> E + Send + 'static,
        runtime: Handle,
        stop: CancellationToken,
    ) -> Self {
        let fleet = Arc::new(Fleet::from_iter([]));
        Self { fleet, factory, create_entry: Box::new(create_entry), running: HashMap::new(), runtime, stop }
    }

    /// Returns the fleet, which changes with each configuration.
    #[must_use]
    pub fn fleet(&self) -> Arc<Fleet<E>> {
        self.fleet.clone()
    }

    /// Polls the accounts of the configuration, which have distinct names, and no others. Pollers keep running, with
    /// the new configuration, if their accounts still [list the same numbers](AccountConfig::lists_same_numbers).
    ///
    /// # Errors
    /// If the pollers cannot be built; nothing has changed then.
    pub fn apply(&mut self, config: &Config) -> Result<FleetChange, String> {
        self.factory.configure(config)?;
        let mut change = FleetChange::default();
        let mut previous = std::mem::take(&mut self.running);
        let mut entries = Vec::with_capacity(config.accounts.len());
        for account in &config.accounts {
            let running = if let Some(running) = previous.remove(&account.name) {
                self.update(running, account, &mut change)
            } else {
                change.added += 1;
                self.start(account)
            };
            entries.push(running.entry.clone());
            self.running.insert(account.name.clone(), running);
        }
        change.removed = previous.len();
        for removed in previous.into_values() {
            removed.stop.cancel();
        }
        self.fleet.0.store(Arc::new(entries));
        Ok(change)
    }

    /// Returns the poller of an account that was polled before: the running one, if it can go on.
    fn update(&self, running: RunningPoller<E>, config: &AccountConfig, change: &mut FleetChange) -> RunningPoller<E> {
        let previous = running.poller.account.config();
        if !previous.lists_same_numbers(config) {
            change.restarted += 1;
            running.stop.cancel();
            return self.start(config);
        }
        if *previous == *config {
            change.unchanged += 1;
        } else {
            change.changed += 1;
            running.poller.reconfigure(config.clone());
        }
        running
    }

    fn start(&self, config: &AccountConfig) -> RunningPoller<E> {
        let mut poller = self.factory.build(config);
        let entry = (self.create_entry)(&mut poller);
        let stop = self.stop.child_token();
        self.runtime.spawn(poller.clone().run(stop.clone()));
        RunningPoller { poller, entry, stop }
    }
}
