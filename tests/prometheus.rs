//! A real Prometheus scrapes the exporter and stores the values that the simulated accounts must have.

use std::collections::BTreeMap;

use crate::common::accounts::{self, AccountBehavior, ConfigFile};
use crate::common::prometheus::Prometheus;
use crate::common::release::Release;
use crate::common::{KEY, ServerProcess, expected, seed};

#[test]
fn releases_are_those_that_the_documentation_names() {
    for (release, prometheus, alertmanager) in [(Release::Oldest, "2.42.", "0.25."), (Release::Newest, "3.", "0.")] {
        for (program, version) in [
            ("prometheus", prometheus),
            ("promtool", prometheus),
            ("prometheus-alertmanager", alertmanager),
            ("amtool", alertmanager),
        ] {
            let printed = release.run(program, &["--version"]);
            assert!(printed.contains(&format!(", version {version}")), "{program}: {printed}");
        }
    }
}

#[tokio::test]
async fn prometheus_stores_exact_values() {
    let simulator = ServerProcess::simulator(5_000, seed(), &[]).await;
    let mut exporter = ServerProcess::exporter(&simulator.url(), &["--tryvox.rate-limit=0"]).await;
    exporter.wait_for_polls(1).await;
    let series = expected::from_simulator(&simulator).await;

    for release in Release::ALL {
        let prometheus = Prometheus::scraping(release, &[&exporter.address]).await;
        prometheus.wait_for("count_over_time(tryvox_up[1m]) >= 2 and tryvox_up == 1").await;
        assert_eq!(prometheus.query("up{job=\"tryvox\"} == 1").await.len(), 1);
        assert_stored_exactly(&prometheus, "tryvox", &series).await;

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
}

/// Prometheus 3 lets a job choose the formats that its `Accept` header names, and how names are escaped.
#[tokio::test]
async fn prometheus_3_stores_the_same_values_in_every_format() {
    let simulator = ServerProcess::simulator(500, seed(), &[]).await;
    let mut exporter = ServerProcess::exporter(&simulator.url(), &["--tryvox.rate-limit=0"]).await;
    exporter.wait_for_polls(1).await;
    let series = expected::from_simulator(&simulator).await;

    let protocols = ["OpenMetricsText1.0.0", "OpenMetricsText0.0.1", "PrometheusText1.0.0", "PrometheusText0.0.4"];
    let all = format!("[PrometheusProto, {}]", protocols.join(", "));
    let schemes = ["allow-utf-8", "underscores", "dots", "values"];
    let mut jobs = Vec::new();
    for (format, protocols) in protocols.iter().map(|name| format!("[{name}]")).chain([all]).enumerate() {
        for scheme in schemes {
            jobs.push(format!(
                "{{job_name: {scheme}-{format}, scrape_protocols: {protocols}, metric_name_escaping_scheme: {scheme}, \
                 static_configs: [{{targets: ['{}']}}]}}",
                exporter.address
            ));
        }
    }
    let prometheus = Prometheus::with_jobs(Release::Newest, &jobs).await;
    prometheus.wait_for(&format!("count(tryvox_up == 1) == {}", jobs.len())).await;
    for format in 0..=protocols.len() {
        for scheme in schemes {
            assert_stored_exactly(&prometheus, &format!("{scheme}-{format}"), &series).await;
        }
    }
}

/// Asserts that the counts and fees that Prometheus stored from a job are the expected ones.
async fn assert_stored_exactly(prometheus: &Prometheus, job: &str, series: &expected::Series) {
    // Series by series, to the last digit.
    for family in ["tryvox_numbers", "tryvox_monthly_fees", "tryvox_setup_fees", "tryvox_listed_numbers"] {
        let labels = ["account", "country", "type", "status", "currency"];
        let stored: expected::Series = prometheus
            .query(&format!("{family}{{job=\"{job}\"}}"))
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
        assert!(!expected.is_empty() && stored == expected, "{job}: {family}: {stored:?} instead of {expected:?}");
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
    for release in Release::ALL {
        let prometheus = Prometheus::scraping(release, &targets).await;
        prometheus.wait_for(&format!("sum(tryvox_up) == {ACCOUNTS}")).await;
        assert_each_account_is_served_once(&prometheus, ACCOUNTS).await;
    }
}

async fn assert_each_account_is_served_once(prometheus: &Prometheus, account_count: usize) {
    assert_eq!(prometheus.query("count(count by (account) (tryvox_up))").await[0].1, account_count as f64);
    assert!(
        prometheus.query("count by (account) (tryvox_up) > 1").await.is_empty(),
        "an account is served by two shards"
    );
    assert_eq!(prometheus.query("count(tryvox_exporter_shard_ordinal)").await[0].1, 3.0);
    assert_eq!(prometheus.query("sum(tryvox_exporter_shard_ordinal)").await[0].1, 3.0);
    assert_eq!(prometheus.query("avg(tryvox_exporter_total_shards)").await[0].1, 3.0);
    // Every shard has accounts.
    assert_eq!(prometheus.query("count(count by (instance) (tryvox_up))").await[0].1, 3.0);

    let accounts: Vec<_> = (0..account_count).map(|account| accounts::expected_series(account, 120)).collect();
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
