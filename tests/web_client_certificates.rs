//! Client certificates: who is let in by each `client_auth_type`. The expected results are those of a server of Go's
//! `crypto/tls` with the same certificates.

use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, KeyPair};

use crate::common::api::{MockApi, one_number};
use crate::common::web::{
    CertificateAuthority, WebDirectory, exporter, params, self_signed, self_signed_version_1, status, tls,
};
use crate::common::{KEY, ServerProcess};

/// Connects with `<name>.pem` and `<name>.key`, or without a certificate if the name is empty, over TLS 1.2 and 1.3.
/// Returns whether the client is let in, which must not depend on the version.
async fn is_accepted(web: &WebDirectory, exporter: &ServerProcess, name: &str) -> bool {
    let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
    let client: &[&str] = if name.is_empty() { &[] } else { &["--cert", &certificate, "--key", &key] };
    let mut accepted = Vec::new();
    for version in ["1.2", "1.3"] {
        let status = status(web, exporter, &[client, &["--tls-max", version]].concat()).await;
        assert!(matches!(status, 0 | 200), "{name}: {status}");
        accepted.push(status == 200);
    }
    assert_eq!(accepted[0], accepted[1], "{name}");
    accepted[0]
}

/// Writes `clients.pem`: the certificates with these names, and that of the authority.
fn write_bundle(web: &WebDirectory, listed: &[&str]) {
    let read = |name: &str| std::fs::read_to_string(web.path(&format!("{name}.pem"))).unwrap();
    let pems: Vec<_> = listed.iter().copied().chain(["ca"]).map(read).collect();
    web.write("clients.pem", &pems.concat());
}

#[tokio::test]
async fn each_client_auth_type_accepts_the_documented_certificates() {
    let (web, authority) = WebDirectory::new();
    let other_authority = CertificateAuthority::new("another authority");
    let mut self_signed_params = params("listed", 30);
    // As `openssl req -x509` creates it.
    self_signed_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    web.write_pair("listed.pem", "listed.key", self_signed(&self_signed_params));
    web.write_pair("signed.pem", "signed.key", authority.issue(&["prometheus.example"], 30));
    web.write_pair("foreign.pem", "foreign.key", other_authority.issue(&["prometheus.example"], 30));
    write_bundle(&web, &["listed"]);
    web.configure(&tls(""));
    let exporter = exporter(&web).await;
    let clients = ["", "listed", "signed", "foreign"];
    let ca = "client_ca_file: clients.pem\n";
    for (more, expected) in [
        ("client_auth_type: NoClientCert".to_owned(), [true, true, true, true]),
        ("client_auth_type: RequestClientCert".to_owned(), [true, true, true, true]),
        (format!("{ca}client_auth_type: RequestClientCert"), [true, true, true, true]),
        ("client_auth_type: RequireAnyClientCert".to_owned(), [false, true, true, true]),
        ("client_auth_type: RequireClientCert".to_owned(), [false, true, true, true]),
        (format!("{ca}client_auth_type: RequireAnyClientCert"), [false, true, true, true]),
        (format!("{ca}client_auth_type: VerifyClientCertIfGiven"), [true, true, true, false]),
        (format!("{ca}client_auth_type: RequireAndVerifyClientCert"), [false, true, true, false]),
    ] {
        web.configure(&tls(&more));
        for (client, expected) in clients.into_iter().zip(expected) {
            assert_eq!(is_accepted(&web, &exporter, client).await, expected, "{more}: {client:?}");
        }
    }
}

