//! `demo`: `serve` against the embedded simulator.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::{Arc, PoisonError};

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use super::{CommandEntry, CommandError, bind, local_url, ports, print, serve, simulate, with_options};
use crate::config::{CommandSpec, Config, ListenAddress, Options};
use crate::duration;
use crate::inventory::{OwnerMatcher, Owners, WatchedNumber};
use crate::simulator::{DEFAULT_KEY, Simulator};
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
        ignored: &[],
        defaults: &[
            // The embedded API needs no protection.
            ("tryvox.rate-limit", "0"),
            ("poll.interval", "5s"),
            ("latency", "20ms"),
            ("life", "3s"),
        ],
        formats: &[],
        requires_keys: true,
        exports_watched_numbers: true,
    },
    run: |source| with_options(&source, run),
};

/// The names of the watched numbers. The last one is suspended from time to time.
const HOTLINES: [&str; 2] = ["support hotline", "order hotline"];

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
    let mut config = Config::of_account(demo_options, account_id.clone(), ApiKeySource::Value(key));

    // The key of the environment is not used: a demo needs no real key.
    let simulator = simulate::build_simulator(&options.simulator, None)?;
    let watch = watched_numbers(&simulator, &account_id)?;
    for account in &mut config.accounts {
        account.owners = Arc::new(owners(&watch)?);
        account.watch = watch.clone().into();
    }
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
         {things_to_see}\
         Press Ctrl-C to stop.\n",
        options.simulator.numbers,
        duration::format(options.poll.interval),
        status_page = options.web.route_prefix.join("/"),
        health = options.web.route_prefix.join("/-/healthy"),
        account = account_id,
        target = page.trim_start_matches("http://"),
        things_to_see = describe(watch.last().filter(|_| options.simulator.life().is_some())),
    ));
    Ok(serve::serve(&config, listeners, None, None, None, stop).await?)
}

/// Makes hotlines of some numbers of the simulated account, and returns them with their names. An account that is too
/// small has fewer.
fn watched_numbers(simulator: &Simulator, account_id: &str) -> anyhow::Result<Vec<WatchedNumber>> {
    let Some(account) = simulator.accounts.get(account_id) else { return Ok(Vec::new()) };
    let numbers = account.write().unwrap_or_else(PoisonError::into_inner).choose_hotlines(HOTLINES.len());
    let watch = |(number, name): (&String, &str)| Ok(WatchedNumber { e164: number.parse()?, name: name.into() });
    numbers.iter().zip(HOTLINES).map(watch).collect()
}

/// Returns owners that have some of the simulated numbers: the hotlines and those of trunks, numbers with a prefix, and
/// those of applications.
fn owners(hotlines: &[WatchedNumber]) -> anyhow::Result<Owners> {
    let ids = |ids: &[&str]| -> BTreeSet<String> { ids.iter().map(|id| (*id).to_owned()).collect() };
    let hotlines = hotlines.iter().map(|number| number.e164.to_string().parse());
    Ok(Owners::new(vec![
        OwnerMatcher {
            name: "support".into(),
            numbers: hotlines.collect::<Result<_, _>>()?,
            trunks: ids(&["trk_9d2f", "trk_3a5e"]),
            ..OwnerMatcher::default()
        },
        OwnerMatcher { name: "sales".into(), numbers: vec!["+1415*".parse()?], ..OwnerMatcher::default() },
        OwnerMatcher {
            name: "marketing".into(),
            applications: ids(&["app_9d2f", "app_3a5e", "app_d78d"]),
            ..OwnerMatcher::default()
        },
    ]))
}

/// Describes what to look at; `hotline` is the one that is suspended from time to time.
fn describe(hotline: Option<&WatchedNumber>) -> String {
    let mut text = "What to look at:\n\n\
                    \x20 Owners           tryvox_owner_monthly_fees has the fees of support, sales and marketing\n\
                    \x20 Changing fees    tryvox_monthly_fees_added_total and _removed_total have the causes\n"
        .to_owned();
    if let Some(WatchedNumber { e164, name }) = hotline {
        // Writing to a string does not fail.
        _ = writeln!(
            text,
            "\x20 Watched numbers  the {name} {e164} is suspended from time to time; it is then the first watched number on\n\
             \x20                  the status page, and tryvox_watched_number_status{{status=\"suspended\"}} is 1"
        );
    }
    text.push('\n');
    text
}
