//! A reload keeps an account unless it lists other numbers: inventory, counters and schedule stay, and what needs no poll
//! applies at once.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::response::Response;
use reqwest::StatusCode;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::common::accounts::{ConfigFile, account_of, records};
use crate::common::api::{ApiRequest, MockApi, page, record};
use crate::common::expected::{self, Series};
use crate::common::harness::{Harness, HarnessOptions};
use crate::common::{KEY, Scrape, ServerProcess, TEST_TIMEOUT, http, seed};
use crate::tls::https_api;

/// Responds with the page of a listing, in the size that the request asks for.
fn listing_page(request: &ApiRequest, records: &[String]) -> Response {
    let query = request.uri.query().unwrap_or_default();
    let per_page = query.split('&').find_map(|pair| pair.strip_prefix("per_page=")).unwrap().parse::<usize>().unwrap();
    let start = ((request.page - 1) * per_page).min(records.len());
    let end = (start + per_page).min(records.len());
    page(&records[start..end], records.len(), request.page, records.len().div_ceil(per_page).max(1))
}

/// Starts an exporter with a configuration file whose text is a template, in which `URL` stands for the URL of the API.
async fn start(api: &MockApi, template: &str, arguments: &[&str]) -> (ServerProcess, ConfigFile) {
    let file = ConfigFile::new(&template.replace("URL", &api.url()));
    let flag = file.flag();
    let mut all = vec![&*flag, "--web.enable-lifecycle", "--log.level=debug"];
    all.extend(arguments);
    (ServerProcess::start(&all, &[("TRYVOX_API_KEY", KEY), ("OTHER_KEY", KEY)]).await, file)
}

/// Replaces the configuration file and reloads it.
async fn reload(exporter: &ServerProcess, file: &ConfigFile, text: &str) {
    file.write(text);
    let response = http().post(format!("{}/-/reload", exporter.url())).send().await.unwrap();
    let (status, text) = (response.status(), response.text().await.unwrap());
    assert_eq!(status, StatusCode::OK, "{text}");
}

