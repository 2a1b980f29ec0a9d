//! The schema of the file: bytes go in, validated settings come out.

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use axum::http::{HeaderName, HeaderValue};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use rustls::version::{TLS12, TLS13};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};
use secrecy::SecretString;

use super::WebFileError;
use super::rate::{RateLimit, go_duration};
use super::users::{self, Hashes};
use crate::yaml::{self, Section};

/// The settings of a file.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// `None` disables TLS.
    pub(super) tls: Option<TlsSettings>,
    pub(super) http2: bool,
    /// Sent with each response.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// Empty disables authentication.
    pub(super) users: Hashes,
    pub(super) rate_limit: Option<RateLimit>,
}

impl Settings {
    /// Returns whether there is TLS or a user.
    pub(super) fn protects(&self) -> bool {
        self.tls.is_some() || !self.users.is_empty()
    }
}

/// PEM data, inline in the file or in a file that it names.
#[derive(Debug, Clone)]
pub(super) enum Pem {
    Inline(SecretString),
    File(PathBuf),
}

impl Pem {
    /// Returns the option that contains this PEM, or the option and the file. `key` is the option that names its
    /// file; for inline data the option has the same name without `_file`.
    pub(super) fn name(&self, key: &str) -> String {
        match self {
            Self::Inline(_) => format!("tls_server_config.{}", key.trim_end_matches("_file")),
            Self::File(path) => format!("tls_server_config.{key}: {}", path.display()),
        }
    }

    /// Returns an error about this PEM, with its name.
    pub(super) fn error(&self, key: &str, error: &str) -> WebFileError {
        WebFileError::new(format!("{}: {error}", self.name(key)))
    }
}

/// The TLS settings.
#[derive(Debug, Clone)]
pub(super) struct TlsSettings {
    pub(super) certificate: Pem,
    pub(super) key: Pem,
    pub(super) client_auth: ClientAuth,
    /// The CA certificates that verify client certificates; `None` means those of the system.
    pub(super) client_authority: Option<Pem>,
    /// Subject alternative names, one of which a client certificate must have; empty allows any.
    pub(super) allowed_names: Vec<String>,
    /// At least one.
    pub(super) versions: Vec<&'static SupportedProtocolVersion>,
    /// In order of preference.
    pub(super) suites: Vec<SupportedCipherSuite>,
    /// In order of preference.
    pub(super) groups: Vec<&'static dyn SupportedKxGroup>,
    /// Whether the server's order of preference takes precedence over the client's.
    pub(super) own_order: bool,
}

/// The policy for client certificates, with the names of Go's `crypto/tls`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientAuth {
    /// No certificate is requested.
    NoClientCert,
    /// A certificate is requested, but not required or verified.
    RequestClientCert,
    /// A certificate is required, but not verified.
    RequireAnyClientCert,
    /// A certificate is not required, but verified if there is one.
    VerifyClientCertIfGiven,
    /// A certificate is required and verified.
    RequireAndVerifyClientCert,
}

impl ClientAuth {
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "" | "NoClientCert" => Ok(Self::NoClientCert),
            "RequestClientCert" => Ok(Self::RequestClientCert),
            // The second name is an older one.
            "RequireAnyClientCert" | "RequireClientCert" => Ok(Self::RequireAnyClientCert),
            "VerifyClientCertIfGiven" => Ok(Self::VerifyClientCertIfGiven),
            "RequireAndVerifyClientCert" => Ok(Self::RequireAndVerifyClientCert),
            _ => Err("must be one of NoClientCert, RequestClientCert, RequireAnyClientCert, VerifyClientCertIfGiven, \
                      RequireAndVerifyClientCert"
                .to_owned()),
        }
    }

    pub(super) fn verifies(self) -> bool {
        matches!(self, Self::VerifyClientCertIfGiven | Self::RequireAndVerifyClientCert)
    }

    pub(super) fn requires(self) -> bool {
        matches!(self, Self::RequireAnyClientCert | Self::RequireAndVerifyClientCert)
    }
}

impl TlsSettings {
    /// Returns whether a client without a certificate is rejected, as it also is if only some names are allowed.
    pub(super) fn requires_client_certificate(&self) -> bool {
        self.client_auth.requires() || !self.allowed_names.is_empty()
    }
}

/// The supported headers and their valid values; an empty list allows any value.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-XSS-Protection", &[]),
    ("Strict-Transport-Security", &[]),
];

