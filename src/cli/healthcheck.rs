//! `healthcheck`: ask a running exporter whether it works.

use std::error::Error;
use std::time::Duration;

use anyhow::{Context, anyhow};
use reqwest::tls::Version;
use reqwest::{Client, StatusCode};

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
    let certificate = file.as_ref().is_some_and(WebFile::requires_client_certificate);
    let password = file.as_ref().is_some_and(WebFile::requires_password);

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
    // In TLS 1.3 a client learns too late that it should have shown a certificate.
    let builder = if certificate { builder.tls_version_max(Version::TLS_1_2) } else { builder };
    let client = builder.timeout(PATIENCE).build().map_err(anyhow::Error::new)?;
    let answer = client.get(&url).send().await;
    // Whoever turns away those that it does not know works.
    let healthy = match &answer {
        Ok(answer) => answer.status().is_success() || password && answer.status() == StatusCode::UNAUTHORIZED,
        Err(error) => certificate && was_refused(error),
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

/// Whether the other side ended the handshake, which shows that it works.
fn was_refused(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(rustls::Error::AlertReceived(_)) = error.downcast_ref() {
            return true;
        }
        // What an I/O error holds is not its source.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = inner.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source());
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
