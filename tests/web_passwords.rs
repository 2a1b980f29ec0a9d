//! `basic_auth_users`: who is let in, and that nobody has to wait for the guesses of others.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::time::timeout;

use crate::common::web::{WebDirectory, exporter, get, status, tls, users};
use crate::common::{ServerProcess, TEST_TIMEOUT, http};

/// A user whose hash takes longer than any test.
const STUCK: &str = "  stuck: $2b$31$Byj7vnVYjtt3r0HZ9P5uDe8aHkYTa7pHR/LAju6g48WJVlHCjPKGC\n";

/// The time in which a request must get its response.
const PROMPT: Duration = Duration::from_secs(1);

/// Requests the metrics; returns status and duration.
async fn scrape(client: &reqwest::Client, exporter: &ServerProcess, name: &str, password: &str) -> (u16, Duration) {
    let start = Instant::now();
    let url = format!("{}/metrics", exporter.url());
    let response = client.get(url).basic_auth(name, Some(password)).send().await.unwrap();
    let status = response.status().as_u16();
    if status == 429 {
        assert_eq!(response.headers()["retry-after"], "1");
        assert!(!response.headers().contains_key("www-authenticate"));
    }
    response.bytes().await.unwrap();
    (status, start.elapsed())
}

#[tokio::test]
async fn users_are_read_again_for_each_request() {
    let (web, _) = WebDirectory::new();
    web.configure(&(tls("") + &users(&[("ann", "one", 4)])));
    let mut exporter = exporter(&web).await;
    let status_for = async |credentials: &str| status(&web, &exporter, &["--user", credentials]).await;
    for (credentials, expected) in [("ann:one", 200), ("ann:two", 401), ("bob:one", 401), ("ann:", 401), (":", 401)] {
        assert_eq!(status_for(credentials).await, expected, "{credentials}");
    }
    assert_eq!(status(&web, &exporter, &[]).await, 401);
    web.configure(&(tls("") + &users(&[("ann", "two", 4), ("bob", "one", 4)])));
    for (credentials, expected) in [("ann:one", 401), ("ann:two", 200), ("bob:one", 200)] {
        assert_eq!(status_for(credentials).await, expected, "{credentials}");
    }
    // Every path requires credentials.
    for path in ["/", "/-/healthy", "/-/ready", "/-/reload", "/nothing"] {
        assert_eq!(get(&web, &exporter, path, &[]).await.0, 401, "{path}");
    }
    // With an invalid file every request is refused, and the log says why.
    web.configure(&(tls("") + "basic_auth_users: {ann: secret}\n"));
    assert_eq!(status(&web, &exporter, &["--user", "ann:secret"]).await, 0);
    exporter.wait_for_log("web.yml:4:20: basic_auth_users.ann: is not a bcrypt hash", 1).await;
    assert!(!exporter.output_so_far().contains("secret"));
}

/// While a hash is computed, requests whose result is cached get a response.
#[tokio::test]
async fn known_credentials_need_no_second_hash_and_never_wait_for_one() {
    let (web, _) = WebDirectory::new();
    web.configure(&(tls("") + &users(&[("ann", "one", 4), ("bob", "two", 4)]) + STUCK));
    let exporter = exporter(&web).await;
    for (credentials, expected) in [("ann:one", 200), ("bob:two", 200), ("bob:wrong", 401)] {
        assert_eq!(status(&web, &exporter, &["--user", credentials]).await, expected, "{credentials}");
    }
    let stuck = async {
        let status = status(&web, &exporter, &["--user", "stuck:x"]).await;
        panic!("the slow hash is computed already: {status}");
    };
    let known = async {
        for (credentials, expected) in [("ann:one", 200), ("bob:two", 200), ("bob:wrong", 401)].repeat(5) {
            assert_eq!(status(&web, &exporter, &["--user", credentials]).await, expected, "{credentials}");
        }
    };
    let known = timeout(TEST_TIMEOUT, known);
    tokio::select! {
        known = known => known.expect("known credentials wait for a hash"),
        () = stuck => {}
    }
}

