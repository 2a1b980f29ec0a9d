//! Web configuration files of the kinds that exporter-toolkit tests itself with: what it calls good is served, or refused
//! by name if rustls does not support it; what it calls bad is refused.

use crate::common::api::{MockApi, one_number};
use crate::common::web::{WebDirectory, exporter, indented, params, self_signed, status, tls, users};
use crate::common::{KEY, ServerProcess, output};

const IF_GIVEN: &str = "client_auth_type: VerifyClientCertIfGiven";

/// Runs `--config.check` on the file; returns its exit status and what is wrong.
async fn check(web: &WebDirectory, text: &str) -> (Option<i32>, String) {
    web.configure(text);
    let arguments = ["--tryvox.account-id=a", "--config.check", &*web.flag()];
    let checked = output(&arguments, &[("TRYVOX_API_KEY", KEY)]).await;
    (checked.status.code(), String::from_utf8(checked.stderr).unwrap())
}

/// Returns a directory with a self-signed client certificate, `client.pem`, for the name `test3`.
fn directory() -> WebDirectory {
    let (web, _) = WebDirectory::new();
    let mut params = params("test", 30);
    params.subject_alt_names = vec![rcgen::SanType::DnsName("test3".try_into().unwrap())];
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    web.write_pair("client.pem", "client.key", self_signed(&params));
    web
}

#[tokio::test]
async fn good_files_with_tls_are_served() {
    let web = directory();
    web.configure(&tls(""));
    let exporter = exporter(&web).await;
    let client: &[&str] = &["--cert", "client.pem", "--key", "client.key"];
    let up_to_12: &[&str] = &["--tls-max", "1.2"];
    let block = |key: &str, file: &str| {
        let pem = std::fs::read_to_string(web.path(file)).unwrap();
        format!("{key}: |\n{}", indented(&pem))
    };
    let inline = format!("{}{}{IF_GIVEN}", block("cert", "cert.pem"), block("key", "key.pem"));
    let inline_key = format!("cert_file: cert.pem\n{}client_auth_type: RequireAnyClientCert", block("key", "key.pem"));
    let section = |content: &str| format!("tls_server_config:\n{}", indented(content));
    let suites = |names: &str| format!("{IF_GIVEN}\ncipher_suites: [{names}]\nmax_version: TLS12\n");
    let (aes128, aes256) = ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384");
    let listed = "client_auth_type: RequireAndVerifyClientCert\nclient_ca_file: client.pem\n";
    for (file, arguments, expected) in [
        (tls(IF_GIVEN), &[][..], 200),
        (tls(IF_GIVEN), &["--tlsv1.1", "--tls-max", "1.1"], 0),
        (tls(listed), client, 200),
        (tls(listed), &[], 0),
        (tls(&format!("{listed}client_allowed_sans: [one, test3, two]")), client, 200),
        (tls(&format!("{listed}client_allowed_sans: [bad]")), client, 0),
        (tls("client_auth_type: RequireAnyClientCert"), client, 200),
        (section(&inline_key), client, 200),
        (section(&inline), &[], 200),
        // The system's authorities did not sign it.
        (tls("client_auth_type: RequireAndVerifyClientCert"), client, 0),
        (tls(&suites(&format!("{aes128}, {aes256}"))), up_to_12, 200),
        (tls(&(suites(&format!("{aes256}, {aes128}")) + "prefer_server_cipher_suites: false")), up_to_12, 200),
        (tls(&suites(aes256)) + "http_server_config: {http2: false}\n", up_to_12, 200),
        (tls(&suites(aes256)), &["--ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256"], 0),
        (tls(&format!("{IF_GIVEN}\ncurve_preferences: [CurveP256, CurveP384, X25519]")), &[], 200),
        (tls("") + &users(&[("dave", "dave123", 10)]), &["--user", "dave:dave123"], 200),
        (tls("") + &users(&[("dave", "dave123", 10)]), &["--user", "dave:bad"], 401),
        (tls("") + &users(&[("dave", "dave123", 10)]), &[], 401),
    ] {
        assert_eq!(check(&web, &file).await, (Some(0), String::new()), "{file}");
        assert_eq!(status(&web, &exporter, arguments).await, expected, "{file}\n{arguments:?}");
    }
}

