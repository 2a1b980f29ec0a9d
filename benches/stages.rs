//! Measures each stage from the pages of a listing to the response to a scrape: decode, fold, diff, encode, a whole poll
//! and a request to the router. No stage uses a socket.
//!
//! `cargo bench --bench stages` measures; `cargo test --benches` runs each benchmark once.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails measures nothing")]

mod pages;

use std::collections::{BTreeMap, HashSet};
use std::hint::black_box;
use std::sync::Arc;
use std::time::SystemTime;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use axum::http::header::{ACCEPT, ACCEPT_ENCODING};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pages::{NUMBERS, PER_PAGE, Pages, simulated_account};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{StatusCode, Url};
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tower_service::Service;
use tryvox_exporter::config::{AccountConfig, PollOptions, RoutePrefix};
use tryvox_exporter::inventory::{CollectorOptions, FoldedListing, Listing, ListingDifference, ListingFold};
use tryvox_exporter::metrics::{AccountMetrics, ConfigStatus, ExporterMetrics, render_listing};
use tryvox_exporter::poller::{Account, Fleet, Poller, total_suspended_time};
use tryvox_exporter::tryvox::{
    ApiKey, ApiKeySource, ApiResponse, ClientContext, Failure, FairLimit, ListingPage, PageText, STATUSES, Transport,
    TryvoxClient, TryvoxOptions,
};
use tryvox_exporter::web::{AppState, router};

/// The `Accept` header of Prometheus 2.
const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;\
    q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

/// [`PER_PAGE`] as the option has it.
#[expect(clippy::cast_possible_truncation, reason = "it is 100")]
const REQUESTED: u8 = PER_PAGE as u8;

/// Folds decoded pages.
fn fold(pages: &[ListingPage<'_>], options: &Arc<CollectorOptions>) -> FoldedListing {
    let mut fold = ListingFold::new(options.clone(), Arc::default(), STATUSES.map(Arc::from).to_vec(), HashSet::new());
    for (page, page_number) in pages.iter().zip(1..) {
        fold.add_page(page_number, page, |_| {});
    }
    fold.finish()
}

fn texts(pages: &Pages) -> Vec<PageText<'_>> {
    pages.0.iter().map(|page| PageText::new(page)).collect()
}

fn decode<'a>(texts: &'a [PageText<'_>]) -> Vec<ListingPage<'a>> {
    texts.iter().map(|text| ListingPage::parse(text, REQUESTED).unwrap()).collect()
}

/// Responds with the pages instead of sending requests.
impl Transport for Pages {
    fn get(&self, url: Url, _: HeaderValue) -> BoxFuture<'_, Result<ApiResponse, Failure>> {
        let (_, page) = url.query_pairs().find(|(name, _)| name == "page").unwrap();
        let body = self.0[page.parse::<usize>().unwrap() - 1].clone().into();
        async move { Ok(ApiResponse { status: StatusCode::OK, headers: HeaderMap::new(), body }) }.boxed()
    }
}

/// Enables all collectors.
fn all_collectors() -> Arc<CollectorOptions> {
    Arc::new(CollectorOptions { region: true, trunk: true, application: true, ..CollectorOptions::default() })
}

fn new_poller(pages: Pages, collector: Arc<CollectorOptions>) -> Poller {
    let context = ClientContext {
        transport: Arc::new(pages),
        fair_limit: Arc::new(FairLimit::new(64)),
        now: SystemTime::now,
        rng: fastrand::Rng::new(),
    };
    let tryvox = TryvoxOptions { rate_limit: 0.0, per_page: REQUESTED, ..TryvoxOptions::default() };
    let poll = PollOptions { max_discrepancy: 0.0, ..PollOptions::default() };
    let interval = poll.interval;
    let client = TryvoxClient::new("acc_demo", "acc_demo", tryvox.clone(), context);
    let config = AccountConfig {
        name: "acc_demo".into(),
        account_id: "acc_demo".into(),
        key: ApiKeySource::Value(ApiKey::new(&"key".into()).unwrap()),
        tryvox,
        poll,
        collector,
        budget: BTreeMap::new(),
        owners: Arc::default(),
        watch: Arc::default(),
    };
    Poller {
        account: Arc::new(Account::new(config, client)),
        first_interval: interval,
        reactions: Vec::new(),
        now: SystemTime::now,
        suspended: total_suspended_time,
        rng: fastrand::Rng::new(),
    }
}

