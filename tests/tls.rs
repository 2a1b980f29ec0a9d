//! TLS to the API: with a trusted certificate the account is listed; with any other the connection is
//! closed before the key is sent.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::https::HttpsListener;
use crate::common::{KEY, ServerProcess, command, output};

/// Starts an API of an empty account with a self-signed certificate. Returns its URL, the certificate as
/// PEM and the number of requests that it could decrypt.
pub(crate) async fn https_api() -> (String, String, Arc<AtomicUsize>) {
    serve_empty_account(HttpsListener::bind(&[]).await)
}

fn serve_empty_account(listener: HttpsListener) -> (String, String, Arc<AtomicUsize>) {
    let HttpsListener { listener, acceptor, url, certificate } = listener;
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = requests.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = vec![0; 8192];
            let length = stream.read(&mut request).await.unwrap_or(0);
            if length > 0 {
                counter.fetch_add(1, Ordering::SeqCst);
                let body = r#"{"data":[],"pagination":{"total":0,"total_pages":0}}"#;
                let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        }
    });
    (url, certificate, requests)
}

#[tokio::test]
async fn account_is_listed_if_the_certificate_is_trusted() {
    let (url, certificate, requests) = https_api().await;
    let mut trust_file = tempfile::NamedTempFile::new().unwrap();
    trust_file.write_all(certificate.as_bytes()).unwrap();
    let trusted = trust_file.path().display().to_string();
    let arguments = [&*format!("--tryvox.url={url}"), "--tryvox.account-id=acc_demo"];
    let environment = [("TRYVOX_API_KEY", KEY), ("SSL_CERT_FILE", &*trusted)];
    let mut exporter = ServerProcess::start(&arguments, &environment).await;
    exporter.wait_for_log("poll succeeded", 1).await;
    assert_eq!(requests.load(Ordering::SeqCst), 1);
    assert_eq!(exporter.scrape().await.value(r#"tryvox_listed_numbers{account="acc_demo"}"#), Some(0.0));
}

#[tokio::test]
async fn poll_fails_without_sending_the_key_if_the_certificate_is_not_trusted() {
    let (url, _, requests) = https_api().await;
    let mut exporter = ServerProcess::exporter(&url, &[]).await;
    let line = exporter.wait_for_log("poll failed", 1).await;
    let named = r#"certificate \"CN=api.example\" issued by \"CN=api.example\": its issuer is not trusted"#;
    assert!(line.contains("reason=tls ") && line.contains(named), "{line}");
    assert_eq!(requests.load(Ordering::SeqCst), 0);
}

/// Lists an account of a server whose certificate is not accepted if this one is trusted. Returns the error.
async fn rejection(listener: HttpsListener, trusted: &str) -> String {
    let (url, _, requests) = serve_empty_account(listener);
    let mut trust_file = tempfile::NamedTempFile::new().unwrap();
    trust_file.write_all(trusted.as_bytes()).unwrap();
    let (url, path) = (format!("--tryvox.url={url}"), trust_file.path().display().to_string());
    let arguments = ["once", "--tryvox.account-id=a", &url, "--tryvox.retry-for=1ms"];
    let run = output(&arguments, &[("TRYVOX_API_KEY", KEY), ("SSL_CERT_FILE", &path)]).await;
    assert_eq!((run.status.code(), requests.load(Ordering::SeqCst)), (Some(1), 0));
    String::from_utf8(run.stderr).unwrap()
}

#[tokio::test]
async fn error_says_which_certificate_is_rejected_and_why() {
    let params = |name: &str| {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        // Names come from the network.
        params.distinguished_name.push(DnType::CommonName, format!("api\u{1b}[2J {}", "x".repeat(300)));
        params
    };
    let mut expired = params("localhost");
    expired.not_after = rcgen::date_time_ymd(2024, 2, 29);
    let mut early = params("localhost");
    early.not_before = rcgen::date_time_ymd(2970, 1, 1);
    early.not_after = rcgen::date_time_ymd(2971, 1, 1);
    let mut authority = params("localhost");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    for (params, reason) in [
        (expired, "it expired on Feb 29 00:00:00 2024"),
        (early, "certificate not valid yet"),
        (params("other.example"), "is only valid for"),
        (authority, "it is a CA certificate, which no server may use"),
    ] {
        let listener = HttpsListener::bind_with(&params, &[]).await;
        let trusted = listener.certificate.clone();
        let error = rejection(listener, &trusted).await;
        assert!(error.contains(reason), "{error}");
        assert!(error.contains(": certificate \"CN=api[2J xxx") && !error.contains('\u{1b}'), "{error}");
        assert!(error.len() < 800, "{error}");
    }
}

#[tokio::test]
async fn error_names_the_certificate_of_the_chain_that_is_rejected() {
    let params = |name: &str, is_ca: bool| {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        if is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        params
    };
    let key = || KeyPair::generate().unwrap();
    let root = CertifiedIssuer::self_signed(params("root", true), key()).unwrap();
    let other = CertifiedIssuer::self_signed(params("other", true), key()).unwrap();
    let issuer = CertifiedIssuer::signed_by(params("issuer", true), key(), &root).unwrap();
    let no_ca = CertifiedIssuer::signed_by(params("no ca", false), key(), &root).unwrap();
    let leaf_key = key();
    let leaf = |issuer: &Issuer<'_, KeyPair>| params("leaf", false).signed_by(&leaf_key, issuer).unwrap();
    let (good, bad) = (leaf(&issuer), leaf(&no_ca));
    for (chain, trusted, rejected) in [
        // An issuer is missing, and another certificate was sent instead.
        (vec![&good, other.as_ref()], &root, r#""CN=leaf" issued by "CN=issuer": its issuer is not trusted"#),
        (vec![&good, issuer.as_ref()], &other, r#""CN=issuer" issued by "CN=root": its issuer is not trusted"#),
        (vec![&bad, no_ca.as_ref()], &root, r#""CN=no ca" issued by "CN=root": it is not a CA certificate"#),
    ] {
        let listener = HttpsListener::bind_chain(&chain, &leaf_key, &[]).await;
        let error = rejection(listener, &trusted.pem()).await;
        assert!(error.contains(rejected), "{rejected}: {error}");
    }
}

#[tokio::test]
async fn error_names_the_variable_with_unusable_ca_certificates() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for path in ["/nonexistent/ca.pem", file.path().to_str().unwrap()] {
        let arguments = ["once", "--tryvox.account-id=a", "--tryvox.url=https://localhost:9"];
        let mut command = command(&arguments);
        command.env("TRYVOX_API_KEY", KEY).env("SSL_CERT_FILE", path).env_remove("SSL_CERT_DIR");
        let run = command.output().await.unwrap();
        let error = String::from_utf8(run.stderr).unwrap();
        let named = format!("check SSL_CERT_FILE={path}, which replaces the CA certificates of the system");
        assert!(run.status.code() == Some(1) && error.contains(&named) && error.lines().count() == 1, "{error}");
    }
}
