//! `healthcheck`: ask a running exporter whether it works.

use std::error::Error;
use std::time::Duration;

use anyhow::{Context, anyhow};
use reqwest::{Client, StatusCode};
use rustls::{AlertDescription, Error as TlsError};

use super::{CommandError, print};
use crate::config::{ListenAddress, Settings};
use crate::web::toolkit::WebFile;

/// An exporter that takes longer is not well.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn run(settings: &Settings) -> Result<(), CommandError> {
    let address = settings.listen_addresses.first().context("no --web.listen-address")?;
    let file = settings.web_config_file.as_deref().map(WebFile::open).transpose();
    let file = file.map_err(|error| CommandError::Usage(format!("--web.config.file: {error}")))?;
    let scheme = if file.as_ref().is_some_and(WebFile::is_encrypted) { "https" } else { "http" };
    let knows_its_clients = file.as_ref().is_some_and(WebFile::knows_its_clients);

    // Fails only where one is installed already, and then that one serves.
    _ = rustls::crypto::ring::default_provider().install_default();
    // It asks its own machine, and for nothing that is secret: any certificate will do.
    let builder = Client::builder().no_proxy().tls_certs_only([]).tls_danger_accept_invalid_certs(true);
    let (builder, url) = match address {
        ListenAddress::Unix(path) => (builder.unix_socket(path.clone()), format!("{scheme}://localhost/-/healthy")),
        ListenAddress::Tcp { host, port } => {
            (builder, format!("{scheme}://{}/-/healthy", reachable(host.as_deref(), *port)))
        }
    };
    let client = builder.timeout(PATIENCE).build().map_err(anyhow::Error::new)?;
    let answer = client.get(&url).send().await;
    // Whoever turns away those that it does not know works.
    let healthy = match &answer {
        Ok(answer) => answer.status().is_success() || knows_its_clients && answer.status() == StatusCode::UNAUTHORIZED,
        Err(error) => knows_its_clients && asks_for_a_certificate(error),
    };
    match answer {
        _ if healthy => {
            print("healthy\n");
            Ok(())
        }
        Ok(answer) => Err(anyhow!("{url} answered {}", answer.status()).into()),
        Err(error) => {
            let hint = "is it running, and are --web.listen-address and --web.config.file the same?";
            let cause = anyhow::Error::new(error.without_url());
            Err(anyhow!("no answer from {url} at {address} ({cause:#}); {hint}").into())
        }
    }
}

/// Whether the other side ended the handshake because it wants a certificate.
fn asks_for_a_certificate(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        // An I/O error holds another that is not its source.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let tls = inner.and_then(|inner| inner.downcast_ref()).or_else(|| error.downcast_ref::<TlsError>());
        if let Some(TlsError::AlertReceived(alert)) = tls {
            return matches!(alert, AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure);
        }
        cause = error.source();
    }
    false
}

/// Where this machine reaches what listens there.
fn reachable(host: Option<&str>, port: u16) -> ListenAddress {
    let host = match host {
        None | Some("0.0.0.0") => "127.0.0.1",
        Some("::") => "::1",
        Some(host) => host,
    };
    ListenAddress::Tcp { host: Some(host.to_owned()), port }
}
