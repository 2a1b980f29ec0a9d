//! A documented page is changed at random, in types, fields, notations and encodings: the poll either publishes
//! exactly what the page means, or fails and changes nothing of the inventory.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::header::HeaderValue;
use reqwest::{StatusCode, Url};
use tryvox_exporter::config::{AccountConfig, PollOptions};
use tryvox_exporter::inventory::CollectorOptions;
use tryvox_exporter::metrics::{AccountMetrics, ConfigStatus, ExporterMetrics, INVENTORY};
use tryvox_exporter::tryvox::{ApiKey, ApiResponse, Failure, Transport};

use crate::common::drifted_page::{Node, Outcome, meaning};
use crate::common::expected::Series;
use crate::common::harness::{HarnessOptions, build_poller, scrape_account};
use crate::common::{KEY, Scrape, seed};

const MUTATIONS: usize = 10_000;

/// JSON values of all simple types, and some that are hard to read.
const VALUES: [&[u8]; 17] = [
    b"null",
    b"true",
    b"false",
    b"0",
    b"-0.0",
    b"7",
    b"7.25",
    b"-1.5",
    b"1e300",
    b"\"\"",
    b"\"7\"",
    b"\"x \\\"quoted\\\" \\\\ \\u00e9\"",
    b"\"\\ud800\"",
    b"\"\xff\"",
    b"\"caf\xe9\"",
    b"\"\xe2\x82\"",
    b"\"yesterday\"",
];

const TIMESTAMPS: [&str; 16] = [
    "2025-11-02T17:40:12Z",
    "2025-11-02T17:40:12.5Z",
    "2025-11-02T17:40:12+00:00",
    "2025-11-02T19:40:12+02:00",
    "2025-11-02 17:40:12Z",
    "2025-11-02 17:40:12",
    "2025-11-02T17:40:12",
    "2025-11-02T17:40:12.999999",
    "2025-11-02T17:40:12+0000",
    "2025-11-02T17:40:12-0000",
    "2025-11-02 19:40:12+0200",
    "2025-11-02T19:40:12+02",
    "2024-02-29T00:00:00Z",
    "2025-02-29T00:00:00Z",
    "2025-11-02T24:00:00Z",
    "2025-11-02T17:40",
];

fn choose<T: Clone>(rng: &mut Rng, values: &[T]) -> T {
    values[rng.usize(..values.len())].clone()
}

fn text(value: &str) -> Node {
    Node::leaf(format!("\"{value}\""))
}

/// Returns a JSON value of any type.
fn any_value(rng: &mut Rng) -> Node {
    match rng.u8(0..22) {
        0 => Node::Object(Vec::new()),
        1 => Node::Object(vec![("amount".to_owned(), Node::leaf("1.15"))]),
        2 => Node::Array(Vec::new()),
        3 => Node::Array(vec![Node::leaf("7"), text("x")]),
        4 => Node::Array(["fax", "fax", ""].map(text).to_vec()),
        _ => Node::leaf(choose(rng, &VALUES)),
    }
}

/// Writes thousandths in a notation of JSON.
fn notation(rng: &mut Rng, thousandths: i64) -> String {
    let plain = format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
    match rng.u8(0..6) {
        0 => plain.trim_end_matches('0').trim_end_matches('.').to_owned(),
        1 => format!("{plain}00"),
        2 => format!("{thousandths}e-3"),
        3 => format!("{thousandths}.0E-03"),
        4 => format!("0.{thousandths:07}e+4"),
        _ => plain,
    }
}

