//! The lower bound for the cost of a poll: a program that reads the pages one after the other with reqwest, decodes six fields
//! with `serde_json` and counts, and does nothing else. It is this benchmark in a process of its own.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::BufRead;
use std::path::Path;

use foldhash::fast::RandomState;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use serde::Deserialize;
use tryvox_exporter::simulator::DEFAULT_KEY;

use crate::measure::{Workload, median, poll_cost};
use crate::process::{CountingProcess, ServerProcess, build_go};
use crate::table::Row;

/// The command-line argument that selects this program, followed by the URL of the API.
pub(crate) const LIST_FLOOR: &str = "list-floor";

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    data: Vec<Number<'a>>,
    pagination: Pagination,
}

#[derive(Deserialize)]
struct Pagination {
    total_pages: u32,
}

#[derive(Deserialize)]
struct Number<'a> {
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
    monthly_fee: f64,
}

/// Lists the account once for each line of the standard input, and answers each with the count of numbers.
pub(crate) fn run(url: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let authorization = HeaderValue::try_from(format!("Bearer {DEFAULT_KEY}")).unwrap();
    for line in std::io::stdin().lock().lines() {
        line.unwrap();
        println!("{}", runtime.block_on(count(&http, url, &authorization)));
    }
}

async fn count(http: &reqwest::Client, url: &str, authorization: &HeaderValue) -> u64 {
    let (mut groups, mut key) = (HashMap::<String, (u64, f64), RandomState>::default(), String::new());
    let (mut page, mut pages) = (0, 1);
    while page < pages {
        page += 1;
        let url = format!("{url}/v1/account/acc_demo/numbers?page={page}&per_page=100");
        let request = http.get(url).header(AUTHORIZATION, authorization);
        let body = request.send().await.unwrap().error_for_status().unwrap().bytes().await.unwrap();
        let Page { data, pagination } = serde_json::from_str(std::str::from_utf8(&body).unwrap()).unwrap();
        pages = pagination.total_pages;
        for Number { e164, country, kind, status, currency, monthly_fee } in &data {
            assert!(e164.starts_with('+'));
            key.clear();
            for text in [country, kind, status, currency] {
                key.push_str(text);
                key.push(' ');
            }
            let (numbers, fees) = match groups.get_mut(&key) {
                Some(group) => group,
                None => groups.entry(key.clone()).or_default(),
            };
            *numbers += 1;
            *fees += monthly_fee;
        }
    }
    assert!(groups.values().all(|(_, fees)| *fees >= 0.0));
    groups.values().map(|(numbers, _)| numbers).sum()
}

/// Compares the CPU time of a poll with that of the program, and with that of the smallest `client_golang` exporter.
pub(crate) fn measure_floor(_: &Path, workload: &Workload) -> Vec<Row> {
    let numbers = workload.numbers;
    let api = ServerProcess::simulator(&[&format!("--numbers={numbers}")]);
    let url = format!("http://{}", api.address);
    let minimal = build_go("minimal");
    let (mut exporter_costs, mut floor_costs, mut minimal_costs) = (Vec::new(), Vec::new(), Vec::new());
    // They take turns, so that other load on the machine affects all alike. The ratios are close to their targets, so there are
    // more turns than elsewhere.
    for _ in 0..3 * workload.rounds {
        let exporter = ServerProcess::exporter(&api, &["--poll.interval=1s"]);
        exporter_costs.push(poll_cost(&exporter, workload.polls).cpu_seconds);
        drop(exporter);
        let mut floor = CountingProcess::start(std::env::current_exe().unwrap(), &[LIST_FLOOR, &url]);
        floor_costs.push(floor.cpu_seconds_of_listing(numbers, workload.polls));
        let mut minimal = CountingProcess::start(&minimal, &["-url", &url]);
        minimal_costs.push(minimal.cpu_seconds_of_listing(numbers, workload.polls));
    }
    let [exporter, floor, minimal] = [exporter_costs, floor_costs, minimal_costs].map(median);
    let measurement = format!("poll of {numbers} numbers, default collectors: CPU time");
    let against_floor =
        Row::compared(format!("{measurement}, reference only reads, decodes and counts"), exporter, floor, "s", 1.3);
    let against_minimal = Row {
        measurement: format!("{measurement}, reference is the smallest `client_golang` exporter"),
        exporter: format!("{exporter:.3} s"),
        reference: format!("{minimal:.3} s"),
        ratio: format!("1/{:.1}", minimal / exporter),
        target: "1/5".into(),
        is_met: exporter <= minimal / 5.0,
    };
    vec![against_floor, against_minimal]
}
