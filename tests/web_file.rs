//! The web configuration file, as real clients see it: curl and Prometheus.

use rustix::process::Signal;
use tokio::time::timeout;

use crate::common::api::{MockApi, one_number};
use crate::common::prometheus::Prometheus;
use crate::common::release::Release;
use crate::common::web::{CertificateAuthority, CurlOutput, WebDirectory, exporter, get, indented, status, tls, users};
use crate::common::{KEY, ServerProcess, TEST_TIMEOUT, output};

#[tokio::test]
async fn prometheus_scrapes_with_tls_client_certificate_and_password() {
    let (web, authority) = WebDirectory::new();
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
    let jobs = [
        job("valid", "secret", "client"),
        job("wrong_password", "guess", "client"),
        job("no_certificate", "secret", ""),
    ];
    for release in Release::ALL {
        let prometheus = Prometheus::with_jobs(release, &jobs).await;
        prometheus.wait_for("tryvox_listed_numbers{job=\"valid\"} == 1").await;
        prometheus.wait_for("count(up) == 3").await;
        let up = prometheus.query("up == 1").await;
        assert_eq!(up.len(), 1, "{up:?}");
        assert_eq!(up[0].0["job"], "valid");
    }
}

#[tokio::test]
async fn only_tls_from_version_1_2_is_accepted() {
    let (web, _) = WebDirectory::new();
    web.configure(&tls(""));
    let exporter = exporter(&web).await;
    assert_eq!(get(&web, &exporter, "/metrics", &[]).await, (200, "2".to_owned()));
    assert_eq!(get(&web, &exporter, "/metrics", &["--http1.1"]).await, (200, "1.1".to_owned()));
    let plain = CurlOutput::run(&web.path(""), &[&format!("http://{}/metrics", exporter.address)]).await;
    assert_eq!(plain.stdout, "Client sent an HTTP request to an HTTPS server.\n");
    // A client that does not trust the authority rejects the certificate.
    let untrusted = CurlOutput::run(&web.path(""), &[&format!("https://{}/metrics", exporter.address)]).await;
    assert_eq!(untrusted.status, 60, "{untrusted:?}");
    assert_eq!(status(&web, &exporter, &["--tlsv1.1", "--tls-max", "1.1"]).await, 0);
}

#[tokio::test]
async fn tls_versions_cipher_suites_curves_and_http2_follow_the_file() {
    let (web, _) = WebDirectory::new();
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
    for (more, accepted, rejected) in [
        ("", vec![up_to_12, from_13, aes128, aes256, x25519, p384], vec![]),
        ("min_version: TLS13", vec![from_13], vec![up_to_12]),
        ("max_version: TLS12", vec![up_to_12], vec![from_13]),
        ("cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]", vec![aes128, from_13], vec![aes256]),
        ("curve_preferences: [X25519, CurveP256]", vec![x25519], vec![p384]),
        ("prefer_server_cipher_suites: false", vec![aes128], vec![]),
    ] {
        // It applies to the next connection.
        web.configure(&file(more));
        for arguments in accepted {
            assert_eq!(status(&web, &exporter, arguments).await, 200, "{more} {arguments:?}");
        }
        for arguments in rejected {
            assert_eq!(status(&web, &exporter, arguments).await, 0, "{more} {arguments:?}");
        }
    }
}

#[tokio::test]
async fn certificates_are_read_again_for_each_connection() {
    let (web, authority) = WebDirectory::new();
    web.write_pair("cert.pem", "key.pem", authority.issue(&["localhost", "127.0.0.1"], -1));
    web.configure(&tls(""));
    let mut exporter = exporter(&web).await;
    let url = format!("https://{}/metrics", exporter.address);
    let expired = CurlOutput::run(&web.path(""), &["--cacert", "ca.pem", &url]).await;
    assert!(expired.status == 60 && expired.stderr.contains("expired"), "{expired:?}");
    exporter.wait_for_log("certificate has expired or is not valid yet", 1).await;

    web.write_pair("cert.pem", "key.pem", authority.issue(&["localhost", "127.0.0.1"], 30));
    assert_eq!(status(&web, &exporter, &[]).await, 200);

    // While key and certificate do not match, connections are refused and the log says why.
    let (_, other_key) = authority.issue(&["localhost"], 30);
    web.write("key.pem", &other_key);
    assert_eq!(status(&web, &exporter, &[]).await, 0);
    let line = exporter.wait_for_log("connection refused, web configuration is invalid", 1).await;
    assert!(line.contains("cert.pem: does not match the key"), "{line}");
    assert!(!exporter.output_so_far().contains("PRIVATE"));
    web.write_pair("cert.pem", "key.pem", authority.issue(&["localhost", "127.0.0.1"], 30));
    assert_eq!(status(&web, &exporter, &[]).await, 200);

    // A certificate of another authority, inline in the file.
    let other = CertificateAuthority::new("another authority");
    web.write("ca.pem", &other.pem());
    let (certificate, key) = other.issue(&["localhost", "127.0.0.1"], 30);
    let block = |key: &str, pem: &str| format!("  {key}: |\n{}", indented(&indented(pem)));
    web.configure(&format!("tls_server_config:\n{}{}", block("cert", &certificate), block("key", &key)));
    assert_eq!(status(&web, &exporter, &[]).await, 200);

    // Removing TLS from the file does not make the exporter serve without it.
    web.configure("{}");
    assert_eq!(status(&web, &exporter, &[]).await, 0);
}

