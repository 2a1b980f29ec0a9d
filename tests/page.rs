//! The status page: its content, the escaping of hostile input, and its behaviour in a real browser.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::StatusCode;
use axum::response::IntoResponse;

use crate::common::accounts::ConfigFile;
use crate::common::api::{MockApi, page};
use crate::common::browser::run_in_browser;
use crate::common::{KEY, ServerProcess};

// Texts from the configuration and the API that would be harmful as markup.
const NAME: &str = r#"<script>alert("name")</script>'&amp;"#;
const REGION: &str = r"<img src=x onerror=alert('region')>";
const ERROR: &str = r#"</p><iframe srcdoc="<b>error</b>"></iframe>"#;
const COUNTRY: &str = r"<marquee onstart=alert(1)>";
const WATCHED_NAME: &str = r"<b onclick=alert(2)>hotline</b>";

/// Returns the record of a number whose texts contain markup.
fn record(number: usize, status: &str, country: &str) -> String {
    let text = |text: &str| serde_json::to_string(text).unwrap();
    format!(
        r#"{{"e164":"+1415555{number:04}","country":{},"type":{},"region":{},"status":{},
        "capabilities":["voice"],"monthly_fee":1.15,"setup_fee":0,"currency":"USD","trunk_id":{},"application_id":null,
        "created_at":"2025-03-11T09:24:00Z","updated_at":"2025-11-02T17:40:12Z"}}"#,
        text(country),
        text(country),
        text(REGION),
        text(status),
        text(REGION),
    )
}

/// Starts an API with an account whose numbers change at each poll, one whose key is refused with markup in
/// the response, and one without problems.
async fn start_api() -> MockApi {
    let polls = Arc::new(AtomicUsize::new(0));
    MockApi::start(move |request| {
        let polls = polls.clone();
        async move {
            let path = request.uri.path().to_owned();
            if path.contains("refused") {
                return (StatusCode::UNAUTHORIZED, ERROR).into_response();
            }
            if path.contains("fine") {
                return page(&[record(1, "active", "US")], 1, 1, 1);
            }
            let numbers = 5 + polls.fetch_add(1, Ordering::SeqCst) % 80;
            let json = |number: usize| match number {
                0 => record(number, "suspended", "DE"),
                1 => record(number, "<b>bold</b>", COUNTRY),
                _ => record(number, "active", ["US", "GB"][number % 2]),
            };
            let records: Vec<_> = (0..numbers).map(json).collect();
            page(&records, records.len(), 1, 1)
        }
    })
    .await
}

/// Starts an exporter of three accounts, and waits until each has been polled and the numbers of the first
/// have changed.
async fn start_small_exporter(api: &MockApi) -> (ServerProcess, ConfigFile) {
    let name = NAME.replace('\'', "''");
    // The last one does not exist.
    let watch = [(2, "always active"), (0, "suspended line"), (1, WATCHED_NAME), (8888, "removed line")]
        .map(|(number, name)| format!("{{number: '+1415555{number:04}', name: '{name}'}}"))
        .join(", ");
    let file = ConfigFile::new(&format!(
        "tryvox: {{url: '{}', rate_limit: 0}}\npoll: {{interval: 500ms, timeout: 30s, stale_after: 1h}}\n\
         accounts:\n\
         - {{account_id: acc_1, name: '{name}', watch: [{watch}]}}\n\
         - {{account_id: refused, watch: [{{number: +18005550100, name: refused line}}]}}\n\
         - {{account_id: fine}}\n",
        api.url()
    ));
    let mut exporter = ServerProcess::start(&[&file.flag(), "--log.level=debug"], &[("TRYVOX_API_KEY", KEY)]).await;
    exporter.wait_for_log("numbers changed", 1).await;
    exporter.wait_for_log("poll failed", 1).await;
    (exporter, file)
}

