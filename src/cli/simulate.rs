//! The `simulate` command: serves the simulated API without an exporter.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, RwLock};
use std::time::SystemTime;

use anyhow::Context;
use futures_util::future::try_join_all;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{CommandError, bind_ports, local_url, print};
use crate::config::{API_KEY_VARIABLE, Environment, Settings, SimulatorConfig};
use crate::simulator::{DEFAULT_KEY, Faults, SimulatedAccount, Simulator};
use crate::tryvox::ApiKey;

/// Serves the simulated API on all listen addresses until `stop` is cancelled, after printing how to reach it.
pub(super) async fn run(
    settings: &Settings,
    environment: &impl Environment,
    stop: CancellationToken,
) -> Result<(), CommandError> {
    let config = SimulatorConfig::new(settings, environment)?;
    let listeners = bind_ports(&settings.listen_addresses)?;
    let simulator = build_simulator(&config)?;
    if let Some(life) = config.life {
        let (simulator, stop) = (simulator.clone(), stop.clone());
        tokio::spawn(async move { simulator.change_accounts(life, stop).await });
    }

    let key = if config.key.is_some() { format!("(yours, from {API_KEY_VARIABLE})") } else { DEFAULT_KEY.to_owned() };
    for listener in &listeners {
        let address = listener.local_addr().map_err(anyhow::Error::new)?;
        info!(%address, "listening");
        let url = local_url(address);
        print(&format!(
            "A simulated TryVox with {} numbers:\n\
             \x20 url         {url}\n\
             \x20 account id  {}\n\
             \x20 API key     {key}\n",
            config.numbers,
            match &config.account_ids[..] {
                [first, .., last] => format!("{first} to {last}, each with so many"),
                ids => ids.concat(),
            },
        ));
    }
    let servers = listeners.into_iter().map(|listener| simulator.clone().serve(listener, stop.clone()));
    try_join_all(servers).await.context("cannot go on serving")?;
    Ok(())
}

/// Builds the simulator of a configuration; the caller starts it.
///
/// # Errors
/// If the API key cannot be sent in a header.
pub(super) fn build_simulator(config: &SimulatorConfig) -> anyhow::Result<Arc<Simulator>> {
    let key = match &config.key {
        Some(key) => key.clone(),
        None => ApiKey::new(&DEFAULT_KEY.into())?,
    };
    let now = SystemTime::now();
    let account = |index: u64| RwLock::new(SimulatedAccount::new(config.numbers, config.seed.wrapping_add(index), now));
    Ok(Arc::new(Simulator {
        authorization: key.bearer()?,
        latency: config.latency,
        faults: Faults::new(config.faults.clone(), config.seed),
        accounts: (0..).zip(&config.account_ids).map(|(index, id)| (id.clone(), account(index))).collect(),
        now: SystemTime::now,
        requests: AtomicU64::new(0),
    }))
}