/// Most of them are certificates that tools create by default.
#[tokio::test]
async fn certificates_are_verified_by_the_rules_of_go() {
    let (web, authority) = WebDirectory::new();
    let other = CertificateAuthority::new("another authority");
    let expired = CertificateAuthority::with_validity("expired authority", -1);
    web.write("expired_authority.pem", &expired.pem());
    let write = |name: &str, pair| web.write_pair(&format!("{name}.pem"), &format!("{name}.key"), pair);
    let with_usage = |usage| {
        let mut params = params("client", 30);
        params.extended_key_usages = vec![usage];
        params
    };
    let mut authority_params = params("client", 30);
    authority_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let mut end_entity_params = params("end entity", 30);
    end_entity_params.is_ca = IsCa::ExplicitNoCa;
    let end_entity = CertificateAuthority::from_params(end_entity_params);

    write("version_1", authority.sign_version_1(&params("client", 30)));
    write("authority_as_client", authority.sign(&authority_params));
    write("listed_version_1", self_signed_version_1(&params("listed 1", 30)));
    write("listed_end_entity", (end_entity.pem(), end_entity.key_pem()));
    write("listed_of_other", other.issue(&["prometheus.example"], 30));
    write("not_yet_expired", expired.issue(&["prometheus.example"], 30));
    write("by_end_entity", end_entity.issue(&["prometheus.example"], 30));
    write("by_other_1", other.sign_version_1(&params("client", 30)));
    write("expired", authority.issue(&["prometheus.example"], -1));
    write("expired_1", authority.sign_version_1(&params("client", -1)));
    write("listed_expired", self_signed(&params("listed expired", -1)));
    write("for_servers", authority.sign(&with_usage(ExtendedKeyUsagePurpose::ServerAuth)));
    write("for_clients", authority.sign(&with_usage(ExtendedKeyUsagePurpose::ClientAuth)));
    write("listed_for_servers", self_signed(&with_usage(ExtendedKeyUsagePurpose::ServerAuth)));
    // Same names, other key.
    write("impostor", self_signed(&params("end entity", 30)));
    write("impostor_of_authority", CertificateAuthority::new("the exporters").issue(&["prometheus.example"], 30));
    let listed = ["listed_version_1", "listed_end_entity", "listed_of_other", "listed_expired", "listed_for_servers"];
    write_bundle(&web, &[&listed[..], &["expired_authority"]].concat());

    web.configure(&tls("client_ca_file: clients.pem\nclient_auth_type: RequireAndVerifyClientCert"));
    let exporter = exporter(&web).await;
    for accepted in
        ["version_1", "authority_as_client", "listed_version_1", "listed_end_entity", "listed_of_other", "for_clients"]
    {
        assert!(is_accepted(&web, &exporter, accepted).await, "{accepted}");
    }
    for rejected in [
        "not_yet_expired",
        "by_end_entity",
        "by_other_1",
        "expired",
        "expired_1",
        "listed_expired",
        "for_servers",
        "listed_for_servers",
        "impostor",
        "impostor_of_authority",
    ] {
        assert!(!is_accepted(&web, &exporter, rejected).await, "{rejected}");
    }
    // Without verification, every certificate whose key the client has is as good as another.
    web.configure(&tls("client_auth_type: RequireAnyClientCert"));
    for accepted in ["version_1", "authority_as_client", "expired_1", "impostor", "for_servers"] {
        assert!(is_accepted(&web, &exporter, accepted).await, "{accepted}");
    }
}

/// Unlike Go, which does not verify it.
#[tokio::test]
async fn listed_certificate_with_an_invalid_signature_is_rejected() {
    let (web, _) = WebDirectory::new();
    let key = KeyPair::generate().unwrap();
    let mut certificate = params("listed", 30).self_signed(&key).unwrap().der().to_vec();
    *certificate.last_mut().unwrap() ^= 1;
    web.write_pair("listed.pem", "listed.key", (crate::common::web::pem(&certificate), key.serialize_pem()));
    write_bundle(&web, &["listed"]);
    web.configure(&tls("client_ca_file: clients.pem\nclient_auth_type: VerifyClientCertIfGiven"));
    let exporter = exporter(&web).await;
    assert!(is_accepted(&web, &exporter, "").await);
    assert!(!is_accepted(&web, &exporter, "listed").await);
}

#[tokio::test]
async fn authorities_of_the_system_verify_clients_without_client_ca_file() {
    let (web, authority) = WebDirectory::new();
    let other = CertificateAuthority::new("another authority");
    web.write_pair("signed.pem", "signed.key", authority.issue(&["prometheus.example"], 30));
    web.write_pair("foreign.pem", "foreign.key", other.issue(&["prometheus.example"], 30));
    let file = |auth: &str| tls(&format!("client_auth_type: {auth}"));
    web.configure(&file("VerifyClientCertIfGiven"));
    let api = MockApi::start(|_| async { one_number() }).await;
    let url = format!("--tryvox.url={}", api.url());
    let (ca, missing) = (web.path("ca.pem").display().to_string(), web.path("missing").display().to_string());
    let start = async |file: &str| {
        let environment = [("TRYVOX_API_KEY", KEY), ("SSL_CERT_FILE", file), ("SSL_CERT_DIR", &*missing)];
        ServerProcess::start(&[&url, "--tryvox.account-id=a", &web.flag()], &environment).await
    };
    let exporter = start(&ca).await;
    for (auth, expected) in
        [("VerifyClientCertIfGiven", [true, true, false]), ("RequireAndVerifyClientCert", [false, true, false])]
    {
        web.configure(&file(auth));
        for (client, expected) in ["", "signed", "foreign"].into_iter().zip(expected) {
            assert_eq!(is_accepted(&web, &exporter, client).await, expected, "{auth}: {client:?}");
        }
    }
    // A machine without any, for example a container.
    web.configure(&file("VerifyClientCertIfGiven"));
    let mut exporter = start(&missing).await;
    exporter.wait_for_log("the system has no CA certificates", 1).await;
    assert!(is_accepted(&web, &exporter, "").await);
    assert!(!is_accepted(&web, &exporter, "signed").await);
}

