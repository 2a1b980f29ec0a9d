//! Option groups.

use std::time::Duration;

use crate::duration;
use crate::options::defaults;

/// When accounts are polled, and which listings are valid.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct PollOptions {
    /// Time between the starts of two polls of an account
    #[arg(long = "poll.interval", value_name = "DURATION", default_value = "5m", value_parser = duration::parse_positive)]
    pub interval: Duration,
    /// Timeout for a whole poll; the interval if not set
    #[arg(long = "poll.timeout", value_name = "DURATION", value_parser = duration::parse_positive)]
    pub timeout: Option<Duration>,
    /// How long the last valid inventory is served while polls fail; 3 intervals if not set
    #[arg(long = "poll.stale-after", value_name = "DURATION", value_parser = duration::parse_positive)]
    pub stale_after: Option<Duration>,
    /// Maximum share of the reported numbers by which a listing may differ from them and still be valid, 0 to 1
    #[arg(long = "poll.max-discrepancy", value_name = "SHARE", default_value = "0.01", value_parser = share)]
    pub max_discrepancy: f64,
}

impl PollOptions {
    /// Returns the timeout for a whole poll.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(self.interval)
    }

    /// Returns how long the last valid inventory is served while polls fail.
    #[must_use]
    pub fn stale_after(&self) -> Duration {
        self.stale_after.unwrap_or(self.interval * 3)
    }
}

impl Default for PollOptions {
    fn default() -> Self {
        defaults()
    }
}

/// Parses a number from 0 to 1.
fn share(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "must be a number from 0 to 1, like 0.01 for one in a hundred".to_owned())
}
