//! `client_auth_type`, `client_ca_file` and `client_allowed_sans`: TLS settings go in, a verifier of client
//! certificates for rustls comes out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::error::WebFileError;
use super::file::{Pem, TlsSettings};

/// Returns the verifier for the settings; `authorities` are the certificates of `client_ca_file`.
///
/// # Errors
/// If the authorities cannot be used.
pub(super) fn build_verifier(
    tls: &TlsSettings,
    authorities: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, WebFileError> {
    let pem = tls.client_authority.as_ref().unwrap_or(&tls.certificate);
    let invalid = |error: &dyn std::fmt::Display, pem: &Pem| pem.error("client_ca_file", &error.to_string());
    let mut roots = RootCertStore::empty();
    for certificate in authorities {
        roots.add(certificate).map_err(|error| invalid(&error, pem))?;
    }
    let root_hints = roots.subjects();
    let chain_verifier: Option<Arc<dyn ClientCertVerifier>> = if tls.client_auth.verifies() {
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        Some(builder.build().map_err(|error| invalid(&error, pem))?)
    } else {
        None
    };
    Ok(Arc::new(ClientVerifier {
        chain_verifier,
        is_mandatory: tls.requires_client_certificate(),
        allowed_names: tls.allowed_names.clone(),
        root_hints,
        algorithms: provider.signature_verification_algorithms,
    }))
}

/// Verifies client certificates as configured. That the client has the certificate's key is always verified.
#[derive(Debug)]
struct ClientVerifier {
    /// Verifies that an authority signed the certificate, its purpose and its validity; `None` skips this.
    chain_verifier: Option<Arc<dyn ClientCertVerifier>>,
    is_mandatory: bool,
    /// Subject alternative names, one of which the certificate must have; empty allows any.
    allowed_names: Vec<String>,
    /// The authorities' names, sent to clients so that they can choose a certificate.
    root_hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.root_hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(chain_verifier) = &self.chain_verifier {
            chain_verifier.verify_client_cert(end_entity, intermediates, now)?;
        }
        if self.allowed_names.is_empty()
            || parse_alternative_names(end_entity)?.iter().any(|name| self.allowed_names.contains(name))
        {
            Ok(ClientCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Returns the subject alternative names of a certificate (RFC 5280, section 4.2.1.6): DNS names, email addresses,
/// IP addresses and URIs.
fn parse_alternative_names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, Error> {
    let bad_encoding = || Error::from(CertificateError::BadEncoding);
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| bad_encoding())?;
    let extension = certificate.subject_alternative_name().map_err(|_| bad_encoding())?;
    let names = extension.iter().flat_map(|extension| &extension.value.general_names);
    Ok(names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
                Some((*name).to_owned())
            }
            GeneralName::IPAddress(bytes) => parse_ip_address(bytes).map(|address| address.to_string()),
            _ => None,
        })
        .collect())
}

fn parse_ip_address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).ok().map(|bytes| Ipv4Addr::from(bytes).into());
    v4.or_else(|| <[u8; 16]>::try_from(bytes).ok().map(|bytes| Ipv6Addr::from(bytes).into()))
}
