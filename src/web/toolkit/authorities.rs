//! The certificates that client certificates are verified with: `client_ca_file`, or those of the system.

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use secrecy::{ExposeSecret, SecretSlice};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::certificate::{
    is_own_signature_valid, is_signed_by, is_valid_at, may_sign, permits_client_auth, unsupported_key,
};
use super::error::WebFileError;
use super::file::Pem;
use super::tls_warning::TlsWarning;

/// The option that names the bundle.
const KEY: &str = "client_ca_file";

/// A set of trusted certificates.
#[derive(Debug, Default)]
pub(super) struct Authorities {
    listed: Vec<ListedCertificate>,
}

/// A trusted certificate: a client may present it, and if it is that of an authority, also what the authority signed.
#[derive(Debug)]
struct ListedCertificate {
    der: CertificateDer<'static>,
    anchor: TrustAnchor<'static>,
}

impl Authorities {
    /// Parses a bundle of PEM certificates. Those that cannot be used are skipped with a warning if others remain.
    ///
    /// # Errors
    /// If no certificate can be used.
    pub(super) fn parse(
        origin: &Pem,
        bytes: &SecretSlice<u8>,
        warnings: &mut Vec<TlsWarning>,
    ) -> Result<Self, WebFileError> {
        let (mut listed, mut problems) = (Vec::new(), Vec::new());
        for (index, section) in pem_sections(bytes.expose_secret()).into_iter().enumerate() {
            let usable = match CertificateDer::pem_slice_iter(section).next() {
                Some(parsed) => parsed.map_err(|error| format!("is not valid PEM: {error}")).and_then(list),
                // Something else than a certificate, for example a key.
                None => continue,
            };
            match usable {
                Ok(certificate) => listed.push(certificate),
                Err(problem) => problems.push((index + 1, problem)),
            }
        }
        if listed.is_empty() {
            let problem = match problems.first() {
                Some((number, problem)) => format!("contains no usable certificate: PEM section {number} {problem}"),
                None => "contains no PEM certificate".to_owned(),
            };
            return Err(origin.error(KEY, &problem));
        }
        let skipped = |(section, problem)| TlsWarning::CertificateSkipped { file: origin.name(KEY), section, problem };
        warnings.extend(problems.into_iter().map(skipped));
        Ok(Self { listed })
    }

    /// Loads the certificates that the system trusts, with a warning if there are none.
    pub(super) fn of_system(warnings: &mut Vec<TlsWarning>) -> Self {
        let loaded = rustls_native_certs::load_native_certs();
        let listed: Vec<_> = loaded.certs.into_iter().filter_map(|certificate| list(certificate).ok()).collect();
        if listed.is_empty() {
            let error = loaded.errors.first().map(ToString::to_string).unwrap_or_default();
            warnings.push(TlsWarning::NoSystemAuthorities { error });
        }
        Self { listed }
    }

    /// Returns the trust anchors for webpki: the authorities that are valid.
    pub(super) fn anchors(&self, now: UnixTime) -> RootCertStore {
        let authorities = self.listed.iter().filter(|listed| {
            listed.parsed().is_some_and(|certificate| may_sign(&certificate) && is_valid_at(&certificate, now))
        });
        authorities.map(|listed| listed.anchor.clone()).collect()
    }

    /// Returns the names of all certificates, from which clients can choose theirs.
    pub(super) fn subjects(&self) -> Vec<rustls::DistinguishedName> {
        self.listed.iter().map(|listed| listed.anchor.clone()).collect::<RootCertStore>().subjects()
    }

    /// Returns whether a client certificate is itself listed, or signed by a listed authority without intermediate
    /// ones, and valid.
    pub(super) fn vouch_for(&self, der: &CertificateDer<'_>, now: UnixTime) -> bool {
        let Some(certificate) = parse(der) else { return false };
        let is_listed = || self.listed.iter().any(|listed| listed.der == *der) && is_own_signature_valid(&certificate);
        let is_signed = || {
            self.listed
                .iter()
                .filter_map(ListedCertificate::parsed)
                .any(|authority| is_signed_by(&certificate, &authority) && is_valid_at(&authority, now))
        };
        permits_client_auth(&certificate) && is_valid_at(&certificate, now) && (is_listed() || is_signed())
    }
}

