//! Runs a poller and a simulated API in one process, without a socket.
//!
//! Time is tokio's: with the clock paused, weeks of polling take milliseconds. Everything from the HTTP
//! request to the rendered exposition is the exporter's own code; only the network is replaced.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, RwLock};
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::http::Request;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tryvox_exporter::config::{AccountConfig, PollOptions};
use tryvox_exporter::inventory::CollectorOptions;
use tryvox_exporter::metrics::{self, AccountMetrics, ConfigStatus, ExporterMetrics, Format};
use tryvox_exporter::poller::{Account, PollPhase, Poller};
use tryvox_exporter::simulator::{Fault, Faults, SimulatedAccount, SimulatedConnection, Simulator};
use tryvox_exporter::tryvox::{
    ApiKey, ApiKeySource, ApiResponse, ClientContext, Failure, FailureReason, FairLimit, ResponseBody, Transport,
    TryvoxClient, TryvoxOptions,
};

use super::expected::{self, Series};
use super::{KEY, Scrape};

/// Options of a poller under test and of the API that it polls.
#[derive(Debug, Clone)]
pub(crate) struct HarnessOptions {
    /// The account's id, and its name in the metrics.
    pub(crate) account: String,
    /// The time of day that the poller and the simulator see.
    pub(crate) now: fn() -> SystemTime,
    /// The time for which the machine has been suspended.
    pub(crate) suspended: fn() -> Duration,
    pub(crate) numbers: usize,
    pub(crate) seed: u64,
    pub(crate) per_page: u8,
    pub(crate) concurrency: usize,
    /// Requests per second; 0 means no limit.
    pub(crate) rate_limit: f64,
    /// How long the simulator takes to respond.
    pub(crate) latency: Duration,
    pub(crate) interval: Duration,
    pub(crate) retry_for: Duration,
    /// The timeout of a poll.
    pub(crate) timeout: Duration,
    /// Where the API is; without a network it does not matter.
    pub(crate) url: Url,
    pub(crate) stale_after: Duration,
    pub(crate) countries: Option<Vec<String>>,
    pub(crate) statuses: Option<Vec<String>>,
    pub(crate) collector: CollectorOptions,
}

impl Default for HarnessOptions {
    fn default() -> Self {
        Self {
            account: "acc_demo".into(),
            now,
            suspended: || Duration::ZERO,
            numbers: 60,
            seed: super::seed(),
            per_page: 10,
            concurrency: 3,
            rate_limit: 0.0,
            latency: Duration::from_millis(20),
            interval: Duration::from_mins(5),
            retry_for: Duration::from_secs(30),
            timeout: Duration::from_mins(5),
            url: "http://in.process".parse().unwrap(),
            stale_after: Duration::from_mins(15),
            countries: None,
            statuses: None,
            collector: CollectorOptions::default(),
        }
    }
}

/// A running poller with its simulated API. Dropping it stops the poller.
pub(crate) struct Harness {
    pub(crate) simulator: Arc<Simulator>,
    pub(crate) recorder: Arc<StateRecorder>,
    poller: Poller,
    metrics: Arc<AccountMetrics>,
    exporter: Arc<ExporterMetrics>,
    task: JoinHandle<()>,
    pub(crate) stop: CancellationToken,
}

/// Records every state of the account `acc_demo`: the JSON records of its numbers.
///
/// The account is compared before and after each request. That finds every state as long as only
/// requests change the account, as the fault `shift` does. `None` means that recording is off.
#[derive(Debug, Default)]
pub(crate) struct StateRecorder(Mutex<Option<Vec<Vec<String>>>>);

impl StateRecorder {
    /// Discards earlier states and starts to record.
    pub(crate) fn start(&self) {
        *self.0.lock().unwrap() = Some(Vec::new());
    }

    /// Stops recording and returns the series of each distinct state since [`Self::start`], oldest first.
    pub(crate) fn finish(&self) -> Vec<Series> {
        let states = self.0.lock().unwrap().take().unwrap();
        states.iter().map(|records| expected::from_records("acc_demo", records.iter())).collect()
    }

