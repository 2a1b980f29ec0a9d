//! A directory with a web configuration file and the certificates that it names, and curl as a client.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, SanType, SigningKey,
};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};
use tokio::process::Command;
use x509_parser::asn1_rs::{Any, FromDer};

use crate::common::ServerProcess;
use crate::common::api::{MockApi, one_number};

/// A directory with a web configuration file, which is removed on drop.
pub(crate) struct WebDirectory {
    directory: TempDir,
}

/// A certificate authority.
pub(crate) struct CertificateAuthority(CertifiedIssuer<'static, KeyPair>);

/// Returns parameters of a certificate with this common name, which expires `days` days from now.
pub(crate) fn params(name: &str, days: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let expiry = OffsetDateTime::now_utc() + Duration::days(days);
    (params.not_before, params.not_after) = (expiry - Duration::days(1090), expiry);
    params
}

/// Returns a self-signed certificate with these parameters and its key, as PEM.
pub(crate) fn self_signed(params: &CertificateParams) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// Returns a self-signed certificate of X.509 version 1 and its key, as PEM.
pub(crate) fn self_signed_version_1(params: &CertificateParams) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    (version_1(params.self_signed(&key).unwrap().der(), &key), key.serialize_pem())
}

/// Removes what X.509 version 1 does not have, version and extensions (RFC 5280, section 4.1), and signs the rest again.
fn version_1(certificate: &[u8], issuer_key: &KeyPair) -> String {
    let parts = elements(certificate);
    let kept: Vec<u8> = elements(parts[0]).into_iter().filter(|part| part[0] < 0xa0).flatten().copied().collect();
    let to_be_signed = encode(0x30, &kept);
    let signature = encode(0x03, &[&[0], &*issuer_key.sign(&to_be_signed).unwrap()].concat());
    pem(&encode(0x30, &[&*to_be_signed, parts[1], &*signature].concat()))
}

/// Returns the encoded elements of a DER sequence.
fn elements(sequence: &[u8]) -> Vec<&[u8]> {
    let mut rest = Any::from_der(sequence).unwrap().1.data;
    let mut elements = Vec::new();
    while !rest.is_empty() {
        let (after, _) = Any::from_der(rest).unwrap();
        elements.push(&rest[..rest.len() - after.len()]);
        rest = after;
    }
    elements
}

/// Encodes a DER element.
fn encode(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let [high, low] = u16::try_from(length).unwrap().to_be_bytes();
    let header = match length {
        0..0x80 => vec![tag, low],
        0x80..0x100 => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [&*header, content].concat()
}

/// Returns a certificate as PEM.
pub(crate) fn pem(certificate: &[u8]) -> String {
    let encoded = STANDARD.encode(certificate);
    let lines: Vec<_> = encoded.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

impl CertificateAuthority {
    pub(crate) fn new(name: &str) -> Self {
        Self::with_validity(name, 1000)
    }

    /// Returns an authority whose certificate expires `days` days from now.
    pub(crate) fn with_validity(name: &str, days: i64) -> Self {
        let mut params = params(name, days);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self::from_params(params)
    }

    pub(crate) fn from_params(params: CertificateParams) -> Self {
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn key_pem(&self) -> String {
        self.0.key().serialize_pem()
    }

    /// Returns a certificate for these names and its key, as PEM. It expires `days` days from now.
    pub(crate) fn issue(&self, names: &[&str], days: i64) -> (String, String) {
        let mut params = params("client", days);
        params.subject_alt_names = names
            .iter()
            .map(|name| match name.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) if name.contains("://") => SanType::URI((*name).try_into().unwrap()),
                Err(_) if name.contains('@') => SanType::Rfc822Name((*name).try_into().unwrap()),
                Err(_) => SanType::DnsName((*name).try_into().unwrap()),
            })
            .collect();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }

    /// Returns a certificate with these parameters and its key, as PEM.
    pub(crate) fn sign(&self, params: &CertificateParams) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// Returns a certificate of X.509 version 1 and its key, as PEM. It is what `openssl x509 -req` creates by default.
    pub(crate) fn sign_version_1(&self, params: &CertificateParams) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (version_1(certificate.der(), self.0.key()), key.serialize_pem())
    }
}

