//! `client_auth_type`, `client_ca_file` and `client_allowed_sans`: which certificates of clients will do.

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

use super::WebFileError;
use super::file::{Pem, TlsSettings};

/// What the settings ask of clients.
pub(super) fn verifier(
    tls: &TlsSettings,
    authority: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, WebFileError> {
    let pem = tls.client_authority.as_ref().unwrap_or(&tls.certificate);
    let failed = |error: &dyn std::fmt::Display, pem: &Pem| pem.wrong("client_ca_file", &error.to_string());
    let mut roots = RootCertStore::empty();
    for certificate in authority {
        roots.add(certificate).map_err(|error| failed(&error, pem))?;
    }
    let subjects = roots.subjects();
    let chain: Option<Arc<dyn ClientCertVerifier>> = if tls.client_auth.verifies() {
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        Some(builder.build().map_err(|error| failed(&error, pem))?)
    } else {
        None
    };
    Ok(Arc::new(Verifier {
        chain,
        mandatory: tls.asks_for_a_certificate(),
        allowed_names: tls.allowed_names.clone(),
        subjects,
        algorithms: provider.signature_verification_algorithms,
    }))
}

/// Any certificate will do, but for what is asked of it; that its key is the client's is always checked.
#[derive(Debug)]
struct Verifier {
    /// Whether the authority signed it, for this use and this time; none does not ask.
    chain: Option<Arc<dyn ClientCertVerifier>>,
    mandatory: bool,
    /// Empty allows any.
    allowed_names: Vec<String>,
    /// Told to clients, so that they can choose a certificate.
    subjects: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.subjects
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(chain) = &self.chain {
            chain.verify_client_cert(end_entity, intermediates, now)?;
        }
        if self.allowed_names.is_empty() || names(end_entity)?.iter().any(|name| self.allowed_names.contains(name)) {
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

/// The subject alternative names of a certificate (RFC 5280, section 4.2.1.6): DNS names, addresses of
/// mail and of hosts, URIs.
fn names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, Error> {
    let bad = || Error::from(CertificateError::BadEncoding);
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| bad())?;
    let extension = certificate.subject_alternative_name().map_err(|_| bad())?;
    let names = extension.iter().flat_map(|extension| &extension.value.general_names);
    Ok(names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
                Some((*name).to_owned())
            }
            GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
            _ => None,
        })
        .collect())
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).ok().map(|bytes| Ipv4Addr::from(bytes).into());
    v4.or_else(|| <[u8; 16]>::try_from(bytes).ok().map(|bytes| Ipv6Addr::from(bytes).into()))
}
