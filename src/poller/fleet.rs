//! All accounts: which are polled, and what changes when the configuration does.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::{Account, Poller};

/// The accounts that are polled, as readers see them.
#[derive(Debug, Default)]
pub struct Fleet(ArcSwap<Vec<Arc<Account>>>);

impl Fleet {
    /// The accounts as of now, in the order of the configuration.
    #[must_use]
    pub fn accounts(&self) -> Arc<Vec<Arc<Account>>> {
        self.0.load_full()
    }
}

impl FromIterator<Arc<Account>> for Fleet {
    /// Accounts that stay as they are.
    fn from_iter<T: IntoIterator<Item = Arc<Account>>>(accounts: T) -> Self {
        Self(ArcSwap::from_pointee(accounts.into_iter().collect()))
    }
}

/// How two configurations differ, in accounts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FleetChange {
    /// As they were: their polls go on.
    pub unchanged: usize,
    /// Begun anew, as what is said of them changed.
    pub changed: usize,
    /// Not there before.
    pub added: usize,
    /// Gone, with all that was known of them.
    pub removed: usize,
}

/// Starts and stops pollers, so that they are those of the configuration. `S` is what a
/// configuration says of an account.
#[derive(Debug)]
pub struct FleetManager<S> {
    fleet: Arc<Fleet>,
    running: HashMap<String, Running<S>>,
    polling: Handle,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Running<S> {
    said: S,
    account: Arc<Account>,
    stop: CancellationToken,
}

impl<S: Clone + PartialEq> FleetManager<S> {
    /// PollStats nothing yet; what it polls runs on `polling` and ends at `stop`.
    #[must_use]
    pub fn new(polling: Handle, stop: CancellationToken) -> Self {
        Self { fleet: Arc::default(), running: HashMap::new(), polling, stop }
    }

    /// What readers see.
    #[must_use]
    pub fn fleet(&self) -> Arc<Fleet> {
        self.fleet.clone()
    }

    /// PollStats these accounts, which have distinct names, and no others. `build` makes a poller for one
    /// that is new or changed; the others go on as they are.
    pub fn apply<'a>(
        &mut self,
        accounts: impl IntoIterator<Item = (&'a str, &'a S)>,
        mut build: impl FnMut(&S) -> Poller,
    ) -> FleetChange
    where
        S: 'a,
    {
        let mut change = FleetChange::default();
        let mut before = std::mem::take(&mut self.running);
        let mut fleet = Vec::new();
        for (name, said) in accounts {
            let running = match before.remove(name) {
                Some(running) if running.said == *said => {
                    change.unchanged += 1;
                    running
                }
                other => {
                    match other {
                        Some(old) => {
                            old.stop.cancel();
                            change.changed += 1;
                        }
                        None => change.added += 1,
                    }
                    let (poller, stop) = (build(said), self.stop.child_token());
                    let account = poller.account.clone();
                    self.polling.spawn(poller.run(stop.clone()));
                    Running { said: said.clone(), account, stop }
                }
            };
            fleet.push(running.account.clone());
            self.running.insert(name.to_owned(), running);
        }
        change.removed = before.len();
        for gone in before.into_values() {
            gone.stop.cancel();
        }
        self.fleet.0.store(Arc::new(fleet));
        change
    }
}