#[tokio::test]
async fn status_page_shows_each_account_and_escapes_hostile_input() {
    let api = start_api().await;
    let (exporter, file) = start_small_exporter(&api).await;
    let response = exporter.get("/").await;
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "text/html; charset=utf-8");
    assert_eq!(header("x-content-type-options"), "nosniff");
    let policy = header("content-security-policy");
    for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "script-src 'sha256-"] {
        assert!(policy.contains(part) && !policy.contains("unsafe"), "{policy}");
    }
    let text = response.text().await.unwrap();
    for words in [
        "The API rejected the API key.",
        "Write a valid key to the account",
        "Down",
        "2 of 3",
        "No poll has succeeded yet",
        "it is read again soon",
        "Next poll",
        " added</td>",
        "Watched numbers active</dt><dd>1 of 4</dd>",
        "4 watched numbers, those that are not active first. 1 watched number has no known status",
    ] {
        assert!(text.contains(words), "no {words} in {text}");
    }
    // Texts from outside are shown, but never as markup.
    for markup in [NAME, WATCHED_NAME, REGION, COUNTRY, "<b>bold</b>", "<iframe"] {
        assert!(!text.contains(markup), "{markup}");
    }
    assert!(text.contains("&#60;script&#62;alert(") && text.contains("&#60;marquee onstart=alert(1)&#62;"), "{text}");
    assert!(!text.contains(KEY) && !exporter.output_so_far().contains(KEY));

    // Watched numbers that are not active come first and are marked.
    let watched = text.split_once(r#"<div id="watched""#).unwrap().1.split_once("</section>").unwrap().0;
    let rows: Vec<_> = watched.split("<tr class=\"").skip(1).collect();
    let expected = [
        ("bad", "removed line", "+14155558888", "missing", "no"),
        ("bad", "suspended line", "+14155550000", "suspended", "yes"),
        ("bad", "hotline", "+14155550001", "bold", "yes"),
        ("good", "always active", "+14155550002", "active", "yes"),
    ];
    assert_eq!(rows.len(), expected.len(), "{watched}");
    for (row, (class, name, number, status, assigned)) in rows.into_iter().zip(expected) {
        let is_marked = row.starts_with(&format!("{class}\""));
        assert!(is_marked && [name, number, status, assigned].iter().all(|text| row.contains(text)), "{number}: {row}");
    }

    // The same holds for the query of the URL.
    for (query, words, absent) in [
        ("?q=fine", "1 account.", "account-2"),
        ("?q=FIN&show=up", "1 account.", "refused</h3>"),
        ("?show=down", "1 account.", "fine</h3>"),
        ("?show=nonsense&page=-1", "3 accounts,", "nonsense"),
        ("?page=99999999999999999999", "3 accounts,", "9999"),
        ("?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", "No matching accounts.", "<script>alert(1)"),
        ("?q=%FF%00&q=x&%=%", "account", "\0"),
    ] {
        let response = exporter.get(&format!("/{query}")).await;
        assert_eq!(response.status(), 200, "{query}");
        let text = response.text().await.unwrap();
        assert!(text.contains(words) && !text.contains(absent), "{query}: {text}");
    }
    drop(file);
}

#[tokio::test]
async fn status_page_works_in_a_real_browser() {
    let api = start_api().await;
    let (small, _file) = start_small_exporter(&api).await;
    let mut text = format!("tryvox: {{url: '{}', rate_limit: 0}}\npoll: {{interval: 1h}}\naccounts:\n", api.url());
    for number in 0..1000 {
        let id = if number == 500 { "refused" } else { "fine" };
        let watch = format!("[{{number: +14155550001, name: line {number}}}, {{number: +14155550002}}]");
        writeln!(text, "- {{account_id: {id}, name: account-{number}, watch: {watch}}}").unwrap();
    }
    let file = ConfigFile::new(&text);
    let mut large = ServerProcess::start(&[&file.flag(), "--log.level=debug"], &[("TRYVOX_API_KEY", KEY)]).await;
    large.wait_for_polls(1000).await;

    let pictures = concat!(env!("CARGO_TARGET_TMPDIR"), "/pictures");
    let subject = serde_json::json!({
        "few": format!("{}/", small.url()),
        "many": format!("{}/", large.url()),
        "hostile": [NAME, COUNTRY, "<b>bold</b>", WATCHED_NAME],
    });
    run_in_browser(&["tests/browser/page.mjs", pictures], &subject).await;
}