/// Scrapes until a scrape meets the condition and returns that scrape.
async fn scrape_until(exporter: &ServerProcess, is_met: impl Fn(&Scrape) -> bool) -> Scrape {
    let met = async {
        loop {
            let scrape = exporter.scrape().await;
            if is_met(&scrape) {
                return scrape;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(TEST_TIMEOUT, met).await.unwrap_or_else(|_| panic!("{}", exporter.output_so_far()))
}

const ACCOUNT: &str = "accounts: [{account_id: acc_0, url: 'URL'}]\n";

#[tokio::test]
async fn settings_that_need_no_poll_apply_at_once() {
    let api = MockApi::start(|request| async move { listing_page(&request, &records(0, 150)) }).await;
    let (mut exporter, file) = start(&api, ACCOUNT, &[]).await;
    exporter.wait_for_polls(1).await;
    let before = exporter.scrape().await;
    let url = api.url();
    let account = |fields: &str| format!("accounts: [{{account_id: acc_0, url: '{url}', {fields}}}]\n");

    let text =
        account("monthly_budget: {USD: 7.5}, interval: 1h, concurrency: 2, rate_limit: 900, api_key_env: OTHER_KEY");
    reload(&exporter, &file, &format!("collector: {{capability: false, lifecycle: false}}\n{text}")).await;
    let line = exporter.wait_for_log("configuration reloaded", 1).await;
    assert!(line.contains("unchanged=0 changed=1 restarted=0 added=0 removed=0"), "{line}");
    let after = exporter.scrape().await;
    let value =
        |scrape: &Scrape, family: &str, labels: &str| scrape.value(&format!(r#"{family}{{account="acc_0"{labels}}}"#));
    assert_eq!(value(&after, "tryvox_monthly_budget", r#",currency="USD""#), Some(7.5));
    assert_eq!(value(&after, "tryvox_poll_interval_seconds", ""), Some(3600.0));
    assert_eq!(after.inventory(), before.inventory());
    for family in ["tryvox_capability_numbers", "tryvox_newest_creation_timestamp_seconds"] {
        assert!(!after.0.contains(family), "{family}");
    }
    assert!(before.0.contains("tryvox_newest_creation_timestamp_seconds{") && after.0.contains("tryvox_assignment_"));
    assert_eq!(value(&after, "tryvox_polls_total", ""), Some(1.0));
    after.lint();

    // What the listing lacks comes with the next poll.
    let regions = format!("collector: {{region: true}}\n{text}");
    reload(&exporter, &file, &regions).await;
    assert!(!exporter.scrape().await.0.contains("tryvox_region_numbers"));
    reload(&exporter, &file, &regions.replace("interval: 1h", "interval: 500ms")).await;
    let polled = scrape_until(&exporter, |scrape| scrape.0.contains("tryvox_region_numbers{")).await;
    assert!(polled.0.contains("tryvox_newest_creation_timestamp_seconds{"));
    assert_eq!(polled.inventory(), before.inventory());
    assert!(value(&polled, "tryvox_polls_total", "").unwrap() >= 2.0);
}

#[tokio::test]
async fn every_collector_that_is_disabled_loses_its_series_at_once() {
    let api = MockApi::start(|request| async move {
        listing_page(
            &request,
            &[record("+14155550123", "suspended", "1.15", "USD").replace("[\"voice\"]", "[\"sms\"]")],
        )
    })
    .await;
    let all = "collector: {region: true, trunk: true, application: true}\n";
    let (mut exporter, file) = start(&api, &format!("{all}{ACCOUNT}"), &[]).await;
    exporter.wait_for_polls(1).await;
    let families = |scrape: &Scrape| -> Vec<String> {
        let headers = scrape.0.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        headers.map(|header| header.split(' ').next().unwrap().to_owned()).collect()
    };
    for (name, disabled) in [
        ("capability", "false"),
        ("assignment", "false"),
        ("lifecycle", "false"),
        ("region", "false"),
        ("trunk", "false"),
        ("application", "false"),
        ("number", "{statuses: none}"),
    ] {
        let text = match name {
            "region" | "trunk" | "application" => all.replace(&format!("{name}: true"), &format!("{name}: {disabled}")),
            _ => all.replace('}', &format!(", {name}: {disabled}}}")),
        };
        let text = format!("{text}{ACCOUNT}").replace("URL", &api.url());
        reload(&exporter, &file, &text).await;
        let kept = families(&exporter.scrape().await);
        // The same families as after a start with this configuration.
        let (mut other, _file) = start(&api, &text, &[]).await;
        other.wait_for_polls(1).await;
        assert_eq!(kept, families(&other.scrape().await), "{name}");
        // The tables come back with the next poll.
        let quick = format!("poll: {{interval: 50ms}}\n{all}{ACCOUNT}").replace("URL", &api.url());
        reload(&exporter, &file, &quick).await;
        scrape_until(&exporter, |scrape| families(scrape).len() > kept.len()).await;
        reload(&exporter, &file, &format!("{all}{ACCOUNT}").replace("URL", &api.url())).await;
    }
}

#[tokio::test]
async fn only_an_account_that_lists_other_numbers_starts_again() {
    let api = MockApi::start(|request| async move { listing_page(&request, &records(0, 10)) }).await;
    let template =
        "accounts: [{name: a, account_id: acc_0, url: 'URL', countries: [US, CA], statuses: [active, pending]}]\n";
    let (mut exporter, file) = start(&api, template, &[]).await;
    exporter.wait_for_polls(1).await;
    let text = template.replace("URL", &api.url());
    let mut reloads = 0;
    for (from, to, is_restarted) in [
        ("acc_0", "acc_1", true),
        ("127.0.0.1", "localhost", true),
        ("[US, CA]", "[US]", true),
        ("[active, pending]", "[active]", true),
        ("[US, CA]", "[CA, US]", false),
        ("statuses: [active, pending]", "statuses: 'pending,active'", false),
    ] {
        for text in [text.replace(from, to), text.clone()] {
            let polls = exporter.polls();
            reload(&exporter, &file, &text).await;
            reloads += 1;
            let line = exporter.wait_for_log("configuration reloaded", reloads).await;
            let expected = if is_restarted { "changed=0 restarted=1" } else { "changed=1 restarted=0" };
            assert!(line.contains(expected), "{from} to {to}: {line}");
            if is_restarted {
                exporter.wait_for_polls(polls + 1).await;
            }
            assert_eq!(
                exporter.scrape().await.value(r#"tryvox_polls_total{account="a"}"#),
                Some(1.0),
                "{from} to {to}"
            );
        }
    }
}

#[tokio::test]
async fn poll_in_progress_survives_a_reload() {
    let released = Arc::new(Notify::new());
    let (waiting, requests) = (released.clone(), Arc::new(AtomicUsize::new(0)));
    let api = MockApi::start(move |request| {
        let (waiting, is_held) = (waiting.clone(), requests.fetch_add(1, Ordering::SeqCst) == 2);
        async move {
            if is_held {
                waiting.notified().await;
            }
            listing_page(&request, &records(0, 150))
        }
    })
    .await;
    let template = format!("tryvox: {{per_page: 30, concurrency: 1}}\n{ACCOUNT}");
    let (mut exporter, file) = start(&api, &template, &[]).await;
    let held = async {
        while api.requests().len() < 3 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(TEST_TIMEOUT, held).await.expect("the third page is not requested");
    let changed = "tryvox: {per_page: 50, concurrency: 3, timeout: 20s, rate_limit: 7}\ncollector: {capability: false}\n\
                   poll: {timeout: 4m, max_discrepancy: 0.5}\n";
    reload(&exporter, &file, &format!("{changed}{ACCOUNT}").replace("URL", &api.url())).await;
    released.notify_one();
    exporter.wait_for_log("poll succeeded", 1).await;
    let scrape = exporter.scrape().await;
    assert_eq!(scrape.inventory(), expected::from_records("acc_0", records(0, 150).into_iter()));
    assert!(!scrape.0.contains("tryvox_capability_numbers"));
    let pages: Vec<_> = api.requests().iter().map(|request| request.page).collect();
    assert_eq!(pages, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn changed_global_option_polls_no_account() {
    const ACCOUNTS: usize = 50;
    let api = MockApi::start(|request| async move { listing_page(&request, &records(account_of(&request), 10)) }).await;
    let mut text = String::from("tryvox: {url: 'URL', rate_limit: 0}\npoll: {interval: 2h}\naccounts:\n");
    for account in 0..ACCOUNTS {
        writeln!(text, "- {{account_id: acc_{account}}}").unwrap();
    }
    let (mut exporter, file) = start(&api, &text, &[]).await;
    exporter.wait_for_polls(ACCOUNTS).await;
    let text = text.replace("URL", &api.url());
    for (round, changed) in [
        text.replace("rate_limit: 0", "rate_limit: 1, timeout: 3s, concurrency: 9, retry_for: 1s"),
        text.replace("2h", "30m"),
        text.replace("2h", "7h"),
    ]
    .iter()
    .enumerate()
    {
        reload(&exporter, &file, changed).await;
        let line = exporter.wait_for_log("configuration reloaded", round + 1).await;
        assert!(line.contains("changed=50 restarted=0"), "{line}");
        exporter.wait_until_idle().await;
        // One account in 1,800 is due in any second of an interval of 30 minutes.
        assert!(api.requests().len() <= ACCOUNTS + 2, "{}", api.requests().len());
    }
}

#[tokio::test]
async fn reload_warns_of_options_that_need_a_restart_and_of_keys_that_are_sent_unencrypted() {
    let api = MockApi::start(|request| async move { listing_page(&request, &records(0, 10)) }).await;
    let (mut exporter, file) = start(&api, ACCOUNT, &[]).await;
    let text = ACCOUNT.replace("URL", &api.url());
    reload(&exporter, &file, &text).await;
    exporter.wait_for_log("configuration reloaded", 1).await;
    assert!(!exporter.output_so_far().contains("level=warn"), "{}", exporter.output_so_far());
    reload(&exporter, &file, &format!("web: {{max_connections: 7}}\n{text}")).await;
    exporter.wait_for_log("changed --web options take effect after a restart", 1).await;
    assert!(!exporter.output_so_far().contains("--log options"));
    reload(&exporter, &file, &format!("log: {{format: json}}\n{text}")).await;
    exporter.wait_for_log("changed --log options take effect after a restart", 1).await;
    // Both accounts are on one host of a network that is reserved for documentation.
    let unencrypted =
        "- {account_id: acc_1, url: 'http://192.0.2.1'}\n- {account_id: acc_2, url: 'http://192.0.2.1:81'}\n";
    reload(&exporter, &file, &format!("accounts:\n{unencrypted}")).await;
    exporter.wait_for_log("configuration reloaded", 4).await;
    let warnings = exporter.output_so_far().matches("API keys are sent to 192.0.2.1 unencrypted").count();
    assert_eq!(warnings, 1, "{}", exporter.output_so_far());
}

#[tokio::test(start_paused = true)]
async fn changed_interval_moves_the_next_poll_relative_to_the_last_one() {
    let start = Instant::now();
    let minutes = Duration::from_mins;
    let harness = Harness::start(&HarnessOptions { interval: minutes(60), ..HarnessOptions::default() });
    harness.wait_for_polls(1).await;
    sleep(minutes(10)).await;
    let mut next = Vec::new();
    for interval in [30, 120, 60, 9] {
        harness.reconfigure(|config| config.poll.interval = minutes(interval));
        next.push((harness.next_poll_at().await - start).as_secs() / 60);
    }
    assert_eq!(next, [30, 120, 60, 18]);
    assert_eq!(harness.scrape().account_value("tryvox_poll_interval_seconds", ""), 540.0);
    harness.wait_for_polls(3).await;
    assert_eq!((Instant::now() - start).as_secs() / 60, 27, "later polls keep to the new interval");
}

#[tokio::test(start_paused = true)]
async fn changed_staleness_applies_to_the_inventory_that_is_served() {
    let harness = Harness::start(&HarnessOptions::default());
    harness.wait_for_polls(1).await;
    let listed = harness.scrape().inventory();
    harness.set_faults("403");
    harness.wait_for_polls(2).await;
    for (stale_after, is_served) in [(60, false), (3600, true), (1, false), (7200, true)] {
        harness.reconfigure(|config| config.poll.explicit_stale_after = Some(Duration::from_secs(stale_after)));
        let expected = if is_served { listed.clone() } else { Series::new() };
        assert_eq!(harness.scrape().inventory(), expected, "{stale_after}");
    }
    assert_eq!(harness.polls(), 2);
}

#[tokio::test(start_paused = true)]
async fn failing_account_is_polled_soon_after_a_change_that_may_help() {
    let harness = Harness::start(&HarnessOptions { interval: Duration::from_hours(6), ..HarnessOptions::default() });
    harness.set_faults("403");
    sleep(Duration::from_hours(23)).await;
    let (polls, next_poll_at) = (harness.polls(), harness.next_poll_at().await);
    harness.reconfigure(|config| config.budget = BTreeMap::from([("USD".to_owned(), "5".parse().unwrap())]));
    assert_eq!(harness.next_poll_at().await, next_poll_at, "a budget does not help");
    harness.set_faults("");
    harness.reconfigure(|config| config.tryvox.timeout = Duration::from_secs(30));
    sleep(Duration::from_secs(20)).await;
    assert_eq!((harness.polls(), harness.failed_polls()), (polls + 1, polls));
    assert_eq!(harness.scrape().inventory(), harness.expected_series());
}

/// Returns a configuration of these accounts in which every field that does not change the account is random. The
/// accounts from `restarted` on also get other filters.
fn random_config(rng: &mut fastrand::Rng, url: &str, accounts: usize, restarted: usize) -> String {
    let flag = |rng: &mut fastrand::Rng| if rng.bool() { "true" } else { "false" };
    let mut text = format!(
        "tryvox: {{url: '{url}', timeout: {}s, retry_for: {}s, total_concurrency: {}, per_page: {}, rate_limit: {}}}\n",
        rng.u32(5..20),
        rng.u32(5..20),
        rng.u32(2..20),
        rng.u32(20..=100),
        [0, 1000, 500][rng.usize(0..3)],
    );
    writeln!(
        text,
        "poll: {{interval: {}ms, timeout: {}s, stale_after: {}s, max_discrepancy: 0.{}}}",
        rng.u32(20..200),
        rng.u32(20..90),
        rng.u32(100..900),
        rng.u32(0..10)
    )
    .unwrap();
    let mut collector = Vec::new();
    for name in ["capability", "assignment", "lifecycle", "region", "trunk", "application"] {
        collector.push(format!("{name}: {}", flag(rng)));
    }
    collector.push(format!("label_limit: {}, number: {{limit: {}}}", rng.u32(20..99), rng.u32(0..50)));
    writeln!(text, "collector: {{{}}}\naccounts:", collector.join(", ")).unwrap();
    for account in 0..accounts {
        let mut fields = vec![format!("account_id: acc_{account}")];
        if rng.bool() {
            fields.push(format!("interval: {}ms", rng.u32(20..200)));
        }
        if rng.bool() {
            fields.push(format!("concurrency: {}, rate_limit: {}", rng.u32(1..5), rng.u32(500..1000)));
        }
        if rng.bool() {
            fields.push("api_key_env: OTHER_KEY".to_owned());
        }
        if rng.bool() {
            fields.push(format!("monthly_budget: {{USD: {}}}", rng.u32(0..1000)));
        }
        if account >= restarted && rng.bool() {
            fields.push("statuses: [active, suspended]".to_owned());
        }
        writeln!(text, "- {{{}}}", fields.join(", ")).unwrap();
    }
    text
}

/// The series of an account that must never be absent once they are present, and whose values must never decrease: its
/// counters, the parts of its histograms, and when it was polled.
fn monotonic_series(scrape: &Scrape, account: usize) -> BTreeMap<&str, f64> {
    let types = scrape.0.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let families: BTreeMap<&str, &str> = types.collect();
    let label = format!("account=\"acc_{account}\"");
    let is_monotonic = |name: &str| {
        let parts = ["_bucket", "_count", "_sum"];
        let histogram = parts.iter().find_map(|part| name.strip_suffix(part));
        families.get(name) == Some(&"counter")
            || histogram.is_some_and(|name| families.get(name) == Some(&"histogram"))
            || name.starts_with("tryvox_last_") && name.ends_with("_timestamp_seconds")
    };
    let samples = scrape.0.lines().filter(|line| !line.starts_with('#')).map(|line| line.rsplit_once(' ').unwrap());
    let of_account = samples.filter(|(series, _)| series.contains(&label));
    of_account
        .filter(|(series, _)| is_monotonic(series.split('{').next().unwrap()))
        .map(|(series, value)| (series, value.parse().unwrap()))
        .collect()
}

/// Returns a sum over the series of a family of an account.
fn sum(scrape: &Scrape, family: &str, account: usize) -> f64 {
    let label = format!("{{account=\"acc_{account}\"");
    scrape.family(family).iter().filter(|(series, _)| series.contains(&label)).map(|(_, value)| value).sum()
}

#[tokio::test]
async fn thousand_random_reloads_neither_remove_inventory_nor_reset_counters() {
    const ROUNDS: usize = 1000;
    const KEPT: usize = 8;
    const ACCOUNTS: usize = 10;
    /// Accounts below this have the same numbers all the time; in the others one number changes at each listing.
    const CONSTANT: usize = 5;
    let listings = Arc::new(AtomicUsize::new(0));
    let counter = listings.clone();
    let api = MockApi::start(move |request| {
        let account = account_of(&request);
        let response = if account < CONSTANT {
            listing_page(&request, &records(account, 150))
        } else {
            let status = ["active", "suspended"][counter.fetch_add(1, Ordering::SeqCst) / 3 % 2];
            listing_page(&request, &[record("+14155550123", status, "1.15", "USD")])
        };
        async move { response }
    })
    .await;
    let mut rng = fastrand::Rng::with_seed(seed());
    let first = random_config(&mut rng, &api.url(), ACCOUNTS, KEPT);
    let (exporter, file) = start(&api, &first, &[]).await;
    // The mock ignores filters, so a strict configuration finds the listings of filtered accounts inconsistent.
    let is_listed = |scrape: &Scrape| {
        let listed = scrape.family("tryvox_listed_numbers");
        (0..KEPT).all(|account| listed.contains_key(&format!(r#"tryvox_listed_numbers{{account="acc_{account}"}}"#)))
    };
    let first = scrape_until(&exporter, is_listed).await;
    let expected: Vec<Series> = (0..CONSTANT)
        .map(|account| expected::from_records(&format!("acc_{account}"), records(account, 150).into_iter()))
        .collect();
    let reloads = Cell::new(0);
    let reload_often = async {
        for _ in 0..ROUNDS {
            reload(&exporter, &file, &random_config(&mut rng, &api.url(), ACCOUNTS, KEPT)).await;
            reloads.set(reloads.get() + 1);
        }
    };
    // Scrapes go on all the time, so they meet reloads in every state.
    let scrape_always = async {
        let (mut before, mut scrapes) = (first, 0);
        while reloads.get() < ROUNDS {
            let round = reloads.get();
            let scrape = exporter.scrape().await;
            let inventory = scrape.inventory();
            for (series, value) in expected.iter().flatten() {
                assert_eq!(inventory.get(series), Some(value), "round {round}: {series}");
            }
            for account in 0..KEPT {
                let (old, new) = (monotonic_series(&before, account), monotonic_series(&scrape, account));
                assert!(old.len() > 20, "{old:?}");
                for (series, value) in old {
                    assert!(new.get(series) >= Some(&value), "round {round}: {series} {value} {:?}", new.get(series));
                }
                let listed = scrape.value(&format!(r#"tryvox_listed_numbers{{account="acc_{account}"}}"#));
                assert_eq!(listed, Some(if account < CONSTANT { 150.0 } else { 1.0 }), "round {round}");
                let failed = sum(&scrape, "tryvox_poll_errors_total", account);
                assert_eq!(failed, 0.0, "round {round}: {}", exporter.output_so_far());
            }
            (before, scrapes) = (scrape, scrapes + 1);
        }
        (before, scrapes)
    };
    let ((), (last, scrapes)) = tokio::join!(reload_often, scrape_always);
    assert!(scrapes > ROUNDS / 10, "{scrapes}");
    // Polls went on all the time, also in accounts that change at each reload.
    for account in 0..KEPT {
        assert!(sum(&last, "tryvox_polls_total", account) > 10.0, "{}", last.0);
        let changes = sum(&last, "tryvox_number_status_changes_total", account);
        assert_eq!(changes > 0.0, account >= CONSTANT, "{changes}");
    }
    last.lint();
}

#[tokio::test]
async fn requests_are_served_while_a_reload_waits_for_a_file() {
    let api = MockApi::start(|request| async move { listing_page(&request, &records(0, 10)) }).await;
    let (https_url, certificate, _requests) = https_api().await;
    let folder = tempfile::tempdir().unwrap();
    // The CA certificates are read when the first HTTPS client is built: this waits until they are written.
    let fifo = folder.path().join("ca.pem");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let file = ConfigFile::new(&ACCOUNT.replace("URL", &api.url()));
    let (flag, trusted) = (file.flag(), fifo.display().to_string());
    let environment = [("TRYVOX_API_KEY", KEY), ("SSL_CERT_FILE", &*trusted), ("TOKIO_WORKER_THREADS", "1")];
    let no_proxy = [("NO_PROXY", "*")];
    let mut exporter =
        ServerProcess::start(&[&flag, "--web.enable-lifecycle"], &[&environment[..], &no_proxy].concat()).await;
    file.write(&ACCOUNT.replace("URL", &https_url));
    let reload = tokio::spawn(http().post(format!("{}/-/reload", exporter.url())).send());
    // Opening it waits for the reader.
    let writer = tokio::task::spawn_blocking(move || std::fs::OpenOptions::new().write(true).open(fifo).unwrap());
    let mut writer = timeout(TEST_TIMEOUT, writer).await.expect("the certificates are not read").unwrap();
    for path in ["/metrics", "/", "/-/healthy"] {
        let response =
            timeout(Duration::from_secs(20), exporter.get(path)).await.expect("requests wait for the reload");
        assert_eq!(response.status(), StatusCode::OK, "{path}");
    }
    assert!(!reload.is_finished());
    writer.write_all(certificate.as_bytes()).unwrap();
    drop(writer);
    assert_eq!(reload.await.unwrap().unwrap().status(), StatusCode::OK);
    exporter.wait_for_log("configuration reloaded", 1).await;
}

#[tokio::test]
async fn invalid_reload_leaves_running_accounts_alone() {
    let api = MockApi::start(|request| async move { listing_page(&request, &records(0, 10)) }).await;
    let (mut exporter, file) = start(&api, ACCOUNT, &["--poll.interval=100ms"]).await;
    exporter.wait_for_polls(1).await;
    file.write("accounts: [{account_id: acc_0, colour: red}]\n");
    let response = http().post(format!("{}/-/reload", exporter.url())).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let polls = exporter.polls();
    exporter.wait_for_polls(polls + 2).await;
    let scrape = exporter.scrape().await;
    assert_eq!(scrape.inventory(), expected::from_records("acc_0", records(0, 10).into_iter()));
}
