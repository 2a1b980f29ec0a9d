//! Every fault that an API can have, crossed with where it strikes and how long it lasts: what is
//! served meanwhile, after how many requests at most, and that it heals.

use std::time::Duration;

use crate::common::lab::{Lab, Setup};
use crate::common::{Scrape, seed};

/// The listing has 6 pages and 3 requests may be in flight.
const PAGES: u64 = 6;
const IN_FLIGHT: u64 = 3;
const ATTEMPTS: u64 = 4;

/// The first, a middle and the last page.
const PLACES: [u64; 3] = [1, 4, 6];

/// Once, twice, for good.
const LASTING: [Option<u64>; 3] = [Some(1), Some(2), None];

/// What a poll comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Verdict {
    /// Up, and exact.
    Exact,
    /// Up, with records that cannot be read.
    Invalid(u64),
    /// Down for this reason, with the listing before it.
    Down(&'static str),
}

use Verdict::{Down, Exact, Invalid};

/// A poll in which this fault struck: its verdict and its requests.
struct Expected {
    verdict: Verdict,
    at_most: u64,
}

/// Faults that go away by themselves: asked again, up to four times a page.
const PASSING: &[(&str, &str)] = &[
    ("408", "http_status"),
    ("425", "http_status"),
    ("429", "rate_limited"),
    ("429 retry-after=2", "rate_limited"),
    ("429 retry-after-date=3", "rate_limited"),
    ("500", "server_error"),
    ("502", "server_error"),
    ("503 retry-after=1", "server_error"),
    ("hang", "timeout"),
    ("slow-body over=1m", "timeout"),
    ("cut-connection", "connect"),
    ("cut-body", "decode"),
    ("html", "decode"),
    ("bad-json", "decode"),
    ("wrong-types", "decode"),
    ("nulls", "decode"),
    ("empty-body", "decode"),
];

/// Faults that asking again does not mend: the poll ends at once.
const FINAL: &[(&str, &str)] = &[
    ("400", "http_status"),
    ("401", "unauthorized"),
    ("403", "forbidden"),
    ("404", "not_found"),
    ("410", "http_status"),
    ("204", "http_status"),
    ("301", "redirect"),
    ("302", "redirect"),
    ("redirect to=http://127.0.0.1:1/", "redirect"),
    ("endless-body", "too_large"),
    ("429 retry-after=3600", "rate_limited"),
    ("503 retry-after-date=3600", "rate_limited"),
];

/// Faults of what a page says, with the verdict for each place (rows) and how long it lasts.
#[rustfmt::skip]
const UNTRUE: &[(&str, [[Verdict; 3]; 3])] = &[
    ("total by=1000", [
        [Exact, Exact, Down("inconsistent")],
        // The first page told the truth, and that is what was listed.
        [Exact, Exact, Exact],
        [Exact, Exact, Exact],
    ]),
    ("total by=-7", [
        [Exact, Exact, Down("inconsistent")],
        [Exact, Exact, Exact],
        [Exact, Exact, Exact],
    ]),
    ("empty-pages", [[Exact, Exact, Down("inconsistent")]; 3]),
    ("endless-pages", [
        [Exact, Exact, Down("inconsistent")],
        // The first page says how many there are.
        [Exact, Exact, Exact],
        [Exact, Exact, Exact],
    ]),
    ("bad-records", [
        [Invalid(1), Invalid(2), Invalid(6)],
        [Invalid(1), Invalid(2), Invalid(3)],
        [Invalid(1), Invalid(1), Invalid(1)],
    ]),
    ("reordered-pages", [
        // All pages in another order are all pages.
        [Exact, Exact, Exact],
        [Exact, Exact, Down("inconsistent")],
        [Exact, Exact, Down("inconsistent")],
    ]),
    ("short-pages", [
        // Pages that are not full are all there is, too.
        [Exact, Exact, Exact],
        [Exact, Exact, Down("inconsistent")],
        [Exact, Exact, Down("inconsistent")],
    ]),
];

fn verdict(before: &Scrape, after: &Scrape) -> Verdict {
    let up = after.of("tryvox_up", "");
    let failures = |scrape: &Scrape| scrape.family("tryvox_poll_errors_total");
    let (was, is) = (failures(before), failures(after));
    let failed: Vec<_> = is.iter().filter(|(series, count)| was[*series] != **count).collect();
    if up == 1.0 {
        assert_eq!(failed, []);
        return match after.of("tryvox_invalid_records", "") {
            0.0 => {
                assert_eq!(after.inventory(), before.inventory());
                Exact
            }
            invalid => {
                let listed = after.of("tryvox_listed_numbers", "");
                assert_eq!(listed + invalid, before.of("tryvox_listed_numbers", ""));
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a count")]
                Invalid(invalid as u64)
            }
        };
    }
    assert_eq!(after.inventory(), before.inventory(), "a failed poll changes no inventory");
    let [(series, count)] = failed[..] else { panic!("{failed:?}") };
    assert_eq!(*count, was[series] + 1.0);
    let reasons = PASSING.iter().chain(FINAL).map(|(_, reason)| *reason).chain(["inconsistent"]);
    Down(reasons.into_iter().find(|reason| series.contains(&format!("\"{reason}\""))).expect(series))
}