/// Returns a record as documented.
fn record(rng: &mut Rng, index: usize) -> Node {
    let optional = |rng: &mut Rng, value: &str| if rng.bool() { text(value) } else { Node::leaf("null") };
    let capabilities = ["voice", "sms", "mms"].into_iter().filter(|_| rng.bool()).map(text).collect();
    let fields = [
        ("e164", text(&format!("+1415555{index:04}"))),
        ("country", text(choose(rng, &["US", "CA"]))),
        ("type", text(choose(rng, &["local", "toll_free", "mobile"]))),
        ("region", optional(rng, "Qu\u{e9}bec")),
        ("status", text(choose(rng, &["active", "pending", "suspended"]))),
        ("capabilities", Node::Array(capabilities)),
        ("monthly_fee", Node::leaf(format!("{}.15", rng.u8(..)))),
        ("setup_fee", Node::leaf("0.0")),
        ("currency", text("USD")),
        ("trunk_id", optional(rng, "trk_9f2c")),
        ("application_id", optional(rng, "app_11eb")),
        ("created_at", text("2025-03-11T09:24:00Z")),
        ("updated_at", text("2025-11-02T17:40:12Z")),
    ];
    Node::Object(fields.map(|(name, value)| (name.to_owned(), value)).to_vec())
}

/// Returns a page as documented.
fn page(rng: &mut Rng) -> Node {
    let count = choose(rng, &[0, 1, 2, 5, 5, 20]);
    let records = (0..count).map(|index| record(rng, index)).collect();
    let pages = usize::from(count > 0);
    let totals = [("total", count), ("count", count), ("per_page", 100), ("current_page", 1), ("total_pages", pages)];
    let pagination = totals.map(|(name, value)| (name.to_owned(), Node::leaf(value.to_string()))).to_vec();
    Node::Object(vec![("data".to_owned(), Node::Array(records)), ("pagination".to_owned(), Node::Object(pagination))])
}

/// Returns the fields of an object; `None` if the node is no object any more.
fn fields(node: &mut Node) -> Option<&mut Vec<(String, Node)>> {
    match node {
        Node::Object(fields) => Some(fields),
        _ => None,
    }
}

fn field<'a>(node: &'a mut Node, name: &str) -> Option<&'a mut Node> {
    fields(node)?.iter_mut().find(|(field, _)| field == name).map(|(_, value)| value)
}

/// Changes the fields of an object in one way.
fn mutate_fields(rng: &mut Rng, fields: &mut Vec<(String, Node)>) {
    if fields.is_empty() {
        return;
    }
    let index = rng.usize(..fields.len());
    match rng.u8(0..6) {
        0 => _ = fields.remove(index),
        1 => fields.push(fields[index].clone()),
        2 => fields.push((fields[index].0.clone(), any_value(rng))),
        3 => fields.push(((choose(rng, &["unknown", "E164", "x\\ty", "tot\u{e9}l"])).to_owned(), any_value(rng))),
        4 => rng.shuffle(fields),
        _ => fields[index].1 = any_value(rng),
    }
}

/// Changes one record in one way.
fn mutate_record(rng: &mut Rng, record: &mut Node) {
    let fee = choose(rng, &["monthly_fee", "setup_fee"]);
    let time = choose(rng, &["created_at", "updated_at"]);
    let replacement = match rng.u8(0..12) {
        0 | 1 => {
            let amount = rng.i64(0..3_000_000);
            (fee, Node::leaf(notation(rng, amount)))
        }
        2 | 3 => {
            let amount = rng.i64(0..3_000_000);
            let space = if rng.u8(0..8) == 0 { " " } else { "" };
            (fee, text(&format!("{}{space}", notation(rng, amount))))
        }
        4 | 5 => (time, text(choose(rng, &TIMESTAMPS))),
        6 => {
            let long = "x".repeat(choose(rng, &[256, 257, 300]));
            (choose(rng, &["region", "trunk_id", "application_id", "country", "status"]), text(&long))
        }
        7 => {
            let e164 = choose(rng, &["14155550000", "+", "+1 415", "+0123456789012345", "+1415x", "+14155550001"]);
            ("e164", text(e164))
        }
        8 => {
            let names = vec![text(&"y".repeat(rng.usize(0..40))); rng.usize(0..10)];
            ("capabilities", Node::Array(names))
        }
        9 => {
            let values = [any_value(rng), positional(record)];
            *record = choose(rng, &values);
            return;
        }
        _ => {
            if let Some(fields) = fields(record) {
                mutate_fields(rng, fields);
            }
            return;
        }
    };
    if let Some(value) = field(record, replacement.0) {
        *value = replacement.1;
    }
}

