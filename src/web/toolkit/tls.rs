//! `tls_server_config`: settings, certificates and a key go in, the configuration for rustls comes out.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use secrecy::{ExposeSecret, SecretSlice};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::authorities::Authorities;
use super::client_auth;
use super::disk::read_file;
use super::error::WebFileError;
use super::file::{ClientAuth, Pem, TlsSettings};
use super::tls_warning::TlsWarning;

/// What begins the encryption header of a private key in PEM, or names its section (RFC 1421, RFC 7468).
const ENCRYPTED: &[u8] = b"ENCRYPTED";

/// A TLS configuration, and the certificates and key that it was made from.
pub(super) struct LoadedTls {
    pem: PemBytes,
    config: Arc<ServerConfig>,
    warnings: Vec<TlsWarning>,
}

/// Certificates and a key as PEM, from the web configuration file or the files that it names.
struct PemBytes {
    certificate: SecretSlice<u8>,
    key: SecretSlice<u8>,
    client_authority: Option<SecretSlice<u8>>,
}

impl PemBytes {
    fn read(tls: &TlsSettings) -> Result<Self, WebFileError> {
        Ok(Self {
            certificate: read_pem("cert_file", &tls.certificate)?,
            key: read_pem("key_file", &tls.key)?,
            client_authority: tls.client_authority.as_ref().map(|pem| read_pem("client_ca_file", pem)).transpose()?,
        })
    }

    fn parts(&self) -> [Option<&[u8]>; 3] {
        [Some(&self.certificate), Some(&self.key), self.client_authority.as_ref()]
            .map(|part| part.map(ExposeSecret::expose_secret))
    }
}

impl LoadedTls {
    /// Reads the certificates and the key.
    ///
    /// # Errors
    /// If one of them is missing or invalid.
    pub(super) fn load(tls: &TlsSettings, http2: bool) -> Result<Self, WebFileError> {
        Self::from_pem(PemBytes::read(tls)?, tls, http2)
    }

    /// Reads the certificates and the key again; the configuration is kept if they have not changed. The settings
    /// must be those that it was made from.
    ///
    /// # Errors
    /// If one of them is missing or invalid.
    pub(super) fn reload_if_changed(self, tls: &TlsSettings, http2: bool) -> Result<Self, WebFileError> {
        let pem = PemBytes::read(tls)?;
        if self.pem.parts() == pem.parts() { Ok(self) } else { Self::from_pem(pem, tls, http2) }
    }

    /// Returns the configuration for rustls.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    /// Returns the warnings about the certificates.
    pub(super) fn warnings(&self) -> &[TlsWarning] {
        &self.warnings
    }

    fn from_pem(pem: PemBytes, tls: &TlsSettings, http2: bool) -> Result<Self, WebFileError> {
        let mut warnings = Vec::new();
        let provider = Arc::new(CryptoProvider {
            cipher_suites: tls.suites.clone(),
            kx_groups: tls.groups.clone(),
            ..ring::default_provider()
        });
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&tls.versions)
            .map_err(|error| tls.certificate.error("cert_file", &error.to_string()))?;
        let certified_key = certify_key(&pem, tls, &provider, &mut warnings)?;
        let builder = if tls.client_auth == ClientAuth::NoClientCert {
            builder.with_no_client_auth()
        } else {
            let client_authority = tls.client_authority.as_ref().zip(pem.client_authority.as_ref());
            let authorities =
                client_authority.map(|(origin, bytes)| Authorities::parse(origin, bytes, &mut warnings)).transpose()?;
            let verifier = client_auth::build_verifier(tls, authorities, provider, &mut warnings);
            builder.with_client_cert_verifier(verifier)
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified_key)));
        config.ignore_client_order = tls.own_order;
        config.alpn_protocols =
            if http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
        if tls.client_auth != ClientAuth::NoClientCert {
            // The client certificate would not be verified again in a resumed session.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Self { pem, config: Arc::new(config), warnings })
    }
}

/// Returns the server's certificate chain with its key.
fn certify_key(
    pem: &PemBytes,
    tls: &TlsSettings,
    provider: &CryptoProvider,
    warnings: &mut Vec<TlsWarning>,
) -> Result<CertifiedKey, WebFileError> {
    let chain = parse_certificates("cert_file", &tls.certificate, &pem.certificate)?;
    let invalid_certificate = |error: &str| tls.certificate.error("cert_file", error);
    let parsed = chain.first().and_then(|certificate| X509Certificate::from_der(certificate).ok());
    let (_, certificate) = parsed.ok_or_else(|| invalid_certificate("cannot be parsed; issue it again"))?;
    let validity = certificate.validity();
    if !validity.is_valid() {
        let (not_before, not_after) = (validity.not_before.to_string(), validity.not_after.to_string());
        warnings.push(TlsWarning::NotValidNow { not_before, not_after });
    }

    let invalid_key = |error: &str| tls.key.error("key_file", error);
    let key = PrivateKeyDer::from_pem_slice(pem.key.expose_secret()).map_err(|error| {
        if pem.key.expose_secret().windows(ENCRYPTED.len()).any(|window| window == ENCRYPTED) {
            invalid_key("is encrypted, which is not supported; decrypt it with `openssl pkey`")
        } else {
            invalid_key(&format!("contains no private key: {error}"))
        }
    })?;
    let key = provider.key_provider.load_private_key(key).map_err(|_| {
        invalid_key(
            "is damaged or of an unsupported type; use RSA (2048 to 4096 bits), ECDSA (P-256 or P-384) or Ed25519",
        )
    })?;
    if key.public_key().is_some_and(|public_key| public_key.as_ref() != certificate.public_key().raw) {
        return Err(invalid_certificate("does not match the key; replace both together"));
    }
    Ok(CertifiedKey::new(chain, key))
}

/// Returns the content of a PEM; an error names the option `key`.
fn read_pem(key: &str, pem: &Pem) -> Result<SecretSlice<u8>, WebFileError> {
    match pem {
        Pem::Inline(text) => Ok(text.expose_secret().as_bytes().to_vec().into()),
        Pem::File(path) => {
            read_file(path).map(SecretSlice::from).map_err(|error| WebFileError::new(format!("{key}: {error}")))
        }
    }
}

/// Parses the certificates in a PEM, of which there must be one; an error names the option `key`.
fn parse_certificates(
    key: &str,
    pem: &Pem,
    bytes: &SecretSlice<u8>,
) -> Result<Vec<CertificateDer<'static>>, WebFileError> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes.expose_secret()).collect();
    match parsed {
        Ok(certificates) if certificates.is_empty() => Err(pem.error(key, "contains no PEM certificate")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(pem.error(key, &format!("is not valid PEM: {error}"))),
    }
}