    fn record(&self, simulator: &Simulator) {
        if let Some(states) = &mut *self.0.lock().unwrap() {
            let account = simulator.accounts["acc_demo"].read().unwrap();
            if states.last().is_none_or(|last| !account.records().eq(last)) {
                states.push(account.records().map(str::to_owned).collect());
            }
        }
    }
}

/// Passes requests to the simulator and its responses back without a network.
#[derive(Debug)]
struct InProcessTransport {
    simulator: Arc<Simulator>,
    recorder: Arc<StateRecorder>,
    /// The connection that all requests use, as with HTTP/2, and when it was opened.
    connection: Mutex<(SimulatedConnection, Instant)>,
}

impl Transport for InProcessTransport {
    fn get(&self, url: Url, authorization: HeaderValue) -> BoxFuture<'_, Result<ApiResponse, Failure>> {
        async move {
            let mut request =
                Request::get(url.as_str()).header(AUTHORIZATION, authorization).body(Body::empty()).unwrap();
            request.extensions_mut().insert(self.connection.lock().unwrap().0.clone());
            self.recorder.record(&self.simulator);
            let response = self.simulator.respond(request).await;
            self.recorder.record(&self.simulator);
            let (head, body) =
                response.map_err(|cut| Failure::new(FailureReason::Connect, cut.to_string()))?.into_parts();
            let body = ResponseBody::from_stream(body.into_data_stream());
            Ok(ApiResponse { status: head.status, headers: head.headers, body })
        }
        .boxed()
    }

    fn discard_connections(&self, _: &Url, time: Instant) {
        let mut connection = self.connection.lock().unwrap();
        if connection.1 <= time {
            *connection = (SimulatedConnection::default(), Instant::now());
        }
    }
}

/// Returns a time of day that advances with tokio's clock, paused or not.
pub(crate) fn now() -> SystemTime {
    static START: LazyLock<(SystemTime, std::time::Instant)> =
        LazyLock::new(|| (SystemTime::now(), std::time::Instant::now()));
    let (time_of_day, start) = *START;
    time_of_day + Instant::now().into_std().saturating_duration_since(start)
}

/// Builds a poller that sends its requests through `transport`.
pub(crate) fn build_poller(options: &HarnessOptions, key: ApiKey, transport: Arc<dyn Transport>) -> Poller {
    let context = ClientContext {
        transport,
        fair_limit: Arc::new(FairLimit::new(64)),
        now: options.now,
        rng: fastrand::Rng::with_seed(options.seed),
    };
    let tryvox = TryvoxOptions {
        url: options.url.clone(),
        retry_for: options.retry_for,
        concurrency: options.concurrency,
        rate_limit: options.rate_limit,
        per_page: options.per_page,
        countries: options.countries.clone(),
        statuses: options.statuses.clone(),
        ..TryvoxOptions::default()
    };
    let poll = PollOptions {
        interval: options.interval,
        explicit_timeout: Some(options.timeout),
        explicit_stale_after: Some(options.stale_after),
        ..PollOptions::default()
    };
    let client = TryvoxClient::new(&options.account, &options.account, tryvox.clone(), context);
    let config = AccountConfig {
        name: options.account.clone(),
        account_id: options.account.clone(),
        key: ApiKeySource::Value(key),
        tryvox,
        poll,
        collector: Arc::new(options.collector.clone()),
        budget: BTreeMap::new(),
        owners: Arc::default(),
        watch: Arc::default(),
    };
    Poller {
        account: Arc::new(Account::new(config, client)),
        first_interval: options.interval,
        reactions: Vec::new(),
        now: options.now,
        suspended: options.suspended,
        rng: fastrand::Rng::with_seed(options.seed),
    }
}

/// Builds a simulated API of these accounts that accepts [`KEY`] and has no faults.
pub(crate) fn build_simulator(
    accounts: BTreeMap<String, RwLock<SimulatedAccount>>,
    latency: Duration,
    seed: u64,
    now: fn() -> SystemTime,
) -> Arc<Simulator> {
    let authorization = ApiKey::new(&KEY.into()).unwrap().bearer().unwrap();
    let faults = Faults::new(Vec::new(), seed);
    Arc::new(Simulator { authorization, latency, faults, accounts, now, requests: AtomicU64::new(0) })
}

