//! `serve`: poll every account and serve metrics.

use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{CommandError, bind};
use crate::config::{Environment, ServeConfig, Settings};
use crate::metrics::{Exporter, encode_listing};
use crate::poller::{Account, Poller};
use crate::tryvox::{Client, HttpClients, numbers_url};
use crate::web::{Site, router};

pub(super) async fn run(
    settings: &Settings,
    environment: &impl Environment,
    stop: CancellationToken,
) -> Result<(), CommandError> {
    let config = ServeConfig::new(settings, environment)?;
    let listeners = bind(&config.listen_addresses)?;
    Ok(serve(&config, listeners, stop).await?)
}

/// Polls and answers until `stop`.
pub(super) async fn serve(
    config: &ServeConfig,
    listeners: Vec<TcpListener>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let http = HttpClients::new(config.accounts.iter().map(|account| &account.url)).map_err(anyhow::Error::msg)?;
    let mut pollers = Vec::with_capacity(config.accounts.len());
    for account in &config.accounts {
        let numbers = numbers_url(&account.url, &account.account_id);
        let client = Client::new(&http, numbers, account.limits.clone())?;
        pollers.push(Poller {
            account: Arc::new(Account::new(&account.name, account.interval, client)),
            key: account.key.clone(),
            timeout: account.poll_timeout,
            encode: encode_listing,
            now: SystemTime::now,
        });
    }
    let site = Site {
        accounts: pollers.iter().map(|poller| poller.account.clone()).collect(),
        exporter: Exporter::default(),
        telemetry_path: config.telemetry_path.clone(),
    };

    info!(
        version = env!("CARGO_PKG_VERSION"),
        revision = env!("TRYVOX_EXPORTER_REVISION"),
        accounts = pollers.len(),
        "starting tryvox-exporter"
    );
    for listener in &listeners {
        info!(address = %listener.local_addr()?, "listening");
    }
    for poller in pollers {
        tokio::spawn(poller.run(stop.clone()));
    }
    crate::web::serve(listeners, router(Arc::new(site)), stop).await.context("cannot go on serving")
}
