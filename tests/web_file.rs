//! The web configuration file, as the clients that people have see it: curl and a real Prometheus.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::common::api::{Api, one_number};
use crate::common::prometheus::Prometheus;
use crate::common::web::{Authority, Curl, Web, indented, tls};
use crate::common::{KEY, PATIENCE, Running, output};

/// An exporter with this file.
async fn exporter(web: &Web) -> Running {
    let api = Api::start(|_| async { one_number() }).await;
    let mut exporter = Running::exporter(&api.url(), &[&web.flag()]).await;
    exporter.polled(1).await;
    exporter
}

/// The status of a GET by curl that trusts `ca.pem`, and the version; 0 where there was no answer.
async fn get(web: &Web, exporter: &Running, path: &str, more: &[&str]) -> (u16, String) {
    let url = format!("https://{}{path}", exporter.address);
    let mut arguments = vec!["--cacert", "ca.pem", &*url];
    arguments.extend(more);
    Curl::http(&web.path(""), &arguments).await
}

async fn status(web: &Web, exporter: &Running, more: &[&str]) -> u16 {
    get(web, exporter, "/metrics", more).await.0
}

fn users(users: &[(&str, &str, u32)]) -> String {
    let lines =
        users.iter().map(|(name, password, cost)| format!("  {name}: {}\n", bcrypt::hash(password, *cost).unwrap()));
    format!("basic_auth_users:\n{}", lines.collect::<String>())
}

#[tokio::test]
async fn prometheus_scrapes_with_tls_and_a_password() {
    let (web, authority) = Web::new();
    web.write_pair("client.pem", "client.key", authority.issue(&["prometheus"], 30));
    let more = "client_ca_file: ca.pem\nclient_auth_type: RequireAndVerifyClientCert";
    web.configure(&(tls(more) + &users(&[("prometheus", "secret", 5)])));
    let exporter = exporter(&web).await;
    let job = |name: &str, password: &str, client: &str| {
        let path = |file: &str| web.path(file).display().to_string();
        let client = if client.is_empty() {
            String::new()
        } else {
            format!(", cert_file: '{}', key_file: '{}'", path("client.pem"), path("client.key"))
        };
        format!(
            "{{job_name: {name}, scheme: https, tls_config: {{ca_file: '{}'{client}}}, \
             basic_auth: {{username: prometheus, password: {password}}}, \
             static_configs: [{{targets: ['{}']}}]}}",
            path("ca.pem"),
            exporter.address
        )
    };
    let jobs = [job("right", "secret", "its own"), job("wrong", "guess", "its own"), job("unknown", "secret", "")];
    let prometheus = Prometheus::with_jobs(&jobs).await;
    prometheus.wait_for("tryvox_listed_numbers{job=\"right\"} == 1").await;
    prometheus.wait_for("count(up) == 3").await;
    let up = prometheus.query("up == 1").await;
    assert_eq!(up.len(), 1, "{up:?}");
    assert_eq!(up[0].0["job"], "right");
}

#[tokio::test]
async fn connections_are_encrypted_and_nothing_else_is_spoken() {
    let (web, _) = Web::new();
    web.configure(&tls(""));
    let exporter = exporter(&web).await;
    assert_eq!(get(&web, &exporter, "/metrics", &[]).await, (200, "2".to_owned()));
    assert_eq!(get(&web, &exporter, "/metrics", &["--http1.1"]).await, (200, "1.1".to_owned()));
    let plain = Curl::run(&web.path(""), &[&format!("http://{}/metrics", exporter.address)]).await;
    assert_eq!(plain.answer, "Client sent an HTTP request to an HTTPS server.\n");
    // A client that does not know who signed it does not trust it.
    let stranger = Curl::run(&web.path(""), &[&format!("https://{}/metrics", exporter.address)]).await;
    assert_eq!(stranger.status, 60, "{stranger:?}");
    assert_eq!(status(&web, &exporter, &["--tlsv1.1", "--tls-max", "1.1"]).await, 0);
}

