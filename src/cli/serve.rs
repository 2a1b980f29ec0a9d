//! `serve`: polls every account and serves metrics, and reloads the configuration on request.
//!
//! This is where the layers meet: pollers get their reactions, the web server gets the metrics, and systemd learns
//! what happens.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use rustix::process::{Resource, getrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::health_target::{HEALTH_PATH, HealthTarget};
use super::{CommandEntry, CommandError, EXPORTER_OPTIONS, bind, print, systemd, with_runtime};
use crate::blocking::run_blocking;
use crate::config::{CommandSpec, Config, ConfigSource, Options, ProcessEnvironment, WebOptions};
use crate::metrics::{AccountMetrics, ConfigStatus, ExporterMetrics};
use crate::poller::{ExporterSource, FleetManager, Poller, PollerFactory, PollingThread, ReloadObserver, Reloader};
use crate::state::{StateOptions, StateStore};
use crate::web::toolkit::WebFile;
use crate::web::{AppState, Listener, Server, take_systemd_sockets};
use crate::{persistence, plural};

pub(super) static COMMAND: CommandEntry = CommandEntry {
    spec: CommandSpec {
        name: "serve",
        about: "Poll every account and serve metrics (default)",
        examples: &[
            "TRYVOX_API_KEY=… tryvox-exporter --tryvox.account-id=acc_4XQ2",
            "tryvox-exporter --config.file=tryvox-exporter.yml --config.check",
            "tryvox-exporter --config.file=tryvox-exporter.yml --web.enable-lifecycle",
        ],
        options: EXPORTER_OPTIONS,
        ignored: &[],
        defaults: &[],
        formats: &[],
        requires_keys: true,
        exports_watched_numbers: true,
    },
    run: run_or_check,
};

/// Serves, or with `--config.check` only reports whether the configuration is valid.
fn run_or_check(source: ConfigSource<ProcessEnvironment>) -> Result<(), CommandError> {
    if source.is_check() {
        print_checked(&source.read().map_err(CommandError::Checked)?);
        return Ok(());
    }
    let config = source.read()?;
    let log = config.options.log.clone();
    with_runtime(&log, async |stop| run(source, config, stop).await)
}

/// Opens the listening sockets, then polls and serves until `stop` is cancelled.
async fn run(
    source: ConfigSource<ProcessEnvironment>,
    config: Config,
    stop: CancellationToken,
) -> Result<(), CommandError> {
    // Reading the configuration has only checked this file.
    let web_file = config.options.web.config_file().map(WebFile::open).transpose();
    let web_file = web_file.map_err(anyhow::Error::new)?.map(Arc::new);
    let store = open_state(&config.options.state)?;
    let listeners = if config.options.web.systemd_socket {
        take_systemd_sockets().context("--web.systemd-socket")?
    } else {
        bind(&config.options.web.listen_addresses)?
    };
    Ok(serve(&config, listeners, web_file, store, Some(source), stop).await?)
}

/// Opens the state file, if one is configured.
fn open_state(options: &StateOptions) -> Result<Option<Arc<StateStore>>, CommandError> {
    if options.file.is_none() {
        return Ok(None);
    }
    match StateStore::open(options, SystemTime::now) {
        Ok(store) => Ok(Some(Arc::new(store))),
        Err(error) if error.is_usage() => Err(CommandError::Usage(error.to_string())),
        Err(error) => Err(anyhow::Error::new(error).into()),
    }
}

/// Prints the result of `--config.check` for a valid configuration.
fn print_checked(config: &Config) {
    for warning in &config.warnings {
        print(&format!("warning: {warning}\n"));
    }
    let Config { accounts, total_accounts, shard, options, .. } = config;
    let total_shards = options.shard.total_shards;
    let noun = plural::choose(*total_accounts as u64, "account", "accounts");
    let in_shard = match total_shards {
        1 => String::new(),
        _ => format!(", {} in shard {shard} of {total_shards}", accounts.len()),
    };
    print(&format!("The configuration is valid: {total_accounts} {noun}{in_shard}\n"));
}

/// How long the end of the process waits until polls that ended are stored.
const STATE_CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Files that are open besides connections: logs, listening sockets, key files.
const SPARE_FILES: usize = 64;

/// Part of the limit of open files that connections may use, however many files the rest needs.
const MIN_CONNECTION_SHARE: usize = 4;

/// The limit of open files, and what it means for the connections.
struct FileLimit {
    /// How many files this process may have open.
    files: usize,
    /// How many it may need.
    needed: usize,
    /// How many connections leave enough files for requests to the API.
    max_connections: usize,
}

impl FileLimit {
    /// Returns the limit of this process if it is too low for the configuration.
    fn exceeded(config: &Config) -> Option<Self> {
        let files = getrlimit(Resource::Nofile).current.and_then(|files| usize::try_from(files).ok())?;
        let max_connections = config.options.web.max_connections;
        let others = config.options.tryvox.total_concurrency.saturating_add(SPARE_FILES);
        let needed = max_connections.saturating_add(others);
        let allowed = files.saturating_sub(others).max(files / MIN_CONNECTION_SHARE).max(1);
        (files < needed).then(|| Self { files, needed, max_connections: allowed.min(max_connections) })
    }
}