/// One case: a good poll, one with the fault, and those until it is good again.
async fn strikes(fault: &str, place: u64, lasts: Option<u64>, expected: Expected) {
    let case = format!("{fault}, page {place}, {lasts:?} times");
    let lab = Lab::start(&Setup::default());
    lab.polled(1).await;
    let before = lab.scrape();
    assert_eq!(before.inventory(), lab.truth(), "{case}");
    assert_eq!(lab.requests(), PAGES);

    let times = lasts.map(|times| format!(" times={times}")).unwrap_or_default();
    lab.set_faults(&format!("{fault} page={place}{times}"));
    lab.polled(2).await;
    let after = lab.scrape();
    assert_eq!(verdict(&before, &after), expected.verdict, "{case}\n{}", after.0);
    let requests = lab.requests() - PAGES;
    assert!(requests <= expected.at_most, "{case}: {requests} requests");
    if matches!(expected.verdict, Down(reason) if FINAL.iter().any(|(_, other)| *other == reason))
        && FINAL.iter().any(|(other, _)| *other == fault)
    {
        let retries = after.family("tryvox_api_retries_total");
        assert!(retries.values().all(|count| *count == 0.0), "{case}: {retries:?}");
    }

    // Whatever lasts so many times heals by itself, and the rest when the API does.
    let polls = lab.polls();
    if lasts.is_none() {
        lab.set_faults("");
    }
    lab.polled(polls + lasts.unwrap_or(1)).await;
    let healed = lab.scrape();
    assert_eq!(healed.of("tryvox_up", ""), 1.0, "{case}");
    assert_eq!(healed.inventory(), lab.truth(), "{case}");
    assert_eq!(healed.of("tryvox_invalid_records", ""), 0.0, "{case}");
    // Each request is counted once, and nothing else is.
    assert_eq!(healed.family("tryvox_api_requests_total").values().sum::<f64>(), lab.requests() as f64, "{case}");
    assert_eq!(healed.of("tryvox_api_request_duration_seconds_count", ""), lab.requests() as f64, "{case}");
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_asked_for_again() {
    for (fault, reason) in PASSING {
        for place in PLACES {
            // The pages before, and then each that is in flight as often as it may be.
            let last = IN_FLIGHT.min(PAGES - place + 1).max(1);
            let struck = if place == 1 { 1 } else { last };
            let given_up = Expected { verdict: Down(reason), at_most: place - 1 + struck * ATTEMPTS };
            for lasts in LASTING {
                match lasts {
                    Some(times) => {
                        strikes(fault, place, lasts, Expected { verdict: Exact, at_most: PAGES + times }).await;
                    }
                    None => strikes(fault, place, lasts, Expected { ..given_up }).await,
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_pass_ends_the_poll_at_once() {
    for (fault, reason) in FINAL {
        for place in PLACES {
            let at_most = if place == 1 { 1 } else { PAGES.min(place + IN_FLIGHT - 1) };
            for lasts in LASTING {
                strikes(fault, place, lasts, Expected { verdict: Down(reason), at_most }).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_page_says_is_held_against_the_others() {
    for (fault, verdicts) in UNTRUE {
        for (place, verdicts) in PLACES.into_iter().zip(verdicts) {
            for (lasts, verdict) in LASTING.into_iter().zip(*verdicts) {
                // A listing is read three times at most, and short pages are twice as many.
                let at_most = if matches!(verdict, Invalid(_)) { PAGES } else { 3 * 2 * PAGES };
                strikes(fault, place, lasts, Expected { verdict, at_most }).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn faults_by_chance_never_make_a_wrong_listing() {
    let all: Vec<_> = PASSING.iter().map(|(fault, _)| format!("{fault} probability=0.03")).collect();
    let lab = Lab::start(&Setup { interval: Duration::from_mins(10), ..Setup::default() });
    lab.set_faults(&all.join(","));
    for polls in 1..=100 {
        lab.polled(polls).await;
        let scrape = lab.scrape();
        if scrape.of("tryvox_up", "") == 1.0 {
            assert_eq!(scrape.inventory(), lab.truth());
        }
        assert_eq!(
            scrape.of("tryvox_polls_total", r#"result="success""#)
                + scrape.of("tryvox_polls_total", r#"result="failure""#),
            polls as f64
        );
    }
    // Half of the requests go wrong, but hardly ever four in a row.
    assert!(lab.scrape().of("tryvox_polls_total", r#"result="success""#) > 50.0);
}

#[tokio::test(start_paused = true)]
async fn patience_is_kept_by_the_whole_account_and_by_the_next_poll() {
    let setup = Setup { numbers: 200, seed: seed(), ..Setup::default() };
    let lab = Lab::start(&setup);
    lab.polled(1).await;
    // One page is told to wait: nothing at all is asked for 30 s.
    lab.set_faults("429 retry-after=30 page=5 times=1");
    tokio::time::sleep(Duration::from_secs(290)).await;
    let asked = lab.requests();
    while lab.requests() < asked + 5 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let held = lab.requests();
    assert!(held <= asked + 5 + 2, "{}", held - asked);
    tokio::time::sleep(Duration::from_secs(25)).await;
    assert_eq!(lab.requests(), held);
    lab.polled(2).await;
    assert_eq!(lab.scrape().of("tryvox_up", ""), 1.0);

    // An hour is longer than the poll may take: it ends at once, and the next one keeps the hour.
    lab.set_faults("503 retry-after=3600 times=1");
    lab.polled(3).await;
    let start = tokio::time::Instant::now();
    assert_eq!(lab.scrape().of("tryvox_poll_errors_total", r#"reason="rate_limited""#), 1.0);
    let asked = lab.requests();
    tokio::time::sleep(Duration::from_mins(59)).await;
    assert_eq!((lab.requests(), lab.polls()), (asked, 3));
    lab.polled(4).await;
    assert!(start.elapsed() < Duration::from_mins(61));
    assert_eq!(lab.scrape().of("tryvox_up", ""), 1.0);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_fit_says_what_would() {
    // 20 pages at one in 20 s need 380 s after the first; the poll has 300 s.
    let lab = Lab::start(&Setup { numbers: 200, rate: 0.05, ..Setup::default() });
    lab.polled(1).await;
    assert_eq!(lab.requests(), 1);
    assert_eq!(lab.scrape().of("tryvox_poll_errors_total", r#"reason="timeout""#), 1.0);
    let failure = lab.failure();
    for word in ["20 pages", "0.05 requests a second", "6m 20s", "--tryvox.rate-limit", "--poll.interval"] {
        assert!(failure.contains(word), "{word} is not in: {failure}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_outlives_its_interval_delays_the_next() {
    let lab = Lab::start(&Setup {
        latency: Duration::from_secs(3),
        concurrency: 1,
        interval: Duration::from_secs(10),
        timeout: Duration::from_mins(1),
        ..Setup::default()
    });
    let start = tokio::time::Instant::now();
    // 6 pages of 3 s are 18 s.
    for (second, requests) in [(2, 1), (17, 6), (19, 7), (35, 12), (37, 13)] {
        tokio::time::sleep_until(start + Duration::from_secs(second)).await;
        assert_eq!(lab.requests(), requests, "after {second} s");
    }
    assert_eq!(lab.scrape().of("tryvox_polls_total", r#"result="success""#), 2.0);
}

#[tokio::test(start_paused = true)]
async fn stale_inventory_disappears_and_comes_back() {
    let setup = Setup::default();
    let lab = Lab::start(&setup);
    lab.polled(1).await;
    let good = lab.scrape().inventory();
    lab.set_faults("500");
    let start = tokio::time::Instant::now();
    let mut polls = 1;
    loop {
        polls += 1;
        lab.polled(polls).await;
        let (scrape, age) = (lab.scrape(), start.elapsed());
        assert_eq!(scrape.of("tryvox_up", ""), 0.0);
        if age + Duration::from_secs(1) < setup.stale_after {
            assert_eq!(scrape.inventory(), good, "{age:?}");
            assert_eq!(scrape.of("tryvox_invalid_records", ""), 0.0);
        } else if age > setup.stale_after + Duration::from_secs(1) {
            assert_eq!(scrape.inventory(), [].into(), "{age:?}");
            assert!(!scrape.0.contains("tryvox_invalid_records"));
            // When it was last good is still told.
            assert!(scrape.of("tryvox_last_success_timestamp_seconds", "") > 0.0);
        }
        if age > 2 * setup.stale_after {
            break;
        }
    }
    lab.set_faults("");
    lab.polled(polls + 1).await;
    assert_eq!(lab.scrape().inventory(), good);
    assert_eq!(lab.scrape().of("tryvox_up", ""), 1.0);
}

#[tokio::test(start_paused = true)]
async fn patience_does_not_keep_stale_inventory() {
    let lab = Lab::start(&Setup::default());
    lab.polled(1).await;
    lab.set_faults("429 retry-after=7200 times=1");
    lab.polled(2).await;
    assert_ne!(lab.scrape().inventory(), [].into());
    tokio::time::sleep(Duration::from_mins(16)).await;
    assert_eq!(lab.polls(), 2);
    assert_eq!(lab.scrape().inventory(), [].into());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_failing_is_not_stale() {
    let lab = Lab::start(&Setup { stale_after: Duration::from_secs(30), ..Setup::default() });
    lab.polled(1).await;
    let good = lab.scrape().inventory();
    let start = tokio::time::Instant::now();
    while start.elapsed() < Duration::from_mins(12) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(lab.scrape().inventory(), good);
    }
    lab.set_faults("401");
    lab.polled(lab.polls() + 1).await;
    assert_eq!(lab.scrape().inventory(), [].into());
}
