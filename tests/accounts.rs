//! Many accounts in one process: each exact, none harmed by another, and all of it changed while it
//! runs.

use std::time::{Duration, Instant};

use crate::common::accounts::{File, Kind, account_of, api, text, truth};
use crate::common::{KEY, Running, Scrape, http, seed};
use reqwest::StatusCode;
use rustix::process::Signal;

async fn start(file: &File, arguments: &[&str]) -> Running {
    let flag = file.flag();
    let mut all = vec![&*flag];
    all.extend(arguments);
    Running::start(&all, &[("TRYVOX_API_KEY", KEY)]).await
}

/// A value of one account.
fn of(scrape: &Scrape, family: &str, account: usize, label: &str) -> Option<f64> {
    scrape.value(&format!(r#"{family}{{account="acc_{account}"{label}}}"#))
}

/// Waits until a scrape is so.
async fn until(exporter: &Running, so: impl Fn(&Scrape) -> bool) -> Scrape {
    let start = Instant::now();
    loop {
        let scrape = exporter.scrape().await;
        if so(&scrape) {
            return scrape;
        }
        assert!(start.elapsed() < crate::common::PATIENCE, "{}", exporter.said());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn inventory_of(scrape: &Scrape, account: usize) -> crate::common::expected::Series {
    let label = format!("{{account=\"acc_{account}\"");
    scrape
        .inventory()
        .into_iter()
        .filter(|(series, _)| series.contains(&format!("{label},")) || series.ends_with(&format!("{label}}}")))
        .collect()
}

fn successes(scrape: &Scrape, account: usize) -> f64 {
    of(scrape, "tryvox_polls_total", account, r#",result="success""#).unwrap_or(0.0)
}

#[tokio::test]
async fn two_hundred_accounts_of_which_some_hang_and_some_are_refused() {
    const ACCOUNTS: usize = 200;
    const NUMBERS: usize = 500;
    let kind = |account| match account % 40 {
        7 => Kind::Hanging,
        _ if account % 100 == 11 => Kind::Refused,
        _ => Kind::Good,
    };
    let good: Vec<_> = (0..ACCOUNTS).filter(|account| kind(*account) == Kind::Good).collect();
    assert_eq!(good.len(), 193);
    let api = api(NUMBERS, kind).await;
    let file = File::new(&text(&api.url(), 0..ACCOUNTS));
    let exporter = start(&file, &["--poll.interval=3s"]).await;
    let scrape = until(&exporter, |scrape| good.iter().all(|account| successes(scrape, *account) >= 3.0)).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    for account in 0..ACCOUNTS {
        let up = of(&scrape, "tryvox_up", account, "").unwrap();
        if kind(account) == Kind::Good {
            assert_eq!(up, 1.0, "{account}");
            assert_eq!(inventory_of(&scrape, account), truth(account, NUMBERS), "{account}");
            let failures = of(&scrape, "tryvox_polls_total", account, r#",result="failure""#);
            assert_eq!(failures, Some(0.0), "{account}");
            // The second poll is up to half an interval off, and a busy machine takes a moment.
            let age = now - of(&scrape, "tryvox_last_success_timestamp_seconds", account, "").unwrap();
            assert!(age < 6.0, "account {account} is late: {age} s");
        } else {
            assert_eq!(up, 0.0, "{account}");
            let reason = if kind(account) == Kind::Refused { "unauthorized" } else { "timeout" };
            let failures = of(&scrape, "tryvox_poll_errors_total", account, &format!(",reason=\"{reason}\""));
            assert!(failures.unwrap() >= 1.0, "{account}");
        }
    }
    scrape.lint();
    println!(
        "peak memory {} MiB, CPU {} s",
        exporter.memory("VmHWM") >> 20,
        scrape.value("process_cpu_seconds_total").unwrap()
    );
    assert!(exporter.memory("VmHWM") < 100 << 20);
}

#[tokio::test]
async fn requests_over_all_accounts_keep_to_the_total() {
    let api = api(300, |_| Kind::Good).await;
    let file = File::new(&text(&api.url(), 0..30));
    let exporter = start(&file, &["--tryvox.total-concurrency=3", "--tryvox.concurrency=10"]).await;
    until(&exporter, |scrape| (0..30).all(|account| successes(scrape, account) >= 1.0)).await;
    assert!(api.most_in_flight() <= 3, "{}", api.most_in_flight());
    // The first pages of all come before the last page of any: nobody waits for another to be done.
    let asked: Vec<_> = api.asked().iter().map(|asked| (account_of(asked), asked.page)).collect();
    let firsts = asked.iter().rposition(|(_, page)| *page == 1).unwrap();
    assert!(firsts < 60, "{asked:?}");
}

#[tokio::test]
async fn polls_spread_over_the_interval() {
    const ACCOUNTS: usize = 60;
    let api = api(10, |_| Kind::Good).await;
    let file = File::new(&text(&api.url(), 0..ACCOUNTS));
    let exporter = start(&file, &["--poll.interval=2s"]).await;
    let start = Instant::now();
    let scrape = until(&exporter, |scrape| (0..ACCOUNTS).all(|account| successes(scrape, account) >= 1.0)).await;
    assert!(start.elapsed() < Duration::from_secs(2), "the first polls are at once");
    drop(scrape);
    until(&exporter, |scrape| (0..ACCOUNTS).all(|account| successes(scrape, account) >= 3.0)).await;
    let scrape = exporter.scrape().await;
    let mut phases = [0; 4];
    for at in scrape.family("tryvox_last_poll_timestamp_seconds").values() {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a phase is 0 to 3")]
        let phase = (at.rem_euclid(2.0) * 2.0) as usize;
        phases[phase] += 1;
    }
    // 15 are expected in each quarter; all in one would be 60.
    assert!(phases.iter().all(|phase| (3..=35).contains(phase)), "{phases:?}");
}

async fn reload(exporter: &Running) -> (StatusCode, String) {
    let answer = http().post(format!("{}/-/reload", exporter.url())).send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

#[tokio::test]
async fn a_reload_is_a_difference() {
    let api = api(150, |_| Kind::Good).await;
    let file = File::new(&text(&api.url(), [0, 1, 2]));
    let mut exporter = start(&file, &["--web.enable-lifecycle", "--poll.interval=1h", "--log.level=debug"]).await;
    exporter.polled(3).await;
    let before = exporter.scrape().await;
    assert_eq!(before.value("tryvox_exporter_config_last_reload_successful"), Some(1.0));
    let since = before.value("tryvox_exporter_config_last_reload_success_timestamp_seconds").unwrap();

    // 0 stays, 1 has another concurrency, 2 goes, 3 comes; and the order is another.
    let changed = text(&api.url(), [3, 1, 0]).replace("acc_1}", "acc_1, concurrency: 2, monthly_budget: {USD: 7.5}}");
    file.write(&changed);
    assert_eq!(reload(&exporter).await.0, StatusCode::OK);
    let line = exporter.logged("configuration reloaded", 1).await;
    assert!(line.contains("unchanged=1 changed=1 added=1 removed=1"), "{line}");
    exporter.polled(5).await;
    let after = exporter.scrape().await;
    assert_eq!(inventory_of(&after, 0), truth(0, 150));
    assert_eq!(
        of(&after, "tryvox_last_poll_timestamp_seconds", 0, ""),
        of(&before, "tryvox_last_poll_timestamp_seconds", 0, "")
    );
    assert_eq!((successes(&after, 0), successes(&after, 1), successes(&after, 3)), (1.0, 1.0, 1.0));
    assert!(!after.0.contains("acc_2"), "{}", after.0);
    assert_eq!(of(&after, "tryvox_monthly_budget", 1, r#",currency="USD""#), Some(7.5));
    assert!(after.value("tryvox_exporter_config_last_reload_success_timestamp_seconds").unwrap() > since);
    // Each was asked for its 2 pages, and the changed one again.
    let asked = |account| api.asked().iter().filter(|asked| account_of(asked) == account).count();
    assert_eq!([0, 1, 2, 3].map(asked), [2, 4, 2, 2]);
    after.lint();

    // A bad file changes nothing, and says so everywhere.
    file.write(&changed.replace("acc_0", "acc_0, colour: red"));
    let (status, text) = reload(&exporter).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(text.contains("config.yml:5:") && text.contains("accounts.colour is not known"), "{text}");
    exporter.logged("configuration not reloaded", 1).await;
    let bad = exporter.scrape().await;
    assert_eq!(bad.value("tryvox_exporter_config_last_reload_successful"), Some(0.0));
    assert_eq!(bad.inventory(), after.inventory());

    // SIGHUP does the same as the request.
    file.write(&changed);
    exporter.signal(Signal::HUP);
    let line = exporter.logged("configuration reloaded", 2).await;
    assert!(line.contains("unchanged=3 changed=0 added=0 removed=0"), "{line}");
    assert_eq!(exporter.scrape().await.value("tryvox_exporter_config_last_reload_successful"), Some(1.0));
}

/// The second account changes nothing of the first, and readiness once reached is not lost.
#[tokio::test]
async fn one_account_becomes_two() {
    let api = api(150, |account| if account == 1 { Kind::Hanging } else { Kind::Good }).await;
    let file = File::new(&text(&api.url(), [0]));
    let mut exporter = start(&file, &["--web.enable-lifecycle", "--poll.interval=1h", "--log.level=debug"]).await;
    exporter.polled(1).await;
    assert_eq!(exporter.get("/-/ready").await.status(), 200);
    file.write(&text(&api.url(), [0, 1]));
    assert_eq!(reload(&exporter).await.0, StatusCode::OK);
    let line = exporter.logged("configuration reloaded", 1).await;
    assert!(line.contains("unchanged=1 changed=0 added=1 removed=0"), "{line}");
    assert_eq!(exporter.get("/-/ready").await.status(), 200);
    assert_eq!(inventory_of(&exporter.scrape().await, 0), truth(0, 150));
}

#[tokio::test]
async fn a_reload_by_request_has_to_be_allowed() {
    let api = api(1, |_| Kind::Good).await;
    let exporter = start(&File::new(&text(&api.url(), [0])), &[]).await;
    let (status, text) = reload(&exporter).await;
    assert!(status == StatusCode::FORBIDDEN && text.contains("--web.enable-lifecycle"), "{text}");
    assert_eq!(exporter.get("/-/reload").await.status(), 405);
}

#[tokio::test]
async fn a_thousand_reloads_in_a_row_lose_nothing() {
    let api = api(150, |_| Kind::Good).await;
    let file = File::new(&text(&api.url(), 0..20));
    let mut exporter = start(&file, &["--web.enable-lifecycle", "--poll.interval=100ms"]).await;
    let mut settled = 0;
    for round in 0..1000_usize {
        // Accounts come and go while polls run.
        file.write(&text(&api.url(), (0..20).filter(|account| account % 5 != round % 5)));
        assert_eq!(reload(&exporter).await.0, StatusCode::OK);
        if round == 200 {
            settled = exporter.memory("VmRSS");
        }
    }
    file.write(&text(&api.url(), 0..20));
    assert_eq!(reload(&exporter).await.0, StatusCode::OK);
    exporter.logged("configuration reloaded", 1001).await;
    let scrape = until(&exporter, |scrape| (0..20).all(|account| successes(scrape, account) >= 1.0)).await;
    for account in 0..20 {
        assert_eq!(inventory_of(&scrape, account), truth(account, 150));
    }
    let memory = exporter.memory("VmRSS");
    assert!(memory < settled + (8 << 20), "{settled} to {memory} bytes");
}

#[tokio::test]
async fn filters_are_merged_exactly() {
    let simulator = Running::simulator(3_000, seed(), &[]).await;
    let all = crate::common::expected::from_simulator(&simulator).await;
    for (countries, statuses) in [("", "suspended"), ("US,DE", ""), ("US,JP,CA", "active,suspended"), ("AQ", "")] {
        let (by_country, by_status) =
            (format!("--tryvox.countries={countries}"), format!("--tryvox.statuses={statuses}"));
        let mut arguments = vec!["--tryvox.rate-limit=0"];
        arguments.extend((!countries.is_empty()).then_some(&*by_country));
        arguments.extend((!statuses.is_empty()).then_some(&*by_status));
        let before = simulator.requests().await;
        let mut exporter = Running::exporter(&simulator.url(), &arguments).await;
        exporter.polled(1).await;
        let scrape = exporter.scrape().await;
        let asked = |list: &str, series: &str, label: &str| {
            list.is_empty() || list.split(',').any(|value| series.contains(&format!("{label}=\"{value}\"")))
        };
        let expected: crate::common::expected::Series = all
            .iter()
            .filter(|(series, _)| {
                series.contains("country=") && asked(countries, series, "country") && asked(statuses, series, "status")
            })
            .map(|(series, value)| (series.clone(), *value))
            .collect();
        let mut seen = scrape.inventory();
        let listed = seen.remove(r#"tryvox_listed_numbers{account="acc_demo"}"#).unwrap();
        assert_eq!(seen.remove(r#"tryvox_reported_numbers{account="acc_demo"}"#), Some(listed));
        // A group that no listed number is in is only known to the whole account.
        let zeros_apart = |series: &crate::common::expected::Series| -> crate::common::expected::Series {
            series.iter().filter(|(_, value)| **value != 0.0).map(|(series, value)| (series.clone(), *value)).collect()
        };
        assert_eq!(zeros_apart(&seen), zeros_apart(&expected), "{countries} {statuses}");
        assert!(seen.keys().all(|series| asked(statuses, series, "status")), "a status that nobody asked for");
        assert_eq!(
            expected
                .iter()
                .filter(|(series, _)| series.starts_with("tryvox_numbers{"))
                .map(|(_, value)| value)
                .sum::<f64>(),
            listed
        );
        let pages = scrape.of("tryvox_last_poll_pages", "");
        assert_eq!((simulator.requests().await - before) as f64, pages, "one request a page");
    }
}

#[tokio::test]
async fn ten_thousand_accounts_start_within_seconds() {
    const ACCOUNTS: usize = 10_000;
    let api = api(10, |_| Kind::Good).await;
    let file = File::new(&text(&api.url(), 0..ACCOUNTS));
    let began = Instant::now();
    let exporter = start(&file, &["--poll.interval=1h"]).await;
    let listening = began.elapsed();
    while exporter.get("/-/ready").await.status() != 200 {
        assert!(began.elapsed() < crate::common::PATIENCE, "{}", exporter.said());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let listed = began.elapsed();
    let began = Instant::now();
    let scrape = exporter.scrape().await.0;
    println!(
        "listening after {listening:?}, all listed after {listed:?}, a scrape of {} MB in {:?}, peak {} MiB",
        scrape.len() / 1_000_000,
        began.elapsed(),
        exporter.memory("VmHWM") >> 20
    );
    let up = scrape.lines().filter(|line| line.starts_with("tryvox_up{") && line.ends_with("} 1")).count();
    assert_eq!((up, api.asked().len()), (ACCOUNTS, ACCOUNTS));
    // With a debug build, in bytes: what 10,000 accounts may take at the most.
    assert!(exporter.memory("VmHWM") < 512 << 20);
}