#[tokio::test]
async fn unknown_user_is_rejected_promptly_whatever_the_costs_of_the_others() {
    let (web, _) = WebDirectory::new();
    let slow = STUCK.replace("stuck: $2b$31", "slow: $2b$18");
    web.configure(&(users(&[("ann", "one", 4)]) + &slow + STUCK));
    let exporter = exporter(&web).await;
    let client = http();
    let (status, duration) = scrape(&client, &exporter, "eve", "x").await;
    assert!(status == 401 && duration < PROMPT, "{status} after {duration:?}");
    // Also while the hash of another user is computed.
    let stuck = scrape(&client, &exporter, "stuck", "x");
    let others = async {
        for (name, password, expected) in [("mallory", "x", 401), ("ann", "one", 200), ("ann", "two", 401)] {
            let (status, duration) = scrape(&client, &exporter, name, password).await;
            assert!(status == expected && duration < PROMPT, "{name}: {status} after {duration:?}");
        }
    };
    tokio::select! {
        biased;
        (status, _) = stuck => panic!("the slow hash is computed already: {status}"),
        () = others => {}
    }
}

#[tokio::test]
async fn known_password_is_accepted_promptly_during_200_concurrent_guesses() {
    let (web, _) = WebDirectory::new();
    web.configure(&(users(&[("ann", "one", 10), ("bob", "two", 12)]) + STUCK));
    let mut exporter = exporter(&web).await;
    let client = http();
    assert_eq!(scrape(&client, &exporter, "ann", "one").await.0, 200);
    // They fill the queue of a user for as long as the test runs.
    let stuck = async {
        join_all((0..10).map(|guess| {
            let (client, exporter) = (&client, &exporter);
            async move { (scrape(client, exporter, "stuck", &guess.to_string()).await, guess) }
        }))
        .await;
        panic!("the slow hashes are computed already");
    };
    let rounds = async {
        for round in 0..3 {
            let guesses = join_all((0..200).map(|guess| {
                let (client, exporter) = (&client, &exporter);
                let name = ["ann".to_owned(), "bob".to_owned(), format!("eve{guess}")][guess % 3].clone();
                async move { scrape(client, exporter, &name, &format!("{round} {guess}")).await.0 }
            }));
            let known = async {
                for _ in 0..5 {
                    let (status, duration) = scrape(&client, &exporter, "ann", "one").await;
                    assert!(status == 200 && duration < PROMPT, "{status} after {duration:?}");
                }
            };
            let (statuses, ()) = tokio::join!(guesses, known);
            let count = |status: u16| statuses.iter().filter(|other| **other == status).count();
            assert_eq!(count(401) + count(429), 200, "{statuses:?}");
            assert!(count(401) > 0 && count(429) > 100, "{statuses:?}");
        }
    };
    tokio::select! {
        biased;
        () = stuck => {}
        () = rounds => {}
    }
    exporter.wait_for_log("too many passwords are being verified", 1).await;
    // Afterwards everything is as before.
    assert_eq!(scrape(&client, &exporter, "bob", "two").await.0, 200);
}

#[tokio::test]
async fn no_user_is_verified_again_because_many_others_log_in() {
    let (web, _) = WebDirectory::new();
    let names: Vec<String> = (0..250).map(|number| format!("user{number}")).collect();
    let hash = bcrypt::hash("x", 4).unwrap();
    let slow = ["slow1", "slow2", "slow3"];
    let lines = names.iter().map(|name| format!("  {name}: {hash}\n"));
    let stuck = slow.map(|name| STUCK.replace("stuck", name)).concat();
    web.configure(&format!("basic_auth_users:\n{}{stuck}", lines.collect::<String>()));
    let exporter = exporter(&web).await;
    let client = http();
    for name in &names {
        assert_eq!(scrape(&client, &exporter, name, "x").await.0, 200, "{name}");
    }
    // They fill the queue of all users, so a password is accepted only if it is known.
    let stuck = async {
        join_all((0..8).map(|guess| {
            let (client, exporter, name) = (&client, &exporter, slow[guess % 3]);
            // Until then, the queue may be full because of another one.
            async move { while scrape(client, exporter, name, &guess.to_string()).await.0 == 429 {} }
        }))
        .await;
        panic!("the slow hashes are computed already");
    };
    let known = async {
        let is_full =
            async { while scrape(&client, &exporter, "eve", &fastrand::u64(..).to_string()).await.0 != 429 {} };
        timeout(TEST_TIMEOUT, is_full).await.expect("the queue is never full");
        for name in names.iter().rev() {
            assert_eq!(scrape(&client, &exporter, name, "x").await.0, 200, "{name}");
        }
    };
    tokio::select! {
        biased;
        () = stuck => {}
        () = known => {}
    }
}
