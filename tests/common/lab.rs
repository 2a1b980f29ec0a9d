//! A poller and a simulated API in one process, without a socket: time is tokio's, so a test that
//! pauses it lives through weeks in a moment. What is left out is the network alone.

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
use tryvox_exporter::poller::{Account, Budget, Poller};
use tryvox_exporter::simulator::{Fault, Faults, SimulatedAccount, Simulator};
use tryvox_exporter::tryvox::{
    ApiKey, ApiResponse, Client, ClientContext, Failure, FairLimit, KeySource, Reason, Transport, TryvoxOptions,
    read_body,
};

use super::truth::{self, Series};
use super::{KEY, Scrape};

/// How the poller of a lab is set up.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) account: String,
    /// What time it is.
    pub(crate) now: fn() -> SystemTime,
    pub(crate) numbers: usize,
    pub(crate) seed: u64,
    pub(crate) per_page: u8,
    pub(crate) concurrency: usize,
    pub(crate) rate: f64,
    pub(crate) latency: Duration,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) stale_after: Duration,
    pub(crate) countries: Option<Vec<String>>,
    pub(crate) statuses: Option<Vec<String>>,
    pub(crate) collector: CollectorOptions,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            account: "acc_demo".into(),
            now,
            numbers: 60,
            seed: super::seed(),
            per_page: 10,
            concurrency: 3,
            rate: 0.0,
            latency: Duration::from_millis(20),
            interval: Duration::from_mins(5),
            timeout: Duration::from_mins(5),
            stale_after: Duration::from_mins(15),
            countries: None,
            statuses: None,
            collector: CollectorOptions::default(),
        }
    }
}

/// A poller that runs until this is dropped.
pub(crate) struct Lab {
    pub(crate) simulator: Arc<Simulator>,
    pub(crate) history: Arc<History>,
    metrics: Arc<AccountMetrics>,
    exporter: Arc<ExporterMetrics>,
    task: JoinHandle<()>,
    pub(crate) stop: CancellationToken,
}

/// What the account had at each moment, where that is kept: the JSON of its numbers.
#[derive(Debug, Default)]
pub(crate) struct History(Mutex<Option<Vec<Vec<String>>>>);

impl History {
    /// Forgets what there was and begins to keep.
    pub(crate) fn begin(&self) {
        *self.0.lock().unwrap() = Some(Vec::new());
    }

    /// The moments since then.
    pub(crate) fn end(&self) -> Vec<Series> {
        let moments = self.0.lock().unwrap().take().unwrap();
        moments.iter().map(|moment| truth::of_records("acc_demo", moment.iter())).collect()
    }

    fn keep(&self, simulator: &Simulator) {
        if let Some(moments) = &mut *self.0.lock().unwrap() {
            let world = simulator.accounts["acc_demo"].read().unwrap();
            if moments.last().is_none_or(|last| !world.listing().eq(last)) {
                moments.push(world.listing().map(str::to_owned).collect());
            }
        }
    }
}

/// The simulator's answers, as if they had come over a network.
#[derive(Debug)]
struct InProcess(Arc<Simulator>, Arc<History>);

impl Transport for InProcess {
    fn get(&self, url: Url, authorization: HeaderValue) -> BoxFuture<'_, Result<ApiResponse, Failure>> {
        async move {
            let request = Request::get(url.as_str()).header(AUTHORIZATION, authorization).body(Body::empty()).unwrap();
            self.1.keep(&self.0);
            let answered = self.0.answer(request).await;
            self.1.keep(&self.0);
            let (head, body) = answered.map_err(|cut| Failure::new(Reason::Connect, cut.to_string()))?.into_parts();
            let body = if head.status == 200 { read_body(body.into_data_stream()).await } else { Ok([][..].into()) };
            Ok(ApiResponse { status: head.status, headers: head.headers, body })
        }
        .boxed()
    }
}

/// The time of day that goes with tokio's clock.
pub(crate) fn now() -> SystemTime {
    static START: LazyLock<(SystemTime, std::time::Instant)> =
        LazyLock::new(|| (SystemTime::now(), std::time::Instant::now()));
    let (day, start) = *START;
    day + Instant::now().into_std().saturating_duration_since(start)
}