#[tokio::test]
async fn damaged_certificate_of_a_bundle_is_skipped_with_a_warning() {
    let (web, authority) = WebDirectory::new();
    web.write_pair("listed.pem", "listed.key", self_signed(&params("listed", 30)));
    web.write_pair("signed.pem", "signed.key", authority.issue(&["prometheus.example"], 30));
    let listed = std::fs::read_to_string(web.path("listed.pem")).unwrap();
    let section = |content: &str| format!("-----BEGIN CERTIFICATE-----\n{content}\n-----END CERTIFICATE-----\n");
    for damaged in [section("MAA="), section("this is not base64"), "-----BEGIN CERTIFICATE-----\nMAA=\n".to_owned()] {
        let bundle = format!("# the clients\n{listed}{damaged}{}", authority.pem());
        web.write("clients.pem", &bundle);
        web.configure(&tls("client_ca_file: clients.pem\nclient_auth_type: RequireAndVerifyClientCert"));
        let mut exporter = exporter(&web).await;
        let line = exporter.wait_for_log("certificate of a CA bundle skipped", 1).await;
        assert!(line.contains("level=warn") && line.contains("clients.pem") && line.contains("section=2"), "{line}");
        for client in ["listed", "signed"] {
            assert!(is_accepted(&web, &exporter, client).await, "{damaged}: {client}");
        }
        // Nothing remains: no connection is accepted, and the log says why.
        web.write("clients.pem", &damaged);
        assert!(!is_accepted(&web, &exporter, "signed").await);
        let line = exporter.wait_for_log("web configuration is invalid", 1).await;
        assert!(line.contains("clients.pem: contains no usable certificate: PEM section 1"), "{line}");
    }
}

#[tokio::test]
async fn skipped_certificate_is_logged_once_while_the_bundle_stays_the_same() {
    let (web, authority) = WebDirectory::new();
    web.write_pair("signed.pem", "signed.key", authority.issue(&["prometheus.example"], 30));
    let damaged = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    let file = tls("client_ca_file: clients.pem\nclient_auth_type: RequireAndVerifyClientCert");
    web.write("clients.pem", &format!("{}{damaged}", authority.pem()));
    web.configure(&file);
    let api = MockApi::start(|_| async { one_number() }).await;
    let config = format!("tryvox: {{url: '{}'}}\naccounts: [{{account_id: a}}]\n", api.url());
    web.write("tryvox.yml", &config);
    let flags = [&*format!("--config.file={}", web.path("tryvox.yml").display()), &*web.flag()];
    let mut exporter = ServerProcess::start(&flags, &[("TRYVOX_API_KEY", KEY)]).await;
    let key = std::fs::read_to_string(web.path("key.pem")).unwrap();
    for round in 1..=3 {
        assert!(is_accepted(&web, &exporter, "signed").await);
        // The same bundle is used again after a change of another file, after an error, and in a reload.
        web.configure(&format!("{file}# {round}\n"));
        assert!(is_accepted(&web, &exporter, "signed").await);
        web.write("key.pem", "");
        assert!(!is_accepted(&web, &exporter, "signed").await);
        web.write("key.pem", &key);
        web.write("tryvox.yml", &format!("{config}# {round}\n"));
        exporter.signal(rustix::process::Signal::HUP);
        exporter.wait_for_log("configuration reloaded", round).await;
    }
    assert!(is_accepted(&web, &exporter, "signed").await);
    // Another content.
    web.write("clients.pem", &format!("{damaged}{}", authority.pem()));
    assert!(is_accepted(&web, &exporter, "signed").await);
    let line = exporter.wait_for_log("certificate of a CA bundle skipped", 2).await;
    assert!(line.contains("section=1"), "{line}");
    let log = exporter.stop_with_output(rustix::process::Signal::TERM).await.1;
    assert_eq!(log.lines().filter(|line| line.contains("certificate of a CA bundle skipped")).count(), 2, "{log}");
}

#[tokio::test]
async fn only_clients_with_an_allowed_san_are_accepted() {
    let (web, authority) = WebDirectory::new();
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
        // A client without a certificate does not bypass the list.
        web.configure(&file("prometheus.example"));
        assert_eq!(status(&web, &exporter, &[]).await, 0);
    }
}
