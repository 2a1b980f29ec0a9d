//! Reloads: the configuration is read again and applied to the fleet.

use std::fmt;
use std::sync::Arc;

use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::fleet::{FleetChange, FleetManager};
use crate::config::Config;

/// Reads the configuration; the error lists every problem with it.
pub type ReadConfig = Arc<dyn Fn() -> Result<Config, String> + Send + Sync>;

/// Maximum number of requests that wait for a reload.
const MAX_WAITING: usize = 16;

/// Learns when reloads start and how they end.
pub trait ReloadObserver: Send {
    /// A reload starts; [`ReloadObserver::reload_ended`] always follows.
    fn reload_started(&self);

    /// A reload has ended. `applied` is the new configuration; `None` if it is invalid and the previous one is
    /// kept. `accounts` is the number of accounts that are polled now.
    fn reload_ended(&self, applied: Option<&Config>, accounts: usize);
}

/// Reloads on request and on a signal, one reload at a time.
pub struct Reloader<E, O> {
    manager: FleetManager<E>,
    read: ReadConfig,
    observer: O,
    requests: mpsc::Receiver<ReloadRequest>,
}

impl<E, O: fmt::Debug> fmt::Debug for Reloader<E, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader")
            .field("manager", &self.manager)
            .field("observer", &self.observer)
            .finish_non_exhaustive()
    }
}

/// Takes the result of a requested reload.
type ReloadRequest = oneshot::Sender<Result<(), String>>;

/// Requests reloads.
#[derive(Debug, Clone)]
pub struct ReloadHandle(mpsc::Sender<ReloadRequest>);

impl ReloadHandle {
    /// Reloads the configuration.
    ///
    /// # Errors
    /// If the configuration is invalid, or the exporter is stopping.
    pub async fn reload(&self) -> Result<(), String> {
        let (sender, result) = oneshot::channel();
        let stopping = || "the exporter is stopping".to_owned();
        self.0.send(sender).await.map_err(|_| stopping())?;
        result.await.map_err(|_| stopping())?
    }
}

impl<E: Clone, O: ReloadObserver> Reloader<E, O> {
    /// Creates a reloader of a fleet to which the first configuration has been applied.
    #[must_use]
    pub fn new(manager: FleetManager<E>, read: ReadConfig, observer: O) -> (Self, ReloadHandle) {
        let (sender, requests) = mpsc::channel(MAX_WAITING);
        (Self { manager, read, observer, requests }, ReloadHandle(sender))
    }

    /// Reloads at each signal and each request until `stop` is cancelled.
    pub async fn run(mut self, mut hangup: Signal, stop: CancellationToken) {
        loop {
            let request = tokio::select! {
                () = stop.cancelled() => return,
                Some(()) = hangup.recv() => None,
                // Closed, and so never chosen, if no handle is left.
                Some(request) = self.requests.recv() => Some(request),
            };
            let result = self.reload().await;
            if let Some(request) = request {
                // The client may have disconnected.
                _ = request.send(result);
            }
        }
    }

    async fn reload(&mut self) -> Result<(), String> {
        self.observer.reload_started();
        let read = self.read.clone();
        let config = tokio::task::spawn_blocking(move || read()).await.map_err(|error| error.to_string());
        let applied = config.and_then(|config| config).and_then(|config| Ok((self.manager.apply(&config)?, config)));
        let config = applied.as_ref().ok().map(|(_, config)| config);
        self.observer.reload_ended(config, self.manager.fleet().accounts().len());
        match applied {
            Ok((FleetChange { unchanged, changed, added, removed }, config)) => {
                for warning in &config.warnings {
                    warn!("{warning}");
                }
                info!(unchanged, changed, added, removed, "configuration reloaded");
                Ok(())
            }
            Err(problem) => {
                error!(error = problem, "reload failed, keeping the previous configuration");
                Err(problem)
            }
        }
    }
}
