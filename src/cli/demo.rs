//! `demo`: `serve` against the embedded simulator.

use std::collections::BTreeMap;

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use super::{CommandError, bind, bind_ports, local_url, print, serve, simulate};
use crate::config::{ListenAddress, ServeConfig, Settings, SimulatorConfig};
use crate::simulator::DEFAULT_KEY;
use crate::tryvox::{ApiKey, ApiKeySource};

pub(super) async fn run(settings: &Settings, stop: CancellationToken) -> Result<(), CommandError> {
    // No environment: a real key has no business in a demo.
    let simulated = SimulatorConfig::new(settings, &BTreeMap::new())?;
    let listeners = bind(&settings.listen_addresses)?;
    let loopback = ListenAddress::Tcp { host: Some("127.0.0.1".to_owned()), port: 0 };
    let api = bind_ports(&[loopback])?.pop().context("no socket for the simulated API")?;
    let api_url = local_url(api.local_addr().map_err(anyhow::Error::new)?);

    let key = ApiKey::new(&DEFAULT_KEY.into()).map_err(anyhow::Error::new)?;
    let url = api_url.parse().map_err(anyhow::Error::new)?;
    let account_id = settings.simulated_account_id.clone();
    let config = ServeConfig::of_account(settings, account_id.clone(), url, ApiKeySource::Value(key));

    let simulator = simulate::simulator(&simulated)?;
    if let Some(life) = simulated.life {
        let (simulator, stop) = (simulator.clone(), stop.clone());
        tokio::spawn(async move { simulator.live(life, stop).await });
    }
    tokio::spawn(simulator.serve(api, stop.clone()));

    let listener = listeners.first().context("no address to listen on")?;
    let page = match listener.tcp_address().map_err(anyhow::Error::new)? {
        Some(address) => local_url(address),
        None => listener.address().map_err(anyhow::Error::new)?,
    };
    print(&format!(
        "tryvox-exporter demo: {} simulated numbers, polled every {}; they change while you look.\n\n\
         \x20 page     {page}/\n\
         \x20 metrics  {page}{path}\n\
         \x20 health   {page}/-/healthy\n\
         \x20 API      {api_url}/v1/account/{account}/numbers  (Authorization: Bearer {DEFAULT_KEY})\n\n\
         Point Prometheus at it with\n\n\
         \x20 scrape_configs:\n\
         \x20   - job_name: tryvox\n\
         \x20     static_configs: [{{targets: [\"{target}\"]}}]\n\n\
         Ctrl-C ends it.\n",
        simulated.numbers,
        humantime::format_duration(settings.poll.interval),
        path = config.fixed.telemetry_path,
        account = account_id,
        target = page.trim_start_matches("http://"),
    ));
    Ok(serve::serve(&config, listeners, None, None, stop).await?)
}