#[tokio::test]
async fn versions_suites_curves_and_http2_are_what_the_file_says() {
    let (web, _) = Web::new();
    let file = |more: &str| tls(more) + "http_server_config: {http2: false}\n";
    web.configure(&file(""));
    let exporter = exporter(&web).await;
    assert_eq!(get(&web, &exporter, "/metrics", &[]).await, (200, "1.1".to_owned()));
    let up_to_12: &[&str] = &["--tls-max", "1.2"];
    let from_13: &[&str] = &["--tlsv1.3"];
    let aes256: &[&str] = &["--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384"];
    let aes128: &[&str] = &["--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256"];
    let x25519: &[&str] = &["--curves", "X25519"];
    let p384: &[&str] = &["--curves", "P-384"];
    for (more, good, bad) in [
        ("", vec![up_to_12, from_13, aes128, aes256, x25519, p384], vec![]),
        ("min_version: TLS13", vec![from_13], vec![up_to_12]),
        ("max_version: TLS12", vec![up_to_12], vec![from_13]),
        ("cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]", vec![aes128, from_13], vec![aes256]),
        ("curve_preferences: [X25519, CurveP256]", vec![x25519], vec![p384]),
        ("prefer_server_cipher_suites: false", vec![aes128], vec![]),
    ] {
        // Each is in force for the next connection.
        web.configure(&file(more));
        for arguments in good {
            assert_eq!(status(&web, &exporter, arguments).await, 200, "{more} {arguments:?}");
        }
        for arguments in bad {
            assert_eq!(status(&web, &exporter, arguments).await, 0, "{more} {arguments:?}");
        }
    }
}

#[tokio::test]
async fn each_client_auth_type_asks_for_what_it_says() {
    let (web, authority) = Web::new();
    let stranger = Authority::new("somebody else");
    web.write_pair("client.pem", "client.key", authority.issue(&["prometheus.example"], 30));
    web.write_pair("expired.pem", "expired.key", authority.issue(&["prometheus.example"], -1));
    web.write_pair("stranger.pem", "stranger.key", stranger.issue(&["prometheus.example"], 30));
    web.configure(&tls(""));
    let exporter = exporter(&web).await;
    let none: &[&str] = &[];
    let good: &[&str] = &["--cert", "client.pem", "--key", "client.key"];
    let expired: &[&str] = &["--cert", "expired.pem", "--key", "expired.key"];
    let unknown: &[&str] = &["--cert", "stranger.pem", "--key", "stranger.key"];
    let ca = "client_ca_file: ca.pem\n";
    for (more, answered) in [
        ("client_auth_type: NoClientCert".to_owned(), [true, true, true, true]),
        ("client_auth_type: RequestClientCert".to_owned(), [true, true, true, true]),
        ("client_auth_type: RequireAnyClientCert".to_owned(), [false, true, true, true]),
        ("client_auth_type: RequireClientCert".to_owned(), [false, true, true, true]),
        (format!("{ca}client_auth_type: VerifyClientCertIfGiven"), [true, true, false, false]),
        (format!("{ca}client_auth_type: RequireAndVerifyClientCert"), [false, true, false, false]),
    ] {
        web.configure(&tls(&more));
        for version in ["1.2", "1.3"] {
            for (client, answered) in [none, good, expired, unknown].into_iter().zip(answered) {
                let arguments = [client, &["--tls-max", version]].concat();
                assert_eq!(status(&web, &exporter, &arguments).await == 200, answered, "{more}, {version}, {client:?}");
            }
        }
    }
}