/// A poller of the account whose requests go this way.
pub(crate) fn poller(setup: &Setup, key: ApiKey, transport: Arc<dyn Transport>) -> Poller {
    let context = ClientContext {
        transport,
        gate: Arc::new(FairLimit::new(64)),
        now: setup.now,
        rng: fastrand::Rng::with_seed(setup.seed),
    };
    let tryvox = TryvoxOptions {
        url: "http://in.process".parse().unwrap(),
        concurrency: setup.concurrency,
        rate_limit: setup.rate,
        per_page: setup.per_page,
        countries: setup.countries.clone(),
        statuses: setup.statuses.clone(),
        ..TryvoxOptions::default()
    };
    let poll = PollOptions {
        interval: setup.interval,
        timeout: Some(setup.timeout),
        stale_after: Some(setup.stale_after),
        ..PollOptions::default()
    };
    let client = Client::new(&setup.account, &setup.account, tryvox.clone(), context);
    Poller {
        account: Arc::new(Account::new(&setup.account, setup.interval, Budget::new(), client)),
        config: Arc::new(AccountConfig {
            name: setup.account.clone(),
            account_id: setup.account.clone(),
            key: KeySource::Given(key),
            tryvox,
            poll,
            collector: Arc::new(setup.collector.clone()),
            budget: Budget::new(),
        }),
        first_interval: setup.interval,
        reactions: Vec::new(),
        now: setup.now,
    }
}

/// An API of these accounts that takes [`KEY`] and does nothing wrong.
pub(crate) fn simulator(
    accounts: BTreeMap<String, RwLock<SimulatedAccount>>,
    latency: Duration,
    seed: u64,
    now: fn() -> SystemTime,
) -> Arc<Simulator> {
    let authorization = ApiKey::new(&KEY.into()).unwrap().bearer().unwrap();
    let faults = Faults::new(Vec::new(), seed);
    Arc::new(Simulator { authorization, latency, faults, accounts, now, requests: AtomicU64::new(0) })
}

impl Lab {
    /// Starts to poll, at once.
    pub(crate) fn start(setup: &Setup) -> Self {
        let world = SimulatedAccount::new(setup.numbers, setup.seed, (setup.now)());
        let accounts = [(setup.account.clone(), RwLock::new(world))].into();
        let simulator = simulator(accounts, setup.latency, setup.seed, setup.now);
        let history = Arc::new(History::default());
        let key = ApiKey::new(&KEY.into()).unwrap();
        let mut poller = poller(setup, key, Arc::new(InProcess(simulator.clone(), history.clone())));
        let metrics = AccountMetrics::attach(&mut poller);
        let stop = CancellationToken::new();
        let task = tokio::spawn(poller.run(stop.clone()));
        Self {
            simulator,
            history,
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

    pub(crate) fn set_faults(&self, faults: &str) {
        self.simulator.faults.set(Fault::list(faults).unwrap());
    }

    /// How many requests the API saw.
    pub(crate) fn requests(&self) -> u64 {
        self.simulator.requests.load(Ordering::SeqCst)
    }

    /// How many polls ended.
    pub(crate) fn polls(&self) -> u64 {
        let published = self.metrics.account().snapshot();
        published.polls.successes + published.polls.failures.iter().sum::<u64>()
    }

    /// What the log says of the last poll, which failed.
    pub(crate) fn failure(&self) -> String {
        self.metrics.account().snapshot().polls.failure.as_ref().unwrap().to_string()
    }

    /// Waits until so many polls ended.
    pub(crate) async fn polled(&self, times: u64) {
        let start = Instant::now();
        while self.polls() < times {
            assert!(!self.task.is_finished(), "the poller is gone");
            assert!(start.elapsed() < Duration::from_hours(24 * 7), "no poll ends");
            sleep(Duration::from_millis(500)).await;
        }
    }

    pub(crate) fn scrape(&self) -> Scrape {
        scrape(&self.metrics, &self.exporter)
    }

    /// What the account has now.
    pub(crate) fn truth(&self) -> Series {
        truth::of_records("acc_demo", self.simulator.accounts["acc_demo"].read().unwrap().listing())
    }
}

/// A scrape of one account, without a socket.
pub(crate) fn scrape(metrics: &Arc<AccountMetrics>, exporter: &Arc<ExporterMetrics>) -> Scrape {
    Scrape(metrics::Scrape::new(std::slice::from_ref(metrics), exporter.clone()).text(Format::Text))
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
