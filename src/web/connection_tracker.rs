//! Tracks what one connection is doing, and for how long.
//!
//! The connection's stream reports bytes read and written, its HTTP service reports requests. From that a
//! [`ConnectionTracker`] derives when the connection has timed out and how readily it may be evicted in favor of
//! another one. There is no timeout while a response is being made.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// Timeout for the TLS handshake and the head of the first request, and for the head of a later request from its
/// first byte.
const REQUEST_HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout for the first byte of another request; longer than Prometheus keeps an idle connection.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_mins(6);
/// Timeout for a client that reads nothing of its response.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Time between two checks of the deadline, which moves as the client makes progress; shorter than each timeout.
const DEADLINE_CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Tracks the requests and the progress of one connection.
#[derive(Debug)]
pub(super) struct ConnectionTracker {
    state: Mutex<ConnectionState>,
    evicted: CancellationToken,
}

/// How readily a connection is evicted; the first is evicted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum EvictionRank {
    /// It has not made a request.
    New,
    /// It waits for another request.
    KeptAlive,
    /// Its request has been in flight for longer than [`WRITE_TIMEOUT`].
    Slow,
}

#[derive(Debug)]
struct ConnectionState {
    requests_in_flight: usize,
    /// The time of the last write, while written bytes are not flushed to the client.
    last_write_at: Option<Instant>,
    /// When the connection last became busy or idle, or its partial request head began.
    phase_started_at: Instant,
    /// Whether a part of the next request's head has been read; only while not busy.
    has_partial_head: bool,
    /// Whether bytes of the next request were read while busy.
    has_pipelined_bytes: bool,
    /// Whether the connection has made a request.
    has_made_request: bool,
}

impl ConnectionState {
    fn is_busy(&self) -> bool {
        self.requests_in_flight > 0 || self.last_write_at.is_some()
    }

    /// Starts to wait for the next request, unless the connection is still busy.
    fn await_request(&mut self) {
        if !self.is_busy() {
            self.phase_started_at = Instant::now();
            self.has_partial_head = self.has_pipelined_bytes;
            self.has_pipelined_bytes = false;
        }
    }
}

impl ConnectionTracker {
    /// Returns the tracker of a connection that was accepted just now.
    pub(super) fn new() -> Self {
        let state = ConnectionState {
            requests_in_flight: 0,
            last_write_at: None,
            phase_started_at: Instant::now(),
            has_partial_head: false,
            has_pipelined_bytes: false,
            has_made_request: false,
        };
        Self { state: Mutex::new(state), evicted: CancellationToken::new() }
    }

    /// Waits until the connection has timed out or is evicted.
    pub(super) async fn wait_for_timeout_or_eviction(&self) {
        let timed_out = async {
            loop {
                let now = Instant::now();
                let deadline = self.deadline();
                if deadline.is_some_and(|deadline| deadline <= now) {
                    return;
                }
                let next_check_at = now + DEADLINE_CHECK_INTERVAL;
                sleep_until(deadline.map_or(next_check_at, |deadline| deadline.min(next_check_at))).await;
            }
        };
        self.evicted.run_until_cancelled(timed_out).await;
    }

    /// Evicts the connection.
    pub(super) fn evict(&self) {
        self.evicted.cancel();
    }

    #[cfg(test)]
    pub(super) fn is_evicted(&self) -> bool {
        self.evicted.is_cancelled()
    }

