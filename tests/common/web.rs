//! A directory with a web configuration file and the certificates that it names, and curl as a client.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};
use tokio::process::Command;

/// A directory with a web configuration file, which is removed on drop.
pub(crate) struct WebDirectory {
    directory: TempDir,
}

/// A certificate authority.
pub(crate) struct CertificateAuthority(CertifiedIssuer<'static, KeyPair>);

impl CertificateAuthority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// Returns a certificate for these names and its key, as PEM. It expires `days` days from now.
    pub(crate) fn issue(&self, names: &[&str], days: i64) -> (String, String) {
        let mut params = CertificateParams::new([]).unwrap();
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
        let expiry = OffsetDateTime::now_utc() + Duration::days(days);
        (params.not_before, params.not_after) = (expiry - Duration::days(90), expiry);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
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
