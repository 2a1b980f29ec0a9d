//! `tls_server_config`: certificates and keys in, what rustls needs out.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use secrecy::{ExposeSecret, SecretSlice};
use tracing::warn;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::file::{ClientAuth, Pem, TlsSettings};
use super::{WebFileError, client, read};

/// What TLS is made of, as it was when it was last read.
pub(super) struct Material {
    source: Source,
    config: Arc<ServerConfig>,
}

/// What the file holds of it, or those that it names.
struct Source {
    certificate: SecretSlice<u8>,
    key: SecretSlice<u8>,
    authority: Option<SecretSlice<u8>>,
}

impl Source {
    fn read(tls: &TlsSettings) -> Result<Self, WebFileError> {
        Ok(Self {
            certificate: bytes("cert_file", &tls.certificate)?,
            key: bytes("key_file", &tls.key)?,
            authority: tls.client_authority.as_ref().map(|pem| bytes("client_ca_file", pem)).transpose()?,
        })
    }

    fn parts(&self) -> [Option<&[u8]>; 3] {
        [Some(&self.certificate), Some(&self.key), self.authority.as_ref()]
            .map(|part| part.map(ExposeSecret::expose_secret))
    }
}

impl Material {
    /// Reads all of it.
    pub(super) fn load(tls: &TlsSettings, http2: bool) -> Result<Self, WebFileError> {
        Self::from_source(Source::read(tls)?, tls, http2)
    }

    /// The same where nothing has changed, else read anew; by the settings that it was made by.
    pub(super) fn refreshed(self, tls: &TlsSettings, http2: bool) -> Result<Self, WebFileError> {
        let source = Source::read(tls)?;
        if self.source.parts() == source.parts() { Ok(self) } else { Self::from_source(source, tls, http2) }
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    fn from_source(source: Source, tls: &TlsSettings, http2: bool) -> Result<Self, WebFileError> {
        let chain = certificates("cert_file", &tls.certificate, &source.certificate)?;
        warn_if_expired(&chain);
        let key = PrivateKeyDer::from_pem_slice(source.key.expose_secret())
            .map_err(|error| tls.key.wrong("key_file", &format!("holds no private key: {error}")))?;
        let authority = match (&tls.client_authority, &source.authority) {
            (Some(pem), Some(bytes)) => certificates("client_ca_file", pem, bytes)?,
            _ => Vec::new(),
        };
        let provider = Arc::new(CryptoProvider {
            cipher_suites: tls.suites.clone(),
            kx_groups: tls.groups.clone(),
            ..ring::default_provider()
        });
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&tls.versions)
            .map_err(|error| tls.certificate.wrong("cert_file", &error.to_string()))?;
        let builder = if tls.client_auth == ClientAuth::NoClientCert {
            builder.with_no_client_auth()
        } else {
            builder.with_client_cert_verifier(client::verifier(tls, authority, &provider)?)
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| tls.certificate.wrong("cert_file", &format!("does not go with the key: {error}")))?;
        config.ignore_client_order = tls.own_order;
        config.alpn_protocols =
            if http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
        if tls.client_auth != ClientAuth::NoClientCert {
            // A session that is taken up again is not asked for a certificate.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Self { source, config: Arc::new(config) })
    }
}

/// The rest of the world will say so, but not where anybody looks who could mend it.
fn warn_if_expired(chain: &[CertificateDer<'_>]) {
    let certificate = chain.first().and_then(|certificate| X509Certificate::from_der(certificate).ok());
    if let Some((_, certificate)) = certificate.filter(|(_, certificate)| !certificate.validity().is_valid()) {
        let (from, to) = (certificate.validity().not_before, certificate.validity().not_after);
        warn!(not_before = %from, not_after = %to, "the web configuration's certificate is not valid at this time");
    }
}

fn bytes(key: &str, pem: &Pem) -> Result<SecretSlice<u8>, WebFileError> {
    match pem {
        Pem::Inline(text) => Ok(text.expose_secret().as_bytes().to_vec().into()),
        Pem::File(path) => {
            read(path).map(SecretSlice::from).map_err(|error| WebFileError::new(format!("{key}: {error}")))
        }
    }
}

fn certificates(key: &str, pem: &Pem, bytes: &SecretSlice<u8>) -> Result<Vec<CertificateDer<'static>>, WebFileError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes.expose_secret()).collect();
    match read {
        Ok(certificates) if certificates.is_empty() => Err(pem.wrong(key, "holds no certificate in PEM")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(pem.wrong(key, &format!("is not PEM: {error}"))),
    }
}