/// Writes the values of a record as an array.
fn positional(record: &mut Node) -> Node {
    Node::Array(
        fields(record).map(|fields| fields.iter().map(|(_, value)| value.clone()).collect()).unwrap_or_default(),
    )
}

/// Changes a page in one way.
fn mutate(rng: &mut Rng, page: &mut Node) {
    let Some(data) = field(page, "data") else { return };
    if let Node::Array(records) = data
        && !records.is_empty()
        && rng.u8(0..10) < 7
    {
        let index = rng.usize(..records.len());
        match rng.u8(0..12) {
            // Often the same change of every record, as when an API changes its types.
            0 | 1 => {
                let seed = rng.u64(..);
                for record in records {
                    mutate_record(&mut Rng::with_seed(seed), record);
                }
            }
            2 => records.push(records[index].clone()),
            3 => {
                let (mut copy, original) = (records[index].clone(), index);
                mutate_record(rng, &mut copy);
                records.insert(rng.usize(original + 1..=records.len()), copy);
            }
            4 => rng.shuffle(records),
            5 if rng.u8(0..4) == 0 => *records = records.iter().cycle().take(rng.usize(190..220)).cloned().collect(),
            _ => mutate_record(rng, &mut records[index]),
        }
        return;
    }
    match rng.u8(0..8) {
        0 => *data = any_value(rng),
        1 => *data = Node::leaf("null"),
        2 | 3 => {
            let name = choose(rng, &["total", "total_pages"]);
            let Some(total) = field(page, "pagination").and_then(|pagination| field(pagination, name)) else { return };
            let number = match total {
                Node::Leaf(raw) => String::from_utf8_lossy(raw).trim_matches('"').parse::<i64>().unwrap_or(1),
                _ => 1,
            };
            let number = number + choose(rng, &[0, 0, 0, 1, 2]);
            let written = notation(rng, number * 1000);
            *total = match rng.u8(0..4) {
                0 => text(&written),
                1 => text(&number.to_string()),
                2 => Node::leaf(choose(rng, &["-1", "0.5", "\"\"", "\"one\"", "1000000", "0.2e1", "\" 1\"", "1e40"])),
                _ => Node::leaf(written),
            };
        }
        4 | 5 => {
            if let Some(fields) = field(page, "pagination").and_then(fields) {
                mutate_fields(rng, fields);
            }
        }
        6 => {
            if let Some(pagination) = field(page, "pagination") {
                *pagination = choose(rng, &[Node::leaf("null"), positional(pagination)]);
            }
        }
        _ => {
            if let Some(fields) = fields(page) {
                mutate_fields(rng, fields);
            }
        }
    }
}

/// Returns the body of a page and what it means. Some bodies have a byte order mark or are truncated.
fn body(rng: &mut Rng, page: &Node, max_discrepancy: f64) -> (Vec<u8>, Outcome) {
    let (mut body, mut outcome) = (Vec::new(), meaning(page, max_discrepancy));
    if rng.u8(0..10) == 0 {
        body.extend_from_slice(b"\xef\xbb\xbf");
    }
    page.write(&mut body);
    match rng.u8(0..60) {
        0 => {
            body.truncate(rng.usize(..body.len()));
            outcome = Outcome::Failed("decode");
        }
        1 => {
            body.push(choose(rng, b"x}\xff"));
            outcome = Outcome::Failed("decode");
        }
        _ => {}
    }
    (body, outcome)
}

/// Responds to every request with the same body.
#[derive(Debug, Default)]
struct BodyTransport(Mutex<Bytes>);

