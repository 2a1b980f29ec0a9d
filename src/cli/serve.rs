//! `serve`: poll every account and serve metrics, and read the configuration again when told to.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use rustix::process::{Resource, getrlimit};
use tokio::runtime::{Handle, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{CommandError, bind, print, systemd};
use crate::config::{AccountConfig, Config, Environment, Source, stable_hash};
use crate::metrics::{ConfigStatus, Exporter, render_listing};
use crate::poller::{Account, FleetChange, FleetManager, Poller};
use crate::tryvox::{ClientContext, FairLimit, HttpClients, TryvoxClient};
use crate::web::toolkit::WebFile;
use crate::web::{AppState, Listener, Reload, Server, router, take_systemd_sockets};

pub(super) async fn run<E>(source: Source<E>, config: Config, stop: CancellationToken) -> Result<(), CommandError>
where
    E: Environment + Send + Sync + 'static,
{
    // Read once more: what it is checked with knows nothing of the web.
    let web_file = config.options.web.config_file().map(WebFile::open).transpose();
    let web_file = web_file.map_err(anyhow::Error::new)?.map(Arc::new);
    let listeners = if config.options.web.systemd_socket {
        take_systemd_sockets().context("--web.systemd-socket")?
    } else {
        bind(&config.options.web.listen_addresses)?
    };
    let source = Arc::new(source);
    let read = Arc::new(move || source.read().map_err(|error| error.to_string()));
    Ok(serve(&config, listeners, web_file, Some(read), stop).await?)
}

/// Prints what a check of the configuration found: nothing wrong.
pub(super) fn print_checked(config: &Config) {
    for warning in &config.warnings {
        print(&format!("warning: {warning}\n"));
    }
    let Config { accounts, total_accounts, shard, options, .. } = config;
    let total_shards = options.shard.total_shards;
    let here = match total_shards {
        1 => String::new(),
        _ => format!(", {} of them in shard {shard} of {total_shards}", accounts.len()),
    };
    print(&format!("The configuration is good: accounts={total_accounts}{here}\n"));
}

/// What is open besides connections: logs, sockets, keys.
const SPARE_FILES: usize = 64;

/// How many files this process may have open, if that is limited.
fn open_files() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Reads the configuration again.
type Read = Arc<dyn Fn() -> Result<Config, String> + Send + Sync>;

/// PollStats and answers until `stop`. Without `read` the configuration stays as it is.
pub(super) async fn serve(
    config: &Config,
    listeners: Vec<Listener>,
    web_file: Option<Arc<WebFile>>,
    read: Option<Read>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let started = Instant::now();
    let polling = PollingThread::start()?;
    let exporter = Arc::new(Exporter::new(configured(config)));
    let mut work = Work {
        http: Arc::default(),
        gate: Arc::new(FairLimit::new(config.options.tryvox.total_concurrency)),
        manager: FleetManager::new(polling.handle.clone(), stop.clone()),
    };

    // Before anybody can know that it runs, as until then SIGHUP ends a process; and it ends one that
    // has nothing to read again.
    let read = read.map(|read| anyhow::Ok((read, signal(SignalKind::hangup())?))).transpose()?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        revision = env!("TRYVOX_EXPORTER_REVISION"),
        accounts = config.accounts.len(),
        "starting tryvox-exporter"
    );
    for warning in &config.warnings {
        warn!("{warning}");
    }
    let (files, needed) =
        (open_files(), config.options.web.max_connections + config.options.tryvox.total_concurrency + SPARE_FILES);
    if files.is_some_and(|files| files < needed as u64) {
        warn!(
            files,
            needed, "fewer files may be open than connections: lower --web.max-connections or raise the limit"
        );
    }
    for listener in &listeners {
        let tls = web_file.as_ref().is_some_and(|file| file.is_encrypted());
        info!(tls, address = listener.address()?, "listening");
    }
    let fleet = work.manager.fleet();
    work.apply(config).map_err(anyhow::Error::msg)?;

    let (ask, asked) = mpsc::channel(16);
    let mut lifecycle = None;
    if let Some((read, hangup)) = read {
        let reloader = Reloader { work, read, exporter: exporter.clone(), web: config.options.web.clone() };
        tokio::spawn(reloader.run(asked, hangup, stop.clone()));
        lifecycle = config.options.web.enable_lifecycle.then(|| reload(ask));
    }
    let telemetry_path = config.options.web.telemetry_path.clone();
    let site =
        AppState { fleet, exporter, telemetry_path, reload: lifecycle, started_at: started, is_ready: false.into() };
    let router = router(Arc::new(site));
    let server = Server { router, web_file, max_connections: config.options.web.max_connections };

    systemd::notify_ready(config.accounts.len());
    tokio::spawn(systemd::ping_watchdog());
    let tell = stop.clone();
    tokio::spawn(async move {
        tell.cancelled().await;
        systemd::notify_stopping();
    });
    crate::web::serve(listeners, server, stop).await;
    Ok(())
}

/// The thread that polls, of all accounts: what it reads and counts keeps no scrape waiting, costs one
/// core at most, and no time to hand from one thread to another.
struct PollingThread {
    runtime: Option<Runtime>,
    handle: Handle,
}

