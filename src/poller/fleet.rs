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

/// The accounts that are polled, as handles of type `H`, one for each account.
///
/// A handle is what the reader of an account needs, for example the account itself or its metrics.
#[derive(Debug)]
pub struct Fleet<H>(ArcSwap<Vec<H>>);

impl<H> Fleet<H> {
    /// Returns the handles of the current accounts, in the order of the configuration.
    #[must_use]
    pub fn accounts(&self) -> Arc<Vec<H>> {
        self.0.load_full()
    }
}

impl<H> FromIterator<H> for Fleet<H> {
    /// Creates a fleet whose accounts do not change.
    fn from_iter<T: IntoIterator<Item = H>>(accounts: T) -> Self {
        Self(ArcSwap::from_pointee(accounts.into_iter().collect()))
    }
}

/// The difference between two configurations, in accounts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FleetChange {
    /// Accounts whose configuration is the same; their pollers keep running.
    pub unchanged: usize,
    /// Accounts whose configuration differs; their pollers are replaced.
    pub changed: usize,
    /// New accounts.
    pub added: usize,
    /// Accounts whose pollers are stopped and whose handles are dropped.
    pub removed: usize,
}

/// Starts and stops pollers to match the configuration.
pub struct FleetManager<H> {
    fleet: Arc<Fleet<H>>,
    factory: PollerFactory,
    attach: Box<dyn Fn(&mut Poller) -> H + Send>,
    /// By account name.
    running: HashMap<String, RunningPoller<H>>,
    runtime: Handle,
    stop: CancellationToken,
}

impl<H> fmt::Debug for FleetManager<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetManager").field("accounts", &self.running.keys()).finish_non_exhaustive()
    }
}

struct RunningPoller<H> {
    config: AccountConfig,
    handle: H,
    stop: CancellationToken,
}

impl<H: Clone> FleetManager<H> {
    /// Creates a manager without accounts. Pollers are built by the factory, run on `runtime` and stop when `stop`
    /// is cancelled. `attach` may add reactions to a new poller and returns the handle of its account.
    #[must_use]
    pub fn new(
        factory: PollerFactory,
        attach: impl Fn(&mut Poller) -> H + Send + 'static,
        runtime: Handle,
        stop: CancellationToken,
    ) -> Self {
        let fleet = Arc::new(Fleet::from_iter([]));
        Self { fleet, factory, attach: Box::new(attach), running: HashMap::new(), runtime, stop }
    }

    /// Returns the fleet, which changes with each configuration.
    #[must_use]
    pub fn fleet(&self) -> Arc<Fleet<H>> {
        self.fleet.clone()
    }

    /// Polls the accounts of the configuration, which have distinct names, and no others. Pollers of accounts whose
    /// configuration has not changed keep running.
    ///
    /// # Errors
    /// If the pollers cannot be built; nothing has changed then.
    pub fn apply(&mut self, config: &Config) -> Result<FleetChange, String> {
        self.factory.configure(config)?;
        let mut change = FleetChange::default();
        let mut previous = std::mem::take(&mut self.running);
        let mut handles = Vec::with_capacity(config.accounts.len());
        for account in &config.accounts {
            let running = match previous.remove(&account.name) {
                Some(running) if running.config == *account => {
                    change.unchanged += 1;
                    running
                }
                Some(replaced) => {
                    replaced.stop.cancel();
                    change.changed += 1;
                    self.start(account)
                }
                None => {
                    change.added += 1;
                    self.start(account)
                }
            };
            handles.push(running.handle.clone());
            self.running.insert(account.name.clone(), running);
        }
        change.removed = previous.len();
        for removed in previous.into_values() {
            removed.stop.cancel();
        }
        self.fleet.0.store(Arc::new(handles));
        Ok(change)
    }

    fn start(&self, config: &AccountConfig) -> RunningPoller<H> {
        let mut poller = self.factory.build(config);
        let handle = (self.attach)(&mut poller);
        let stop = self.stop.child_token();
        self.runtime.spawn(poller.run(stop.clone()));
        RunningPoller { config: config.clone(), handle, stop }
    }
}
