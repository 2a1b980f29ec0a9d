//! The paths that are served, the addresses that are listened on, and the demo.

use crate::common::api::{MockApi, one_number};
use crate::common::{KEY, ServerProcess, http};

#[tokio::test]
async fn known_paths_accept_get_and_head_and_others_are_not_found() {
    let api = MockApi::start(|_| async { one_number() }).await;
    let mut exporter = ServerProcess::exporter(&api.url(), &["--web.telemetry-path=/here"]).await;
    exporter.wait_for_polls(1).await;

    for (path, status, media_type) in [
        ("/here", 200, "text/plain; version=0.0.4; charset=utf-8"),
        ("/", 200, "text/html; charset=utf-8"),
        ("/-/healthy", 200, "text/plain; charset=utf-8"),
        ("/-/ready", 200, "text/plain; charset=utf-8"),
    ] {
        let response = exporter.get(path).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (status, &media_type.parse().unwrap())
        );
        let url = format!("{}{path}", exporter.url());
        let head = http().head(&url).send().await.unwrap();
        assert_eq!((head.status().as_u16(), head.text().await.unwrap().as_str()), (200, ""), "{path}");
        let post = http().post(&url).send().await.unwrap();
        assert_eq!((post.status().as_u16(), post.headers()["allow"].to_str().unwrap()), (405, "GET,HEAD"), "{path}");
    }
    for path in ["/metrics", "/here/", "/-/", "/favicon.ico"] {
        assert_eq!(exporter.get(path).await.status(), 404, "{path}");
    }
    let page = exporter.get("/").await.text().await.unwrap();
    for link in [r#"href="/here""#, r#"href="/-/healthy""#, r#"href="/-/ready""#] {
        assert!(page.contains(link), "{link}");
    }
}

#[tokio::test]
async fn content_type_repeats_the_format_and_the_escaping_that_the_client_prefers() {
    let api = MockApi::start(|_| async { one_number() }).await;
    let mut exporter = ServerProcess::exporter(&api.url(), &[]).await;
    exporter.wait_for_polls(1).await;
    let url = format!("{}/metrics", exporter.url());
    for (accept, content_type) in [
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8",
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
        ),
        ("text/plain;version=0.0.4;escaping=dots", "text/plain; version=0.0.4; charset=utf-8; escaping=dots"),
        ("text/plain;version=0.0.4;escaping=unknown", "text/plain; version=0.0.4; charset=utf-8"),
    ] {
        let response = http().get(&url).header("accept", accept).send().await.unwrap();
        assert_eq!(response.headers()["content-type"], content_type, "{accept}");
        let is_openmetrics = response.text().await.unwrap().ends_with("\n# EOF\n");
        assert_eq!(is_openmetrics, content_type.starts_with("application/openmetrics-text"), "{accept}");
    }
}

#[tokio::test]
async fn address_without_a_host_listens_on_ipv4_and_ipv6() {
    let mut simulator = crate::common::command(&[
        "simulate",
        "--numbers=1",
        "--web.listen-address=:0",
        "--web.listen-address=127.0.0.1:0",
    ]);
    let mut child = simulator.spawn().unwrap();
    let mut lines = {
        use tokio::io::AsyncBufReadExt;
        tokio::io::BufReader::new(child.stderr.take().unwrap()).lines()
    };
    let mut ports = Vec::new();
    for _ in 0..2 {
        let line = lines.next_line().await.unwrap().unwrap();
        ports.push(line.rsplit_once(':').unwrap().1.to_owned());
    }
    for address in [format!("127.0.0.1:{}", ports[0]), format!("[::1]:{}", ports[0]), format!("127.0.0.1:{}", ports[1])]
    {
        assert_eq!(http().get(format!("http://{address}/")).send().await.unwrap().status(), 404, "{address}");
    }
}

#[tokio::test]
async fn demo_serves_a_changing_inventory_and_prints_how_to_scrape_it() {
    let mut demo = ServerProcess::start(
        &["demo", "--numbers=300", "--life=50ms", "--poll.interval=200ms", "--poll.timeout=30s", "--log.level=debug"],
        &[],
    )
    .await;
    demo.wait_for_polls(1).await;
    let first = demo.scrape().await;
    first.lint();
    assert_eq!(first.value(r#"tryvox_up{account="acc_demo"}"#), Some(1.0));
    // With a change every 50 ms some fee differs within a few polls.
    for polls in 2.. {
        demo.wait_for_polls(polls).await;
        if demo.scrape().await.family("tryvox_monthly_fees") != first.family("tryvox_monthly_fees") {
            break;
        }
        assert!(polls < 50, "nothing changes");
    }
    let output = demo.output_so_far();
    for word in [&*demo.url(), "/metrics", "scrape_configs"] {
        assert!(output.contains(word), "{word} is missing: {output}");
    }
}

#[tokio::test]
async fn demo_ignores_a_real_api_key() {
    let mut demo = ServerProcess::start(&["demo", "--numbers=1"], &[("TRYVOX_API_KEY", KEY)]).await;
    demo.wait_for_polls(1).await;
    assert_eq!(demo.scrape().await.value(r#"tryvox_up{account="acc_demo"}"#), Some(1.0));
    assert!(!demo.output_so_far().contains(KEY));
}
