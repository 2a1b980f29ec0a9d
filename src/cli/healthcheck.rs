//! `healthcheck`: ask a running exporter whether it works.

use std::time::Duration;

use anyhow::{Context, anyhow};

use super::{CommandError, print};
use crate::config::{ListenAddress, Settings};

/// An exporter that takes longer is not well.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn run(settings: &Settings) -> Result<(), CommandError> {
    let address = settings.listen_addresses.first().context("no --web.listen-address")?;
    let url = format!("http://{}/-/healthy", reachable(address));
    // Fails only where one is installed already, and then that one serves.
    _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(PATIENCE).build();
    let answer = http.map_err(anyhow::Error::new)?.get(&url).send().await;
    match answer {
        Ok(answer) if answer.status().is_success() => {
            print("healthy\n");
            Ok(())
        }
        Ok(answer) => Err(anyhow!("{url} answered {}", answer.status()).into()),
        Err(error) => {
            let hint = "is it running, and is --web.listen-address the same?";
            Err(anyhow!("no answer from {url} ({}); {hint}", error.without_url()).into())
        }
    }
}

/// Where this machine reaches what listens there.
fn reachable(address: &ListenAddress) -> ListenAddress {
    let host = match address.host.as_deref() {
        None | Some("0.0.0.0") => "127.0.0.1",
        Some("::") => "::1",
        Some(host) => host,
    };
    ListenAddress { host: Some(host.to_owned()), port: address.port }
}
