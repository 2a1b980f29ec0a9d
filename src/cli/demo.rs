//! `demo`: `serve` against the embedded simulator.

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use super::{CommandEntry, CommandError, bind, local_url, ports, print, serve, simulate, with_options};
use crate::config::{CommandSpec, Config, ListenAddress, Options};
use crate::duration;
use crate::simulator::DEFAULT_KEY;
use crate::tryvox::{ApiKey, ApiKeySource};

pub(super) static COMMAND: CommandEntry = CommandEntry {
    spec: CommandSpec {
        name: "demo",
        about: "Serve metrics of a simulated account; needs no account, API key or network",
        examples: &["tryvox-exporter demo --numbers=100000"],
        options: &[
            "tryvox.timeout",
            "tryvox.concurrency",
            "tryvox.rate-limit",
            "tryvox.per-page",
            "poll.*",
            "collector.*",
            "web.listen-address",
            "web.telemetry-path",
            "web.route-prefix",
            "web.max-connections",
            "account-id",
            "numbers",
            "seed",
            "latency",
            "life",
            "log.*",
        ],
        defaults: &[
            // The embedded API needs no protection.
            ("tryvox.rate-limit", "0"),
            ("poll.interval", "5s"),
            ("latency", "20ms"),
            ("life", "3s"),
        ],
        formats: &[],
        requires_keys: true,
    },
    run: |source| with_options(&source, run),
};

/// Starts the simulated API on a free port and serves the metrics of its account until `stop` is cancelled.
async fn run(options: &Options, stop: CancellationToken) -> Result<(), CommandError> {
    let listeners = bind(&options.web.listen_addresses)?;
    let loopback = ListenAddress::Tcp { host: Some("127.0.0.1".to_owned()), port: 0 };
    let api = ports(bind(&[loopback])?)?.pop().context("cannot open a socket for the simulated API")?;
    let api_url = local_url(api.local_addr().map_err(anyhow::Error::new)?);

    let key = ApiKey::new(&DEFAULT_KEY.into()).map_err(anyhow::Error::new)?;
    let account_id = options.simulator.account_id.clone();
    let mut demo_options = options.clone();
    demo_options.tryvox.url = api_url.parse().map_err(anyhow::Error::new)?;
    let config = Config::of_account(demo_options, account_id.clone(), ApiKeySource::Value(key));

    // The key of the environment is not used: a demo needs no real key.
    let simulator = simulate::build_simulator(&options.simulator, None)?;
    if let Some(life) = options.simulator.life() {
        let (simulator, stop) = (simulator.clone(), stop.clone());
        tokio::spawn(async move { simulator.change_accounts(life, stop).await });
    }
    tokio::spawn(simulator.serve(api, stop.clone()));

    let listener = listeners.first().context("no address to listen on; set --web.listen-address")?;
    let page = match listener.tcp_address().map_err(anyhow::Error::new)? {
        Some(address) => local_url(address),
        None => listener.address().map_err(anyhow::Error::new)?,
    };
    let metrics_path = options.web.metrics_path();
    let path_setting = match &*metrics_path {
        // The default of Prometheus.
        "/metrics" => String::new(),
        path => format!("      metrics_path: {path}\n"),
    };
    print(&format!(
        "tryvox-exporter demo: a simulated account with {} numbers, polled every {}\n\n\
         \x20 Status page    {page}{status_page}\n\
         \x20 Metrics        {page}{metrics_path}\n\
         \x20 Health         {page}{health}\n\
         \x20 Simulated API  {api_url}/v1/account/{account}/numbers  (Authorization: Bearer {DEFAULT_KEY})\n\n\
         Prometheus configuration:\n\n\
         \x20 scrape_configs:\n\
         \x20   - job_name: tryvox\n\
         {path_setting}\
         \x20     static_configs: [{{targets: [\"{target}\"]}}]\n\n\
         Press Ctrl-C to stop.\n",
        options.simulator.numbers,
        duration::format(options.poll.interval),
        status_page = options.web.route_prefix.join("/"),
        health = options.web.route_prefix.join("/-/healthy"),
        account = account_id,
        target = page.trim_start_matches("http://"),
    ));
    Ok(serve::serve(&config, listeners, None, None, stop).await?)
}