impl ListedCertificate {
    fn parsed(&self) -> Option<X509Certificate<'_>> {
        parse(&self.der)
    }
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate)
}

/// Returns a certificate as a trusted one, or why it cannot be used.
fn list(der: CertificateDer<'static>) -> Result<ListedCertificate, String> {
    let certificate = parse(&der).ok_or("cannot be parsed")?;
    if let Some(key) = unsupported_key(&certificate) {
        return Err(format!("has a key of type {key}, which is not supported"));
    }
    let mut store = RootCertStore::empty();
    store.add(der.clone()).map_err(|error| format!("cannot be used: {error}"))?;
    let anchor = store.roots.pop().ok_or("cannot be used")?;
    Ok(ListedCertificate { der, anchor })
}

/// Splits a PEM file before each line that begins a section, so that a damaged section costs no other.
fn pem_sections(bytes: &[u8]) -> Vec<&[u8]> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    let is_start = |at: usize| bytes[at..].starts_with(BEGIN) && (at == 0 || matches!(bytes[at - 1], b'\n' | b'\r'));
    let starts: Vec<usize> = (0..bytes.len()).filter(|at| is_start(*at)).collect();
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    starts.iter().zip(ends).map(|(start, end)| &bytes[*start..end]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate with a key on the curve P-521, which ring does not support.
    const P521: &str = "\
-----BEGIN CERTIFICATE-----
MIIB/TCCAV6gAwIBAgIUfsPfcS+1njVtUuQ88UF6PyhcIc0wCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEcDUyMTAgFw0yNjExMjUyMzIyMzhaGA8yMTI2MTEwMTIzMjIz
OFowDzENMAsGA1UEAwwEcDUyMTCBmzAQBgcqhkjOPQIBBgUrgQQAIwOBhgAEAX7B
OVFOvuRObEgWQvsLecCeZPZ/MJNo8CEOlVEZNqLA4ukVrHWUuvIvfZzvazshBkEp
1B+fxktJ18eFS3f24SkUADQrcOPpTLWf7GI0jXPPsgA3Q9OwXlWaRer5ic0/jjiY
41dsRitpsAQdbcd1OPC5tdRLjKxap9rvINnS2KjrS9Upo1MwUTAdBgNVHQ4EFgQU
LqGEvCwA3ykxJRxeosPTJSp82DMwHwYDVR0jBBgwFoAULqGEvCwA3ykxJRxeosPT
JSp82DMwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgOBjAAwgYgCQgDfygh1
z5g5gxEkFrgEHfY7sZUh/q/b+usVBUGdQRkishKJ/eil6zX8mqYA1h/zE+RSuyg5
UdnYFtxLZnNdXU50WgJCAR6uuwTLmn9sTQWxqWj6LVZvZAN4lDXReNGFkuF3cWH4
ukYux4iMxC1u6DUwsZgQfUVdVPnXAeCM9qRl9PlAvsA0
-----END CERTIFICATE-----
";

    fn parse(bundle: &str) -> Result<Authorities, String> {
        let origin = Pem::File("clients.pem".into());
        Authorities::parse(&origin, &bundle.as_bytes().to_vec().into(), &mut Vec::new())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn key_type_that_is_not_supported_is_named() {
        let error = parse(P521).unwrap_err();
        let expected = "clients.pem: contains no usable certificate: PEM section 1 has a key of type ECDSA with another \
                        curve than P-256 and P-384, which is not supported";
        assert!(error.ends_with(expected), "{error}");
    }

    #[test]
    fn bundle_without_certificates_is_rejected() {
        for bundle in ["", "text", "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"] {
            assert!(parse(bundle).unwrap_err().ends_with("contains no PEM certificate"), "{bundle}");
        }
    }

    #[test]
    fn sections_begin_at_the_start_of_a_line() {
        let text = b"comment -----BEGIN \n-----BEGIN A\nx\r\n-----BEGIN B\n";
        assert_eq!(pem_sections(text), [&b"-----BEGIN A\nx\r\n"[..], b"-----BEGIN B\n"]);
        assert!(pem_sections(b"").is_empty());
    }
}
