//! What certificates may be used for, by the rules of Go's `crypto/x509`.
//!
//! webpki, which verifies chains, is stricter about client certificates: it accepts neither X.509 version 1 nor CA
//! certificates, and tools like openssl create both by default. It is also more lenient about authorities: it ignores
//! their constraints and validity.

use rustls::pki_types::UnixTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::oid_registry::{OID_EC_P256, OID_NIST_EC_P384, OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::X509Version;

/// Returns whether a certificate is valid at a time.
pub(super) fn is_valid_at(certificate: &X509Certificate<'_>, now: UnixTime) -> bool {
    let validity = certificate.validity();
    let valid = validity.not_before.timestamp()..=validity.not_after.timestamp();
    i64::try_from(now.as_secs()).is_ok_and(|now| valid.contains(&now))
}

/// Returns whether a certificate is that of an authority, which may sign others.
pub(super) fn may_sign(certificate: &X509Certificate<'_>) -> bool {
    // Before version 3 there was no way to express it.
    let is_authority = certificate.version() != X509Version::V3
        || certificate.basic_constraints().is_ok_and(|constraints| constraints.is_some_and(|found| found.value.ca));
    let key_may_sign = certificate.key_usage().is_ok_and(|usage| usage.is_none_or(|found| found.value.key_cert_sign()));
    is_authority && key_may_sign
}

/// Returns whether a certificate may authenticate a client: its extended key usage permits that, and it has no critical
/// extension of unknown meaning.
pub(super) fn permits_client_auth(certificate: &X509Certificate<'_>) -> bool {
    let is_unknown = |extension: &ParsedExtension<'_>| {
        matches!(extension, ParsedExtension::UnsupportedExtension { .. } | ParsedExtension::ParseError { .. })
    };
    let is_understood = certificate
        .extensions()
        .iter()
        .all(|extension| !extension.critical || !is_unknown(extension.parsed_extension()));
    let is_permitted = certificate
        .extended_key_usage()
        .is_ok_and(|usage| usage.is_none_or(|found| found.value.client_auth || found.value.any));
    is_understood && is_permitted
}

/// Returns whether a certificate is self-signed, if it claims to be its own issuer; true for any other.
pub(super) fn is_own_signature_valid(certificate: &X509Certificate<'_>) -> bool {
    certificate.subject().as_raw() != certificate.issuer().as_raw() || certificate.verify_signature(None).is_ok()
}

/// Returns whether an authority has signed a certificate itself, without intermediate authorities.
pub(super) fn is_signed_by(certificate: &X509Certificate<'_>, authority: &X509Certificate<'_>) -> bool {
    let algorithm = certificate.signature_algorithm.oid();
    let is_weak = [OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA].contains(algorithm);
    // Only webpki can apply name constraints.
    let is_unconstrained = authority.name_constraints().is_ok_and(|constraints| constraints.is_none());
    certificate.issuer().as_raw() == authority.subject().as_raw()
        && !is_weak
        && is_unconstrained
        && may_sign(authority)
        && permits_client_auth(authority)
        && certificate.verify_signature(Some(authority.public_key())).is_ok()
}

/// Returns the type of a certificate's key if rustls does not support it.
pub(super) fn unsupported_key(certificate: &X509Certificate<'_>) -> Option<String> {
    let key = certificate.public_key();
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) if !(2048..=8192).contains(&rsa.key_size()) => {
            Some(format!("RSA of {} bits", rsa.key_size()))
        }
        Ok(PublicKey::EC(_)) => {
            let curve = key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
            let is_supported = curve.is_some_and(|curve| [OID_EC_P256, OID_NIST_EC_P384].contains(&curve));
            (!is_supported).then(|| "ECDSA with another curve than P-256 and P-384".to_owned())
        }
        Ok(PublicKey::DSA(_)) => Some("DSA".to_owned()),
        Ok(PublicKey::GostR3410(_) | PublicKey::GostR3410_2012(_)) => Some("GOST".to_owned()),
        _ => None,
    }
}
