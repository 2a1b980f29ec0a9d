//! The `simulate` command: serves the simulated API without an exporter.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, RwLock};
use std::time::SystemTime;

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::health_target::HealthTarget;
use super::{CommandEntry, CommandError, bind, local_url, ports, print, with_options};
use crate::config::{API_KEY_VARIABLE, CommandSpec, Environment, Options, key_from_environment};
use crate::simulator::{DEFAULT_KEY, Faults, SimulatedAccount, Simulator, SimulatorOptions};
use crate::tryvox::ApiKey;

pub(super) static COMMAND: CommandEntry = CommandEntry {
    spec: CommandSpec {
        name: "simulate",
        about: "Run only the simulated TryVox API",
        examples: &["tryvox-exporter simulate --numbers=500 --fault='429 retry-after=2 times=3'"],
        options: &[
            "web.listen-address",
            "account-id",
            "accounts",
            "numbers",
            "seed",
            "latency",
            "life",
            "fault",
            "log.*",
        ],
        ignored: &[],
        defaults: &[("web.listen-address", "127.0.0.1:10870")],
        formats: &[],
        requires_keys: true,
        exports_watched_numbers: false,
    },
    run: |source| with_options(&source, async |options, stop| run(options, &source.environment, stop).await),
};

/// Serves the simulated API on all listen addresses until `stop` is cancelled, after printing how to reach it.
async fn run(options: &Options, environment: &impl Environment, stop: CancellationToken) -> Result<(), CommandError> {
    let own_key = key_from_environment(environment, API_KEY_VARIABLE).map_err(CommandError::Usage)?;
    let listeners = bind(&options.web.listen_addresses)?;
    // Published until the end.
    let _health_target = HealthTarget::publish(&listeners, false, "/-/faults")
        .inspect_err(|error| debug!(%error, "health checks without flags cannot find this process"));
    let listeners = ports(listeners)?;
    let key_text = if own_key.is_some() { format!("(from {API_KEY_VARIABLE})") } else { DEFAULT_KEY.to_owned() };
    let options = &options.simulator;
    let simulator = build_simulator(options, own_key)?;
    if let Some(life) = options.life() {
        let (simulator, stop) = (simulator.clone(), stop.clone());
        tokio::spawn(async move { simulator.change_accounts(life, stop).await });
    }

    for listener in &listeners {
        let address = listener.local_addr().map_err(anyhow::Error::new)?;
        info!(%address, "listening");
        let url = local_url(address);
        print(&format!(
            "Simulated TryVox API, {numbers} numbers per account:\n\
             \x20 URL         {url}\n\
             \x20 Account ID  {accounts}\n\
             \x20 API key     {key_text}\n",
            numbers = options.numbers,
            accounts = match &options.account_ids()[..] {
                [first, .., last] => format!("{first} to {last}"),
                ids => ids.concat(),
            },
        ));
    }
    let servers = listeners.into_iter().map(|listener| simulator.clone().serve(listener, stop.clone()));
    join_all(servers).await;
    Ok(())
}

/// Builds the simulator of these options, which accepts `key`, or by default [`DEFAULT_KEY`]; the caller starts it.
///
/// # Errors
/// If the API key cannot be sent in a header.
pub(super) fn build_simulator(options: &SimulatorOptions, key: Option<ApiKey>) -> anyhow::Result<Arc<Simulator>> {
    let key = key.map_or_else(|| ApiKey::new(&DEFAULT_KEY.into()), Ok)?;
    let now = SystemTime::now();
    let account =
        |index: u64| RwLock::new(SimulatedAccount::new(options.numbers, options.seed.wrapping_add(index), now));
    Ok(Arc::new(Simulator {
        authorization: key.bearer()?,
        latency: options.latency,
        faults: Faults::new(options.faults(), options.seed),
        accounts: (0..).zip(options.account_ids()).map(|(index, id)| (id, account(index))).collect(),
        now: SystemTime::now,
        requests: AtomicU64::new(0),
    }))
}
