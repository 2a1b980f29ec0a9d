//! Many accounts in one process: each is listed exactly, a failing one does not affect the others, and
//! a reload adds, changes and removes accounts while the process runs.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::common::accounts::{AccountBehavior, ConfigFile, account_of, config_text, expected_series, start_api};
use crate::common::{KEY, Scrape, ServerProcess, TEST_TIMEOUT, http, seed};
use reqwest::StatusCode;
use rustix::process::Signal;
use tokio::time::timeout;

async fn start(file: &ConfigFile, arguments: &[&str]) -> ServerProcess {
    let flag = file.flag();
    let mut all = vec![&*flag];
    all.extend(arguments);
    ServerProcess::start(&all, &[("TRYVOX_API_KEY", KEY)]).await
}

/// Returns the value of a series of one account; `label` is empty or begins with a comma.
fn account_value(scrape: &Scrape, family: &str, account: usize, label: &str) -> Option<f64> {
    scrape.value(&format!(r#"{family}{{account="acc_{account}"{label}}}"#))
}

/// Scrapes until a scrape meets the condition and returns that scrape.
async fn scrape_until(exporter: &ServerProcess, is_met: impl Fn(&Scrape) -> bool) -> Scrape {
    let start = Instant::now();
    loop {
        let scrape = exporter.scrape().await;
        if is_met(&scrape) {
            return scrape;
        }
        assert!(start.elapsed() < TEST_TIMEOUT, "{}", exporter.output_so_far());
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

/// The polls of all accounts. They are read from a scrape at once: while a test reads one account after the other from a large
/// scrape, its API responds to nobody.
struct PollCounts {
    polls: BTreeMap<String, f64>,
    errors: BTreeMap<String, f64>,
}

impl PollCounts {
    fn of(scrape: &Scrape) -> Self {
        Self { polls: scrape.family("tryvox_polls_total"), errors: scrape.family("tryvox_poll_errors_total") }
    }

    fn successes(&self, account: usize) -> f64 {
        let polls = self.polls.get(&format!(r#"tryvox_polls_total{{account="acc_{account}"}}"#));
        polls.copied().unwrap_or(0.0) - self.all_failures(account)
    }

    fn all_failures(&self, account: usize) -> f64 {
        let prefix = format!(r#"tryvox_poll_errors_total{{account="acc_{account}","#);
        let errors = self.errors.range(prefix.clone()..).take_while(|(series, _)| series.starts_with(&prefix));
        errors.map(|(_, count)| count).sum()
    }

    fn failures(&self, account: usize, reason: &str) -> f64 {
        let series = format!(r#"tryvox_poll_errors_total{{account="acc_{account}",reason="{reason}"}}"#);
        self.errors.get(&series).copied().unwrap_or(0.0)
    }
}

/// Returns whether each of these accounts has been polled successfully.
fn have_all_succeeded(scrape: &Scrape, mut accounts: Range<usize>) -> bool {
    let counts = PollCounts::of(scrape);
    accounts.all(|account| counts.successes(account) >= 1.0)
}

#[tokio::test]
async fn hanging_and_unauthorized_accounts_do_not_delay_the_other_200() {
    const ACCOUNTS: usize = 200;
    const NUMBERS: usize = 500;
    let kind = |account| match account % 40 {
        7 => AccountBehavior::Hanging,
        _ if account % 100 == 11 => AccountBehavior::Unauthorized,
        _ => AccountBehavior::Valid,
    };
    let (valid, failing): (Vec<_>, Vec<_>) =
        (0..ACCOUNTS).partition(|account| kind(*account) == AccountBehavior::Valid);
    assert_eq!(valid.len(), 193);
    let reason = |account| if kind(account) == AccountBehavior::Unauthorized { "unauthorized" } else { "timeout" };
    let api = start_api(NUMBERS, kind).await;
    let file = ConfigFile::new(&config_text(&api.url(), 0..ACCOUNTS));
    let exporter = start(&file, &["--poll.interval=3s"]).await;
    let scrape = scrape_until(&exporter, |scrape| {
        let counts = PollCounts::of(scrape);
        valid.iter().all(|account| counts.successes(*account) >= 3.0)
            && failing.iter().all(|account| counts.failures(*account, reason(*account)) >= 1.0)
    })
    .await;
    let counts = PollCounts::of(&scrape);
    for account in 0..ACCOUNTS {
        let up = account_value(&scrape, "tryvox_up", account, "").unwrap();
        if kind(account) == AccountBehavior::Valid {
            assert_eq!(up, 1.0, "{account}");
            assert_eq!(inventory_of(&scrape, account), expected_series(account, NUMBERS), "{account}");
            assert_eq!(counts.all_failures(account), 0.0, "{account}");
        } else {
            assert_eq!(up, 0.0, "{account}");
        }
    }
    // All valid accounts keep the same pace: those that wait for a hanging one would fall behind. The
    // second poll is up to half an interval early or late.
    let polls: Vec<_> = valid.iter().map(|account| counts.successes(*account)).collect();
    let (slowest, fastest) =
        (polls.iter().copied().fold(f64::MAX, f64::min), polls.iter().copied().fold(0.0, f64::max));
    assert!(fastest - slowest <= 3.0, "{polls:?}");
    scrape.lint();
    println!(
        "peak memory {} MiB, CPU {} s",
        exporter.memory("VmHWM") >> 20,
        scrape.value("process_cpu_seconds_total").unwrap()
    );
    assert!(exporter.memory("VmHWM") < 100 << 20);
}

#[tokio::test]
async fn total_concurrency_limits_requests_of_all_accounts_fairly() {
    let api = start_api(300, |_| AccountBehavior::Valid).await;
    let file = ConfigFile::new(&config_text(&api.url(), 0..30));
    let exporter = start(&file, &["--tryvox.total-concurrency=3", "--tryvox.concurrency=10"]).await;
    scrape_until(&exporter, |scrape| have_all_succeeded(scrape, 0..30)).await;
    assert!(api.max_in_flight() <= 3, "{}", api.max_in_flight());
    // Accounts take turns, so every first page is requested before most of the later pages: no account
    // waits until another is listed.
    let requests: Vec<_> = api.requests().iter().map(|request| (account_of(request), request.page)).collect();
    let last_first_page = requests.iter().rposition(|(_, page)| *page == 1).unwrap();
    assert!(last_first_page < 60, "{requests:?}");
}

/// Returns the time until the next poll of each account, as the status page shows it.
async fn next_polls(exporter: &ServerProcess) -> Vec<Duration> {
    let mut next_polls = Vec::new();
    for page in 1.. {
        let text = exporter.get(&format!("/?page={page}")).await.text().await.unwrap();
        next_polls.extend(text.split("<dt>Next poll</dt><dd>in ").skip(1).map(|fact| {
            let duration = fact.split('<').next().unwrap();
            humantime::parse_duration(duration).unwrap_or_else(|error| panic!("{duration}: {error}"))
        }));
        if !text.contains(&format!("page={}", page + 1)) {
            break;
        }
    }
    next_polls
}

/// With an interval that is far longer than the test, each account is polled only once, and the
/// status page says when it is polled again.
#[tokio::test]
async fn first_polls_start_at_once_and_later_polls_spread_over_the_interval() {
    const ACCOUNTS: usize = 60;
    let api = start_api(10, |_| AccountBehavior::Valid).await;
    let file = ConfigFile::new(&config_text(&api.url(), 0..ACCOUNTS));
    let exporter = start(&file, &["--poll.interval=4h"]).await;
    scrape_until(&exporter, |scrape| have_all_succeeded(scrape, 0..ACCOUNTS)).await;
    let polled: BTreeSet<_> = api.requests().iter().map(account_of).collect();
    assert_eq!((polled.len(), api.requests().len()), (ACCOUNTS, ACCOUNTS));

    // An account is shown as waiting shortly after its listing is published.
    let all_waiting = async {
        loop {
            let next_polls = next_polls(&exporter).await;
            if next_polls.len() == ACCOUNTS {
                return next_polls;
            }
        }
    };
    let next_polls = timeout(TEST_TIMEOUT, all_waiting).await.expect("the status page does not show all next polls");
    // The second poll is due between half an interval and one and a half intervals after the first.
    let mut polls_by_hour = [0; 6];
    for next_poll in &next_polls {
        polls_by_hour[usize::try_from(next_poll.as_secs() / 3600).unwrap()] += 1;
    }
    // 15 of the 60 are expected in each quarter of the interval. The hour before holds those of which
    // some seconds have passed.
    assert!(polls_by_hour[0] == 0 && polls_by_hour[1] <= 3, "{polls_by_hour:?}");
    assert!(polls_by_hour[2..].iter().all(|polls| (3..=35).contains(polls)), "{polls_by_hour:?}");
}

async fn reload(exporter: &ServerProcess) -> (StatusCode, String) {
    let response = http().post(format!("{}/-/reload", exporter.url())).send().await.unwrap();
    (response.status(), response.text().await.unwrap())
}

#[tokio::test]
async fn reload_changes_only_what_differs_and_keeps_the_configuration_if_the_file_is_invalid() {
    let api = start_api(150, |_| AccountBehavior::Valid).await;
    let file = ConfigFile::new(&config_text(&api.url(), [0, 1, 2]));
    let mut exporter = start(&file, &["--web.enable-lifecycle", "--poll.interval=1h", "--log.level=debug"]).await;
    exporter.wait_for_polls(3).await;
    let before = exporter.scrape().await;
    assert_eq!(before.value("tryvox_exporter_config_last_reload_successful"), Some(1.0));
    let since = before.value("tryvox_exporter_config_last_reload_success_timestamp_seconds").unwrap();

    // Account 0 is unchanged, 1 is changed, 2 is removed, 3 is added, and the order differs.
    let changed =
        config_text(&api.url(), [3, 1, 0]).replace("acc_1}", "acc_1, concurrency: 2, monthly_budget: {USD: 7.5}}");
    file.write(&changed);
    assert_eq!(reload(&exporter).await.0, StatusCode::OK);
    let line = exporter.wait_for_log("configuration reloaded", 1).await;
    assert!(line.contains("unchanged=1 changed=1 restarted=0 added=1 removed=1"), "{line}");
    exporter.wait_for_polls(4).await;
    let after = exporter.scrape().await;
    for account in [0, 1] {
        assert_eq!(inventory_of(&after, account), expected_series(account, 150));
        assert_eq!(
            account_value(&after, "tryvox_last_poll_timestamp_seconds", account, ""),
            account_value(&before, "tryvox_last_poll_timestamp_seconds", account, "")
        );
    }
    let counts = PollCounts::of(&after);
    assert_eq!([0, 1, 3].map(|account| counts.successes(account)), [1.0; 3]);
    assert!(!after.0.contains("acc_2"), "{}", after.0);
    assert_eq!(account_value(&after, "tryvox_monthly_budget", 1, r#",currency="USD""#), Some(7.5));
    assert!(after.value("tryvox_exporter_config_last_reload_success_timestamp_seconds").unwrap() > since);
    // The 2 pages of each account were requested once.
    let requests = |account| api.requests().iter().filter(|request| account_of(request) == account).count();
    assert_eq!([0, 1, 2, 3].map(requests), [2, 2, 2, 2]);
    after.lint();

    // An invalid file changes nothing; the response, the log and a metric say so.
    file.write(&changed.replace("acc_0", "acc_0, colour: red"));
    let (status, text) = reload(&exporter).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(text.contains("config.yml:5:") && text.contains("accounts.colour is not known"), "{text}");
    exporter.wait_for_log("reload failed, keeping the previous configuration", 1).await;
    let after_failure = exporter.scrape().await;
    assert_eq!(after_failure.value("tryvox_exporter_config_last_reload_successful"), Some(0.0));
    assert_eq!(after_failure.inventory(), after.inventory());

    // SIGHUP reloads like the request.
    file.write(&changed);
    exporter.signal(Signal::HUP);
    let line = exporter.wait_for_log("configuration reloaded", 2).await;
    assert!(line.contains("unchanged=3 changed=0 restarted=0 added=0 removed=0"), "{line}");
    assert_eq!(exporter.scrape().await.value("tryvox_exporter_config_last_reload_successful"), Some(1.0));
}

#[tokio::test]
async fn adding_a_second_account_keeps_the_first_listing_and_readiness() {
    let api =
        start_api(150, |account| if account == 1 { AccountBehavior::Hanging } else { AccountBehavior::Valid }).await;
    let file = ConfigFile::new(&config_text(&api.url(), [0]));
    let mut exporter = start(&file, &["--web.enable-lifecycle", "--poll.interval=1h", "--log.level=debug"]).await;
    exporter.wait_for_polls(1).await;
    assert_eq!(exporter.get("/-/ready").await.status(), 200);
    file.write(&config_text(&api.url(), [0, 1]));
    assert_eq!(reload(&exporter).await.0, StatusCode::OK);
    let line = exporter.wait_for_log("configuration reloaded", 1).await;
    assert!(line.contains("unchanged=1 changed=0 restarted=0 added=1 removed=0"), "{line}");
    assert_eq!(exporter.get("/-/ready").await.status(), 200);
    assert_eq!(inventory_of(&exporter.scrape().await, 0), expected_series(0, 150));
}

#[tokio::test]
async fn reload_by_request_is_forbidden_unless_lifecycle_is_enabled() {
    let api = start_api(1, |_| AccountBehavior::Valid).await;
    let exporter = start(&ConfigFile::new(&config_text(&api.url(), [0])), &[]).await;
    let (status, text) = reload(&exporter).await;
    assert!(status == StatusCode::FORBIDDEN && text.contains("--web.enable-lifecycle"), "{text}");
    assert_eq!(exporter.get("/-/reload").await.status(), 405);
}

#[tokio::test]
async fn a_thousand_reloads_lose_no_account_and_leak_no_memory() {
    let api = start_api(150, |_| AccountBehavior::Valid).await;
    let file = ConfigFile::new(&config_text(&api.url(), 0..20));
    let mut exporter = start(&file, &["--web.enable-lifecycle", "--poll.interval=100ms"]).await;
    let mut early_memory = 0;
    for round in 0..1000_usize {
        // Accounts are added and removed while polls run.
        file.write(&config_text(&api.url(), (0..20).filter(|account| account % 5 != round % 5)));
        assert_eq!(reload(&exporter).await.0, StatusCode::OK);
        if round == 200 {
            early_memory = exporter.memory("VmRSS");
        }
    }
    file.write(&config_text(&api.url(), 0..20));
    assert_eq!(reload(&exporter).await.0, StatusCode::OK);
    exporter.wait_for_log("configuration reloaded", 1001).await;
    let scrape = scrape_until(&exporter, |scrape| have_all_succeeded(scrape, 0..20)).await;
    for account in 0..20 {
        assert_eq!(inventory_of(&scrape, account), expected_series(account, 150));
    }
    let memory = exporter.memory("VmRSS");
    assert!(memory < early_memory + (8 << 20), "{early_memory} to {memory} bytes");
}

#[tokio::test]
async fn listings_filtered_by_country_and_status_are_merged_exactly() {
    let simulator = ServerProcess::simulator(3_000, seed(), &[]).await;
    let all = crate::common::expected::from_simulator(&simulator).await;
    for (countries, statuses) in [("", "suspended"), ("US,DE", ""), ("US,JP,CA", "active,suspended"), ("AQ", "")] {
        let (by_country, by_status) =
            (format!("--tryvox.countries={countries}"), format!("--tryvox.statuses={statuses}"));
        let mut arguments = vec!["--tryvox.rate-limit=0"];
        arguments.extend((!countries.is_empty()).then_some(&*by_country));
        arguments.extend((!statuses.is_empty()).then_some(&*by_status));
        let before = simulator.requests().await;
        let mut exporter = ServerProcess::exporter(&simulator.url(), &arguments).await;
        exporter.wait_for_polls(1).await;
        let scrape = exporter.scrape().await;
        let is_selected = |list: &str, series: &str, label: &str| {
            list.is_empty() || list.split(',').any(|value| series.contains(&format!("{label}=\"{value}\"")))
        };
        let expected: crate::common::expected::Series = all
            .iter()
            .filter(|(series, _)| {
                series.contains("country=")
                    && is_selected(countries, series, "country")
                    && is_selected(statuses, series, "status")
            })
            .map(|(series, value)| (series.clone(), *value))
            .collect();
        let mut served = scrape.inventory();
        let listed = served.remove(r#"tryvox_listed_numbers{account="acc_demo"}"#).unwrap();
        assert_eq!(served.remove(r#"tryvox_reported_numbers{account="acc_demo"}"#), Some(listed));
        // A group without listed numbers is known only if the whole account is listed.
        let without_zeros = |series: &crate::common::expected::Series| -> crate::common::expected::Series {
            series.iter().filter(|(_, value)| **value != 0.0).map(|(series, value)| (series.clone(), *value)).collect()
        };
        assert_eq!(without_zeros(&served), without_zeros(&expected), "{countries} {statuses}");
        assert!(
            served.keys().all(|series| is_selected(statuses, series, "status")),
            "a status that was not requested: {served:?}"
        );
        assert_eq!(
            expected
                .iter()
                .filter(|(series, _)| series.starts_with("tryvox_numbers{"))
                .map(|(_, value)| value)
                .sum::<f64>(),
            listed
        );
        let pages = scrape.account_value("tryvox_last_poll_pages", "");
        assert_eq!((simulator.requests().await - before) as f64, pages, "one request per page");
    }
}

#[tokio::test]
async fn ten_thousand_accounts_become_ready_with_one_request_each_and_bounded_memory() {
    const ACCOUNTS: usize = 10_000;
    let api = start_api(10, |_| AccountBehavior::Valid).await;
    let file = ConfigFile::new(&config_text(&api.url(), 0..ACCOUNTS));
    let start_time = Instant::now();
    let exporter = start(&file, &["--poll.interval=1h"]).await;
    let listening = start_time.elapsed();
    while exporter.get("/-/ready").await.status() != 200 {
        assert!(start_time.elapsed() < TEST_TIMEOUT, "{}", exporter.output_so_far());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let ready = start_time.elapsed();
    let scrape_start = Instant::now();
    let scrape = exporter.scrape().await.0;
    println!(
        "listening after {listening:?}, ready after {ready:?}, a scrape of {} MB in {:?}, peak {} MiB",
        scrape.len() / 1_000_000,
        scrape_start.elapsed(),
        exporter.memory("VmHWM") >> 20
    );
    let up = scrape.lines().filter(|line| line.starts_with("tryvox_up{") && line.ends_with("} 1")).count();
    assert_eq!((up, api.requests().len()), (ACCOUNTS, ACCOUNTS));
    // The bound is for a debug build.
    assert!(exporter.memory("VmHWM") < 512 << 20);
}