impl WebDirectory {
    /// Creates a directory with the certificate of a new authority, `ca.pem`, and a server certificate
    /// that it issued for this machine, `cert.pem` and `key.pem`.
    pub(crate) fn new() -> (Self, CertificateAuthority) {
        let web = Self { directory: tempfile::tempdir().unwrap() };
        let authority = CertificateAuthority::new("the exporters");
        web.write("ca.pem", &authority.pem());
        web.write_pair("cert.pem", "key.pem", authority.issue(&["localhost", "127.0.0.1"], 30));
        (web, authority)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Replaces a file atomically, as certificate rotation does.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path("new"), text).unwrap();
        std::fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    pub(crate) fn write_pair(&self, certificate: &str, key: &str, (certificate_pem, key_pem): (String, String)) {
        self.write(certificate, &certificate_pem);
        self.write(key, &key_pem);
    }

    /// Writes the web configuration file.
    pub(crate) fn configure(&self, text: &str) {
        self.write("web.yml", text);
    }

    pub(crate) fn flag(&self) -> String {
        format!("--web.config.file={}", self.path("web.yml").display())
    }
}

/// Returns the section `tls_server_config` with `cert.pem`, `key.pem` and more keys.
pub(crate) fn tls(more: &str) -> String {
    format!("tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n{}", indented(more))
}

/// Indents each line by two spaces.
pub(crate) fn indented(text: &str) -> String {
    text.lines().fold(String::new(), |mut text, line| {
        writeln!(text, "  {line}").unwrap();
        text
    })
}

/// The exit status and output of curl.
#[derive(Debug)]
pub(crate) struct CurlOutput {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl CurlOutput {
    /// Runs curl with these arguments in this directory.
    pub(crate) async fn run(directory: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new("curl");
        command.current_dir(directory).args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "100"]);
        let output = command.args(arguments).output().await.expect("curl is missing: `make setup` installs it");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { status: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Returns the status and the HTTP version of a response; the status is 0 if there was none.
    pub(crate) async fn http(directory: &Path, arguments: &[&str]) -> (u16, String) {
        let mut all = vec!["--output", "/dev/null", "--write-out", "%{http_code} %{http_version}"];
        all.extend(arguments);
        let written = Self::run(directory, &all).await.stdout;
        let (status, version) = written.split_once(' ').unwrap();
        (status.parse().unwrap(), version.to_owned())
    }
}

/// Starts an exporter with the web configuration file of this directory.
pub(crate) async fn exporter(web: &WebDirectory) -> ServerProcess {
    let api = MockApi::start(|_| async { one_number() }).await;
    let mut exporter = ServerProcess::exporter(&api.url(), &[&web.flag()]).await;
    exporter.wait_for_polls(1).await;
    exporter
}

/// Sends a GET with curl, which trusts `ca.pem`; returns status and HTTP version. The status is 0 if
/// there was no response.
pub(crate) async fn get(web: &WebDirectory, exporter: &ServerProcess, path: &str, more: &[&str]) -> (u16, String) {
    let url = format!("https://{}{path}", exporter.address);
    let mut arguments = vec!["--cacert", "ca.pem", &*url];
    arguments.extend(more);
    CurlOutput::http(&web.path(""), &arguments).await
}

/// Requests the metrics like [`get`], and returns the status.
pub(crate) async fn status(web: &WebDirectory, exporter: &ServerProcess, more: &[&str]) -> u16 {
    get(web, exporter, "/metrics", more).await.0
}

/// Returns the section `basic_auth_users` with these users: name, password and cost of the bcrypt hash.
pub(crate) fn users(users: &[(&str, &str, u32)]) -> String {
    let lines =
        users.iter().map(|(name, password, cost)| format!("  {name}: {}\n", bcrypt::hash(password, *cost).unwrap()));
    format!("basic_auth_users:\n{}", lines.collect::<String>())
}
