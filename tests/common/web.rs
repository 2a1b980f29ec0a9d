//! A web configuration file, the certificates that it needs, and curl to try them.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};
use tokio::process::Command;

/// A folder with a web configuration file.
pub(crate) struct Web {
    folder: TempDir,
}

/// Who signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for these names, and its key; it ends so many days from now.
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
        let end = OffsetDateTime::now_utc() + Duration::days(days);
        (params.not_before, params.not_after) = (end - Duration::days(90), end);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

impl Web {
    /// A folder with an authority `ca.pem` and a certificate of it for this machine, `cert.pem` and
    /// `key.pem`.
    pub(crate) fn new() -> (Self, Authority) {
        let web = Self { folder: tempfile::tempdir().unwrap() };
        let authority = Authority::new("the exporters");
        web.write("ca.pem", &authority.pem());
        web.write_pair("cert.pem", "key.pem", authority.issue(&["localhost", "127.0.0.1"], 30));
        (web, authority)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces a file in one step, as those do who rotate certificates.
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

/// `cert.pem` and `key.pem`, and what else is to stand beside them.
pub(crate) fn tls(more: &str) -> String {
    format!("tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n{}", indented(more))
}

/// A text two blanks further in.
pub(crate) fn indented(text: &str) -> String {
    text.lines().fold(String::new(), |mut all, line| {
        writeln!(all, "  {line}").unwrap();
        all
    })
}

/// What curl printed and how it ended.
#[derive(Debug)]
pub(crate) struct Curl {
    pub(crate) status: i32,
    pub(crate) answer: String,
    pub(crate) complaint: String,
}

impl Curl {
    /// Runs curl with these arguments, in the folder of the file.
    pub(crate) async fn run(folder: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new("curl");
        command.current_dir(folder).args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "100"]);
        let output = command.args(arguments).output().await.expect("curl is there: `make setup` installs it");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { status: output.status.code().unwrap_or(-1), answer: text(output.stdout), complaint: text(output.stderr) }
    }

    /// The status of an HTTP answer, and the version that it came in; 0 where there was none.
    pub(crate) async fn http(folder: &Path, arguments: &[&str]) -> (u16, String) {
        let mut all = vec!["--output", "/dev/null", "--write-out", "%{http_code} %{http_version}"];
        all.extend(arguments);
        let answer = Self::run(folder, &all).await.answer;
        let (status, version) = answer.split_once(' ').unwrap();
        (status.parse().unwrap(), version.to_owned())
    }
}