/// Cipher suites that Go supports and rustls does not, because they lack forward secrecy or authenticated encryption.
const GO_ONLY_SUITES: [&str; 11] = [
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
];

/// Parses a file. Relative paths in it are relative to its directory.
///
/// # Errors
/// With every problem in the file.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Settings, WebFileError> {
    let shown = path.display();
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Err(WebFileError::new(format!("{shown}: is not UTF-8")));
    };
    let root = yaml::parse(text, "basic_auth_users: {…}").map_err(|p| WebFileError::new(format!("{shown}:{p}")))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut problems = Vec::new();
    let mut file = Section::new("", &root, &mut problems);
    let tls = tls(file.section("tls_server_config"), folder);
    let (http2, headers) = http(file.section("http_server_config"));
    let users = users(file.section("basic_auth_users"));
    let rate_limit = rate_limit(file.section("rate_limit"));
    file.finish();
    if problems.is_empty() {
        Ok(Settings { tls, http2, headers, users, rate_limit })
    } else {
        Err(WebFileError { problems: problems.iter().map(|problem| format!("{shown}:{problem}")).collect() })
    }
}

fn tls(mut section: Section<'_>, folder: &Path) -> Option<TlsSettings> {
    let is_there = !section.is_empty();
    let certificate = pem(&mut section, "cert", "cert_file", folder);
    let key = pem(&mut section, "key", "key_file", folder);
    let client_authority = pem(&mut section, "client_ca", "client_ca_file", folder);
    let client_auth = section.value("client_auth_type", ClientAuth::read).unwrap_or(ClientAuth::NoClientCert);
    let allowed_names = section.list("client_allowed_sans", |name| Ok(name.to_owned()));
    let oldest = section.value("min_version", version).unwrap_or(&TLS12);
    let newest = section.value("max_version", version).unwrap_or(&TLS13);
    let suites = section.list("cipher_suites", suite).unwrap_or_default();
    let groups = section.list("curve_preferences", group).unwrap_or_default();
    let own_order = section.boolean("prefer_server_cipher_suites").unwrap_or(true);

    if is_there && certificate.is_none() {
        section.report("cert_file", "cert_file: is missing; set cert_file or cert to the certificate");
    }
    if is_there && key.is_none() {
        section.report("key_file", "key_file: is missing; set key_file or key to the private key of the certificate");
    }
    if client_authority.is_some() && client_auth == ClientAuth::NoClientCert {
        let hint = "set it to RequireAndVerifyClientCert to verify client certificates";
        section
            .report("client_ca_file", format_args!("client_ca_file: has no effect without client_auth_type; {hint}"));
    }
    if let Some(names) = &allowed_names {
        if names.is_empty() {
            section.report(
                "client_allowed_sans",
                "client_allowed_sans: is empty, which rejects every client; add a name or remove it",
            );
        } else if !client_auth.verifies() {
            let hint = "requires a client_auth_type that verifies certificates, because with others clients can \
                        claim any name; set it to RequireAndVerifyClientCert";
            section.report("client_allowed_sans", format_args!("client_allowed_sans: {hint}"));
        }
    }
    let versions: Vec<_> = [&TLS13, &TLS12].into_iter().filter(|version| between(oldest, version, newest)).collect();
    if versions.is_empty() {
        section.report("min_version", "min_version: is higher than max_version; lower it");
    }
    let provider = ring::default_provider();
    let suites = with_both_versions(suites, &provider);
    if versions.len() == 1 && !suites.iter().any(|suite| suite.version() == versions[0]) {
        section.report("cipher_suites", "cipher_suites: contains no suite for the allowed TLS versions; add one");
    }
    let groups = if groups.is_empty() { provider.kx_groups } else { groups };
    section.finish();
    Some(TlsSettings {
        certificate: certificate?,
        key: key?,
        client_auth,
        client_authority,
        allowed_names: allowed_names.unwrap_or_default(),
        versions,
        suites,
        groups,
        own_order,
    })
}

/// Returns the PEM of two options that exclude each other, one inline and one a file name.
fn pem(section: &mut Section<'_>, inline: &'static str, file: &'static str, folder: &Path) -> Option<Pem> {
    match (section.text(inline), section.text(file)) {
        (Some(_), Some(_)) => {
            section.report(inline, format_args!("{inline}: cannot be combined with {file}; remove one of them"));
            None
        }
        (Some(text), None) => Some(Pem::Inline(text.into())),
        (None, Some(path)) => Some(Pem::File(folder.join(path))),
        (None, None) => None,
    }
}

