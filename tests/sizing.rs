//! Requests, series, response size and memory match the formulas in `docs/sizing.md`, at three account sizes.

use std::collections::BTreeSet;

use crate::common::{ServerProcess, seed};

/// Number of statuses that the API documents.
const STATUSES: usize = 3;
/// Number of capabilities that the simulator uses.
const CAPABILITIES: usize = 3;
/// Default of `--collector.number.limit`.
const NUMBER_LIMIT: usize = 1000;

/// Checks an account of this many numbers against the formulas and returns the exporter's peak memory in
/// bytes.
async fn assert_sizing(numbers: usize) -> u64 {
    let simulator = ServerProcess::simulator(numbers, seed(), &[]).await;
    let mut exporter =
        ServerProcess::exporter(&simulator.url(), &["--tryvox.rate-limit=0", "--poll.interval=1s"]).await;
    exporter.wait_for_polls(3).await;
    // Polling goes on meanwhile. At the first count, at most one more poll has started than the scrape
    // reports; at the second, all requests of the reported polls have been sent.
    let requests_before = simulator.requests().await as f64;
    let scrape = exporter.scrape().await;
    let requests_after = simulator.requests().await as f64;
    let polls = scrape.successful_polls();
    let pages = numbers.div_ceil(100) as f64;
    assert!(requests_before <= (polls + 1.0) * pages, "{requests_before} requests before the end of {polls} polls");
    assert!(requests_after >= polls * pages, "{requests_after} requests after {polls} polls");

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
        // The simulator uses one currency per pair of country and type.
        + 2 * pairs * STATUSES
        + CAPABILITIES * STATUSES
        + 4 * STATUSES
        + 4 * STATUSES * currencies
        + STATUSES + 1
        + 4 * with_series + 1
        + 10 * currencies
        + 85
        // The exporter itself.
        + 25;
    let series = scrape.0.lines().filter(|line| !line.starts_with('#')).count();
    assert!(series <= formula && formula <= series * 3 / 2, "{numbers} numbers: {series} series, {formula} expected");
    let bytes = scrape.0.len();
    assert!((80 * series..150 * series).contains(&bytes), "{numbers} numbers: {bytes} bytes, {series} series");
    exporter.memory("VmHWM")
}

#[tokio::test]
async fn account_needs_what_the_sizing_formulas_say() {
    let small = assert_sizing(300).await;
    assert_sizing(5_000).await;
    let large = assert_sizing(100_000).await;
    // 64 bytes per number, and what the allocator retains, which does not grow with the account.
    let (numbers, allocator) = (100_000 * 64, 4 << 20);
    assert!(large <= small + numbers + allocator, "{} KiB more for 100,000 numbers", (large - small) >> 10);
}
