//! `client_auth_type`, `client_ca_file` and `client_allowed_sans`: TLS settings go in, a verifier of client
//! certificates for rustls comes out. It accepts what Go's `crypto/tls` accepts, as far as rustls supports the keys.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved, SignatureScheme};
use x509_parser::asn1_rs::Any;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::authorities::Authorities;
use super::file::TlsSettings;
use super::tls_warning::TlsWarning;

/// Returns the verifier for the settings; `authorities` are those of `client_ca_file`, if it is configured, else those
/// of the system, which may cause a warning.
pub(super) fn build_verifier(
    tls: &TlsSettings,
    authorities: Option<Authorities>,
    provider: Arc<CryptoProvider>,
    warnings: &mut Vec<TlsWarning>,
) -> Arc<dyn ClientCertVerifier> {
    let root_hints = authorities.as_ref().map(Authorities::subjects).unwrap_or_default();
    let authorities =
        tls.client_auth.verifies().then(|| authorities.unwrap_or_else(|| Authorities::of_system(warnings)));
    Arc::new(ClientVerifier {
        authorities,
        is_mandatory: tls.requires_client_certificate(),
        allowed_names: tls.allowed_names.clone(),
        root_hints,
        provider,
    })
}

/// Verifies client certificates as configured. That the client has the certificate's key is always verified.
#[derive(Debug)]
struct ClientVerifier {
    /// Verifies that an authority signed the certificate, its purpose and its validity; `None` skips this.
    authorities: Option<Authorities>,
    is_mandatory: bool,
    /// Subject alternative names, one of which the certificate must have; empty allows any.
    allowed_names: Vec<String>,
    /// The names of the configured authorities, sent to clients so that they can choose a certificate.
    root_hints: Vec<DistinguishedName>,
    provider: Arc<CryptoProvider>,
}

impl ClientVerifier {
    /// Verifies the chain of a certificate: with webpki, and what that does not support by the rules of Go.
    fn verify_chain(
        &self,
        authorities: &Authorities,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let anchors = Arc::new(authorities.anchors(now));
        let webpki = WebPkiClientVerifier::builder_with_provider(anchors, self.provider.clone()).build();
        let verified = match webpki {
            Ok(webpki) => webpki.verify_client_cert(end_entity, intermediates, now).map(drop),
            // There are no anchors.
            Err(_) => Err(CertificateError::UnknownIssuer.into()),
        };
        verified.or_else(|error| if authorities.vouch_for(end_entity, now) { Ok(()) } else { Err(error) })
    }
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
        if let Some(authorities) = &self.authorities {
            self.verify_chain(authorities, end_entity, intermediates, now)?;
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
        let certificate = parse(cert)?;
        let key = certificate.public_key();
        let key_algorithm = algorithm_identifier(key.raw).ok_or(CertificateError::BadEncoding)?;
        let schemes = self.provider.signature_verification_algorithms.mapping;
        let (_, algorithms) = schemes
            .iter()
            .find(|(scheme, _)| *scheme == dss.scheme)
            .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        let is_valid = algorithms.iter().any(|algorithm| {
            algorithm.public_key_alg_id().as_ref() == key_algorithm
                && algorithm.verify_signature(&key.subject_public_key.data, message, dss.signature()).is_ok()
        });
        if is_valid { Ok(HandshakeSignatureValid::assertion()) } else { Err(CertificateError::BadSignature.into()) }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let certificate = parse(cert)?;
        // `verify_tls13_signature` and `verify_tls12_signature` of rustls do not support X.509 version 1.
        let key = SubjectPublicKeyInfoDer::from(certificate.public_key().raw);
        verify_tls13_signature_with_raw_key(message, &key, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Error> {
    let parsed = X509Certificate::from_der(certificate);
    parsed.map(|(_, certificate)| certificate).map_err(|_| CertificateError::BadEncoding.into())
}

/// Returns the content of the algorithm identifier in a subject public key info (RFC 5280, section 4.1).
fn algorithm_identifier(subject_public_key_info: &[u8]) -> Option<&[u8]> {
    let (_, info) = Any::from_der(subject_public_key_info).ok()?;
    let (_, algorithm) = Any::from_der(info.data).ok()?;
    Some(algorithm.data)
}

/// Returns the subject alternative names of a certificate (RFC 5280, section 4.2.1.6): DNS names, email addresses,
/// IP addresses and URIs.
fn parse_alternative_names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, Error> {
    let certificate = parse(certificate)?;
    let extension = certificate.subject_alternative_name().map_err(|_| CertificateError::BadEncoding)?;
    let names = extension.iter().flat_map(|extension| &extension.value.general_names);
    Ok(names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
                Some((*name).to_owned())
            }
            GeneralName::IPAddress(bytes) => parse_ip_address(bytes).map(|address| address.to_canonical().to_string()),
            _ => None,
        })
        .collect())
}

fn parse_ip_address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).ok().map(|bytes| Ipv4Addr::from(bytes).into());
    v4.or_else(|| <[u8; 16]>::try_from(bytes).ok().map(|bytes| Ipv6Addr::from(bytes).into()))
}
