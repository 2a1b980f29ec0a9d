//! Compares the reader of documented pages with its alternatives on the same fields of the same pages.
//!
//! The alternatives do less here than they would have to: none skips a single invalid record, and `simd-json` cannot
//! return the digits of an amount, so sums of its amounts would not be exact.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails measures nothing")]
#![expect(dead_code, reason = "the decoded fields are not read")]

mod pages;

use std::borrow::Cow;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pages::Pages;
use serde::Deserialize;
use serde_json::value::RawValue;
use sonic_rs::LazyValue;
use tryvox_exporter::tryvox::{ListingPage, PageText, Pagination, optional_text, optional_timestamp};

#[derive(Deserialize)]
struct Envelope<R> {
    data: Vec<R>,
    pagination: Pagination,
}

/// A record with the decoder's own types for amounts and capabilities.
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
    created_at: Option<u32>,
    #[serde(deserialize_with = "optional_timestamp")]
    updated_at: Option<u32>,
}

fn bench_decoders(c: &mut Criterion) {
    let pages = Pages::new(&pages::simulated_account());
    let mut group = c.benchmark_group("decoders");
    group.throughput(Throughput::Bytes(pages.size()));
    let mut bench = |name: &str, count_records: &dyn Fn(&[u8]) -> usize| {
        group.bench_function(name, |b| b.iter(|| pages.0.iter().map(|page| count_records(page)).sum::<usize>()));
    };
    bench("tryvox-exporter", &|page| ListingPage::parse(&PageText::new(page), 100).unwrap().records.len());
    bench("serde_json", &|page| {
        serde_json::from_slice::<Envelope<Record<'_, &RawValue, &RawValue>>>(page).unwrap().data.len()
    });
    bench("sonic-rs", &|page| {
        type Lazy<'a> = Envelope<Record<'a, LazyValue<'a>, LazyValue<'a>>>;
        sonic_rs::from_slice::<Lazy<'_>>(page).unwrap().data.len()
    });
    bench("simd-json", &|page| {
        // It decodes in place, but bodies are shared.
        let mut page = page.to_vec();
        simd_json::from_slice::<Envelope<Record<'_, f64, Vec<Cow<'_, str>>>>>(&mut page).unwrap().data.len()
    });
    group.finish();
}

criterion_group!(benches, bench_decoders);
criterion_main!(benches);
