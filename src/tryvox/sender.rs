//! Sends the requests of one account: each is paced, limited, given a timeout and counted, and only one at a time is
//! sent while they fail.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::{StatusCode, Url};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::body::LargeBodyPermit;
use super::failure::{Failure, FailureReason};
use super::fair_limit::{AccountQueue, FairLimit};
use super::gate::{GatePass, RequestGate};
use super::key::ApiKey;
use super::pacer::Pacer;
use super::request_stats::RequestStats;
use super::response::{ApiResponse, CompleteResponse};
use super::timer::RequestTimer;
use super::transport::Transport;
use crate::duration;

/// Sends the requests of one account. It never repeats a request on its own.
pub(super) struct RequestSender {
    transport: Arc<dyn Transport>,
    gate: RequestGate,
    pacer: Pacer,
    fair_limit: Arc<FairLimit>,
    queue: AccountQueue,
    large_body_permit: LargeBodyPermit,
    stats: Mutex<RequestStats>,
}

impl RequestSender {
    /// Creates a sender. The rate limit is in requests per second, 0 for unlimited.
    pub(super) fn new(transport: Arc<dyn Transport>, fair_limit: Arc<FairLimit>, rate_limit: f64) -> Self {
        Self {
            transport,
            gate: RequestGate::default(),
            pacer: Pacer::new(rate_limit),
            fair_limit,
            queue: AccountQueue::default(),
            large_body_permit: LargeBodyPermit::default(),
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

    /// Returns the gate that every request passes.
    pub(super) fn gate(&self) -> &RequestGate {
        &self.gate
    }

    /// Waits until a request may start.
    pub(super) async fn admit(&self) -> Admission<'_> {
        loop {
            let pass = self.gate.enter().await;
            self.pacer.wait().await;
            let permit = self.fair_limit.acquire(&self.queue).await;
            // A pause or an outage that began while this request queued also applies to it.
            if !self.pacer.is_paused() && self.gate.admits(&pass) {
                return Admission { pass, permit };
            }
        }
    }

    /// Sends a request and returns its response, whatever its status. The permit is freed when the response is
    /// complete or has failed.
    ///
    /// The timeout includes the body. After it, later requests use new connections, as the old one may be dead. The
    /// request is counted however it ends, even if the future is dropped.
    ///
    /// # Errors
    /// If there is no complete response within the timeout, or no connection.
    pub(super) async fn send(
        &self,
        url: Url,
        key: &ApiKey,
        timeout: Duration,
        _permit: OwnedSemaphorePermit,
    ) -> Result<CompleteResponse, Failure> {
        let bearer = key.bearer().map_err(|error| Failure::new(FailureReason::ApiKey, error.to_string()))?;
        let mut in_flight = InFlightRequest { stats: &self.stats, start: Instant::now(), status: None };
        let timer = RequestTimer::start(timeout);
        let exchange = async {
            let ApiResponse { status, headers, body } = self.transport.get(url.clone(), bearer).await?;
            let body = match status {
                StatusCode::OK => body.read(&self.large_body_permit, &timer).await,
                _ => Ok(body.read_error(&timer).await),
            };
            Ok(CompleteResponse { status, headers, body })
        };
        let response = timer.run(exchange).await.unwrap_or_else(|| {
            self.transport.discard_connections(&url, in_flight.start);
            let timeout = duration::format(timeout);
            let route = self.transport.proxy(&url).map(|proxy| format!(" through {proxy}")).unwrap_or_default();
            let cause =
                format!("no complete response{route} within {timeout}; raise --tryvox.timeout if the API is slow");
            Err(Failure::new(FailureReason::Timeout, cause))
        })?;
        in_flight.status = Some(response.status.as_u16());
        Ok(response)
    }

    /// Sends later requests to this URL only on connections that are opened after `time`.
    pub(super) fn discard_connections(&self, url: &Url, time: Instant) {
        self.transport.discard_connections(url, time);
    }
}

/// What a request needs to be sent.
#[derive(Debug)]
pub(super) struct Admission<'a> {
    /// Takes the result of the request.
    pub(super) pass: GatePass<'a>,
    /// The place of the request among all requests in flight.
    pub(super) permit: OwnedSemaphorePermit,
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
