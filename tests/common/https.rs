//! TLS for mock APIs.

use std::sync::Arc;

use rcgen::{Certificate, CertificateParams, DnType, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A TLS server on a free port of `localhost`, with a self-signed certificate.
pub(crate) struct HttpsListener {
    pub(crate) listener: TcpListener,
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) url: String,
    /// The certificate as PEM.
    pub(crate) certificate: String,
}

impl HttpsListener {
    /// Starts to listen; the server offers these protocols (ALPN).
    pub(crate) async fn bind(protocols: &[&str]) -> Self {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "api.example");
        Self::bind_with(&params, protocols).await
    }

    /// Starts to listen with a self-signed certificate of these parameters.
    pub(crate) async fn bind_with(params: &CertificateParams, protocols: &[&str]) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self::bind_chain(&[&certificate], &key, protocols).await
    }

    /// Starts to listen with these certificates; the first one is that of the server and has this key.
    pub(crate) async fn bind_chain(chain: &[&Certificate], signing_key: &KeyPair, protocols: &[&str]) -> Self {
        _ = rustls::crypto::ring::default_provider().install_default();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let certificates = chain.iter().map(|certificate| certificate.der().clone()).collect();
        let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(certificates, key);
        let mut config = config.unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        Self { listener, acceptor: TlsAcceptor::from(Arc::new(config)), url, certificate: chain[0].pem() }
    }
}