#[tokio::test]
async fn demo_shows_owners_and_a_watched_number_that_is_suspended_at_times() {
    let seed = format!("--seed={}", crate::common::seed());
    let flags = ["demo", "--numbers=300", "--life=100ms", "--poll.interval=200ms", "--poll.timeout=30s"];
    let mut demo = ServerProcess::start(&[&flags[..], &[&seed, "--log.level=debug"]].concat(), &[]).await;
    demo.wait_for_polls(1).await;
    let scrape = demo.scrape().await;
    for family in ["tryvox_owner_numbers", "tryvox_owner_monthly_fees"] {
        for owner in ["support", "sales", "marketing", ""] {
            let label = format!("owner=\"{owner}\"");
            let value: f64 = scrape
                .family(family)
                .iter()
                .filter(|(series, _)| series.contains(&label))
                .map(|(_, value)| value)
                .sum();
            assert!(value > 0.0, "{family} of {owner:?} is {value}");
        }
    }
    let assigned = scrape.family("tryvox_watched_number_assigned");
    assert_eq!(assigned.values().collect::<Vec<_>>(), [&1.0, &1.0]);

    // The order hotline is active, suspended, and active again; the support hotline stays active.
    let mut statuses: Vec<String> = Vec::new();
    for polls in 2.. {
        let scrape = demo.scrape().await;
        let status_of = |name: &str| {
            let watched = scrape.family("tryvox_watched_number_status");
            let (series, _) =
                watched.into_iter().find(|(series, value)| *value == 1.0 && series.contains(name)).unwrap();
            series.split_once("status=\"").unwrap().1.trim_end_matches("\"}").to_owned()
        };
        assert_eq!(status_of("support hotline"), "active");
        statuses.push(status_of("order hotline"));
        statuses.dedup();
        if statuses == ["active", "suspended", "active"] {
            break;
        }
        if statuses.len() == 2 && polls % 2 == 0 {
            let text = demo.get("/").await.text().await.unwrap();
            let first_row = text.split_once("<tr class=\"").unwrap().1;
            // It may have been reactivated since the scrape.
            assert!(
                first_row.starts_with("bad\"><th scope=\"row\">order hotline") || first_row.starts_with("good"),
                "{text}"
            );
        }
        assert!(polls < 300, "{statuses:?}");
        demo.wait_for_polls(polls).await;
    }
    let output = demo.output_so_far();
    assert!(output.contains("the order hotline +") && output.contains("tryvox_owner_monthly_fees"), "{output}");
}

/// Also draws the picture in the README, after a minute of changes, if the variable `TRYVOX_SCREENSHOTS` is set.
#[tokio::test]
async fn status_page_of_the_demo_is_drawn_with_all_sections() {
    let folder = tempfile::tempdir().unwrap();
    let (file, flags, polls) = match std::env::var_os("TRYVOX_SCREENSHOTS") {
        Some(docs) => (std::path::Path::new(&docs).join("status-page.png"), &["demo"][..], 12),
        None => (folder.path().join("page.png"), &["demo", "--numbers=300", "--poll.interval=1s"][..], 2),
    };
    let mut demo = ServerProcess::start(&[flags, &["--log.level=debug"]].concat(), &[]).await;
    demo.wait_for_polls(polls).await;
    let headings = [
        "Summary",
        "Watched numbers",
        "Numbers by country and status",
        "Monthly fees by country and currency",
        "Accounts",
    ];
    let subject = serde_json::json!({"url": demo.url(), "headings": headings});
    run_in_browser(&["tests/browser/picture.mjs", file.to_str().unwrap()], &subject).await;
}
