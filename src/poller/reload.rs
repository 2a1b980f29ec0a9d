//! Reloads: the configuration is read again and applied to the fleet, on request or because the file has changed.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::auto_reload::ContentWatch;
use super::fleet::{FleetChange, FleetManager};
use crate::blocking::run_blocking;
use crate::config::{Config, ConfigError, ConfigSource, ProcessEnvironment};

/// Maximum number of requests that wait for a reload.
const MAX_WAITING: usize = 16;

/// The sources of the configuration of a process.
pub type ExporterSource = ConfigSource<ProcessEnvironment>;

/// Learns when reloads start and how they end.
pub trait ReloadObserver: Send {
    /// A reload starts; [`ReloadObserver::reload_ended`] always follows.
    fn reload_started(&self);

    /// A reload has ended. `applied` is the new configuration; `None` if it is invalid and the previous one is
    /// kept. `accounts` is the number of accounts that are polled now.
    fn reload_ended(&self, applied: Option<&Config>, accounts: usize);
}

/// Reloads on request, on a signal, and if the content of the file has changed, one reload at a time.
pub struct Reloader<E, O> {
    /// Locked only while a configuration is applied, and only one is at a time.
    manager: Arc<Mutex<FleetManager<E>>>,
    source: Arc<ExporterSource>,
    observer: O,
    requests: mpsc::Receiver<ReloadRequest>,
    watch: ContentWatch,
    /// Time between checks of the file; zero disables them.
    auto_reload_interval: Duration,
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

impl<E: Clone + Send + Sync + 'static, O: ReloadObserver> Reloader<E, O> {
    /// Creates a reloader of a fleet to which `config`, the first configuration of the source, has been applied.
    #[must_use]
    pub fn new(
        manager: FleetManager<E>,
        source: Arc<ExporterSource>,
        config: &Config,
        observer: O,
    ) -> (Self, ReloadHandle) {
        let (sender, requests) = mpsc::channel(MAX_WAITING);
        let auto_reload_interval = config.options.config.auto_reload_interval;
        let watch = ContentWatch::new(config.content);
        let manager = Arc::new(Mutex::new(manager));
        (Self { manager, source, observer, requests, watch, auto_reload_interval }, ReloadHandle(sender))
    }

    /// Reloads at each signal and each request, and when the content of the file has changed, until `stop` is cancelled.
    pub async fn run(mut self, mut hangup: Signal, stop: CancellationToken) {
        let is_watching = !self.auto_reload_interval.is_zero();
        let mut next_check_at = Instant::now() + self.auto_reload_interval;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(()) = hangup.recv() => {
                    // The result is logged.
                    _ = self.reload().await;
                }
                // Closed, and so never chosen, if no handle is left.
                Some(request) = self.requests.recv() => {
                    let result = self.reload().await;
                    // The client may have disconnected.
                    _ = request.send(result);
                }
                () = sleep_until(next_check_at), if is_watching => {
                    self.check_content().await;
                    next_check_at = Instant::now() + self.watch.next_check_in(self.auto_reload_interval);
                }
            }
        }
    }

    /// Checks the file, and reloads if its content has changed and is complete.
    async fn check_content(&mut self) {
        let source = self.source.clone();
        let content = run_blocking(move || source.content()).await;
        let Some(changed) = self.watch.check(content) else { return };
        let read = Self::read(&self.source).await;
        let content = read.as_ref().map_or_else(ConfigError::content, |config| config.content);
        if content == Some(changed) {
            // The result is logged.
            _ = self.apply(read).await;
        } else {
            // The file has changed again since.
            self.watch.check(content);
        }
    }

    async fn reload(&mut self) -> Result<(), String> {
        let read = Self::read(&self.source).await;
        self.apply(read).await
    }

    async fn read(source: &Arc<ExporterSource>) -> Result<Config, ConfigError> {
        let source = source.clone();
        run_blocking(move || source.read()).await
    }

    /// Applies a configuration, if it is valid, and reports the result. Building HTTP clients reads CA certificates, and
    /// many pollers take long to build, so that is done where it delays no request.
    async fn apply(&mut self, read: Result<Config, ConfigError>) -> Result<(), String> {
        self.observer.reload_started();
        let content = read.as_ref().map_or_else(ConfigError::content, |config| config.content);
        self.watch.reloaded(content);
        let manager = self.manager.clone();
        let (applied, accounts) = run_blocking(move || {
            let mut manager = manager.lock().unwrap_or_else(PoisonError::into_inner);
            let config = read.map_err(|error| error.to_string());
            let applied = config.and_then(|config| Ok((manager.apply(&config)?, config)));
            (applied, manager.fleet().accounts().len())
        })
        .await;
        let config = applied.as_ref().ok().map(|(_, config)| config);
        self.observer.reload_ended(config, accounts);
        match applied {
            Ok((FleetChange { unchanged, changed, restarted, added, removed }, config)) => {
                for warning in &config.warnings {
                    warn!("{warning}");
                }
                info!(unchanged, changed, restarted, added, removed, "configuration reloaded");
                Ok(())
            }
            Err(problem) => {
                error!(error = problem, "reload failed, keeping the previous configuration");
                Err(problem)
            }
        }
    }
}
