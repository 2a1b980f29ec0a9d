//! A real Prometheus scrapes the exporter and stores the values that the simulated accounts must have.

use std::collections::BTreeMap;

use crate::common::accounts::{self, AccountBehavior, ConfigFile};
use crate::common::prometheus::Prometheus;
use crate::common::{KEY, ServerProcess, expected, seed};

#[tokio::test]
async fn prometheus_stores_exact_values() {
    let simulator = ServerProcess::simulator(5_000, seed(), &[]).await;
    let mut exporter = ServerProcess::exporter(&simulator.url(), &["--tryvox.rate-limit=0"]).await;
    exporter.wait_for_polls(1).await;
    let series = expected::from_simulator(&simulator).await;

    let prometheus = Prometheus::scraping(&[&exporter.address]).await;
    prometheus.wait_for("count_over_time(tryvox_up[1m]) >= 2 and tryvox_up == 1").await;
    assert_eq!(prometheus.query("up{job=\"tryvox\"} == 1").await.len(), 1);

    // Series by series, to the last digit.
    for family in ["tryvox_numbers", "tryvox_monthly_fees", "tryvox_setup_fees", "tryvox_listed_numbers"] {
        let labels = ["account", "country", "type", "status", "currency"];
        let stored: expected::Series = prometheus
            .query(family)
            .await
            .into_iter()
            .map(|(metric, value)| {
                let pairs = labels.iter().filter_map(|label| Some(format!("{label}=\"{}\"", metric.get(*label)?)));
                (format!("{family}{{{}}}", pairs.collect::<Vec<_>>().join(",")), value)
            })
            .collect();
        let of_family = |(series, _): &(&String, &f64)| series.split('{').next() == Some(family);
        let expected: expected::Series =
            series.iter().filter(of_family).map(|(series, value)| (series.clone(), *value)).collect();
        assert_eq!(stored, expected);
    }

    // Sums by Prometheus, which adds doubles: equal to a tenth of a cent.
    let total = |family: &str, currency: &str| -> f64 {
        let of_family = |series: &String| series.starts_with(family) && series.contains(currency);
        series.iter().filter(|(series, _)| of_family(series)).map(|(_, value)| value).sum()
    };
    assert_eq!(prometheus.query("sum(tryvox_numbers)").await, [(BTreeMap::new(), 5_000.0)]);
    for currency in ["EUR", "USD"] {
        for family in ["tryvox_monthly_fees", "tryvox_setup_fees"] {
            let sums = prometheus.query(&format!("sum({family}{{currency=\"{currency}\"}})")).await;
            let label = format!("currency=\"{currency}\"");
            assert_eq!(format!("{:.3}", sums[0].1), format!("{:.3}", total(family, &label)), "{family} {currency}");
        }
    }
}

/// Three processes share the accounts, and one Prometheus scrapes them all.
#[tokio::test]
async fn shards_together_serve_each_account_once() {
    const ACCOUNTS: usize = 40;
    let api = accounts::start_api(120, |_| AccountBehavior::Valid).await;
    let file = ConfigFile::new(&accounts::config_text(&api.url(), 0..ACCOUNTS));
    let mut shards = Vec::new();
    for shard in ["--shard=0", "--shard=1", "--shard=2"] {
        let arguments = [&*file.flag(), "--total-shards=3", shard];
        shards.push(ServerProcess::start(&arguments, &[("TRYVOX_API_KEY", KEY)]).await);
    }
    let targets: Vec<_> = shards.iter().map(|shard| &*shard.address).collect();
    let prometheus = Prometheus::scraping(&targets).await;
    prometheus.wait_for(&format!("sum(tryvox_up) == {ACCOUNTS}")).await;

    assert_eq!(prometheus.query("count(count by (account) (tryvox_up))").await[0].1, ACCOUNTS as f64);
    assert!(
        prometheus.query("count by (account) (tryvox_up) > 1").await.is_empty(),
        "an account is served by two shards"
    );
    assert_eq!(prometheus.query("count(tryvox_exporter_shard_ordinal)").await[0].1, 3.0);
    assert_eq!(prometheus.query("sum(tryvox_exporter_shard_ordinal)").await[0].1, 3.0);
    assert_eq!(prometheus.query("avg(tryvox_exporter_total_shards)").await[0].1, 3.0);
    // Every shard has accounts.
    assert_eq!(prometheus.query("count(count by (instance) (tryvox_up))").await[0].1, 3.0);

    let accounts: Vec<_> = (0..ACCOUNTS).map(|account| accounts::expected_series(account, 120)).collect();
    let total = |family: &str, label: &str| -> f64 {
        let of_family = |series: &String| series.split('{').next() == Some(family) && series.contains(label);
        accounts.iter().flatten().filter(|(series, _)| of_family(series)).map(|(_, value)| value).sum()
    };
    for (query, family, label) in [
        ("sum(tryvox_numbers)", "tryvox_numbers", ""),
        ("sum(tryvox_numbers{status=\"suspended\"})", "tryvox_numbers", "status=\"suspended\""),
        ("sum(tryvox_listed_numbers)", "tryvox_listed_numbers", ""),
        ("sum(tryvox_monthly_fees{currency=\"USD\"})", "tryvox_monthly_fees", "currency=\"USD\""),
        ("sum(tryvox_monthly_fees{currency=\"EUR\"})", "tryvox_monthly_fees", "currency=\"EUR\""),
    ] {
        let sum = prometheus.query(query).await[0].1;
        assert_eq!(format!("{sum:.3}"), format!("{:.3}", total(family, label)), "{query}");
    }
}
