//! What each stage of the way of the data costs, without sockets: pages in, an answer out.
//!
//! `cargo bench --bench stages` measures; `cargo test --benches` runs each once.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails has nothing to measure")]

mod pages;

use std::collections::HashSet;
use std::hint::black_box;
use std::sync::Arc;
use std::time::SystemTime;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use axum::http::header::{ACCEPT, ACCEPT_ENCODING};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pages::{NUMBERS, PER_PAGE, Pages, world};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{StatusCode, Url};
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tower_service::Service;
use tryvox_exporter::config::{AccountConfig, PollOptions};
use tryvox_exporter::inventory::{CollectorOptions, Difference, Fold, Folded};
use tryvox_exporter::metrics::{AccountMetrics, ConfigStatus, ExporterMetrics, render_listing};
use tryvox_exporter::poller::{Account, Budget, Fleet, Listing, Poller};
use tryvox_exporter::tryvox::{
    ApiKey, ApiResponse, Client, ClientContext, Failure, FairLimit, KeySource, Page, STATUSES, Transport, TryvoxOptions,
};
use tryvox_exporter::web::{AppState, router};

/// Prometheus 2 asks like this.
const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;\
    q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

fn fold(pages: &Pages, collect: &Arc<CollectorOptions>) -> Folded {
    let mut fold = Fold::new(collect.clone(), STATUSES.map(Arc::from).to_vec(), HashSet::new());
    for (page, number) in pages.0.iter().zip(1..) {
        fold.page(number, &Page::read(page).unwrap(), |_| {});
    }
    fold.finish()
}

/// The pages as if they had come over a network.
impl Transport for Pages {
    fn get(&self, url: Url, _: HeaderValue) -> BoxFuture<'_, Result<ApiResponse, Failure>> {
        let (_, page) = url.query_pairs().find(|(name, _)| name == "page").unwrap();
        let body = Ok(self.0[page.parse::<usize>().unwrap() - 1].clone());
        async { Ok(ApiResponse { status: StatusCode::OK, headers: HeaderMap::new(), body }) }.boxed()
    }
}

/// Everything that there is to count.
fn everything() -> Arc<CollectorOptions> {
    Arc::new(CollectorOptions { region: true, trunk: true, application: true, ..CollectorOptions::default() })
}

fn poller(pages: Pages, collect: Arc<CollectorOptions>) -> Poller {
    let context = ClientContext {
        transport: Arc::new(pages),
        gate: Arc::new(FairLimit::new(64)),
        now: SystemTime::now,
        rng: fastrand::Rng::new(),
    };
    let tryvox =
        TryvoxOptions { rate_limit: 0.0, per_page: u8::try_from(PER_PAGE).unwrap(), ..TryvoxOptions::default() };
    let poll = PollOptions { max_discrepancy: 0.0, ..PollOptions::default() };
    let interval = poll.interval;
    let client = Client::new("acc_demo", "acc_demo", tryvox.clone(), context);
    Poller {
        account: Arc::new(Account::new("acc_demo", interval, Budget::new(), client)),
        config: Arc::new(AccountConfig {
            name: "acc_demo".into(),
            account_id: "acc_demo".into(),
            key: KeySource::Given(ApiKey::new(&"key".into()).unwrap()),
            tryvox,
            poll,
            collector: collect,
            budget: Budget::new(),
        }),
        first_interval: interval,
        reactions: Vec::new(),
        now: SystemTime::now,
    }
}

fn listing(c: &mut Criterion) {
    let (mut world, collect) = (world(), everything());
    let pages = Pages::of(&world);

    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Bytes(pages.bytes()));
    group.bench_function("pages", |b| {
        b.iter(|| pages.0.iter().map(|page| Page::read(page).unwrap().records.len()).sum::<usize>());
    });
    group.finish();

    let read: Vec<Page<'_>> = pages.0.iter().map(|page| Page::read(page).unwrap()).collect();
    let mut group = c.benchmark_group("fold");
    group.throughput(Throughput::Elements(NUMBERS as u64));
    group.bench_function("numbers", |b| {
        b.iter(|| {
            let mut fold = Fold::new(collect.clone(), STATUSES.map(Arc::from).to_vec(), HashSet::new());
            for (page, number) in read.iter().zip(1..) {
                fold.page(number, page, |_| {});
            }
            fold.finish()
        });
    });
    group.finish();

    let before = fold(&pages, &collect).snapshot;
    for _ in 0..100 {
        world.live(SystemTime::now());
    }
    let Folded { inventory, snapshot: after, .. } = fold(&Pages::of(&world), &collect);
    let mut group = c.benchmark_group("diff");
    group.throughput(Throughput::Elements(NUMBERS as u64));
    group.bench_function("numbers", |b| b.iter(|| Difference::between(&before, &after)));
    group.finish();

    let listed = Listing { reported: inventory.listed, inventory };
    let encoded = render_listing("acc_demo", &listed, None);
    let mut group = c.benchmark_group("encode");
    group.throughput(Throughput::Bytes(encoded.iter().map(|text| text.bytes().len() as u64).sum()));
    group.bench_function("listing", |b| {
        b.iter_batched(|| &listed, |listed| render_listing("acc_demo", listed, None), BatchSize::SmallInput);
    });
    group.finish();

    let runtime = Runtime::new().unwrap();
    let mut group = c.benchmark_group("poll");
    group.sample_size(10).throughput(Throughput::Elements(NUMBERS as u64));
    let mut poller = poller(pages, collect);
    let _metrics = AccountMetrics::attach(&mut poller);
    group.bench_function("numbers", |b| b.to_async(&runtime).iter(|| poller.once()));
    group.finish();
}

/// An answer: what is asked for is read, and what is ready is put together.
fn answer(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut group = c.benchmark_group("negotiate");
    for limit in [0, 10_000] {
        let collect = CollectorOptions {
            number_statuses: ["active", "suspended"].map(str::to_owned).into(),
            number_limit: limit / 3,
            ..CollectorOptions::default()
        };
        let router = runtime.block_on(async {
            let mut poller = poller(Pages::of(&world()), Arc::new(collect));
            let metrics = AccountMetrics::attach(&mut poller);
            poller.once().await;
            let now = SystemTime::now();
            let exporter =
                ExporterMetrics::new(ConfigStatus { is_valid: true, loaded_at: now, shard: 0, total_shards: 1 });
            router(Arc::new(AppState {
                fleet: Arc::new(Fleet::from_iter([metrics])),
                exporter: Arc::new(exporter),
                telemetry_path: "/metrics".into(),
                reload: None,
                started: Instant::now(),
                ready: true.into(),
            }))
        });
        for coding in ["identity", "gzip", "zstd"] {
            let ask = async || {
                let request = Request::get("/metrics").header(ACCEPT, OPEN_METRICS).header(ACCEPT_ENCODING, coding);
                let answer = router.clone().call(request.body(Body::empty()).unwrap()).await.unwrap();
                to_bytes(answer.into_body(), usize::MAX).await.unwrap().len()
            };
            group.throughput(Throughput::Elements(1));
            let series = if limit == 0 { "few series" } else { "10000 series" };
            group.bench_function(BenchmarkId::new(series, coding), |b| {
                b.to_async(&runtime).iter(|| async { black_box(ask().await) });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, listing, answer);
criterion_main!(benches);