impl PollingThread {
    fn start() -> anyhow::Result<Self> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).thread_name("polling").enable_all().build();
        let runtime = runtime.context("cannot start threads")?;
        let handle = runtime.handle().clone();
        Ok(Self { runtime: Some(runtime), handle })
    }
}

impl Drop for PollingThread {
    fn drop(&mut self) {
        // PollStats publish nothing before their end, so there is nothing to wait for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

pub(super) fn configured(config: &Config) -> ConfigStatus {
    let (shard, total_shards) = (config.shard, config.options.shard.total_shards);
    ConfigStatus { successful: true, since: SystemTime::now(), shard, total_shards }
}

/// A poller for each account, for those who run them by themselves.
pub(super) fn pollers(config: &Config) -> anyhow::Result<Vec<Poller>> {
    let http = Arc::new(HttpClients::default());
    http.prepare(config.accounts.iter().map(|account| &account.tryvox.url)).map_err(anyhow::Error::msg)?;
    let gate = Arc::new(FairLimit::new(config.options.tryvox.total_concurrency));
    Ok(config.accounts.iter().map(|account| poller(account, false, &http, &gate)).collect())
}

/// What polling is made of.
struct Work {
    http: Arc<HttpClients>,
    gate: Arc<FairLimit>,
    manager: FleetManager<AccountConfig>,
}

impl Work {
    /// PollStats as the configuration says; what it says as before goes on as before.
    fn apply(&mut self, config: &Config) -> Result<FleetChange, String> {
        self.http.prepare(config.accounts.iter().map(|account| &account.tryvox.url))?;
        self.gate.resize(config.options.tryvox.total_concurrency);
        let accounts = config.accounts.iter().map(|account| (account.name.as_str(), account));
        let (http, gate) = (&self.http, &self.gate);
        // One account alone keeps to its interval from the start.
        let spread = config.total_accounts > 1;
        Ok(self.manager.apply(accounts, |account| poller(account, spread, http, gate)))
    }
}

fn poller(config: &AccountConfig, spread: bool, http: &Arc<HttpClients>, gate: &Arc<FairLimit>) -> Poller {
    let context = ClientContext {
        transport: http.clone(),
        fair_limit: gate.clone(),
        now: SystemTime::now,
        rng: fastrand::Rng::new(),
    };
    let client = TryvoxClient::new(&config.name, &config.account_id, config.tryvox.clone(), context);
    let interval = config.poll.interval;
    Poller {
        account: Arc::new(Account::new(&config.name, interval, config.budget.clone(), client)),
        config: Arc::new(config.clone()),
        first_interval: if spread { first_interval(&config.name, interval) } else { interval },
        encode: render_listing,
        now: SystemTime::now,
    }
}

/// From an account's first poll to its second: an interval and up to half of one more or less, always
/// the same for the same name.
fn first_interval(name: &str, interval: Duration) -> Duration {
    #[expect(clippy::cast_precision_loss, reason = "a share need not be exact")]
    let share = stable_hash(name) as f64 / u64::MAX as f64;
    interval.mul_f64(0.5 + share)
}

/// What reads the configuration again, one time after the other.
struct Reloader {
    work: Work,
    read: Read,
    exporter: Arc<Exporter>,
    web: crate::config::WebOptions,
}

type Ask = oneshot::Sender<Result<(), String>>;

impl Reloader {
    async fn run(
        mut self,
        mut asked: mpsc::Receiver<Ask>,
        mut hangup: tokio::signal::unix::Signal,
        stop: CancellationToken,
    ) {
        loop {
            let answer = tokio::select! {
                () = stop.cancelled() => return,
                Some(()) = hangup.recv() => None,
                // Where nobody can ask, the channel is closed, and only the signal is left.
                Some(answer) = asked.recv() => Some(answer),
            };
            systemd::notify_reloading();
            let result = self.reload().await;
            systemd::notify_ready(self.work.manager.fleet().accounts().len());
            // Whoever asked may be gone.
            answer.map(|answer| answer.send(result));
        }
    }

    async fn reload(&mut self) -> Result<(), String> {
        let read = self.read.clone();
        let config = tokio::task::spawn_blocking(move || read()).await.map_err(|error| error.to_string());
        let applied = config.and_then(|config| config).and_then(|config| Ok((self.work.apply(&config)?, config)));
        match applied {
            Ok((FleetChange { unchanged, changed, added, removed }, config)) => {
                self.exporter.configure(configured(&config));
                for warning in &config.warnings {
                    warn!("{warning}");
                }
                if config.options.web != self.web {
                    warn!("options of --web. take effect at the next start alone");
                }
                info!(unchanged, changed, added, removed, "configuration reloaded");
                Ok(())
            }
            Err(problem) => {
                self.exporter.configure(ConfigStatus { successful: false, ..self.exporter.configured() });
                error!(error = problem, "configuration not reloaded; all goes on as before");
                Err(problem)
            }
        }
    }
}

/// What the web side calls.
fn reload(ask: mpsc::Sender<Ask>) -> Reload {
    Reload(Arc::new(move || {
        let ask = ask.clone();
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let gone = || "the exporter is stopping".to_owned();
            ask.send(answer).await.map_err(|_| gone())?;
            answered.await.map_err(|_| gone())?
        })
    }))
}