fn bench_poll_stages(c: &mut Criterion) {
    let (mut account, options) = (simulated_account(), all_collectors());
    let pages = Pages::new(&account);

    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Bytes(pages.size()));
    group.bench_function("pages", |b| {
        let count = |page| ListingPage::parse(&PageText::new(page), REQUESTED).unwrap().records.len();
        b.iter(|| pages.0.iter().map(|page| count(page)).sum::<usize>());
    });
    group.finish();

    let texts_before = texts(&pages);
    let decoded = decode(&texts_before);
    let mut group = c.benchmark_group("fold");
    group.throughput(Throughput::Elements(NUMBERS as u64));
    group.bench_function("numbers", |b| b.iter(|| fold(&decoded, &options)));
    group.finish();

    let before = fold(&decoded, &options).number_states;
    for _ in 0..100 {
        account.change(SystemTime::now());
    }
    let pages_after = Pages::new(&account);
    let FoldedListing { inventory, number_states: after, .. } = fold(&decode(&texts(&pages_after)), &options);
    let mut group = c.benchmark_group("diff");
    group.throughput(Throughput::Elements(NUMBERS as u64));
    group.bench_function("numbers", |b| b.iter(|| ListingDifference::between(&before, &after)));
    group.finish();

    let listing = Listing { reported: inventory.listed, inventory, ..Listing::default() };
    let families = render_listing("acc_demo", &listing, None);
    let mut group = c.benchmark_group("encode");
    group.throughput(Throughput::Bytes(families.iter().map(|family| family.bytes().len() as u64).sum()));
    group.bench_function("listing", |b| {
        b.iter_batched(|| &listing, |listing| render_listing("acc_demo", listing, None), BatchSize::SmallInput);
    });
    group.finish();

    let runtime = Runtime::new().unwrap();
    let mut group = c.benchmark_group("poll");
    group.sample_size(10).throughput(Throughput::Elements(NUMBERS as u64));
    let mut poller = new_poller(pages, options);
    let _metrics = AccountMetrics::attach(&mut poller);
    group.bench_function("numbers", |b| b.to_async(&runtime).iter(|| poller.once()));
    group.finish();
}

/// Measures the response to a scrape: negotiation, and joining the rendered families with the live metrics.
fn bench_scrape(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut group = c.benchmark_group("negotiate");
    for number_series in [0, 10_000] {
        let options = CollectorOptions {
            number_statuses: ["active", "suspended"].map(str::to_owned).into(),
            // Each number has three series.
            number_limit: number_series / 3,
            ..CollectorOptions::default()
        };
        let router = runtime.block_on(async {
            let mut poller = new_poller(Pages::new(&simulated_account()), Arc::new(options));
            let metrics = AccountMetrics::attach(&mut poller);
            poller.once().await;
            let now = SystemTime::now();
            let exporter =
                ExporterMetrics::new(ConfigStatus { is_valid: true, loaded_at: now, shard: 0, total_shards: 1 });
            router(Arc::new(AppState {
                fleet: Arc::new(Fleet::from_iter([metrics])),
                exporter: Arc::new(exporter),
                route_prefix: RoutePrefix::default(),
                telemetry_path: "/metrics".into(),
                reload: None,
                started_at: Instant::now(),
                is_ready: true.into(),
            }))
        });
        for encoding in ["identity", "gzip", "zstd"] {
            let scrape = async || {
                let request = Request::get("/metrics").header(ACCEPT, OPEN_METRICS).header(ACCEPT_ENCODING, encoding);
                let response = router.clone().call(request.body(Body::empty()).unwrap()).await.unwrap();
                to_bytes(response.into_body(), usize::MAX).await.unwrap().len()
            };
            group.throughput(Throughput::Elements(1));
            let name = if number_series == 0 { "few series" } else { "10000 series" };
            group.bench_function(BenchmarkId::new(name, encoding), |b| {
                b.to_async(&runtime).iter(|| async { black_box(scrape().await) });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, bench_poll_stages, bench_scrape);
criterion_main!(benches);
