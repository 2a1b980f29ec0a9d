//! The `healthcheck` command: requests `/-/healthy` from the exporter that runs with the same configuration.
//!
//! The exporter is healthy if it responds with success. It also is if it rejects the request for lack of a password or
//! client certificate, because this command has neither.

use std::error::Error;
use std::time::Duration;

use anyhow::{Context, anyhow};
use reqwest::tls::Version;
use reqwest::{Client, StatusCode};

use super::{CommandEntry, CommandError, print, with_options};
use crate::config::{CommandSpec, ListenAddress, WebOptions};
use crate::web::toolkit::WebFile;

/// Timeout for the request; an exporter that takes longer counts as unhealthy.
const TIMEOUT: Duration = Duration::from_secs(5);

pub(super) static COMMAND: CommandEntry = CommandEntry {
    spec: CommandSpec {
        name: "healthcheck",
        about: "Check whether a running exporter is healthy",
        examples: &["tryvox-exporter healthcheck --web.listen-address=:10869"],
        options: &["config.*", "web.*", "tryvox.*", "poll.*", "collector.*", "shard", "total-shards", "log.*"],
        defaults: &[],
        requires_keys: true,
    },
    run: |source| with_options(&source, async |options, _| run(&options.web).await),
};

/// Requests `/-/healthy` from the first listen address, and prints and returns success if the exporter is healthy.
async fn run(options: &WebOptions) -> Result<(), CommandError> {
    let address = options.listen_addresses.first().context("no address to check; set --web.listen-address")?;
    let file = options.config_file().map(WebFile::open).transpose();
    let file = file.map_err(|error| CommandError::Usage(format!("--web.config.file: {error}")))?;
    let scheme = if file.as_ref().is_some_and(WebFile::is_encrypted) { "https" } else { "http" };
    let requires_certificate = file.as_ref().is_some_and(WebFile::requires_client_certificate);
    let requires_password = file.as_ref().is_some_and(WebFile::requires_password);

    // Fails only if a provider is already installed, which then stays in use.
    _ = rustls::crypto::ring::default_provider().install_default();
    // The request goes to this machine and nothing in it or its response is secret, so any certificate is accepted.
    let builder = Client::builder().no_proxy().tls_certs_only([]).tls_danger_accept_invalid_certs(true);
    let (builder, host) = match address {
        ListenAddress::Unix(path) => (builder.unix_socket(path.clone()), "localhost".to_owned()),
        ListenAddress::Tcp { host, port } => (builder, connect_address(host.as_deref(), *port).to_string()),
    };
    let url = format!("{scheme}://{host}{}", options.route_prefix.join("/-/healthy"));
    // In TLS 1.3 the handshake is over for the client before the server rejects it for lack of a certificate; in TLS 1.2
    // the rejection is part of the handshake.
    let builder = if requires_certificate { builder.tls_version_max(Version::TLS_1_2) } else { builder };
    let client = builder.timeout(TIMEOUT).build().map_err(anyhow::Error::new)?;
    let response = client.get(&url).send().await;
    let is_healthy = match &response {
        Ok(response) => {
            response.status().is_success() || requires_password && response.status() == StatusCode::UNAUTHORIZED
        }
        Err(error) => requires_certificate && is_tls_alert(error),
    };
    match response {
        _ if is_healthy => {
            print("healthy\n");
            Ok(())
        }
        Ok(response) if response.status() == StatusCode::NOT_FOUND => {
            Err(anyhow!("unhealthy: {url} does not exist; use the --web.route-prefix of the exporter").into())
        }
        Ok(response) => Err(anyhow!("unhealthy: {url} responded with status {}", response.status()).into()),
        Err(error) => {
            let hint = "check that the exporter runs with the same --web.listen-address and --web.config.file";
            let cause = anyhow::Error::new(error.without_url());
            Err(anyhow!("no response from {url} at {address}: {cause:#}; {hint}").into())
        }
    }
}

/// Returns whether the server ended the TLS handshake with an alert, which shows that it is running.
fn is_tls_alert(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(rustls::Error::AlertReceived(_)) = error.downcast_ref() {
            return true;
        }
        // `source` of an I/O error skips the error that it wraps and returns the source of that.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = inner.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source());
    }
    false
}

/// Returns the address to connect to for a listen address; a wildcard host becomes the loopback address.
fn connect_address(host: Option<&str>, port: u16) -> ListenAddress {
    let host = match host {
        None | Some("0.0.0.0") => "127.0.0.1",
        Some("::") => "::1",
        Some(host) => host,
    };
    ListenAddress::Tcp { host: Some(host.to_owned()), port }
}