impl Harness {
    /// Starts a poller; its first poll begins immediately.
    pub(crate) fn start(options: &HarnessOptions) -> Self {
        let simulated = SimulatedAccount::new(options.numbers, options.seed, (options.now)());
        let accounts = [(options.account.clone(), RwLock::new(simulated))].into();
        let simulator = build_simulator(accounts, options.latency, options.seed, options.now);
        let recorder = Arc::new(StateRecorder::default());
        let transport = InProcessTransport {
            simulator: simulator.clone(),
            recorder: recorder.clone(),
            connection: Mutex::new((SimulatedConnection::default(), Instant::now())),
        };
        let mut poller = build_poller(options, ApiKey::new(&KEY.into()).unwrap(), Arc::new(transport));
        let metrics = AccountMetrics::attach(&mut poller);
        let stop = CancellationToken::new();
        let task = tokio::spawn(poller.clone().run(stop.clone()));
        Self {
            poller,
            simulator,
            recorder,
            metrics,
            exporter: Arc::new(ExporterMetrics::new(ConfigStatus {
                is_valid: true,
                loaded_at: now(),
                shard: 0,
                total_shards: 1,
            })),
            task,
            stop,
        }
    }

    /// Changes the account's configuration as a reload does.
    pub(crate) fn reconfigure(&self, change: impl FnOnce(&mut AccountConfig)) {
        let mut config = (*self.poller.account.config()).clone();
        change(&mut config);
        self.poller.reconfigure(config);
    }

    /// Returns when the next poll is due, once the poller knows the latest configuration.
    ///
    /// # Panics
    /// If a poll is running.
    pub(crate) async fn next_poll_at(&self) -> Instant {
        // On the paused clock, other tasks have nothing left to do when a sleep ends.
        sleep(Duration::from_millis(1)).await;
        match self.poller.account.phase() {
            PollPhase::Waiting(next_poll_at) => next_poll_at,
            PollPhase::Polling(_) => panic!("a poll is running"),
        }
    }

    /// Replaces the simulator's faults; an empty list turns all of them off.
    pub(crate) fn set_faults(&self, faults: &str) {
        self.simulator.faults.set(Fault::parse_list(faults).unwrap());
    }

    /// Returns how many requests the simulator received.
    pub(crate) fn requests(&self) -> u64 {
        self.simulator.requests.load(Ordering::SeqCst)
    }

    /// Returns how many polls have finished, successful or not.
    pub(crate) fn polls(&self) -> u64 {
        self.metrics.account().snapshot().polls.successes + self.failed_polls()
    }

    /// Returns how many polls have failed.
    pub(crate) fn failed_polls(&self) -> u64 {
        self.metrics.account().snapshot().polls.failures.iter().sum()
    }

    /// Returns the error of the last poll as the log shows it.
    ///
    /// # Panics
    /// If the last poll did not fail.
    pub(crate) fn last_failure(&self) -> String {
        self.metrics.account().snapshot().polls.failure.as_ref().unwrap().to_string()
    }

    /// Waits until at least `count` polls have finished since the start.
    pub(crate) async fn wait_for_polls(&self, count: u64) {
        let start = Instant::now();
        while self.polls() < count {
            assert!(!self.task.is_finished(), "the poller task ended");
            assert!(start.elapsed() < Duration::from_hours(24 * 7), "poll {count} does not finish within a week");
            sleep(Duration::from_millis(500)).await;
        }
    }

    /// Scrapes the exporter.
    pub(crate) fn scrape(&self) -> Scrape {
        scrape_account(&self.metrics, &self.exporter)
    }

    /// Returns the series that a listing of the account's present numbers must have.
    pub(crate) fn expected_series(&self) -> Series {
        expected::from_records("acc_demo", self.simulator.accounts["acc_demo"].read().unwrap().records())
    }
}

/// Scrapes a single account without a socket.
pub(crate) fn scrape_account(metrics: &Arc<AccountMetrics>, exporter: &Arc<ExporterMetrics>) -> Scrape {
    Scrape(metrics::Scrape::new(std::slice::from_ref(metrics), exporter.clone()).text(Format::Text))
}

impl Drop for Harness {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