fn version(text: &str) -> Result<&'static SupportedProtocolVersion, String> {
    match text {
        "TLS13" => Ok(&TLS13),
        "TLS12" => Ok(&TLS12),
        "TLS11" | "TLS10" => Err(format!("{text} is not supported because it is insecure; use TLS12 or TLS13")),
        _ => Err("must be TLS12 or TLS13".to_owned()),
    }
}

fn between(
    oldest: &SupportedProtocolVersion,
    version: &SupportedProtocolVersion,
    newest: &SupportedProtocolVersion,
) -> bool {
    let [oldest, version, newest] = [oldest, version, newest].map(|version| u16::from(version.version));
    (oldest..=newest).contains(&version)
}

/// Returns a cipher suite by its IANA name, which Go also uses.
fn suite(name: &str) -> Result<SupportedCipherSuite, String> {
    let suites = ring::default_provider().cipher_suites;
    let names = || suites.iter().map(suite_name).collect::<Vec<_>>().join(", ");
    match suites.iter().find(|suite| suite_name(suite) == name) {
        Some(suite) => Ok(*suite),
        None if GO_ONLY_SUITES.contains(&name) => {
            Err(format!("{name} is not supported because it is weak; use one of {}", names()))
        }
        None => Err(format!("{name:?} is not known; use one of {}", names())),
    }
}

fn suite_name(suite: &SupportedCipherSuite) -> String {
    // rustls names the suites of TLS 1.3 TLS13_…; Go and IANA name them TLS_….
    format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1)
}

/// Returns the configured suites, and all suites of a TLS version for which none is configured: choosing suites for
/// one version does not disable the other.
fn with_both_versions(mut suites: Vec<SupportedCipherSuite>, provider: &CryptoProvider) -> Vec<SupportedCipherSuite> {
    for version in [&TLS13, &TLS12] {
        if !suites.iter().any(|suite| suite.version() == version) {
            suites.extend(provider.cipher_suites.iter().filter(|suite| suite.version() == version));
        }
    }
    suites
}

fn group(name: &str) -> Result<&'static dyn SupportedKxGroup, String> {
    match name {
        "X25519" => Ok(ring::kx_group::X25519),
        "CurveP256" => Ok(ring::kx_group::SECP256R1),
        "CurveP384" => Ok(ring::kx_group::SECP384R1),
        "CurveP521" => Err(format!("{name} is not supported; use X25519, CurveP256 or CurveP384")),
        _ => Err(format!("{name:?} is not known; use X25519, CurveP256 or CurveP384")),
    }
}

fn http(mut section: Section<'_>) -> (bool, Vec<(HeaderName, HeaderValue)>) {
    let http2 = section.boolean("http2").unwrap_or(true);
    let mut headers = Vec::new();
    let mut given = section.section("headers");
    for (name, allowed) in HEADERS {
        let read = |value: &str| {
            if allowed.is_empty() || value.is_empty() || allowed.contains(&value) {
                HeaderValue::from_str(value).map_err(|_| "contains a control character".to_owned())
            } else {
                Err(format!("must be {}", allowed.join(" or ")))
            }
        };
        let value = given.value(name, read).filter(|value| !value.is_empty());
        headers.extend(value.and_then(|value| Some((HeaderName::try_from(name).ok()?, value))));
    }
    given.finish();
    section.finish();
    (http2, headers)
}

fn users(mut section: Section<'_>) -> Hashes {
    let mut hashes = Hashes::new();
    for (name, hash) in section.texts() {
        let problem = match users::cost(hash) {
            Ok(_) if !name.text.contains(':') => {
                hashes.insert(name.text.clone(), hash.to_owned().into());
                continue;
            }
            Ok(_) => "a user name cannot contain a colon".to_owned(),
            Err(error) => error,
        };
        section.report(&name.text, format_args!("{}: {problem}", name.text.escape_debug()));
    }
    hashes
}

fn rate_limit(mut section: Section<'_>) -> Option<RateLimit> {
    let interval = section.value("interval", go_duration).filter(|interval| !interval.is_zero());
    let burst = section.value("burst", |text| text.parse().map_err(|_| "must be a whole number".to_owned()));
    section.finish();
    interval.map(|interval| RateLimit { interval, burst: burst.unwrap_or(0) })
}