/// A shell that writes `> web.yml` and some editors empty the file first.
#[tokio::test]
async fn emptied_file_keeps_tls_and_users_in_force() {
    let (web, _) = WebDirectory::new();
    let in_place = |text: &str| std::fs::write(web.path("web.yml"), text).unwrap();
    let file = |name: &str| users(&[(name, "x", 4)]);
    web.configure(&file("ann"));
    let mut exporter = exporter(&web).await;
    let status_of = async |name: &str| {
        let request = crate::common::http().get(format!("{}/metrics", exporter.url())).basic_auth(name, Some("x"));
        request.send().await.unwrap().status().as_u16()
    };
    for (written, ann, bob) in [
        (file("ann"), 200, 401),
        (String::new(), 200, 401),
        ("\u{feff}  \n\t\r\n# basic_auth_users:\r# {}\n".to_owned(), 200, 401),
        (file("bob"), 401, 200),
        (String::new(), 401, 200),
        // Invalid: every request is refused, and the last valid content is not forgotten.
        ("basic_auth_users: {".to_owned(), 500, 500),
        ("#".to_owned(), 401, 200),
        // The file explicitly has no users.
        ("basic_auth_users: {}\n".to_owned(), 200, 200),
        (String::new(), 200, 200),
        (file("bob"), 401, 200),
        ("---\n".to_owned(), 200, 200),
        (file("bob"), 401, 200),
        ("http_server_config: {http2: true}\n".to_owned(), 200, 200),
    ] {
        in_place(&written);
        for _ in 0..3 {
            assert_eq!((status_of("ann").await, status_of("bob").await), (ann, bob), "{written:?}");
        }
    }
    // Once each time that it is emptied.
    exporter.wait_for_log("web configuration file is empty, keeping its previous content", 3).await;
    let log = exporter.stop_with_output(Signal::TERM).await.1;
    assert_eq!(log.lines().filter(|line| line.contains("web configuration file is empty")).count(), 3, "{log}");

    web.configure(&tls(""));
    let exporter = crate::common::web::exporter(&web).await;
    for (written, expected) in [("", 200), ("# later\n", 200), ("{}", 0)] {
        in_place(written);
        assert_eq!(status(&web, &exporter, &[]).await, expected, "{written:?}");
    }
}

#[tokio::test]
async fn an_invalid_file_is_not_logged_at_each_request() {
    const REQUESTS: usize = 30;
    let (web, _) = WebDirectory::new();
    let lines = |log: &str| log.lines().filter(|line| line.contains("web configuration is invalid")).count();
    for (valid, invalid) in [
        (String::new(), ["x: 1\n".to_owned(), "y: 1\n".to_owned()]),
        (tls(""), [tls("x: 1"), tls("client_auth_type: RequestClientCert\nclient_ca_file: no.pem")]),
    ] {
        web.configure(&valid);
        let exporter = exporter(&web).await;
        let start = std::time::Instant::now();
        for invalid in &invalid {
            web.configure(invalid);
            for _ in 0..REQUESTS {
                _ = crate::common::http().get(format!("{}/metrics", exporter.url())).send().await;
                assert_ne!(status(&web, &exporter, &[]).await, 200);
            }
        }
        let elapsed = start.elapsed().as_secs();
        let log = exporter.stop_with_output(Signal::TERM).await.1;
        // Each error at once, and again after ten seconds.
        let most = 2 + usize::try_from(elapsed / 10).unwrap();
        assert!((2..=most).contains(&lines(&log)), "{elapsed} s: {log}");
    }
}

#[tokio::test]
async fn configured_headers_are_sent_and_requests_are_rate_limited() {
    let (web, _) = WebDirectory::new();
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
        let response = exporter.get(path).await;
        for (name, value) in headers {
            assert_eq!(response.headers()[name], value, "{path}: the configured value replaces the default");
            assert_eq!(response.headers().get_all(name).iter().count(), 1);
        }
    }
    let mut requests = 3;
    while exporter.get("/-/healthy").await.status() == 200 {
        requests += 1;
        assert!(requests < 10);
    }
    assert_eq!(requests, 5);
    assert_eq!(exporter.get("/metrics").await.status(), 429);
}