#[tokio::test]
async fn good_files_without_tls_are_served() {
    let web = directory();
    let api = MockApi::start(|_| async { one_number() }).await;
    let headers = "http_server_config:\n  headers:\n    X-Frame-Options: deny\n    X-Content-Type-Options: nosniff\n    \
                   X-XSS-Protection: 1\n    Strict-Transport-Security: max-age=31536000; includeSubDomains\n    \
                   Content-Security-Policy: \"default-src 'self' *.test.example.net\"\n";
    for (file, expected) in [
        ("", 200),
        (headers, 200),
        ("rate_limit:\n  interval: 0\n  burst: 0\n", 200),
        // A bucket without tokens.
        ("rate_limit:\n  interval: \"1s\"\n  burst: 0\n", 429),
        (&users(&[("dave", "dave123", 4)]), 401),
    ] {
        assert_eq!(check(&web, file).await, (Some(0), String::new()), "{file}");
        let mut exporter = ServerProcess::exporter(&api.url(), &[&web.flag()]).await;
        for _ in 0..10 {
            assert_eq!(exporter.get("/metrics").await.status(), expected, "{file}");
        }
        if expected == 429 {
            exporter.wait_for_log("rate_limit.burst is 0", 1).await;
        }
    }
}

#[tokio::test]
async fn what_rustls_does_not_support_is_refused_by_name() {
    let web = directory();
    for (more, problem) in [
        ("cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA is not supported"),
        ("curve_preferences: [CurveP256, CurveP521]", "CurveP521 is not supported; use X25519"),
        ("min_version: TLS10", "min_version: TLS10 is not supported"),
        ("max_version: TLS11", "max_version: TLS11 is not supported"),
    ] {
        let (code, stderr) = check(&web, &tls(&format!("{IF_GIVEN}\n{more}"))).await;
        assert!(code == Some(2) && stderr.lines().count() == 1 && stderr.contains(problem), "{more}: {stderr}");
    }
}

#[tokio::test]
async fn bad_files_are_refused() {
    let web = directory();
    let section = |content: &str| format!("tls_server_config:\n{}", indented(content));
    for (file, problem) in [
        ("junk\njunk\n".to_owned(), "must be a mapping"),
        (section("cert_filse: cert.pem"), "cert_filse is not known; did you mean cert_file?"),
        (section("cert_file: ''\nkey_file: key.pem"), "cert_file: is missing"),
        (section("cert: ''\nkey_file: key.pem"), "cert_file: is missing"),
        (section("cert_file: cert.pem\nkey_file: ''"), "key_file: is missing"),
        (section("cert_file: cert.pem\nkey: ''"), "key_file: is missing"),
        (section("cert_file: ''\nkey_file: ''\nclient_auth_type: x"), "client_auth_type: must be one of"),
        (section("cert_file: somefile\nkey_file: key.pem"), "cert_file: "),
        (section("cert_file: cert.pem\nkey_file: somefile"), "somefile: cannot be read: No such file"),
        (tls("client_ca_file: /dev/null"), "client_ca_file: has no effect without client_auth_type"),
        (tls(&format!("client_ca_file: somefile\n{IF_GIVEN}")), "somefile: cannot be read: No such file"),
        (tls(&format!("client_ca_file: /dev/null\n{IF_GIVEN}")), "/dev/null: contains no PEM certificate"),
        (tls("") + "basic_auth_users:\n  john: doe\n", "john: is not a bcrypt hash"),
        (tls("cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA2048]"), "SHA2048\" is not known"),
        (tls("curve_preferences: [CurveP257]"), "\"CurveP257\" is not known"),
        (tls("min_version: TLS111"), "min_version: must be TLS12 or TLS13"),
        ("http_server_config:\n  headers:\n    X-Content-Type-Options: sniff\n".to_owned(), "must be nosniff"),
        ("http_server_config:\n  headers:\n    X-Frame-Options: foo\n".to_owned(), "must be deny or sameorigin"),
        ("http_server_config:\n  headers:\n    Content-Type: foo\n".to_owned(), "Content-Type is not known"),
    ] {
        let (code, stderr) = check(&web, &file).await;
        assert!(code == Some(2) && stderr.contains(problem), "{file}: {stderr}");
    }
}
