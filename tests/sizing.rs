//! What an account needs, by the formulas of docs/sizing.md, at three sizes.

use std::collections::BTreeSet;

use crate::common::{Running, seed};

/// Statuses that the API documents, and capabilities.
const STATUSES: usize = 3;
const CAPABILITIES: usize = 3;
/// How many numbers have series of their own by default.
const NUMBER_LIMIT: usize = 1000;

/// RequestStats, series and bytes are as the formulas say; what is returned is the most memory that it took.
async fn sized(numbers: usize) -> u64 {
    let simulator = Running::simulator(numbers, seed(), &[]).await;
    let mut exporter = Running::exporter(&simulator.url(), &["--tryvox.rate-limit=0", "--poll.interval=1s"]).await;
    exporter.polled(3).await;
    let scrape = exporter.scrape().await;

    let (polls, requests) = (
        scrape.value(r#"tryvox_polls_total{account="acc_demo",result="success"}"#).unwrap(),
        simulator.requests().await as f64,
    );
    let pages = numbers.div_ceil(100) as f64;
    assert!((polls * pages..(polls + 2.0) * pages).contains(&requests), "{requests} requests in {polls} polls");

    let values = |family: &str, label: &str| -> BTreeSet<String> {
        let series = scrape.family(family).into_keys();
        let value = |series: String| series.split_once(&format!("{label}=\""))?.1.split('"').next().map(str::to_owned);
        series.filter_map(value).collect()
    };
    let pairs = scrape.family("tryvox_numbers").len() / STATUSES;
    let currencies = values("tryvox_assignment_monthly_fees", "currency").len();
    let with_series = scrape.family("tryvox_number_info").len();
    assert!(with_series <= NUMBER_LIMIT);
    let formula = pairs * STATUSES
        // A pair of country and type has one currency here.
        + 2 * pairs * STATUSES
        + CAPABILITIES * STATUSES
        + 4 * STATUSES
        + 4 * STATUSES * currencies
        + STATUSES + 1
        + 3 * with_series + 1
        + 75;
    let series = scrape.0.lines().filter(|line| !line.starts_with('#')).count();
    assert!(series <= formula && formula <= series * 3 / 2, "{numbers} numbers: {series} series, {formula} expected");
    let bytes = scrape.0.len();
    assert!((80 * series..150 * series).contains(&bytes), "{numbers} numbers: {bytes} bytes, {series} series");
    exporter.memory("VmHWM")
}

#[tokio::test]
async fn an_account_needs_what_the_formulas_say() {
    let few = sized(300).await;
    sized(5_000).await;
    let many = sized(100_000).await;
    // What an allocator keeps back does not grow with the numbers.
    let (allowed, spare) = (100_000 * 64, 4 << 20);
    assert!(many <= few + allowed + spare, "{} KiB more for 100,000 numbers", (many - few) >> 10);
}