/// Every key that exporter-toolkit documents is known; an unsupported value is named in the error.
#[tokio::test]
async fn every_documented_key_is_supported_or_rejected_by_name() {
    let (web, _) = WebDirectory::new();
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
    for empty in
        ["", "# nothing\n", "---\n", "{}", "tls_server_config:\nbasic_auth_users:\n", "rate_limit: {interval: 0}"]
    {
        assert_eq!(check(empty).await, (Some(0), String::new()), "{empty}");
    }
    let pem = "cert_file: cert.pem\nkey_file: key.pem";
    let section = |label: &str| format!("-----BEGIN {label}-----\nMAA=\n-----END {label}-----\n");
    web.write("encrypted.pem", &section("ENCRYPTED PRIVATE KEY"));
    web.write("other.pem", &section("PRIVATE KEY"));
    web.write("damaged.pem", &section("CERTIFICATE"));
    for (text, problem) in [
        ("tls: {}", "1:1: tls is not known; did you mean tls_server_config?"),
        (
            "x: {}",
            "1:1: x is not known; remove it or use one of tls_server_config, http_server_config, basic_auth_users, \
             rate_limit",
        ),
        ("basic_auth_users: {a: b}\nx", "is not valid YAML"),
        ("- a", "must be a mapping"),
        ("rate_limit: {interval: 1s}\nrate_limit: {}", "2:1: rate_limit appears twice; remove one"),
        ("tls_server_config: {cert_file: cert.pem}", "key_file: is missing; set key_file or key"),
        ("tls_server_config: {key_file: key.pem}", "cert_file: is missing; set cert_file or cert"),
        ("tls_server_config: {min_version: TLS13}", "cert_file: is missing; set cert_file or cert"),
        ("tls_server_config: {cert_file: no.pem, key_file: key.pem}", "no.pem: cannot be read: No such file"),
        ("tls_server_config: {cert_file: key.pem, key_file: key.pem}", "key.pem: contains no PEM certificate"),
        ("tls_server_config: {cert_file: cert.pem, key_file: cert.pem}", "cert.pem: contains no private key"),
        ("tls_server_config: {cert: x, key_file: key.pem}", "tls_server_config.cert: contains no PEM certificate"),
        ("http_server_config: {http2: maybe}", "1:29: http_server_config.http2: must be true or false"),
        ("http_server_config: {headers: {X-Frame-Options: no}}", "X-Frame-Options: must be deny or sameorigin"),
        ("http_server_config: {headers: {X-Content-Type-Options: x}}", "X-Content-Type-Options: must be nosniff"),
        ("http_server_config: {headers: {Server: x}}", "headers.Server is not known"),
        ("basic_auth_users: {ann: secret}", "basic_auth_users.ann: is not a bcrypt hash; create one with"),
        ("basic_auth_users: {ann: [x]}", "basic_auth_users.ann: must be a text"),
        (
            "tls_server_config: {cert_file: cert.pem, key_file: encrypted.pem}",
            "encrypted.pem: is encrypted, which is not supported; decrypt it",
        ),
        (
            "tls_server_config: {cert_file: cert.pem, key_file: other.pem}",
            "other.pem: is damaged or of an unsupported type; use RSA",
        ),
        ("tls_server_config: {cert_file: damaged.pem, key_file: key.pem}", "damaged.pem: cannot be parsed"),
        ("rate_limit: {interval: soon, burst: 1}", "interval: is not a duration"),
        ("rate_limit: {interval: 1s, burst: -1}", "burst: must be a whole number"),
    ] {
        let (code, stderr) = check(text).await;
        assert!(code == Some(2) && stderr.contains(problem), "{text}: {stderr}");
        assert!(stderr.starts_with("tryvox-exporter: --web.config.file: ") && !stderr.contains("panicked"), "{stderr}");
    }
    for (more, problem) in [
        ("min_version: TLS11", "4:16: tls_server_config.min_version: TLS11 is not supported"),
        ("min_version: SSL3", "must be TLS12 or TLS13"),
        ("min_version: TLS13\nmax_version: TLS12", "min_version: is higher than max_version"),
        ("cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]", "TLS_RSA_WITH_AES_128_CBC_SHA is not supported"),
        ("cipher_suites: [NONE]", "\"NONE\" is not known; use one of TLS_AES_256_GCM_SHA384"),
        ("curve_preferences: [CurveP521]", "CurveP521 is not supported"),
        ("curve_preferences: [x]", "\"x\" is not known"),
        ("curve_preferences: X25519", "curve_preferences: must be a list"),
        ("client_auth_type: Maybe", "client_auth_type: must be one of NoClientCert"),
        ("client_ca_file: ca.pem", "client_ca_file: has no effect without client_auth_type"),
        ("client_ca_file: key.pem\nclient_auth_type: VerifyClientCertIfGiven", "key.pem: contains no PEM certificate"),
        ("client_allowed_sans: [a]", "client_allowed_sans: requires a client_auth_type that verifies certificates"),
        (
            "client_auth_type: RequestClientCert\nclient_allowed_sans: [a]",
            "client_allowed_sans: requires a client_auth",
        ),
        ("client_allowed_sans: [a]\nclient_auth_type: RequireAnyClientCert", "set it to RequireAndVerifyClientCert"),
        ("client_allowed_sans: []\nclient_auth_type: RequireAnyClientCert", "client_allowed_sans: is empty"),
        ("cert: x", "tls_server_config.cert: cannot be combined with cert_file"),
        ("key_fil: x", "tls_server_config.key_fil is not known"),
    ] {
        let (code, stderr) = check(&format!("tls_server_config:\n{}", indented(&format!("{pem}\n{more}")))).await;
        assert!(code == Some(2) && stderr.contains(problem), "{more}: {stderr}");
    }
    // An invalid file also prevents the start; then all problems are one line.
    web.configure("tls: {}\nx: {}\n");
    let started = output(&["--tryvox.account-id=a", &web.flag()], &[("TRYVOX_API_KEY", KEY)]).await;
    let stderr = String::from_utf8(started.stderr).unwrap();
    assert!(
        started.status.code() == Some(2) && stderr.lines().count() == 1 && stderr.contains("and 1 more"),
        "{stderr}"
    );
}

