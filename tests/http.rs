//! The paths that are served, the addresses that are listened on, and the demo.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::accounts::ConfigFile;
use crate::common::api::{MockApi, one_number};
use crate::common::web::WebDirectory;
use crate::common::{KEY, Scrape, ServerProcess, http, output};

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
    for link in [r#"href="here""#, r#"href="-/healthy""#, r#"href="-/ready""#] {
        assert!(page.contains(link), "{link}");
    }
}

#[tokio::test]
async fn accept_header_selects_the_format_by_its_most_specific_media_ranges() {
    let api = MockApi::start(|_| async { one_number() }).await;
    let exporter = ServerProcess::exporter(&api.url(), &[]).await;
    for (accept, format) in [
        ("*/*", "text/plain"),
        ("application/*", "application/openmetrics-text"),
        ("text/*;q=0, */*", "application/openmetrics-text"),
        ("*/*, application/openmetrics-text;q=0.9", "text/plain"),
        ("text/*;q=0.1, text/plain;version=0.0.4, application/*;q=0.5", "text/plain"),
        (r#"text/html;x="a, application/openmetrics-text", text/plain;q=0.1"#, "text/plain"),
        ("application/json", "text/plain"),
        // What Prometheus 3 sends.
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            "application/openmetrics-text",
        ),
    ] {
        let response = http().get(format!("{}/metrics", exporter.url())).header("accept", accept).send().await.unwrap();
        let media_type = response.headers()["content-type"].to_str().unwrap().to_owned();
        assert!(media_type.starts_with(format), "{accept}: {media_type}");
        assert_eq!(response.text().await.unwrap().ends_with("# EOF\n"), format != "text/plain", "{accept}");
    }
}

#[tokio::test]
async fn every_path_is_below_the_route_prefix() {
    let api = MockApi::start(|_| async { one_number() }).await;
    for (prefix, normalized) in [("tryvox", "/tryvox"), ("/tryvox/", "/tryvox"), ("/a/b", "/a/b")] {
        let flags = [&*format!("--web.route-prefix={prefix}"), "--web.telemetry-path=/here", "--web.enable-lifecycle"];
        let mut exporter = ServerProcess::exporter(&api.url(), &flags).await;
        let line = exporter.wait_for_log("listening", 1).await;
        assert!(line.contains(&format!("metrics_path={normalized}/here ")), "{line}");
        exporter.wait_for_polls(1).await;
        for path in ["/here", "/", "/-/healthy", "/-/ready"] {
            assert_eq!(exporter.get(&format!("{normalized}{path}")).await.status(), 200, "{prefix} {path}");
        }
        let reload = http().post(format!("{}{normalized}/-/reload", exporter.url())).send().await.unwrap();
        assert_eq!(reload.status(), 200);
        for path in ["/here", "/-/healthy", "/-/reload", "/x", "//", &format!("{normalized}x/here")] {
            assert_eq!(exporter.get(path).await.status(), 404, "{prefix} {path}");
        }
        let page = exporter.get(&format!("{normalized}/")).await.text().await.unwrap();
        for words in
            [r#"href="here""#, &format!("<code>{normalized}/here</code>"), &format!("POST {normalized}/-/reload")]
        {
            assert!(page.contains(words), "{words}");
        }
        assert!(!page.contains("=\"/"), "a link is absolute: {page}");

        // Both redirects lead to the status page.
        for (path, status) in [("/", 302), (normalized, 301), (&format!("{normalized}?q=x&show=up"), 301)] {
            let response = exporter.get(path).await;
            let location = response.headers()["location"].to_str().unwrap();
            let target = response.url().join(location).unwrap();
            assert_eq!((response.status().as_u16(), target.path()), (status, &*format!("{normalized}/")), "{path}");
            assert_eq!(target.query(), path.split_once('?').map(|(_, query)| query), "{path}");
        }

        let address = format!("--web.listen-address={}", exporter.address);
        assert!(output(&["healthcheck", &address, flags[0]], &[]).await.status.success());
        let unhealthy = output(&["healthcheck", &address], &[]).await;
        let stderr = String::from_utf8(unhealthy.stderr).unwrap();
        assert!(unhealthy.status.code() == Some(1) && stderr.contains("--web.route-prefix"), "{stderr}");
    }
}

#[tokio::test]
async fn invalid_route_prefix_is_one_line_and_status_2() {
    for prefix in ["/a b", "/a//b", "/..", "/{x}", "http://a/b", "/ä"] {
        let output =
            output(&["--tryvox.account-id=a", &format!("--web.route-prefix={prefix}")], &[("TRYVOX_API_KEY", KEY)])
                .await;
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(2), 1), "{prefix}: {stderr}");
        assert!(stderr.contains("--web.route-prefix") && stderr.contains("like /tryvox"), "{stderr}");
    }
}