#[tokio::test]
async fn only_clients_with_a_name_of_the_list_are_answered() {
    let (web, authority) = Web::new();
    let names = ["prometheus.example", "10.1.2.3", "ops@example.org", "spiffe://example.org/prometheus"];
    web.write_pair("client.pem", "client.key", authority.issue(&names, 30));
    web.configure(&tls(""));
    let exporter = exporter(&web).await;
    let client: &[&str] = &["--cert", "client.pem", "--key", "client.key"];
    for auth in ["RequireAndVerifyClientCert", "VerifyClientCertIfGiven"] {
        let file = |names: &str| {
            tls(&format!("client_ca_file: ca.pem\nclient_auth_type: {auth}\nclient_allowed_sans: [{names}]"))
        };
        for name in names {
            web.configure(&file(&format!("other, '{name}'")));
            assert_eq!(status(&web, &exporter, client).await, 200, "{name}");
        }
        for name in ["other", "prometheus", "*.example", "PROMETHEUS.example", "10.1.2"] {
            web.configure(&file(&format!("'{name}'")));
            assert_eq!(status(&web, &exporter, client).await, 0, "{name}");
        }
        // Nobody gets around the list by showing nothing.
        web.configure(&file("prometheus.example"));
        assert_eq!(status(&web, &exporter, &[]).await, 0);
    }
}

#[tokio::test]
async fn certificates_are_read_anew_at_each_connection() {
    let (web, authority) = Web::new();
    web.write_pair("cert.pem", "key.pem", authority.issue(&["localhost", "127.0.0.1"], -1));
    web.configure(&tls(""));
    let mut exporter = exporter(&web).await;
    let url = format!("https://{}/metrics", exporter.address);
    let expired = Curl::run(&web.path(""), &["--cacert", "ca.pem", &url]).await;
    assert!(expired.status == 60 && expired.complaint.contains("expired"), "{expired:?}");
    exporter.logged("certificate is not valid at this time", 1).await;

    web.write_pair("cert.pem", "key.pem", authority.issue(&["localhost", "127.0.0.1"], 30));
    assert_eq!(status(&web, &exporter, &[]).await, 200);

    // While key and certificate do not go together nobody is answered, and it says why.
    let (_, other_key) = authority.issue(&["localhost"], 30);
    web.write("key.pem", &other_key);
    assert_eq!(status(&web, &exporter, &[]).await, 0);
    let line = exporter.logged("connection refused: the web configuration is not good", 1).await;
    assert!(line.contains("cert.pem: does not go with the key"), "{line}");
    assert!(!exporter.said().contains("PRIVATE"));
    web.write_pair("cert.pem", "key.pem", authority.issue(&["localhost", "127.0.0.1"], 30));
    assert_eq!(status(&web, &exporter, &[]).await, 200);

    // And another authority altogether, written into the file itself.
    let other = Authority::new("another one");
    web.write("ca.pem", &other.pem());
    let (certificate, key) = other.issue(&["localhost", "127.0.0.1"], 30);
    let block = |key: &str, pem: &str| format!("  {key}: |\n{}", indented(&indented(pem)));
    web.configure(&format!("tls_server_config:\n{}{}", block("cert", &certificate), block("key", &key)));
    assert_eq!(status(&web, &exporter, &[]).await, 200);

    // TLS is not taken away from under those who rely on it.
    web.configure("");
    assert_eq!(status(&web, &exporter, &[]).await, 0);
}

#[tokio::test]
async fn users_are_read_anew_at_each_request() {
    let (web, _) = Web::new();
    web.configure(&(tls("") + &users(&[("ann", "one", 4)])));
    let mut exporter = exporter(&web).await;
    let ask = async |credentials: &str| status(&web, &exporter, &["--user", credentials]).await;
    for (credentials, expected) in [("ann:one", 200), ("ann:two", 401), ("bob:one", 401), ("ann:", 401), (":", 401)] {
        assert_eq!(ask(credentials).await, expected, "{credentials}");
    }
    assert_eq!(status(&web, &exporter, &[]).await, 401);
    web.configure(&(tls("") + &users(&[("ann", "two", 4), ("bob", "one", 4)])));
    for (credentials, expected) in [("ann:one", 401), ("ann:two", 200), ("bob:one", 200)] {
        assert_eq!(ask(credentials).await, expected, "{credentials}");
    }
    // Every path asks for them.
    for path in ["/", "/-/healthy", "/-/ready", "/-/reload", "/nothing"] {
        assert_eq!(get(&web, &exporter, path, &[]).await.0, 401, "{path}");
    }
    // A file that is not good lets nobody in, and says so.
    web.configure(&(tls("") + "basic_auth_users: {ann: secret}\n"));
    assert_eq!(status(&web, &exporter, &["--user", "ann:secret"]).await, 0);
    exporter.logged("web.yml:4:20: basic_auth_users.ann: is not a bcrypt hash", 1).await;
    assert!(!exporter.said().contains("secret"));
}

