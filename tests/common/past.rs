//! A month that accounts have behind them: the real poller lived it, in paused time, and what it served
//! hour by hour is what a Prometheus would have scraped.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tryvox_exporter::inventory::CollectorOptions;
use tryvox_exporter::simulator::{SimulatedAccount, Simulator};

use super::lab::{self, Lab, Setup};

const HOUR: Duration = Duration::from_hours(1);
const HOURS: u32 = 31 * 24;

/// The accounts and how many numbers they began with.
pub(crate) const ACCOUNTS: [(&str, usize); 4] =
    [("contact-center", 420), ("field-service", 90), ("marketing", 160), ("wholesale", 650)];

/// What there is of each account when the month is over.
pub(crate) struct Past {
    accounts: BTreeMap<String, RwLock<SimulatedAccount>>,
    /// A line a sample, with the time that it is of, in the order of [`ACCOUNTS`].
    samples: Vec<String>,
}

/// The time of day in a month that began a month ago.
fn now() -> SystemTime {
    lab::now() - HOUR * HOURS
}

fn setup(account: &str, numbers: usize, collector: &CollectorOptions) -> Setup {
    Setup {
        account: account.into(),
        now,
        numbers,
        per_page: 100,
        interval: HOUR,
        timeout: HOUR / 2,
        stale_after: HOUR * 3,
        collector: collector.clone(),
        ..Setup::default()
    }
}

impl Past {
    /// Lives through the month.
    pub(crate) async fn live(collector: CollectorOptions) -> Self {
        // A clock of its own: everything else goes by the real one.
        let lived = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
            runtime.unwrap().block_on(Self::month(&collector))
        });
        lived.await.unwrap()
    }

    async fn month(collector: &CollectorOptions) -> Self {
        let labs = ACCOUNTS.map(|(account, numbers)| Lab::start(&setup(account, numbers, collector)));
        for lab in &labs {
            let (simulator, stop) = (lab.simulator.clone(), lab.stop.clone());
            tokio::spawn(async move { simulator.change_accounts(HOUR * 3, stop).await });
        }
        let mut samples = vec![String::new(); labs.len()];
        // A moment after the polls of the hour.
        tokio::time::sleep(HOUR / 60).await;
        for hour in 0..HOURS {
            // One account has a bad night now and then, another is never quite consistent.
            labs[1].set_faults(if hour % 200 > 190 { "500" } else { "" });
            labs[2].set_faults(if hour % 40 > 30 { "total by=1,bad-records page=1" } else { "" });
            let at = now().duration_since(UNIX_EPOCH).unwrap().as_secs();
            for (lab, samples) in labs.iter().zip(&mut samples) {
                let scrape = lab.scrape();
                for line in scrape.0.lines().filter(|line| line.contains("{account=")) {
                    writeln!(samples, "{line} {at}").unwrap();
                }
            }
            tokio::time::sleep(HOUR).await;
        }
        let accounts = labs.iter().zip(ACCOUNTS).map(|(lab, (account, _))| {
            let world = std::mem::replace(
                &mut *lab.simulator.accounts[account].write().unwrap(),
                SimulatedAccount::new(0, 0, SystemTime::UNIX_EPOCH),
            );
            (account.to_owned(), RwLock::new(world))
        });
        Self { accounts: accounts.collect(), samples }
    }

    /// The samples as `promtool tsdb create-blocks-from openmetrics` reads them, each account as scraped
    /// from the target that it has now.
    pub(crate) fn samples(&self, target_of: impl Fn(&str) -> String) -> String {
        let mut text = String::new();
        for ((account, _), samples) in ACCOUNTS.iter().zip(&self.samples) {
            let target = format!("{{job=\"tryvox\",instance=\"{}\",account=", target_of(account));
            text.push_str(&samples.replace("{account=", &target));
        }
        text.push_str("# EOF\n");
        text
    }

    /// An API that goes on from where the month ended.
    pub(crate) fn simulator(self) -> Arc<Simulator> {
        lab::simulator(self.accounts, Duration::from_millis(5), super::seed(), SystemTime::now)
    }
}
