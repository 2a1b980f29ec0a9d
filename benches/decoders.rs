//! Why pages are decoded with `serde_json`: the same fields of the same pages by the alternatives.
//!
//! What the others leave out is in their favour: neither reads a page past a record that is odd, and
//! `simd-json` has no way to keep the digits of an amount, so that its sums could not be exact.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails has nothing to measure")]
#![expect(dead_code, reason = "what is decoded is not looked at")]

mod pages;

use std::borrow::Cow;
use std::time::SystemTime;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pages::Pages;
use serde::Deserialize;
use sonic_rs::LazyValue;
use tryvox_exporter::tryvox::{ListingPage, Pagination, optional_text, optional_timestamp};

#[derive(Deserialize)]
struct Envelope<R> {
    data: Vec<R>,
    pagination: Pagination,
}

/// A record whose amounts are of some type.
#[derive(Deserialize)]
struct Record<'a, Amount, Capabilities> {
    #[serde(borrow)]
    e164: Cow<'a, str>,
    #[serde(borrow)]
    country: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(borrow)]
    currency: Cow<'a, str>,
    monthly_fee: Amount,
    setup_fee: Amount,
    capabilities: Capabilities,
    #[serde(borrow, deserialize_with = "optional_text")]
    region: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "optional_text")]
    trunk_id: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "optional_text")]
    application_id: Option<Cow<'a, str>>,
    #[serde(deserialize_with = "optional_timestamp")]
    created_at: Option<SystemTime>,
    #[serde(deserialize_with = "optional_timestamp")]
    updated_at: Option<SystemTime>,
}

fn decoders(c: &mut Criterion) {
    let pages = Pages::of(&pages::world());
    let mut group = c.benchmark_group("decoders");
    group.throughput(Throughput::Bytes(pages.bytes()));
    let mut bench = |name: &str, records: &dyn Fn(&[u8]) -> usize| {
        group.bench_function(name, |b| b.iter(|| pages.0.iter().map(|page| records(page)).sum::<usize>()));
    };
    bench("serde_json", &|page| ListingPage::parse(page).unwrap().records.len());
    bench("sonic-rs", &|page| {
        type Lazy<'a> = Envelope<Record<'a, LazyValue<'a>, LazyValue<'a>>>;
        sonic_rs::from_slice::<Lazy<'_>>(page).unwrap().data.len()
    });
    bench("simd-json", &|page| {
        // It decodes in place, and a body is shared.
        let mut page = page.to_vec();
        simd_json::from_slice::<Envelope<Record<'_, f64, Vec<Cow<'_, str>>>>>(&mut page).unwrap().data.len()
    });
    group.finish();
}

criterion_group!(benches, decoders);
criterion_main!(benches);