#[tokio::test]
async fn scrape_of_some_accounts_has_only_their_families() {
    let api = MockApi::start(|_| async { one_number() }).await;
    let names = ["a", "b & c", "tr\u{fc}"];
    let accounts = names.map(|name| format!("{{account_id: acc, name: '{name}'}}")).join(", ");
    let file = ConfigFile::new(&format!("tryvox: {{url: '{}'}}\naccounts: [{accounts}]\n", api.url()));
    let mut exporter =
        ServerProcess::start(&[&file.flag(), "--log.level=debug", "--poll.interval=1h"], &[("TRYVOX_API_KEY", KEY)])
            .await;
    exporter.wait_for_polls(3).await;
    let plain = exporter.scrape().await;
    let account_lines = |name: &str| -> BTreeSet<String> {
        let label = format!("account=\"{name}\"");
        plain.0.lines().filter(|line| line.contains(&label)).map(str::to_owned).collect()
    };
    for (query, selected) in [
        ("account=a", &names[..1]),
        ("account=a&account=a&x=y", &names[..1]),
        ("account=b+%26%20c", &names[1..2]),
        ("account=tr%C3%BC&account=a", &[names[0], names[2]]),
        ("x=account&account=b%20%26%20c&account=a&account=tr%C3%BC", &names[..]),
    ] {
        let expected: BTreeSet<_> = selected.iter().flat_map(|name| account_lines(name)).collect();
        assert!(expected.len() > 50 * selected.len());
        for accept in ["text/plain", "application/openmetrics-text;version=1.0.0"] {
            for encoding in ["identity", "gzip", "zstd"] {
                let url = format!("{}/metrics?{query}", exporter.url());
                let request = http().get(&url).header("accept", accept).header("accept-encoding", encoding);
                let response = request.send().await.unwrap();
                assert_eq!(response.status(), 200, "{query}");
                // The client decodes only gzip.
                let body = response.bytes().await.unwrap();
                let body = if encoding == "zstd" { zstd::decode_all(&*body).unwrap() } else { body.to_vec() };
                let text = String::from_utf8(body).unwrap();
                let samples = text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned);
                let is_openmetrics = accept != "text/plain";
                assert_eq!(text.ends_with("\n# EOF\n"), is_openmetrics, "{query} {encoding}");
                if is_openmetrics {
                    // Bounds of buckets are written differently.
                    assert_eq!(samples.count(), expected.len(), "{query} {encoding}");
                } else {
                    assert_eq!(samples.collect::<BTreeSet<_>>(), expected, "{query} {encoding}");
                    Scrape(text).lint();
                }
            }
        }
    }
    for (query, missing) in [
        ("account=x", r#""x""#),
        ("account=a&account=x", r#""x""#),
        ("account=", r#""""#),
        ("account=A", r#""A""#),
        ("account=%0A%00%22", r#""\n\0\"""#),
    ] {
        let response = exporter.get(&format!("/metrics?{query}")).await;
        assert_eq!(response.status(), 404, "{query}");
        let text = response.text().await.unwrap();
        assert!(text.lines().count() == 1 && text.contains(&format!("account {missing} is not polled here")), "{text}");
    }
    // Other parameters select nothing.
    assert_eq!(exporter.get("/metrics?x=y").await.text().await.unwrap().lines().count(), plain.0.lines().count());
}

/// Returns the counts of requests by handler and status code.
fn request_counts(scrape: &Scrape) -> BTreeMap<(String, String), f64> {
    let series = scrape.family("tryvox_exporter_http_requests_total");
    let parts = |series: &str| {
        let values: Vec<_> = series.split('"').skip(1).step_by(2).map(str::to_owned).collect();
        (values[0].clone(), values[1].clone())
    };
    series.iter().map(|(series, value)| (parts(series), *value)).collect()
}

#[tokio::test]
async fn requests_are_counted_by_handler_and_status_code() {
    let api = MockApi::start(|_| async { one_number() }).await;
    for prefix in ["", "/tryvox"] {
        let flags = [&*format!("--web.route-prefix={prefix}"), "--web.telemetry-path=/here"];
        let mut exporter = ServerProcess::exporter(&api.url(), &flags).await;
        exporter.wait_for_polls(1).await;
        let scrape = async || {
            let response = exporter.get(&format!("{prefix}/here")).await;
            Scrape(response.text().await.unwrap())
        };
        let mut expected: BTreeMap<_, _> = [
            ("/", "200"),
            ("/-/healthy", "200"),
            ("/-/ready", "200"),
            ("/-/ready", "503"),
            ("/-/reload", "200"),
            ("/-/reload", "400"),
            ("/-/reload", "403"),
            ("/here", "200"),
            ("/here", "404"),
            ("other", "404"),
        ]
        .map(|(handler, code)| ((handler.to_owned(), code.to_owned()), 0.0))
        .into();
        let first = scrape().await;
        assert_eq!(request_counts(&first), expected);
        first.lint();

        for (method, path, handler, code) in [
            ("GET", "/", "/", "200"),
            ("GET", "/?q=x", "/", "200"),
            ("HEAD", "/-/healthy", "/-/healthy", "200"),
            ("POST", "/-/healthy", "/-/healthy", "405"),
            ("GET", "/-/ready", "/-/ready", "200"),
            ("POST", "/-/reload", "/-/reload", "403"),
            ("GET", "/here?account=x", "/here", "404"),
            ("GET", "/here?account=acc_demo", "/here", "200"),
            ("GET", "/metrics", "other", "404"),
            ("GET", "/random/1", "other", "404"),
            ("GET", "/random/2", "other", "404"),
        ] {
            let url = format!("{}{prefix}{path}", exporter.url());
            let response = http().request(method.parse().unwrap(), url).send().await.unwrap();
            assert_eq!(response.status().as_str(), code, "{method} {path}");
            *expected.entry((handler.to_owned(), code.to_owned())).or_default() += 1.0;
        }
        if !prefix.is_empty() {
            for (path, handler, code) in [("/", "other", "302"), (prefix, "/", "301"), ("/here", "other", "404")] {
                assert_eq!(exporter.get(path).await.status().as_str(), code);
                *expected.entry((handler.to_owned(), code.to_owned())).or_default() += 1.0;
            }
        }
        // A scrape shows the requests before it, also if it follows them at once.
        for _ in 0..3 {
            *expected.get_mut(&("/here".to_owned(), "200".to_owned())).unwrap() += 1.0;
            assert_eq!(request_counts(&scrape().await), expected);
        }
    }
}

#[tokio::test]
async fn requests_with_wrong_passwords_are_counted() {
    let api = MockApi::start(|_| async { one_number() }).await;
    let (web, _) = WebDirectory::new();
    web.configure(&format!("basic_auth_users: {{reader: {}}}\n", bcrypt::hash("x", 4).unwrap()));
    let exporter = ServerProcess::exporter(&api.url(), &[&web.flag()]).await;
    for _ in 0..3 {
        assert_eq!(exporter.get("/metrics").await.status(), 401);
    }
    assert_eq!(exporter.get("/nothing").await.status(), 401);
    let url = format!("{}/metrics", exporter.url());
    let response = http().get(&url).basic_auth("reader", Some("x")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let counts = request_counts(&Scrape(response.text().await.unwrap()));
    let count = |handler: &str| counts.get(&(handler.to_owned(), "401".to_owned())).copied();
    assert_eq!((count("/metrics"), count("other")), (Some(3.0), Some(1.0)));
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
async fn demo_prints_the_paths_that_it_serves() {
    let flags = ["demo", "--numbers=1", "--web.route-prefix=tryvox", "--web.telemetry-path=/here"];
    let demo = ServerProcess::start(&flags, &[]).await;
    let output = demo.output_so_far();
    for path in ["/tryvox/", "/tryvox/here", "/tryvox/-/healthy"] {
        let url = format!("{}{path}", demo.url());
        assert!(output.lines().any(|line| line.ends_with(&format!(" {url}"))), "{url} is missing: {output}");
        assert_eq!(demo.get(path).await.status(), 200, "{path}");
    }
    assert!(output.contains("\n      metrics_path: /tryvox/here\n"), "{output}");
}

#[tokio::test]
async fn demo_ignores_a_real_api_key() {
    let mut demo = ServerProcess::start(&["demo", "--numbers=1"], &[("TRYVOX_API_KEY", KEY)]).await;
    demo.wait_for_polls(1).await;
    assert_eq!(demo.scrape().await.value(r#"tryvox_up{account="acc_demo"}"#), Some(1.0));
    assert!(!demo.output_so_far().contains(KEY));
}