/// Polls and serves until `stop` is cancelled. Without a source there are no reloads.
pub(super) async fn serve(
    config: &Config,
    listeners: Vec<Listener>,
    web_file: Option<Arc<WebFile>>,
    store: Option<Arc<StateStore>>,
    source: Option<ExporterSource>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let started = Instant::now();
    let polling =
        PollingThread::start().context("cannot start the polling thread; check the limits on processes and memory")?;
    let exporter = ExporterMetrics::new(config_status(config));
    exporter.set_owner_budgets(config.owner_budgets.clone());
    let exporter = Arc::new(match &store {
        Some(store) => exporter.with_state(store.clone()),
        None => exporter,
    });
    let factory = PollerFactory::new(config).map_err(anyhow::Error::msg)?;
    let attach_reactions = {
        let store = store.clone();
        move |poller: &mut Poller| attach_reactions(poller, store.as_ref())
    };
    let mut manager = FleetManager::new(factory, attach_reactions, polling.handle().clone(), stop.clone());

    // Install the handler before logging the start: SIGHUP kills a process without one.
    let source = source
        .map(|source| anyhow::Ok((source, signal(SignalKind::hangup()).context("cannot handle SIGHUP")?)))
        .transpose()?;
    log_start(config, &listeners, web_file.as_deref())?;
    let tls = web_file.as_deref().is_some_and(WebFile::is_encrypted);
    let health_path = config.options.web.route_prefix.join(HEALTH_PATH);
    // Published until the end.
    let _health_target = HealthTarget::publish(&listeners, tls, &health_path)
        .inspect_err(|error| debug!(%error, "health checks without flags cannot find this process"));
    let fleet = manager.fleet();
    manager.apply(config).map_err(anyhow::Error::msg)?;

    let mut reload = None;
    if let Some((source, hangup)) = source {
        let options = config.options.clone();
        let observer = ReloadStatus { exporter: exporter.clone(), options };
        let (reloader, handle) = Reloader::new(manager, Arc::new(source), config, observer);
        tokio::spawn(reloader.run(hangup, stop.clone()));
        reload = config.options.web.enable_lifecycle.then_some(handle);
    }
    let WebOptions { route_prefix, telemetry_path, max_connections, .. } = config.options.web.clone();
    let is_ready = false.into();
    let state = AppState { fleet, exporter, route_prefix, telemetry_path, reload, started_at: started, is_ready };
    let max_connections = FileLimit::exceeded(config).map_or(max_connections, |limit| limit.max_connections);
    let server = Server { state: Arc::new(state), web_file, max_connections };

    systemd::notify_ready(config.accounts.len());
    tokio::spawn(systemd::ping_watchdog());
    let stopping = stop.clone();
    tokio::spawn(async move {
        stopping.cancelled().await;
        systemd::notify_stopping();
    });
    crate::web::serve(listeners, server, stop).await;
    if let Some(store) = store {
        run_blocking(move || store.close(STATE_CLOSE_TIMEOUT)).await;
    }
    Ok(())
}

/// Restores the account of a new poller, and returns its metrics.
fn attach_reactions(poller: &mut Poller, store: Option<&Arc<StateStore>>) -> Arc<AccountMetrics> {
    let restored = store.and_then(|store| persistence::attach(store, poller));
    let metrics = AccountMetrics::attach(poller);
    if let Some(listing) = restored {
        metrics.restore(&listing);
    }
    metrics
}

/// Logs the start, warnings about the configuration, and the listening addresses.
fn log_start(config: &Config, listeners: &[Listener], web_file: Option<&WebFile>) -> anyhow::Result<()> {
    info!(
        version = env!("CARGO_PKG_VERSION"),
        revision = env!("TRYVOX_EXPORTER_REVISION"),
        accounts = config.accounts.len(),
        "starting tryvox-exporter"
    );
    for warning in &config.warnings {
        warn!("{warning}");
    }
    if let Some(FileLimit { files, needed, max_connections }) = FileLimit::exceeded(config) {
        warn!(
            limit = files,
            needed,
            max_connections,
            "limit of open files is too low for --web.max-connections, accepting fewer connections; raise the limit \
             (ulimit -n, LimitNOFILE= in systemd) or lower the option"
        );
    }
    for listener in listeners {
        let tls = web_file.is_some_and(WebFile::is_encrypted);
        let address = listener.address().context("cannot read the address of a listening socket")?;
        info!(tls, metrics_path = config.options.web.metrics_path(), address, "listening");
    }
    Ok(())
}

/// Returns the status of a configuration that has just been read.
fn config_status(config: &Config) -> ConfigStatus {
    let (shard, total_shards) = (config.shard, config.options.shard.total_shards);
    ConfigStatus { is_valid: true, loaded_at: SystemTime::now(), shard, total_shards }
}

/// Reports reloads in the metrics and to systemd, and warns of changes that need a restart.
struct ReloadStatus {
    exporter: Arc<ExporterMetrics>,
    /// The options in force, which a reload does not change.
    options: Options,
}

impl ReloadObserver for ReloadStatus {
    fn reload_started(&self) {
        systemd::notify_reloading();
    }

    fn reload_ended(&self, applied: Option<&Config>, accounts: usize) {
        let is_changed = applied.map(|Config { options, .. }| {
            [
                ("--web", options.web != self.options.web),
                ("--state", options.state != self.options.state),
                ("--log", options.log != self.options.log),
            ]
        });
        for (group, _) in is_changed.into_iter().flatten().filter(|(_, is_changed)| *is_changed) {
            warn!("changed {group} options take effect after a restart");
        }
        if let Some(config) = applied {
            self.exporter.set_owner_budgets(config.owner_budgets.clone());
        }
        let invalid = ConfigStatus { is_valid: false, ..self.exporter.config_status() };
        self.exporter.set_config_status(applied.map_or(invalid, config_status));
        systemd::notify_ready(accounts);
    }
}