    /// Returns whether no request is in flight and no part of another one has been read.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.lock();
        !state.is_busy() && !state.has_partial_head
    }

    /// Records a request, which is in flight until the returned value is dropped. If `is_flushed`, the response
    /// is flushed before the next request is read, and the connection stays busy until then.
    pub(super) fn start_request(self: &Arc<Self>, is_flushed: bool) -> RequestInFlight {
        let mut state = self.lock();
        if !state.is_busy() {
            state.phase_started_at = Instant::now();
        }
        state.requests_in_flight += 1;
        state.has_partial_head = false;
        state.has_pipelined_bytes = false;
        state.has_made_request = true;
        RequestInFlight { tracker: self.clone(), is_flushed }
    }

    /// Records that bytes of a request were read.
    pub(super) fn record_read(&self) {
        let mut state = self.lock();
        if state.is_busy() {
            state.has_pipelined_bytes = true;
        } else if !state.has_partial_head {
            state.has_partial_head = true;
            // The timeout of the first head runs from the start of the connection.
            if state.has_made_request {
                state.phase_started_at = Instant::now();
            }
        }
    }

    /// Records an attempt to write, and whether the client made progress by it.
    pub(super) fn record_write(&self, made_progress: bool) {
        let mut state = self.lock();
        if made_progress || state.last_write_at.is_none() {
            state.last_write_at = Some(Instant::now());
        }
    }

    /// Records that everything written was flushed.
    pub(super) fn record_flush(&self) {
        let mut state = self.lock();
        if state.last_write_at.take().is_some() {
            state.await_request();
        }
    }

    /// Returns when the connection times out unless its client makes progress; `None` while a response is made.
    fn deadline(&self) -> Option<Instant> {
        let state = self.lock();
        match state.last_write_at {
            Some(last_write_at) => Some(last_write_at + WRITE_TIMEOUT),
            None if state.requests_in_flight > 0 => None,
            None if state.has_partial_head || !state.has_made_request => {
                Some(state.phase_started_at + REQUEST_HEAD_TIMEOUT)
            }
            None => Some(state.phase_started_at + KEEP_ALIVE_TIMEOUT),
        }
    }

    /// Returns how readily the connection is evicted, and since when; `None` if it must not be evicted.
    pub(super) fn eviction_rank(&self) -> Option<(EvictionRank, Instant)> {
        let state = self.lock();
        let rank = match (state.is_busy(), state.has_made_request) {
            (true, _) if state.phase_started_at.elapsed() < WRITE_TIMEOUT => return None,
            (true, _) => EvictionRank::Slow,
            (false, true) => EvictionRank::KeptAlive,
            (false, false) => EvictionRank::New,
        };
        Some((rank, state.phase_started_at))
    }

    fn lock(&self) -> MutexGuard<'_, ConnectionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request in flight; dropped when the whole response has been handed to the connection.
#[derive(Debug)]
pub(super) struct RequestInFlight {
    tracker: Arc<ConnectionTracker>,
    is_flushed: bool,
}

impl Drop for RequestInFlight {
    fn drop(&mut self) {
        let mut state = self.tracker.lock();
        state.requests_in_flight -= 1;
        if self.is_flushed {
            state.last_write_at.get_or_insert_with(Instant::now);
        }
        state.await_request();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    /// Returns after how long the connection times out, if it does.
    async fn time_to_timeout(tracker: &ConnectionTracker) -> Option<Duration> {
        let started_at = Instant::now();
        let timed_out = timeout(Duration::from_hours(1), tracker.wait_for_timeout_or_eviction()).await;
        timed_out.ok().map(|()| started_at.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn each_phase_of_a_connection_has_its_timeout() {
        let tracker = Arc::new(ConnectionTracker::new());
        assert_eq!(time_to_timeout(&tracker).await, Some(REQUEST_HEAD_TIMEOUT), "first request");

        let tracker = Arc::new(ConnectionTracker::new());
        let request = tracker.start_request(false);
        assert_eq!(time_to_timeout(&tracker).await, None, "response being made");
        drop(request);
        assert_eq!(time_to_timeout(&tracker).await, Some(KEEP_ALIVE_TIMEOUT), "next request");

        let tracker = Arc::new(ConnectionTracker::new());
        drop(tracker.start_request(true));
        assert_eq!(time_to_timeout(&tracker).await, Some(WRITE_TIMEOUT), "response not read by the client");
    }
}
