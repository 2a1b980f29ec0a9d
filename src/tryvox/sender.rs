//! Sends the requests of one account: each is paced, limited, given a timeout and counted.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::Url;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};

use super::failure::{Failure, FailureReason};
use super::fair_limit::{AccountQueue, FairLimit};
use super::key::ApiKey;
use super::pacer::Pacer;
use super::request_stats::RequestStats;
use super::response::ApiResponse;
use super::transport::Transport;
use crate::duration;

/// Sends the requests of one account. It never repeats a request on its own.
pub(super) struct RequestSender {
    transport: Arc<dyn Transport>,
    /// Timeout for one request, including its body.
    timeout: Duration,
    pacer: Pacer,
    fair_limit: Arc<FairLimit>,
    queue: AccountQueue,
    stats: Mutex<RequestStats>,
}

impl RequestSender {
    /// Creates a sender. The rate limit is in requests per second, 0 for unlimited.
    pub(super) fn new(
        transport: Arc<dyn Transport>,
        fair_limit: Arc<FairLimit>,
        timeout: Duration,
        rate_limit: f64,
    ) -> Self {
        Self {
            transport,
            timeout,
            pacer: Pacer::new(rate_limit),
            fair_limit,
            queue: AccountQueue::default(),
            stats: Mutex::default(),
        }
    }

    /// Returns the pacer that every request passes.
    pub(super) fn pacer(&self) -> &Pacer {
        &self.pacer
    }

    /// Returns the statistics, locked.
    pub(super) fn stats(&self) -> MutexGuard<'_, RequestStats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a request may start, and returns the permit for it.
    pub(super) async fn acquire_permit(&self) -> OwnedSemaphorePermit {
        loop {
            self.pacer.wait().await;
            let permit = self.fair_limit.acquire(&self.queue).await;
            // A pause that began while this request queued also applies to it.
            if !self.pacer.is_paused() {
                return permit;
            }
        }
    }

    /// Sends a request and returns its response, whatever its status. The permit is freed when the response is
    /// complete or has failed.
    ///
    /// The request is counted however it ends, even if the future is dropped.
    ///
    /// # Errors
    /// If there is no complete response within the timeout, or no connection.
    pub(super) async fn send(
        &self,
        url: Url,
        key: &ApiKey,
        _permit: OwnedSemaphorePermit,
    ) -> Result<ApiResponse, Failure> {
        let bearer = key.bearer().map_err(|error| Failure::new(FailureReason::ApiKey, error.to_string()))?;
        let mut in_flight = InFlightRequest { stats: &self.stats, start: Instant::now(), status: None };
        let response = timeout(self.timeout, self.transport.get(url, bearer)).await.unwrap_or_else(|_| {
            let timeout = duration::format(self.timeout);
            let cause = format!("no complete response within {timeout}; raise --tryvox.timeout if the API is slow");
            Err(Failure::new(FailureReason::Timeout, cause))
        })?;
        in_flight.status = Some(response.status.as_u16());
        Ok(response)
    }
}

/// Counts a request when it is dropped, so that requests whose poll is cancelled are counted, too.
struct InFlightRequest<'a> {
    stats: &'a Mutex<RequestStats>,
    start: Instant,
    /// The status of the response; `None` until it is complete.
    status: Option<u16>,
}

impl Drop for InFlightRequest<'_> {
    fn drop(&mut self) {
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        stats.record_request(self.status, self.start.elapsed());
    }
}
