//! The times of per-number series when a number is on several pages: they are those of the record that counts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fastrand::Rng;
use tokio::sync::watch;

use crate::common::api::{MockApi, page, record};
use crate::common::expected::Series;
use crate::common::{ServerProcess, seed};

/// A record in the model. Times are Unix timestamps.
#[derive(Debug, Clone, Copy)]
struct Record {
    status: &'static str,
    created: Option<u32>,
    updated: Option<u32>,
}

fn random_record(rng: &mut Rng) -> Record {
    let mut time = || (rng.u8(0..5) > 0).then(|| rng.u32(1_600_000_000..1_700_000_000));
    let (created, updated) = (time(), time());
    Record { status: ["active", "suspended", "pending"][rng.usize(0..3)], created, updated }
}

fn json(e164: &str, number: Record) -> String {
    let time = |time: Option<u32>| {
        let time = time.map(|time| SystemTime::UNIX_EPOCH + Duration::from_secs(time.into()));
        time.map_or("null".to_owned(), |time| format!("\"{}\"", humantime::format_rfc3339(time)))
    };
    let Record { status, created, updated } = number;
    record(e164, status, "1", "USD")
        .replace("\"2025-03-11T09:24:00Z\"", &time(created))
        .replace("\"2025-11-02T17:40:12Z\"", &time(updated))
}

/// Serves pages, of which each second one is received after the page that follows it.
async fn start_api(pages: Vec<Vec<String>>, total: usize) -> MockApi {
    let (pages, latest) = (Arc::new(pages), watch::Sender::new(0));
    MockApi::start(move |request| {
        let (pages, latest) = (pages.clone(), latest.clone());
        async move {
            let number = request.page;
            latest.send_modify(|latest| *latest = number.max(*latest));
            if number.is_multiple_of(2) && number < pages.len() {
                latest.subscribe().wait_for(|latest| *latest > number).await.unwrap();
            }
            page(&pages[number - 1], total, number, pages.len())
        }
    })
    .await
}

#[tokio::test]
async fn number_on_several_pages_has_the_times_of_the_last_record() {
    let mut rng = Rng::with_seed(seed());
    let mut records = Vec::new();
    let mut e164 = String::new();
    for number in 0..60 {
        e164.clear();
        write!(e164, "+1415555{number:04}").unwrap();
        records.extend((0..rng.usize(1..6)).map(|_| (e164.clone(), random_record(&mut rng))));
    }
    rng.shuffle(&mut records);
    let last: BTreeMap<&str, Record> = records.iter().map(|(e164, record)| (&**e164, *record)).collect();
    let pages = records.chunks(10).map(|page| page.iter().map(|(e164, record)| json(e164, *record)).collect());
    let api = start_api(pages.collect(), last.len()).await;

    let mut expected = Series::new();
    let mut add = |family: &str, labels: &str, time: Option<u32>| {
        let series = format!("tryvox_{family}_timestamp_seconds{{account=\"acc_demo\"{labels}}}");
        expected.extend(time.map(|time| (series, time.into())));
    };
    for (e164, record) in last.iter().filter(|(_, record)| record.status != "pending") {
        let labels = format!(",e164=\"{e164}\"");
        add("number_created", &labels, record.created);
        add("number_updated", &labels, record.updated);
    }
    add("newest_creation", "", last.values().filter_map(|record| record.created).max());

    let statuses = "--collector.number.statuses=active,suspended";
    let mut exporter = ServerProcess::exporter(&api.url(), &[statuses, "--tryvox.rate-limit=0"]).await;
    exporter.wait_for_polls(1).await;
    let scrape = exporter.scrape().await;
    assert_eq!(scrape.account_value("tryvox_up", ""), 1.0);
    let families = ["number_created", "number_updated", "newest_creation"];
    let series: Series =
        families.into_iter().flat_map(|family| scrape.family(&format!("tryvox_{family}_timestamp_seconds"))).collect();
    assert_eq!(series, expected);
}

/// The numbers that get series are the least recently updated ones, in any order of the listing.
#[tokio::test]
async fn least_recently_updated_numbers_of_many_get_series() {
    let mut rng = Rng::with_seed(seed());
    let numbers: BTreeMap<String, u32> =
        (0..2_000).map(|number| (format!("+1415{number:07}"), rng.u32(1_600_000_000..1_600_002_000))).collect();
    let number = |(e164, time): (&String, &u32)| {
        json(e164, Record { status: "active", created: Some(*time), updated: Some(*time) })
    };
    let records: Vec<_> = numbers.iter().map(number).collect();
    let api = start_api(records.chunks(100).map(<[_]>::to_vec).collect(), numbers.len()).await;
    for limit in [0, 1, rng.usize(2..1_999), 2_000, 3_000] {
        let arguments = [
            "--collector.number.statuses=active,suspended",
            &format!("--collector.number.limit={limit}"),
            "--tryvox.rate-limit=0",
        ];
        let mut exporter = ServerProcess::exporter(&api.url(), &arguments).await;
        exporter.wait_for_polls(1).await;
        let scrape = exporter.scrape().await;
        let mut sorted: Vec<_> = numbers.iter().collect();
        sorted.sort_by_key(|(e164, time)| (**time, *e164));
        let series = |(e164, time): (&String, &u32)| {
            let labels = format!("account=\"acc_demo\",e164=\"{e164}\"");
            (format!("tryvox_number_created_timestamp_seconds{{{labels}}}"), f64::from(*time))
        };
        let expected: Series = sorted.into_iter().take(limit).map(series).collect();
        assert_eq!(scrape.family("tryvox_number_created_timestamp_seconds"), expected, "limit {limit}");
        let truncated = numbers.len().saturating_sub(limit);
        assert_eq!(scrape.account_value("tryvox_number_series_truncated", ""), truncated as f64);
    }
}
