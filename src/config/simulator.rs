//! What the simulator is asked to be.

use std::time::Duration;

use super::serve::key_from_environment;
use super::settings::Settings;
use super::source::Environment;
use super::{API_KEY_VARIABLE, ConfigError};
use crate::simulator::Fault;
use crate::tryvox::ApiKey;

/// Simulated accounts.
#[derive(Debug, Clone)]
pub struct SimulatorConfig {
    /// Their ids.
    pub account_ids: Vec<String>,
    /// The key they accept; none for [`crate::simulator::DEFAULT_KEY`].
    pub key: Option<ApiKey>,
    /// How many numbers each has at the start.
    pub numbers: usize,
    /// What the numbers of the first are like; the others' seeds follow.
    pub seed: u64,
    /// What an answer takes.
    pub latency: Duration,
    /// How often something changes, if ever.
    pub life: Option<Duration>,
    /// What it does wrong.
    pub faults: Vec<Fault>,
}

impl SimulatorConfig {
    /// What the settings mean.
    ///
    /// # Errors
    /// When the environment holds a key that cannot be one.
    pub fn new(settings: &Settings, environment: &impl Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            account_ids: match settings.simulated_accounts {
                1 => vec![settings.simulated_account_id.clone()],
                several => (1..=several).map(|n| format!("{}_{n}", settings.simulated_account_id)).collect(),
            },
            key: key_from_environment(environment, API_KEY_VARIABLE)?,
            numbers: settings.numbers,
            seed: settings.seed,
            latency: settings.latency,
            life: Some(settings.life).filter(|life| !life.is_zero()),
            faults: settings.faults.clone(),
        })
    }
}
