//! Verifies the certificates of the API as the system's trust store says, and names the one that is rejected.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use tracing::warn;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::message::clean;

/// Maximum length of a name in a certificate, in characters.
const MAX_NAME: usize = 100;

/// Returns a TLS configuration that trusts the CA certificates of the system, or of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
///
/// # Errors
/// If there is no CA certificate. The error is one line with cause and remedy.
pub(super) fn client_config() -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let loaded = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(loaded.certs);
    if roots.is_empty() {
        let cause =
            loaded.errors.first().map_or_else(|| "there are no CA certificates".to_owned(), ToString::to_string);
        let remedy = match custom_authorities() {
            Some(variables) => format!("check {variables}, which replaces the CA certificates of the system"),
            None => "check that the package ca-certificates is installed".to_owned(),
        };
        return Err(format!("cannot set up TLS: {cause}; {remedy}"));
    }
    for error in loaded.errors {
        warn!(%error, "cannot read some CA certificates; check SSL_CERT_FILE and SSL_CERT_DIR");
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| format!("cannot set up TLS: {error}"))?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("cannot set up TLS: {error}"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(NamingVerifier(verifier)))
        .with_no_client_auth();
    config.alpn_protocols = vec!["h2".into(), "http/1.1".into()];
    Ok(config)
}

/// Returns the variables that replace the CA certificates of the system, with their values; `None` if there are none.
fn custom_authorities() -> Option<String> {
    let variable = |name: &str| Some(format!("{name}={}", std::env::var_os(name)?.display()));
    let set: Vec<_> = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().filter_map(variable).collect();
    (!set.is_empty()).then(|| set.join(" and "))
}

/// Verifies like the wrapped verifier. If it rejects a chain, the error says which certificate and why.
#[derive(Debug)]
struct NamingVerifier(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for NamingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now).map_err(|error| {
            match error {
                rustls::Error::InvalidCertificate(reason) => {
                    let rejected = RejectedCertificate::find(reason, end_entity, intermediates, now);
                    rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(rejected))))
                }
                other => other,
            }
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Returns the certificate of a server and those of its issuers, as far as the server sent them, in order. Others that it sent
/// do not matter.
fn issuers<'a>(end_entity: &'a CertificateDer<'_>, sent: &'a [CertificateDer<'_>]) -> Vec<X509Certificate<'a>> {
    let parse = |der: &'a [u8]| Some(X509Certificate::from_der(der).ok()?.1);
    let mut candidates: Vec<_> = sent.iter().filter_map(|der| parse(der)).collect();
    let mut chain: Vec<_> = parse(end_entity).into_iter().collect();
    while let Some(last) = chain.last()
        && let Some(at) = candidates.iter().position(|candidate| candidate.subject() == last.issuer())
    {
        chain.push(candidates.swap_remove(at));
    }
    chain
}

/// Returns whether an error has this name, because its type is not exported.
fn is_error(error: &OtherError, name: &str) -> bool {
    error.0.to_string() == name
}

/// A certificate that is not accepted, and why.
#[derive(Debug)]
pub(super) struct RejectedCertificate {
    reason: CertificateError,
    /// Subject and issuer; `None` if the certificate cannot be parsed.
    names: Option<(String, String)>,
    /// The end of its validity, if it has expired.
    expired_at: Option<String>,
}

impl RejectedCertificate {
    /// Finds the certificate of a chain that a reason is about.
    fn find(
        reason: CertificateError,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Self {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let chain = issuers(end_entity, intermediates);
        let find = |is_rejected: fn(&X509Certificate<'_>, i64) -> bool| {
            chain.iter().find(|certificate| is_rejected(certificate, now))
        };
        let rejected = match reason {
            // The issuer of the last one is not trusted.
            CertificateError::UnknownIssuer => chain.last(),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                find(|certificate, now| certificate.validity().not_after.timestamp() < now)
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                find(|certificate, now| certificate.validity().not_before.timestamp() > now)
            }
            // An issuer that is no CA, which rustls does not name. The others are about the certificate of the server.
            CertificateError::Other(ref cause) if is_error(cause, "EndEntityUsedAsCa") => {
                chain.iter().skip(1).find(|certificate| !certificate.is_ca())
            }
            _ => chain.first(),
        };
        let is_expired = matches!(reason, CertificateError::Expired | CertificateError::ExpiredContext { .. });
        let expired_at =
            rejected.filter(|_| is_expired).map(|certificate| certificate.validity().not_after.to_string());
        let name = |name: String| clean(&name).chars().take(MAX_NAME).collect();
        let names = rejected
            .map(|certificate| (name(certificate.subject().to_string()), name(certificate.issuer().to_string())));
        Self { reason, names, expired_at }
    }

    /// Returns the rejected certificate that caused an error of rustls.
    pub(super) fn from_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        match error.downcast_ref()? {
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) => cause.downcast_ref(),
            _ => None,
        }
    }
}

impl fmt::Display for RejectedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.names {
            Some((subject, issuer)) => write!(f, "certificate \"{subject}\" issued by \"{issuer}\": ")?,
            None => f.write_str("certificate: ")?,
        }
        match (&self.reason, &self.expired_at) {
            (CertificateError::UnknownIssuer, _) => f.write_str("its issuer is not trusted"),
            (_, Some(time)) => write!(f, "it expired on {time}"),
            (CertificateError::Other(cause), None) if is_error(cause, "CaUsedAsEndEntity") => {
                f.write_str("it is a CA certificate, which no server may use")
            }
            (CertificateError::Other(cause), None) if is_error(cause, "EndEntityUsedAsCa") => {
                f.write_str("it is not a CA certificate, but has issued another one")
            }
            (CertificateError::Other(OtherError(cause)), None) => write!(f, "{cause}"),
            (reason, None) => write!(f, "{reason}"),
        }
    }
}

impl Error for RejectedCertificate {}
