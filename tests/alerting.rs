//! Tests the shipped alerting rules end to end, with real exporters, Prometheus and Alertmanager.
//!
//! Each scenario has scrape targets of its own, in a job of its own. A webhook must get the expected alerts of the job
//! and no others, with the right words, and each must be resolved after the recovery. The rules are unchanged except
//! for shorter durations. All scenarios run at the same time, because most of their time is spent waiting.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::SystemTime;

use axum::http::StatusCode;
use axum::response::IntoResponse;
use futures_util::future::join_all;
use rustix::process::Signal;
use tokio::sync::watch;

use crate::common::accounts::ConfigFile;
use crate::common::api::{MockApi, page, record};
use crate::common::monitoring::{Monitoring, Targets};
use crate::common::release::Release;
use crate::common::{KEY, ServerProcess, command};

const NUMBERS: usize = 100;

/// What the API does at the moment; the test changes it while the exporter polls.
struct ApiState {
    /// How many of the numbers are suspended.
    suspended: AtomicUsize,
    /// The status of the last number.
    last_status: watch::Sender<&'static str>,
    /// Whether the monthly fee of each number is 1.50 rather than 1.00.
    has_higher_fees: AtomicBool,
    /// Whether every request gets an error that is not worth a retry.
    is_failing: AtomicBool,
    /// Whether the API key is refused.
    refuses_key: AtomicBool,
}