/// A password whose hash takes long to compute keeps nobody waiting who is known already.
#[tokio::test]
async fn a_slow_hash_keeps_nobody_waiting() {
    let (web, _) = Web::new();
    web.configure(&(tls("") + &users(&[("slow", "one", 14), ("quick", "two", 4)])));
    let exporter = exporter(&web).await;
    assert_eq!(status(&web, &exporter, &["--user", "quick:two"]).await, 200);
    let start = Instant::now();
    let slow = async {
        assert_eq!(status(&web, &exporter, &["--user", "slow:one"]).await, 200);
        start.elapsed()
    };
    let quick = async {
        for _ in 0..5 {
            assert_eq!(status(&web, &exporter, &["--user", "quick:two"]).await, 200);
        }
        start.elapsed()
    };
    let (slow, quick) = tokio::join!(slow, quick);
    assert!(quick < slow, "{quick:?} {slow:?}");
    // It is computed once.
    let start = Instant::now();
    assert_eq!(status(&web, &exporter, &["--user", "slow:one"]).await, 200);
    assert!(start.elapsed() < slow, "{:?} {slow:?}", start.elapsed());
}

#[tokio::test]
async fn headers_are_set_and_requests_limited() {
    let (web, _) = Web::new();
    let headers = [
        ("Content-Security-Policy", "default-src 'self'"),
        ("X-Frame-Options", "sameorigin"),
        ("X-Content-Type-Options", "nosniff"),
        ("X-XSS-Protection", "0"),
        ("Strict-Transport-Security", "max-age=31536000; includeSubDomains"),
    ];
    let lines = headers.map(|(name, value)| format!("    {name}: \"{value}\"\n")).concat();
    web.configure(&format!("http_server_config:\n  headers:\n{lines}rate_limit: {{interval: 1h, burst: 5}}\n"));
    let exporter = exporter(&web).await;
    for path in ["/", "/metrics", "/nothing"] {
        let answer = exporter.get(path).await;
        for (name, value) in headers {
            assert_eq!(answer.headers()[name], value, "{path}: it is the operator's word");
            assert_eq!(answer.headers().get_all(name).iter().count(), 1);
        }
    }
    let mut answered = 3;
    while exporter.get("/-/healthy").await.status() == 200 {
        answered += 1;
        assert!(answered < 10);
    }
    assert_eq!(answered, 5);
    assert_eq!(exporter.get("/metrics").await.status(), 429);
}

