//! The `healthcheck` command: checks whether a running exporter is healthy.
//!
//! Without flags it checks the running exporter that has published its address, unless variables that say where an exporter
//! listens differ from those of that process. Otherwise, or if there is none, it requests `/-/healthy` from the exporter that
//! runs with the same configuration.
//!
//! The exporter is healthy if it responds with success. It also is if it rejects the request for lack of a password or
//! client certificate, because this command has neither, or because of its rate limit or its limit of connections.

use std::error::Error;
use std::ffi::OsString;
use std::io;
use std::time::Duration;

use anyhow::{Context, anyhow};
use reqwest::tls::Version;
use reqwest::{Client, StatusCode};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_util::either::Either;

use super::health_target::{HEALTH_PATH, HealthTarget};
use super::{CommandEntry, CommandError, RUNNING_EXPORTER_OPTIONS, print, with_options, with_runtime};
use crate::config::{
    CommandSpec, ConfigSource, Environment, ListenAddress, LogFormat, LogLevel, LogOptions, ProcessEnvironment,
    WebOptions, variable,
};
use crate::web::toolkit::WebFile;

/// Timeout for the request; an exporter that takes longer counts as unhealthy.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Responses of an exporter that works, but rejects the request for lack of a password or because of a rate limit.
const REJECTIONS: [StatusCode; 2] = [StatusCode::UNAUTHORIZED, StatusCode::TOO_MANY_REQUESTS];

/// The options that say where an exporter listens. If their variables are set here, they count only for processes that were
/// started with the same ones, as they are in a container.
const TARGET_OPTIONS: &[&str] = &["config.file", "web.*"];

/// Timeout for a response without a request, with which an exporter refuses connections at once.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum size of that response, in bytes.
const MAX_REFUSAL: u64 = 4 << 10;

pub(super) static COMMAND: CommandEntry = CommandEntry {
    spec: CommandSpec {
        name: "healthcheck",
        about: "Check whether a running exporter is healthy; without flags, the one on this machine or in this container",
        examples: &["tryvox-exporter healthcheck --web.listen-address=:10869"],
        options: &["config.file", "web.*", "log.*"],
        ignored: RUNNING_EXPORTER_OPTIONS,
        defaults: &[],
        formats: &[],
        requires_keys: true,
        exports_watched_numbers: false,
    },
    run: |source| {
        let published = || HealthTarget::of_running_process(&target_variables(&source));
        match source.flags.is_empty().then(published).flatten() {
            Some(target) => {
                let log = LogOptions { level: LogLevel::Info, format: LogFormat::Logfmt };
                with_runtime(&log, async |_| check(&target).await)
            }
            None => with_options(&source, async |options, _| check(&target_of(&options.web)?).await),
        }
    },
};

/// Returns the variables of [`TARGET_OPTIONS`] that are set, each written as `NAME=VALUE`.
fn target_variables(source: &ConfigSource<ProcessEnvironment>) -> Vec<OsString> {
    let variables = source.command.options_of(TARGET_OPTIONS).filter_map(|option| {
        let name = variable(option.get_id().as_str());
        let value = source.environment.get(&name).filter(|value| !value.is_empty())?;
        let mut text = OsString::from(name + "=");
        text.push(value);
        Some(text)
    });
    variables.collect()
}

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
    let client = builder.build().map_err(anyhow::Error::new)?;
    match client.get(url).send().await {
        Ok(response) => {
            let status = response.status();
            let is_unavailable = status == StatusCode::SERVICE_UNAVAILABLE;
            if status.is_success()
                || REJECTIONS.contains(&status)
                || is_unavailable && response.text().await.is_ok_and(|text| is_refusal(&text))
            {
                Ok(())
            } else if status == StatusCode::NOT_FOUND {
                Err(anyhow!("unhealthy: {url} does not exist; use the --web.route-prefix of the exporter"))
            } else {
                Err(anyhow!("unhealthy: {url} responded with status {status}"))
            }
        }
        Err(error) if is_tls_alert(&error) || !error.is_timeout() && refuses_connections(address).await => Ok(()),
        Err(error) => {
            let hint = "check that the exporter runs with the same --web.listen-address and --web.config.file";
            let cause = anyhow::Error::new(error.without_url());
            Err(anyhow!("no response from {url} at {address}: {cause:#}; {hint}"))
        }
    }?;
    print("healthy\n");
    Ok(())
}

/// Returns whether the exporter works, but refuses connections because it has too many. It does so without TLS and before
/// there is a request, which an HTTP client takes for an error.
async fn refuses_connections(address: &ListenAddress) -> bool {
    match timeout(REFUSAL_TIMEOUT, receive(address)).await {
        Ok(Ok(response)) => response.starts_with("HTTP/1.1 503 ") && is_refusal(&response),
        Ok(Err(_)) | Err(_) => false,
    }
}

/// Connects and returns the beginning of what the server sends on its own.
async fn receive(address: &ListenAddress) -> io::Result<String> {
    let mut stream = match address {
        ListenAddress::Tcp { host, port } => {
            Either::Left(TcpStream::connect((host.as_deref().unwrap_or_default(), *port)).await?)
        }
        ListenAddress::Unix(path) => Either::Right(UnixStream::connect(path).await?),
    };
    let mut text = String::new();
    (&mut stream).take(MAX_REFUSAL).read_to_string(&mut text).await?;
    Ok(text)
}

/// Returns whether a text is, or ends with, the body of the response to a connection that is refused.
fn is_refusal(text: &str) -> bool {
    text.trim_end().ends_with("Too many connections.")
}

/// Returns whether the server ended the TLS handshake with an alert, which shows that it is running.
fn is_tls_alert(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(rustls::Error::AlertReceived(_)) = error.downcast_ref() {
            return true;
        }
        // `source` of an I/O error skips the error that it wraps and returns the source of that.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
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
