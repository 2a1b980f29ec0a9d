//! Statistics of the requests to the API.

use std::collections::BTreeMap;
use std::time::Duration;

use super::failure::FailureReason;

/// Upper bounds of the request duration buckets, in seconds: the defaults of Prometheus client libraries.
pub const DURATION_BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Totals of an account's requests since the start of the process. Every attempt counts as one request.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestStats {
    /// Requests by HTTP status; `None` if there was no response.
    pub by_status: BTreeMap<Option<u16>, u64>,
    /// Requests by duration: element `i` counts those of at most [`DURATION_BUCKETS`]`[i]` seconds that exceed the
    /// bound before it. Requests longer than the last bound are in none.
    pub by_duration: [u64; DURATION_BUCKETS.len()],
    /// All requests, including those longer than the last bucket.
    pub count: u64,
    /// Sum of the durations of all requests, in seconds. A request lasts until the end of the body or its failure.
    pub seconds: f64,
    /// Requests that repeat a failed one, by the reason of that failure, in the order of [`FailureReason::ALL`].
    pub retries: [u64; FailureReason::ALL.len()],
}

impl Default for RequestStats {
    fn default() -> Self {
        Self {
            // These exist from the start, so that a rate sees the first increase.
            by_status: [(None, 0), (Some(200), 0)].into(),
            by_duration: [0; DURATION_BUCKETS.len()],
            count: 0,
            seconds: 0.0,
            retries: [0; FailureReason::ALL.len()],
        }
    }
}

impl RequestStats {
    /// Counts a request that ended.
    pub fn record_request(&mut self, status: Option<u16>, duration: Duration) {
        let seconds = duration.as_secs_f64();
        *self.by_status.entry(status).or_default() += 1;
        if let Some(bucket) = DURATION_BUCKETS.iter().position(|bound| seconds <= *bound) {
            self.by_duration[bucket] += 1;
        }
        self.count += 1;
        self.seconds += seconds;
    }

    /// Counts a retry of a request that failed for this reason.
    pub fn record_retry(&mut self, reason: FailureReason) {
        self.retries[reason as usize] += 1;
    }
}