/// Every key of the schema that the toolkit documents is known; what cannot be had is refused by name.
#[tokio::test]
async fn every_key_is_honoured_or_refused_by_name() {
    let (web, _) = Web::new();
    let check = async |text: &str| {
        web.configure(text);
        let arguments = ["--tryvox.account-id=a", "--config.check", &*web.flag()];
        let checked = output(&arguments, &[("TRYVOX_API_KEY", KEY)]).await;
        (checked.status.code(), String::from_utf8(checked.stderr).unwrap())
    };
    let all = tls("client_auth_type: RequireAndVerifyClientCert\nclient_ca_file: ca.pem\nclient_allowed_sans: [a]\n\
         min_version: TLS12\nmax_version: TLS13\nprefer_server_cipher_suites: true\n\
         cipher_suites: [TLS_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\n\
         curve_preferences: [X25519, CurveP256, CurveP384]")
        + "http_server_config: {http2: true, headers: {X-Frame-Options: deny, X-XSS-Protection: ''}}\n\
         rate_limit: {interval: 1.5s, burst: 2}\n"
        + &users(&[("ann", "x", 4)]);
    assert_eq!(check(&all).await, (Some(0), String::new()));
    for nothing in
        ["", "# nothing\n", "---\n", "{}", "tls_server_config:\nbasic_auth_users:\n", "rate_limit: {interval: 0}"]
    {
        assert_eq!(check(nothing).await, (Some(0), String::new()), "{nothing}");
    }
    let pem = "cert_file: cert.pem\nkey_file: key.pem";
    for (text, problem) in [
        (
            "tls: {}",
            "1:1: tls is not known; there are tls_server_config, http_server_config, basic_auth_users, rate_limit",
        ),
        ("basic_auth_users: {a: b}\nx", "is not YAML"),
        ("- a", "must be a mapping"),
        ("rate_limit: {interval: 1s}\nrate_limit: {}", "2:1: rate_limit is there twice"),
        ("tls_server_config: {cert_file: cert.pem}", "key_file: is missing, and so is key"),
        ("tls_server_config: {key_file: key.pem}", "cert_file: is missing, and so is cert"),
        ("tls_server_config: {min_version: TLS13}", "cert_file: is missing, and so is cert"),
        ("tls_server_config: {cert_file: no.pem, key_file: key.pem}", "no.pem: cannot be read: No such file"),
        ("tls_server_config: {cert_file: key.pem, key_file: key.pem}", "key.pem: holds no certificate in PEM"),
        ("tls_server_config: {cert_file: cert.pem, key_file: cert.pem}", "cert.pem: holds no private key"),
        ("tls_server_config: {cert: x, key_file: key.pem}", "tls_server_config.cert: holds no certificate in PEM"),
        ("http_server_config: {http2: maybe}", "1:29: http_server_config.http2: must be true or false"),
        ("http_server_config: {headers: {X-Frame-Options: no}}", "X-Frame-Options: must be deny or sameorigin"),
        ("http_server_config: {headers: {X-Content-Type-Options: x}}", "X-Content-Type-Options: must be nosniff"),
        ("http_server_config: {headers: {Server: x}}", "headers.Server is not known"),
        ("basic_auth_users: {ann: secret}", "basic_auth_users.ann: is not a bcrypt hash; make one with"),
        ("basic_auth_users: {ann: [x]}", "basic_auth_users.ann: must be a text"),
        ("rate_limit: {interval: 1s}", "burst: must be at least 1"),
        ("rate_limit: {interval: soon, burst: 1}", "interval: is not a duration"),
        ("rate_limit: {interval: 1s, burst: -1}", "burst: must be a whole number"),
    ] {
        let (code, said) = check(text).await;
        assert!(code == Some(2) && said.contains(problem), "{text}: {said}");
        assert!(said.starts_with("tryvox-exporter: --web.config.file: ") && !said.contains("panicked"), "{said}");
    }
    for (more, problem) in [
        ("min_version: TLS11", "4:16: tls_server_config.min_version: TLS11 cannot be had here"),
        ("min_version: SSL3", "must be TLS12 or TLS13"),
        ("min_version: TLS13\nmax_version: TLS12", "min_version: is above max_version"),
        ("cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]", "TLS_RSA_WITH_AES_128_CBC_SHA cannot be had here"),
        ("cipher_suites: [NONE]", "\"NONE\" is not known; there are TLS_AES_256_GCM_SHA384"),
        ("curve_preferences: [CurveP521]", "CurveP521 cannot be had here"),
        ("curve_preferences: [x]", "\"x\" is not known"),
        ("curve_preferences: X25519", "curve_preferences: must be a list"),
        ("client_auth_type: Maybe", "client_auth_type: must be one of NoClientCert"),
        (
            "client_auth_type: RequireAndVerifyClientCert",
            "RequireAndVerifyClientCert needs client_ca_file or client_ca",
        ),
        ("client_ca_file: ca.pem", "client_ca_file: needs a client_auth_type"),
        ("client_ca_file: key.pem\nclient_auth_type: VerifyClientCertIfGiven", "key.pem: holds no certificate in PEM"),
        ("client_allowed_sans: [a]", "client_allowed_sans: needs a client_auth_type"),
        ("client_allowed_sans: []\nclient_auth_type: RequireAnyClientCert", "client_allowed_sans: is empty"),
        ("cert: x", "tls_server_config.cert: excludes cert_file"),
        ("key_fil: x", "tls_server_config.key_fil is not known"),
    ] {
        let (code, said) = check(&format!("tls_server_config:\n{}", indented(&format!("{pem}\n{more}")))).await;
        assert!(code == Some(2) && said.contains(problem), "{more}: {said}");
    }
    // What is wrong keeps it from starting, too, in one line.
    web.configure("tls: {}\nx: {}\n");
    let started = output(&["--tryvox.account-id=a", &web.flag()], &[("TRYVOX_API_KEY", KEY)]).await;
    let said = String::from_utf8(started.stderr).unwrap();
    assert!(started.status.code() == Some(2) && said.lines().count() == 1 && said.contains("and 1 more"), "{said}");
}

