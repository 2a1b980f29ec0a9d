//! Generates a month of history for several accounts, for a Prometheus to hold before a test starts.
//!
//! Real pollers poll simulated accounts for a month of paused time. An hourly scrape of each gives the
//! samples that a Prometheus would have stored.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tryvox_exporter::inventory::{CollectorOptions, OwnerMatcher, Owners, WatchedNumber};
use tryvox_exporter::simulator::{SimulatedAccount, Simulator};

use super::harness::{self, Harness, HarnessOptions};

const HOUR: Duration = Duration::from_hours(1);
const HOURS: u32 = 31 * 24;

/// The accounts and how many numbers each starts with.
pub(crate) const ACCOUNTS: [(&str, usize); 4] =
    [("contact-center", 420), ("field-service", 90), ("marketing", 160), ("wholesale", 650)];

/// An owner in all accounts: its name, and its numbers, trunks and applications.
pub(crate) type Owner = (&'static str, &'static [&'static str], &'static [&'static str], &'static [&'static str]);

/// The owners, in the order in which they match. Some numbers have none.
pub(crate) const OWNERS: [Owner; 3] = [
    ("support", &[], &["trk_9d2f", "trk_3a5e"], &[]),
    ("sales", &["+1415*", "+44*"], &[], &["app_d78d"]),
    ("marketing", &[], &[], &["app_9d2f", "app_3a5e"]),
];

/// The names of the watched numbers of each account. The last one is suspended for about a day every five days.
const WATCHED_NAMES: [&str; 2] = ["support hotline", "order hotline"];

/// The month's samples, and the accounts as they are at its end.
pub(crate) struct History {
    accounts: BTreeMap<String, RwLock<SimulatedAccount>>,
    /// One text per account, in the order of [`ACCOUNTS`]; one line per sample, with its Unix timestamp.
    samples: Vec<String>,
    /// The watched numbers of each account, in the order of [`ACCOUNTS`].
    watched: Vec<Arc<[WatchedNumber]>>,
}

/// Returns the time of day, set back by a month, so that the history ends now.
fn now() -> SystemTime {
    harness::now() - HOUR * HOURS
}

fn harness_options(account: &str, numbers: usize, collector: &CollectorOptions) -> HarnessOptions {
    HarnessOptions {
        account: account.into(),
        now,
        numbers,
        per_page: 100,
        interval: HOUR,
        timeout: HOUR / 2,
        stale_after: HOUR * 3,
        collector: collector.clone(),
        ..HarnessOptions::default()
    }
}

fn owners() -> Owners {
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
    let matcher = |(name, numbers, trunks, applications): Owner| OwnerMatcher {
        name: name.into(),
        numbers: numbers.iter().map(|pattern| pattern.parse().unwrap()).collect(),
        trunks: ids(trunks),
        applications: ids(applications),
        ..OwnerMatcher::default()
    };
    Owners::new(OWNERS.into_iter().map(matcher).collect())
}

/// Makes hotlines of some numbers of an account, and watches them.
fn watch_hotlines(account: &RwLock<SimulatedAccount>) -> Arc<[WatchedNumber]> {
    let numbers = account.write().unwrap().choose_hotlines(WATCHED_NAMES.len());
    assert_eq!(numbers.len(), WATCHED_NAMES.len());
    let watch = |(number, name): (&String, &str)| WatchedNumber { e164: number.parse().unwrap(), name: name.into() };
    numbers.iter().zip(WATCHED_NAMES).map(watch).collect()
}

impl History {
    /// Simulates the month, on a runtime of its own: only there is the clock paused.
    pub(crate) async fn simulate(collector: CollectorOptions) -> Self {
        let simulation = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
            runtime.unwrap().block_on(Self::simulate_paused(&collector))
        });
        simulation.await.unwrap()
    }

    async fn simulate_paused(collector: &CollectorOptions) -> Self {
        let harnesses =
            ACCOUNTS.map(|(account, numbers)| Harness::start(&harness_options(account, numbers, collector)));
        let owners = Arc::new(owners());
        let mut watched = Vec::new();
        for (harness, (account, _)) in harnesses.iter().zip(ACCOUNTS) {
            let watch = watch_hotlines(&harness.simulator.accounts[account]);
            harness.reconfigure(|config| (config.owners, config.watch) = (owners.clone(), watch.clone()));
            watched.push(watch);
            let (simulator, stop) = (harness.simulator.clone(), harness.stop.clone());
            tokio::spawn(async move { simulator.change_accounts(HOUR * 3, stop).await });
        }
        let mut samples = vec![String::new(); harnesses.len()];
        // Scrape a minute after the polls of each hour.
        tokio::time::sleep(HOUR / 60).await;
        for hour in 0..HOURS {
            // One account has an outage every 200 hours, the listings of another are often inconsistent.
            harnesses[1].set_faults(if hour % 200 > 190 { "500" } else { "" });
            harnesses[2].set_faults(if hour % 40 > 30 { "total by=1,bad-records page=1" } else { "" });
            let timestamp = now().duration_since(UNIX_EPOCH).unwrap().as_secs();
            for (harness, samples) in harnesses.iter().zip(&mut samples) {
                let scrape = harness.scrape();
                for line in scrape.0.lines().filter(|line| line.contains("{account=")) {
                    writeln!(samples, "{line} {timestamp}").unwrap();
                }
            }
            tokio::time::sleep(HOUR).await;
        }
        let accounts = harnesses.iter().zip(ACCOUNTS).map(|(harness, (account, _))| {
            let simulated = std::mem::replace(
                &mut *harness.simulator.accounts[account].write().unwrap(),
                SimulatedAccount::new(0, 0, SystemTime::UNIX_EPOCH),
            );
            (account.to_owned(), RwLock::new(simulated))
        });
        Self { accounts: accounts.collect(), samples, watched }
    }

    /// Returns the accounts with the number that each starts with and with its watched numbers.
    pub(crate) fn accounts(&self) -> impl Iterator<Item = (&'static str, usize, &[WatchedNumber])> {
        ACCOUNTS.iter().zip(&self.watched).map(|((account, numbers), watched)| (*account, *numbers, &**watched))
    }

    /// Returns the samples in the format of `promtool tsdb create-blocks-from openmetrics`; `target_of`
    /// maps each account to the address of the exporter that owns it, which becomes its `instance`.
    pub(crate) fn samples(&self, target_of: impl Fn(&str) -> String) -> String {
        let mut text = String::new();
        for ((account, _), samples) in ACCOUNTS.iter().zip(&self.samples) {
            let target = format!("{{job=\"tryvox\",instance=\"{}\",account=", target_of(account));
            text.push_str(&samples.replace("{account=", &target));
        }
        text.push_str("# EOF\n");
        text
    }

    /// Returns a simulated API of the accounts as they were at the end of the month.
    pub(crate) fn into_simulator(self) -> Arc<Simulator> {
        harness::build_simulator(self.accounts, Duration::from_millis(5), super::seed(), SystemTime::now)
    }
}
