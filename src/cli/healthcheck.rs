//! The `healthcheck` command: checks whether a running exporter is healthy.
//!
//! Without flags it checks the exporter of its container, which has published its address. Otherwise, or if there is none, it
//! requests `/-/healthy` from the exporter that runs with the same configuration.
//!
//! The exporter is healthy if it responds with success. It also is if it rejects the request for lack of a password or
//! client certificate, because this command has neither, or because of its rate limit.

use std::error::Error;
use std::time::Duration;

use anyhow::{Context, anyhow};
use reqwest::tls::Version;
use reqwest::{Client, StatusCode};

use super::health_target::HealthTarget;
use super::{CommandEntry, CommandError, print, with_options, with_runtime};
use crate::config::{CommandSpec, ListenAddress, LogFormat, LogLevel, LogOptions, WebOptions};
use crate::web::toolkit::WebFile;

/// Timeout for the request; an exporter that takes longer counts as unhealthy.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Responses of an exporter that works, but rejects the request for lack of a password or because of a rate limit.
const REJECTIONS: [StatusCode; 2] = [StatusCode::UNAUTHORIZED, StatusCode::TOO_MANY_REQUESTS];

/// The path below the route prefix that tells whether an exporter is healthy.
pub(super) const HEALTH_PATH: &str = "/-/healthy";

pub(super) static COMMAND: CommandEntry = CommandEntry {
    spec: CommandSpec {
        name: "healthcheck",
        about: "Check whether a running exporter is healthy; without flags, the one in the same container",
        examples: &["tryvox-exporter healthcheck --web.listen-address=:10869"],
        options: &[
            "config.*",
            "web.*",
            "tryvox.*",
            "poll.*",
            "collector.*",
            "state.*",
            "shard",
            "total-shards",
            "log.*",
        ],
        defaults: &[],
        formats: &[],
        requires_keys: true,
    },
    run: |source| {
        let published = if source.flags.is_empty() { HealthTarget::of_this_container() } else { None };
        match published {
            Some(target) => {
                let log = LogOptions { level: LogLevel::Info, format: LogFormat::Logfmt };
                with_runtime(&log, async |_| check(&target).await)
            }
            None => with_options(&source, async |options, _| check(&target_of(&options.web)?).await),
        }
    },
};

/// Returns the target of an exporter with these options: its first listen address.
fn target_of(options: &WebOptions) -> Result<HealthTarget, CommandError> {
    let address = options.listen_addresses.first().context("no address to check; set --web.listen-address")?;
    let file = options.config_file().map(WebFile::open).transpose();
    let file = file.map_err(|error| CommandError::Usage(format!("--web.config.file: {error}")))?;
    let tls = file.as_ref().is_some_and(WebFile::is_encrypted);
    Ok(HealthTarget::new(connect_address(address), tls, &options.route_prefix.join(HEALTH_PATH)))
}

/// Sends the request, and prints and returns success if the exporter is healthy.
async fn check(HealthTarget { url, address }: &HealthTarget) -> Result<(), CommandError> {
    // Fails only if a provider is already installed, which then stays in use.
    _ = rustls::crypto::ring::default_provider().install_default();
    // The request goes to this machine and nothing in it or its response is secret, so any certificate is accepted.
    let builder = Client::builder().no_proxy().tls_certs_only([]).tls_danger_accept_invalid_certs(true);
    // In TLS 1.3 the handshake is over for the client before the server rejects it for lack of a certificate; in TLS 1.2
    // the rejection is part of the handshake. A server that requires TLS 1.3 ends the handshake with an alert, too.
    let builder = builder.tls_version_max(Version::TLS_1_2).timeout(TIMEOUT);
    let builder = match address {
        ListenAddress::Unix(path) => builder.unix_socket(path.clone()),
        ListenAddress::Tcp { .. } => builder,
    };
    let response = builder.build().map_err(anyhow::Error::new)?.get(url).send().await;
    let is_healthy = match &response {
        Ok(response) => response.status().is_success() || REJECTIONS.contains(&response.status()),
        Err(error) => is_tls_alert(error),
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
fn connect_address(address: &ListenAddress) -> ListenAddress {
    let ListenAddress::Tcp { host, port } = address else { return address.clone() };
    let host = match host.as_deref() {
        None | Some("0.0.0.0") => "127.0.0.1",
        Some("::") => "::1",
        Some(host) => host,
    };
    ListenAddress::Tcp { host: Some(host.to_owned()), port: *port }
}
