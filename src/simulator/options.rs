//! The options of the simulated API.

use std::time::Duration;

use super::Fault;
use crate::options::{List, integer};
use crate::{duration, tryvox};

/// Which accounts are simulated, and how the API behaves.
#[derive(Debug, Clone, PartialEq, clap::Args)]
#[command(next_help_heading = "Simulator")]
pub struct SimulatorOptions {
    /// ID of the simulated account
    #[arg(id = "account-id", long, value_name = "ID", default_value = "acc_demo", value_parser = tryvox::account_id)]
    pub account_id: String,
    /// Number of simulated accounts; if several, their IDs are --account-id followed by _1, _2, …
    #[arg(id = "accounts", long, value_name = "N", default_value = "1", value_parser = integer(1..=100_000_usize))]
    pub accounts: usize,
    /// Numbers that a simulated account starts with
    #[arg(id = "numbers", long, value_name = "N", default_value = "5000", value_parser = integer(0..=10_000_000_usize))]
    pub numbers: usize,
    /// Seed of the simulated inventory; the same seed gives the same inventory
    #[arg(id = "seed", long, value_name = "N", default_value = "1", value_parser = integer(0..=u64::MAX))]
    pub seed: u64,
    /// Latency of the simulated API
    #[arg(id = "latency", long, value_name = "DURATION", default_value = "0s", value_parser = duration::parse)]
    pub latency: Duration,
    /// Time between changes: numbers are purchased, released, suspended, reactivated and repriced; 0s disables them
    #[arg(id = "life", long, value_name = "DURATION", default_value = "0s", value_parser = duration::parse)]
    life: Duration,
    /// Fault of the simulated API, like `429 retry-after=2 times=3` or `cut-body page=2 probability=0.1`; repeatable
    #[arg(id = "fault", long, value_name = "FAULT", action = clap::ArgAction::Append, value_parser = Fault::parse_list)]
    faults: Option<List<Fault>>,
}

impl SimulatorOptions {
    /// Returns the IDs of the simulated accounts.
    #[must_use]
    pub fn account_ids(&self) -> Vec<String> {
        match self.accounts {
            1 => vec![self.account_id.clone()],
            accounts => (1..=accounts).map(|number| format!("{}_{number}", self.account_id)).collect(),
        }
    }

    /// Returns the time between two changes, if there are any.
    #[must_use]
    pub fn life(&self) -> Option<Duration> {
        Some(self.life).filter(|life| !life.is_zero())
    }

    /// Returns the faults in the order of their flags.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        self.faults.clone().unwrap_or_default()
    }
}