impl Transport for BodyTransport {
    fn get(&self, _: Url, _: HeaderValue) -> BoxFuture<'_, Result<ApiResponse, Failure>> {
        let body = self.0.lock().unwrap().clone().into();
        async { Ok(ApiResponse { status: StatusCode::OK, headers: [].into_iter().collect(), body }) }.boxed()
    }
}

/// Returns the series of the inventory.
fn inventory(scrape: &Scrape) -> Series {
    let names: Vec<_> = INVENTORY.iter().map(|metric| metric.family.name).collect();
    let samples = scrape.0.lines().filter(|line| line.starts_with("tryvox_"));
    let samples = samples.filter(|line| names.contains(&line.split('{').next().unwrap()));
    let samples = samples.map(|line| line.rsplit_once(' ').unwrap());
    samples.map(|(series, value)| (series.to_owned(), value.parse().unwrap())).collect()
}

#[tokio::test(start_paused = true)]
async fn mutated_pages_are_published_with_their_exact_meaning_or_fail_the_poll() {
    let mut rng = Rng::with_seed(seed());
    let (mut published, mut failed) = (0, 0);
    for max_discrepancy in [0.0, 0.01, 0.01, 0.3, 1.0] {
        let collector = CollectorOptions {
            region: true,
            trunk: true,
            application: true,
            number_statuses: Vec::new(),
            ..CollectorOptions::default()
        };
        let options = HarnessOptions { seed: rng.u64(..), per_page: 100, collector, ..HarnessOptions::default() };
        let transport = Arc::new(BodyTransport::default());
        let mut poller = build_poller(&options, ApiKey::new(&KEY.into()).unwrap(), transport.clone());
        let poll = PollOptions {
            max_discrepancy,
            // The clock advances by the retries of all polls.
            explicit_stale_after: Some(Duration::from_hours(1_000_000)),
            ..poller.account.config().poll.clone()
        };
        poller.reconfigure(AccountConfig { poll, ..(*poller.account.config()).clone() });
        let metrics = AccountMetrics::attach(&mut poller);
        let status = ConfigStatus { is_valid: true, loaded_at: (poller.now)(), shard: 0, total_shards: 1 };
        let exporter = Arc::new(ExporterMetrics::new(status));
        let mut previous = Series::new();
        let mut errors = Series::new();
        for _ in 0..MUTATIONS / 5 {
            let mut page = page(&mut rng);
            for _ in 0..choose(&mut rng, &[0, 1, 1, 1, 2, 3]) {
                mutate(&mut rng, &mut page);
            }
            let (body, outcome) = body(&mut rng, &page, max_discrepancy);
            *transport.0.lock().unwrap() = body.clone().into();
            poller.once().await;
            let scrape = scrape_account(&metrics, &exporter);
            let context = || {
                let failure = metrics.account().snapshot().polls.failure.clone();
                format!("{max_discrepancy}: {failure:?}\n{}", body.escape_ascii())
            };
            let up = scrape.account_value("tryvox_up", "");
            match outcome {
                Outcome::Published(series) => {
                    assert_eq!(up, 1.0, "{}", context());
                    previous = series;
                    published += 1;
                }
                Outcome::Failed(reason) => {
                    assert_eq!(up, 0.0, "expected {reason}: {}", context());
                    *errors.entry(reason.to_owned()).or_default() += 1.0;
                    let count = scrape.account_value("tryvox_poll_errors_total", &format!("reason=\"{reason}\""));
                    assert_eq!(count, errors[reason], "expected {reason}: {}", context());
                    failed += 1;
                }
            }
            assert_eq!(inventory(&scrape), previous, "{}", context());
        }
        let reasons: Vec<_> = errors.into_keys().collect();
        assert_eq!(reasons, ["decode", "inconsistent", "invalid_records", "too_large"]);
    }
    assert!(published > MUTATIONS / 4 && failed > MUTATIONS / 10, "{published} published, {failed} failed");
}
