//! What an operator should know about a TLS configuration that is valid.

use tracing::warn;

/// A defect of the certificates of a valid TLS configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TlsWarning {
    /// The server's certificate is not valid now. Clients report this too, but their errors do not reach the operator of
    /// the exporter.
    NotValidNow { not_before: String, not_after: String },
    /// A section of a bundle of authorities cannot be used.
    CertificateSkipped { file: String, section: usize, problem: String },
    /// The authorities of the system are to verify clients, but there are none.
    NoSystemAuthorities { error: String },
}

impl TlsWarning {
    /// Logs the warning.
    pub(super) fn log(&self) {
        match self {
            Self::NotValidNow { not_before, not_after } => {
                warn!(not_before, not_after, "TLS certificate has expired or is not valid yet");
            }
            Self::CertificateSkipped { file, section, problem } => {
                warn!(file, section, problem, "certificate of a CA bundle skipped");
            }
            Self::NoSystemAuthorities { error } => warn!(
                error,
                "the system has no CA certificates, so every client certificate is rejected; install ca-certificates \
                 or set client_ca_file"
            ),
        }
    }
}