/// Starts an API in which each account has the same numbers.
async fn start_api() -> (MockApi, Arc<ApiState>) {
    let state = Arc::new(ApiState {
        suspended: AtomicUsize::new(3),
        last_status: watch::Sender::new("active"),
        has_higher_fees: AtomicBool::new(false),
        is_failing: AtomicBool::new(false),
        refuses_key: AtomicBool::new(false),
    });
    let shared = state.clone();
    let api = MockApi::start(move |_| {
        let state = shared.clone();
        async move {
            if state.is_failing.load(Ordering::SeqCst) {
                return (StatusCode::NOT_IMPLEMENTED, "failing").into_response();
            }
            if state.refuses_key.load(Ordering::SeqCst) {
                return StatusCode::UNAUTHORIZED.into_response();
            }
            let suspended = state.suspended.load(Ordering::SeqCst);
            let last_status = *state.last_status.borrow();
            let fee = if state.has_higher_fees.load(Ordering::SeqCst) { "1.50" } else { "1.00" };
            let json = |number: usize| {
                let status = match number {
                    number if number < suspended => "suspended",
                    number if number == NUMBERS - 1 => last_status,
                    _ => "active",
                };
                // Assigned to a trunk, so that none is unassigned, and updated now, so that none is suspended
                // for long.
                let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
                record(&format!("+1415555{number:04}"), status, fee, "USD")
                    .replace(r#""trunk_id":null"#, r#""trunk_id":"trk_1""#)
                    .replace("2025-11-02T17:40:12Z", &now)
            };
            let records: Vec<_> = (0..NUMBERS).map(json).collect();
            page(&records, NUMBERS, 1, 1)
        }
    })
    .await;
    (api, state)
}

/// Returns the configuration file of exporters that poll these accounts; `more` is more YAML at its end.
fn config(api: &MockApi, accounts: &[&str], more: &str) -> ConfigFile {
    let accounts: Vec<_> = accounts.iter().map(|name| format!("- account_id: acc_{name}\n  name: {name}\n")).collect();
    let accounts = accounts.concat();
    ConfigFile::new(&format!(
        "tryvox: {{url: '{}', rate_limit: 0}}\npoll: {{interval: 2s, timeout: 30s, stale_after: 12s}}\n\
         accounts:\n{accounts}{more}",
        api.url()
    ))
}

/// Starts an exporter on an address.
async fn start(file: &ConfigFile, address: &str, arguments: &[&str]) -> ServerProcess {
    let mut command = command(&[&file.flag()]);
    command.arg(format!("--web.listen-address={address}")).args(arguments).env("TRYVOX_API_KEY", KEY);
    ServerProcess::spawn(command).await
}

const FREE_PORT: &str = "127.0.0.1:0";

/// Prometheus and Alertmanager of every release, and their scrape targets.
struct Site {
    targets: Targets,
    monitorings: Vec<Monitoring>,
}

impl Site {
    async fn start() -> Self {
        let targets = Targets::new();
        let monitorings = join_all(Release::ALL.map(|release| Monitoring::start(release, &targets))).await;
        Self { targets, monitorings }
    }

    async fn wait_until_firing(&self, job: &str, names: &[&str]) {
        join_all(self.monitorings.iter().map(|monitoring| monitoring.wait_until_firing(job, names))).await;
    }

    /// Waits until the job has been scraped for more than what the rules take for an hour.
    async fn wait_for_history(&self, job: &str) {
        let query = format!("min(count_over_time(account:tryvox_numbers:sum{{job=\"{job}\"}}[60s])) > 16");
        join_all(self.monitorings.iter().map(|monitoring| monitoring.prometheus.wait_for(&query))).await;
        // Numbers that are already suspended in the first listing do not alert.
        for monitoring in &self.monitorings {
            assert_eq!(monitoring.received(job), [] as [serde_json::Value; 0]);
        }
    }

    fn assert_received(&self, job: &str, expected: &[(&str, &[&str])]) {
        for monitoring in &self.monitorings {
            monitoring.assert_received(job, expected);
        }
    }
}

/// Numbers are suspended, fees are raised by repricing, polls fail, and the key is refused.
async fn api_changes(site: &Site) {
    const JOB: &str = "api";
    let (api, state) = start_api().await;
    let file = config(
        &api,
        &["production"],
        "  monthly_budget: {USD: 120}\nowners: [{name: support, numbers: ['+1415555*'], monthly_budget: {USD: 110}}]\n",
    );
    let exporter = start(&file, FREE_PORT, &[]).await;
    site.targets.set(JOB, &[&exporter.address]);
    site.wait_for_history(JOB).await;

    state.suspended.store(33, Ordering::SeqCst);
    site.wait_until_firing(JOB, &["TryvoxNumbersSuspended", "TryvoxMassSuspension"]).await;
    site.wait_until_firing(JOB, &[]).await;

    state.has_higher_fees.store(true, Ordering::SeqCst);
    let budgets = ["TryvoxBudgetExceeded", "TryvoxOwnerBudgetExceeded"];
    site.wait_until_firing(JOB, &["TryvoxCostSpikeDay", "TryvoxCostSpikeWeek", budgets[0], budgets[1]]).await;
    // After "a day" the fees are no longer higher than a day before, but still over the budget.
    site.wait_until_firing(JOB, &budgets).await;
    state.has_higher_fees.store(false, Ordering::SeqCst);
    site.wait_until_firing(JOB, &[]).await;

    state.is_failing.store(true, Ordering::SeqCst);
    site.wait_until_firing(JOB, &["TryvoxPollFailing", "TryvoxDataStale"]).await;
    state.is_failing.store(false, Ordering::SeqCst);
    site.wait_until_firing(JOB, &[]).await;

    state.refuses_key.store(true, Ordering::SeqCst);
    site.wait_until_firing(JOB, &["TryvoxPollFailing", "TryvoxDataStale", "TryvoxKeyRefused"]).await;
    state.refuses_key.store(false, Ordering::SeqCst);
    site.wait_until_firing(JOB, &[]).await;

    // Prometheus extrapolates increases, so amounts of 50 may be a little higher.
    let causes = ["Purchases added about 0 USD", "Repricing of existing numbers added about 5"];
    let cost_spike = ["of account production in USD are 50% higher than a", ", now 150.00 USD.", causes[0], causes[1]];
    site.assert_received(
        JOB,
        &[
            ("TryvoxNumbersSuspended", &["phone numbers of account production suspended in the last hour"]),
            ("TryvoxMassSuspension", &["30% of the phone numbers of account production", "(about 30 numbers)"]),
            ("TryvoxCostSpikeDay", &cost_spike),
            ("TryvoxCostSpikeWeek", &cost_spike),
            ("TryvoxBudgetExceeded", &["are 125% of its monthly budget in USD, now 150.00 USD.", causes[0], causes[1]]),
            (
                "TryvoxOwnerBudgetExceeded",
                &["of owner support", "136.4% of its monthly budget", "per account, not per owner"],
            ),
            ("TryvoxPollFailing", &["The most frequent reason in the last hour is server_error."]),
            ("TryvoxPollFailing", &["account production", "Its last successful poll was "]),
            ("TryvoxDataStale", &["No up-to-date listing of account production since 20"]),
            ("TryvoxKeyRefused", &["The API key of account production is refused"]),
        ],
    );
}

/// The watched number is suspended, and later gets an undocumented status.
async fn watched_number_is_down(site: &Site) {
    const JOB: &str = "watched";
    let (api, state) = start_api().await;
    let file = config(&api, &["hotlines"], "  watch: [{number: '+14155550099', name: support hotline}]\n");
    let exporter = start(&file, FREE_PORT, &[]).await;
    site.targets.set(JOB, &[&exporter.address]);
    site.wait_for_history(JOB).await;
    for (status, alerts) in [
        ("suspended", &["TryvoxWatchedNumberDown", "TryvoxNumbersSuspended"][..]),
        ("porting", &["TryvoxWatchedNumberDown"]),
    ] {
        state.last_status.send_replace(status);
        site.wait_until_firing(JOB, alerts).await;
        state.last_status.send_replace("active");
        site.wait_until_firing(JOB, &[]).await;
    }
    let number = "+14155550099 (support hotline) of account hotlines";
    site.assert_received(
        JOB,
        &[
            ("TryvoxNumbersSuspended", &["1 phone number of account hotlines suspended in the last hour"]),
            (
                "TryvoxWatchedNumberDown",
                &[&format!("Watched number {number} is suspended"), "Calls and messages to it fail."],
            ),
            (
                "TryvoxWatchedNumberDown",
                &[&format!("Watched number {number} has the undocumented status porting"), "to it may fail."],
            ),
        ],
    );
}

/// One of two exporters is killed, and started again later.
async fn one_of_two_exporters_is_killed(site: &Site) {
    const JOB: &str = "pair";
    let (api, _) = start_api().await;
    let [first, second] = ["first", "second"].map(|account| config(&api, &[account], ""));
    let kept = start(&first, FREE_PORT, &[]).await;
    let killed = start(&second, FREE_PORT, &[]).await;
    let address = killed.address.clone();
    site.targets.set(JOB, &[&kept.address, &address]);
    site.wait_for_history(JOB).await;
    killed.stop(Signal::KILL).await;
    site.wait_until_firing(JOB, &["TryvoxTargetDown", "TryvoxAccountMissing"]).await;
    let _restarted = start(&second, &address, &[]).await;
    site.wait_until_firing(JOB, &[]).await;
    site.assert_received(
        JOB,
        &[
            ("TryvoxTargetDown", &[&format!("Prometheus cannot scrape tryvox-exporter on {address}")]),
            (
                "TryvoxAccountMissing",
                &["Account second is no longer polled", "Account second was polled until about 20"],
            ),
        ],
    );
}

/// Half of the numbers are suspended while the exporter restarts without a state file.
async fn numbers_are_suspended_during_a_restart(site: &Site) {
    const JOB: &str = "restart";
    let (api, state) = start_api().await;
    let file = config(&api, &["restarted"], "");
    let exporter = start(&file, FREE_PORT, &[]).await;
    let address = exporter.address.clone();
    site.targets.set(JOB, &[&address]);
    site.wait_for_history(JOB).await;
    state.suspended.store(53, Ordering::SeqCst);
    exporter.stop(Signal::KILL).await;
    let _exporter = start(&file, &address, &[]).await;
    site.wait_until_firing(JOB, &["TryvoxNumbersSuspended", "TryvoxMassSuspension"]).await;
    site.wait_until_firing(JOB, &[]).await;
    site.assert_received(
        JOB,
        &[
            ("TryvoxNumbersSuspended", &["50 phone numbers of account restarted suspended in the last hour"]),
            ("TryvoxMassSuspension", &["50% of the phone numbers of account restarted", "(about 50 numbers)"]),
        ],
    );
}

/// A shard is started a second time.
async fn shard_runs_twice(site: &Site) {
    const JOB: &str = "shards";
    let (api, _) = start_api().await;
    let file = config(&api, &["north", "east", "south", "west"], "");
    let shard = async |shard| start(&file, FREE_PORT, &["--total-shards=2", shard]).await;
    let shards = [shard("--shard=0").await, shard("--shard=1").await];
    let addresses = shards.each_ref().map(|shard| &*shard.address);
    site.targets.set(JOB, &addresses);
    site.wait_for_history(JOB).await;
    let double = shard("--shard=1").await;
    site.targets.set(JOB, &[addresses[0], addresses[1], &double.address]);
    site.wait_until_firing(JOB, &["TryvoxShardsInconsistent"]).await;
    site.targets.set(JOB, &addresses);
    site.wait_until_firing(JOB, &[]).await;
    site.assert_received(
        JOB,
        &[("TryvoxShardsInconsistent", &["at least two processes of job shards have had the same --shard"])],
    );
}

#[tokio::test]
async fn alerts_reach_the_webhook_and_are_resolved_after_recovery() {
    let site = Site::start().await;
    tokio::join!(
        api_changes(&site),
        watched_number_is_down(&site),
        one_of_two_exporters_is_killed(&site),
        numbers_are_suspended_during_a_restart(&site),
        shard_runs_twice(&site),
    );
    // No alert came from elsewhere, such as those without a job.
    let jobs = BTreeSet::from(["api", "pair", "restart", "shards", "watched"].map(str::to_owned));
    for monitoring in &site.monitorings {
        assert_eq!(monitoring.jobs(), jobs);
    }
}