#[tokio::test]
async fn healthcheck_goes_by_the_same_file() {
    let (web, authority) = Web::new();
    web.write_pair("client.pem", "client.key", authority.issue(&["prometheus"], 30));
    for (text, answers) in [
        (tls(""), 200),
        (tls("") + &users(&[("ann", "x", 4)]), 401),
        (tls("client_ca_file: ca.pem\nclient_auth_type: RequireAndVerifyClientCert"), 0),
        (tls("client_ca_file: ca.pem\nclient_auth_type: RequireAndVerifyClientCert\nmax_version: TLS12"), 0),
    ] {
        web.configure(&text);
        let exporter = exporter(&web).await;
        assert_eq!(status(&web, &exporter, &[]).await, answers, "{text}");
        let listen = format!("--web.listen-address={}", exporter.address);
        let healthy = output(&["healthcheck", &listen, &web.flag()], &[]).await;
        assert!(healthy.status.success(), "{text}: {healthy:?}");
        assert_eq!(output(&["healthcheck", &listen], &[]).await.status.code(), Some(1), "without the file");
        drop(exporter);
        let gone = async { while output(&["healthcheck", &listen, &web.flag()], &[]).await.status.success() {} };
        timeout(PATIENCE, gone).await.expect("healthy without an exporter");
    }
    web.configure("x: 1");
    assert_eq!(output(&["healthcheck", &web.flag()], &[]).await.status.code(), Some(2));

    // The flags of `serve`, its file among them.
    web.configure(&tls(""));
    let exporter = exporter(&web).await;
    let text = format!("web: {{listen_address: '{}', config: {{file: web.yml}}}}\n", exporter.address);
    web.write("tryvox.yml", &text);
    let flag = format!("--config.file={}", web.path("tryvox.yml").display());
    let flags = ["healthcheck", &flag, "--poll.interval=1m", "--tryvox.account-id=a", "--log.format=json"];
    let healthy = output(&flags, &[]).await;
    assert!(healthy.status.success(), "{healthy:?}");
}

/// A reload says what is wrong with the file, too, though it is read at each request anyway.
#[tokio::test]
async fn a_reload_checks_the_file() {
    let (web, _) = Web::new();
    web.configure("http_server_config: {headers: {X-Frame-Options: deny}}\n");
    let api = Api::start(|_| async { one_number() }).await;
    let exporter = Running::exporter(&api.url(), &[&web.flag(), "--web.enable-lifecycle"]).await;
    let reload = async || {
        let answer = crate::common::http().post(format!("{}/-/reload", exporter.url())).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(reload().await.0, 200);
    web.configure("rate_limit: {interval: 1s}\n");
    // A request is no more answered than any other.
    assert_eq!(reload().await.0, 500);
    web.configure("# good again\n");
    assert_eq!(reload().await.0, 200);
    tokio::time::timeout(Duration::from_secs(100), exporter.end(rustix::process::Signal::TERM)).await.unwrap();
}
