//! Every inventory gauge equals, to the last digit, what an independent count of the records gives.

use crate::common::api::{MockApi, page, record};
use crate::common::{ServerProcess, expected, seed};

/// Polls an account of this many numbers once and compares the scrape with an independent count.
async fn assert_exact_listing(numbers: usize) {
    let simulator = ServerProcess::simulator(numbers, seed(), &[]).await;
    let arguments = ["--tryvox.rate-limit=0", "--tryvox.concurrency=8"];
    let mut exporter = ServerProcess::exporter(&simulator.url(), &arguments).await;
    exporter.wait_for_polls(1).await;

    let scrape = exporter.scrape().await;
    scrape.lint();
    assert_eq!(scrape.value(r#"tryvox_up{account="acc_demo"}"#), Some(1.0));
    let pages = numbers.div_ceil(100).max(1) as f64;
    assert_eq!(scrape.value(r#"tryvox_last_poll_pages{account="acc_demo"}"#), Some(pages));
    assert_eq!(scrape.value(r#"tryvox_api_requests_total{account="acc_demo",code="200"}"#), Some(pages));
    assert_eq!(scrape.inventory(), expected::from_simulator(&simulator).await);
}

#[tokio::test]
async fn listing_is_exact_around_the_page_size() {
    for numbers in [0, 1, 99, 100, 101] {
        assert_exact_listing(numbers).await;
    }
}

#[tokio::test]
async fn listing_of_5_000_numbers_is_exact() {
    assert_exact_listing(5_000).await;
}

#[tokio::test]
async fn listing_of_100_000_numbers_is_exact() {
    assert_exact_listing(100_000).await;
}

/// Sums fees in every notation that JSON allows; the expected value is the double nearest to the exact sum.
#[tokio::test]
async fn fees_are_summed_as_exact_decimals() {
    let cases: [(&[&str], f64); 7] = [
        (&["0.1", "0.2"], 0.3),
        (&["1.15", "1.150", "115e-2", "0.00115E+3"], 4.6),
        (&["9007199254740993", "0.5", "0.5"], 9_007_199_254_740_994.0),
        (&["1e22", "0.01", "-1e22"], 0.01),
        (&["0.10000000000000000000000000000000000001", "-0.1"], 1e-38),
        (&["-0", "0.0"], 0.0),
        (&["12345678.123456789", "0.000000001"], 12_345_678.123_456_79),
    ];
    for (fees, sum) in cases {
        let api = MockApi::start(move |_| async move {
            let records: Vec<_> = fees
                .iter()
                .enumerate()
                .map(|(index, fee)| record(&format!("+1415555{index:04}"), "active", fee, "USD"))
                .collect();
            page(&records, records.len(), 1, 1)
        })
        .await;
        let mut exporter = ServerProcess::exporter(&api.url(), &[]).await;
        exporter.wait_for_polls(1).await;
        let series =
            r#"tryvox_monthly_fees{account="acc_demo",country="US",type="local",status="active",currency="USD"}"#;
        assert_eq!(exporter.scrape().await.value(series), Some(sum), "{fees:?}");
    }
}

#[tokio::test]
async fn currencies_stay_separate_and_documented_statuses_are_zero() {
    let api = MockApi::start(|_| async {
        let records = [
            record("+14155550001", "active", "1.15", "USD"),
            record("+14155550002", "suspended", "2.5", "EUR"),
            record("+14155550003", "porting", "3", "EUR"),
        ];
        page(&records, 3, 1, 1)
    })
    .await;
    let mut exporter = ServerProcess::exporter(&api.url(), &[]).await;
    exporter.wait_for_polls(1).await;
    let scrape = exporter.scrape().await;
    scrape.lint();
    let lines: Vec<_> = scrape
        .0
        .lines()
        .filter(|line| line.starts_with("tryvox_numbers{") || line.starts_with("tryvox_monthly_fees{"))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    tryvox_numbers{account="acc_demo",country="US",type="local",status="active"} 1
    tryvox_numbers{account="acc_demo",country="US",type="local",status="pending"} 0
    tryvox_numbers{account="acc_demo",country="US",type="local",status="porting"} 1
    tryvox_numbers{account="acc_demo",country="US",type="local",status="suspended"} 1
    tryvox_monthly_fees{account="acc_demo",country="US",type="local",status="active",currency="EUR"} 0
    tryvox_monthly_fees{account="acc_demo",country="US",type="local",status="active",currency="USD"} 1.15
    tryvox_monthly_fees{account="acc_demo",country="US",type="local",status="pending",currency="EUR"} 0
    tryvox_monthly_fees{account="acc_demo",country="US",type="local",status="pending",currency="USD"} 0
    tryvox_monthly_fees{account="acc_demo",country="US",type="local",status="porting",currency="EUR"} 3
    tryvox_monthly_fees{account="acc_demo",country="US",type="local",status="suspended",currency="EUR"} 2.5
    tryvox_monthly_fees{account="acc_demo",country="US",type="local",status="suspended",currency="USD"} 0
    "#);
}