#[tokio::test]
async fn healthcheck_follows_the_web_configuration_file() {
    let (web, authority) = WebDirectory::new();
    web.write_pair("client.pem", "client.key", authority.issue(&["prometheus"], 30));
    for (text, expected) in [
        (tls(""), 200),
        (tls("") + &users(&[("ann", "x", 4)]), 401),
        (tls("client_ca_file: ca.pem\nclient_auth_type: RequireAndVerifyClientCert"), 0),
        (tls("client_ca_file: ca.pem\nclient_auth_type: RequireAndVerifyClientCert\nmax_version: TLS12"), 0),
    ] {
        web.configure(&text);
        let exporter = exporter(&web).await;
        assert_eq!(status(&web, &exporter, &[]).await, expected, "{text}");
        let listen = format!("--web.listen-address={}", exporter.address);
        let healthy = output(&["healthcheck", &listen, &web.flag()], &[]).await;
        assert!(healthy.status.success(), "{text}: {healthy:?}");
        assert_eq!(output(&["healthcheck", &listen], &[]).await.status.code(), Some(1), "without the file");
        drop(exporter);
        let unhealthy = async { while output(&["healthcheck", &listen, &web.flag()], &[]).await.status.success() {} };
        timeout(TEST_TIMEOUT, unhealthy).await.expect("healthy without an exporter");
    }
    web.configure("x: 1");
    assert_eq!(output(&["healthcheck", &web.flag()], &[]).await.status.code(), Some(2));

    // It accepts the flags of `serve`, including a configuration file.
    web.configure(&tls(""));
    let exporter = exporter(&web).await;
    let text = format!("web: {{listen_address: '{}', config: {{file: web.yml}}}}\n", exporter.address);
    web.write("tryvox.yml", &text);
    let flag = format!("--config.file={}", web.path("tryvox.yml").display());
    let flags = ["healthcheck", &flag, "--poll.interval=1m", "--tryvox.account-id=a", "--log.format=json"];
    let healthy = output(&flags, &[]).await;
    assert!(healthy.status.success(), "{healthy:?}");
}

/// The file is read again for each request, and a reload reports its problems, too.
#[tokio::test]
async fn reload_validates_the_web_configuration_file() {
    let (web, _) = WebDirectory::new();
    web.configure("http_server_config: {headers: {X-Frame-Options: deny}}\n");
    let api = MockApi::start(|_| async { one_number() }).await;
    let exporter = ServerProcess::exporter(&api.url(), &[&web.flag(), "--web.enable-lifecycle"]).await;
    let reload = async || {
        let response = crate::common::http().post(format!("{}/-/reload", exporter.url())).send().await.unwrap();
        response.status().as_u16()
    };
    assert_eq!(reload().await, 200);
    web.configure("rate_limit: {interval: soon}\n");
    // Like any other request while the file is invalid.
    assert_eq!(reload().await, 500);
    web.configure("# valid\n");
    assert_eq!(reload().await, 200);
    assert_eq!(exporter.stop(Signal::TERM).await, Some(0));
}
