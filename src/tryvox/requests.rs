//! What the requests of an account came to.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Reason;

/// Upper bounds of the buckets of request durations, in seconds: those of Prometheus's clients.
pub const DURATION_BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Counts of all requests since the start, each attempt once.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestStats {
    /// By HTTP status; `None` when there was no answer.
    pub by_status: BTreeMap<Option<u16>, u64>,
    /// How many took at most [`DURATION_BUCKETS`]`[i]` seconds and longer than the bound before.
    pub by_duration: [u64; DURATION_BUCKETS.len()],
    /// All of them, longer ones included.
    pub count: u64,
    /// What they took together, until the end of the body or the failure.
    pub seconds: f64,
    /// RequestStats that were made because the one before had failed, by that one's [`Reason`].
    pub retries: [u64; Reason::ALL.len()],
}

impl Default for RequestStats {
    fn default() -> Self {
        Self {
            // So that a rate has something to start from.
            by_status: [(None, 0), (Some(200), 0)].into(),
            by_duration: [0; DURATION_BUCKETS.len()],
            count: 0,
            seconds: 0.0,
            retries: [0; Reason::ALL.len()],
        }
    }
}

impl RequestStats {
    /// Counts a request that ended.
    pub fn observe(&mut self, status: Option<u16>, took: Duration) {
        let seconds = took.as_secs_f64();
        *self.by_status.entry(status).or_default() += 1;
        if let Some(bucket) = DURATION_BUCKETS.iter().position(|bound| seconds <= *bound) {
            self.by_duration[bucket] += 1;
        }
        self.count += 1;
        self.seconds += seconds;
    }

    /// Counts that a request that failed is made again.
    pub fn retry(&mut self, reason: Reason) {
        self.retries[reason as usize] += 1;
    }
}
