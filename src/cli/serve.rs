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
use crate::tryvox::{Client, Endpoint, HttpClients, numbers_url};
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
    let http = Arc::new(http);
    let mut pollers = Vec::with_capacity(config.accounts.len());
    for account in &config.accounts {
        let endpoint = Endpoint {
            name: account.name.as_str().into(),
            transport: http.clone(),
            numbers: numbers_url(&account.url, &account.account_id),
            now: SystemTime::now,
            dice: fastrand::Rng::new(),
        };
        let client = Client::new(endpoint, account.limits.clone());
        pollers.push(Poller {
            account: Arc::new(Account::new(&account.name, account.interval, client)),
            key: account.key.clone(),
            timeout: account.poll_timeout,
            stale_after: account.stale_after,
            max_discrepancy: account.max_discrepancy,
            label_limit: account.label_limit,
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
