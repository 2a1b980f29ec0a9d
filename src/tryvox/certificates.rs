//! Verifies the certificates of the API as the system's trust store says, and names the one that is rejected.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::message::clean;

/// Maximum length of a name in a certificate, in characters.
const MAX_NAME: usize = 100;

/// Returns a TLS configuration that trusts the CA certificates of the system, or of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
///
/// # Errors
/// If there is no CA certificate.
pub(super) fn client_config() -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let loaded = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(loaded.certs);
    if roots.is_empty() {
        let cause =
            loaded.errors.first().map_or_else(|| "no CA certificates were found".to_owned(), ToString::to_string);
        return Err(cause);
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| error.to_string())?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(NamingVerifier(verifier)))
        .with_no_client_auth();
    config.alpn_protocols = vec!["h2".into(), "http/1.1".into()];
    Ok(config)
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
        let chain = [end_entity].into_iter().chain(intermediates);
        let mut parsed = chain.filter_map(|der| Some(X509Certificate::from_der(der).ok()?.1));
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let (expired, first) = match reason {
            // The issuer of the last one is not trusted.
            CertificateError::UnknownIssuer => (None, parsed.next_back()),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                (parsed.find(|certificate| certificate.validity().not_after.timestamp() < now), None)
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                (None, parsed.find(|certificate| certificate.validity().not_before.timestamp() > now))
            }
            _ => (None, parsed.next()),
        };
        let expired_at = expired.as_ref().map(|certificate| certificate.validity().not_after.to_string());
        let name = |name: String| clean(&name).chars().take(MAX_NAME).collect();
        let names = expired
            .or(first)
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
            (CertificateError::Other(OtherError(cause)), None) if cause.to_string() == "CaUsedAsEndEntity" => {
                f.write_str("it is a CA certificate, which no server may use")
            }
            (CertificateError::Other(OtherError(cause)), None) => write!(f, "{cause}"),
            (reason, None) => write!(f, "{reason}"),
        }
    }
}

impl Error for RejectedCertificate {}
