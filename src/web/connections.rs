//! The open connections of a server, limited in number.
//!
//! Each accepted connection acquires a [`ConnectionSlot`], which holds its [`ConnectionTracker`]. When no slot is
//! free, the connection whose loss harms its client least is evicted. A connection with a request in flight is
//! never evicted unless its client has been too slow to read the response.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::connection_tracker::ConnectionTracker;
use crate::metrics::HttpMetrics;

/// The connections that are open.
#[derive(Debug)]
pub(super) struct Connections {
    /// The maximum number of open connections.
    max: usize,
    open: Mutex<OpenConnections>,
    /// Notified when a connection has been closed.
    closed: Notify,
    /// Where open and refused connections are counted.
    metrics: Arc<HttpMetrics>,
}

#[derive(Debug, Default)]
struct OpenConnections {
    /// The ID of the next connection; IDs are not reused.
    next_id: u64,
    /// At most `max`, by ID. An evicted connection is removed before its task ends.
    trackers: HashMap<u64, Arc<ConnectionTracker>>,
}

impl OpenConnections {
    /// Evicts the connection whose loss harms its client least. Returns whether there was one that may be evicted.
    fn evict_one(&mut self) -> bool {
        let candidates = self.trackers.iter().filter_map(|(id, tracker)| Some((tracker.eviction_rank()?, *id)));
        let Some((_, id)) = candidates.min() else { return false };
        if let Some(tracker) = self.trackers.remove(&id) {
            tracker.evict();
        }
        true
    }
}

/// One connection's slot; it is released when dropped, which must be after its stream.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    connections: Arc<Connections>,
    id: u64,
    pub(super) tracker: Arc<ConnectionTracker>,
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        open.trackers.remove(&self.id);
        self.connections.metrics.set_open_connections(open.trackers.len());
        self.connections.closed.notify_waiters();
    }
}

impl Connections {
    /// Returns an empty set that holds at most `max` connections.
    pub(super) fn new(max: usize, metrics: Arc<HttpMetrics>) -> Arc<Self> {
        Arc::new(Self { max, open: Mutex::default(), closed: Notify::new(), metrics })
    }

    /// Acquires a slot for a new connection, evicting another connection if none is free. Returns `None` if no
    /// connection may be evicted, so that the new one is refused.
    pub(super) fn acquire_slot(self: &Arc<Self>) -> Option<ConnectionSlot> {
        let mut open = self.lock();
        if open.trackers.len() >= self.max && !open.evict_one() {
            self.metrics.count_refused_connection();
            return None;
        }
        let (id, tracker) = (open.next_id, Arc::new(ConnectionTracker::new()));
        open.next_id += 1;
        open.trackers.insert(id, tracker.clone());
        self.metrics.set_open_connections(open.trackers.len());
        Some(ConnectionSlot { connections: self.clone(), id, tracker })
    }

    /// Evicts the connection whose loss harms its client least, and waits until a connection is closed. Returns whether
    /// one was evicted; if none may be, it does not wait.
    pub(super) async fn close_one(&self) -> bool {
        // Created before the eviction, so that it does not miss the notification.
        let closed = self.closed.notified();
        let is_evicted = self.lock().evict_one();
        if is_evicted {
            closed.await;
        }
        is_evicted
    }

    fn lock(&self) -> MutexGuard<'_, OpenConnections> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::super::connection_tracker::WRITE_TIMEOUT;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn connections_without_a_request_in_flight_are_evicted_first() {
        let connections = Connections::new(4, Arc::default());
        let [oldest_new, new, idle, busy] = std::array::from_fn(|_| connections.acquire_slot().unwrap());
        drop(idle.tracker.start_request(false));
        let busy_request = busy.tracker.start_request(false);
        advance(Duration::from_secs(1)).await;
        let mut later = Vec::new();
        for expected in [&oldest_new, &new, &idle] {
            assert!(!expected.tracker.is_evicted());
            let slot = connections.acquire_slot().unwrap();
            assert!(expected.tracker.is_evicted());
            later.push((slot.tracker.start_request(false), slot));
        }
        assert!(connections.acquire_slot().is_none(), "every connection has a request in flight");
        advance(WRITE_TIMEOUT).await;
        let slot = connections.acquire_slot().unwrap();
        assert!(busy.tracker.is_evicted(), "its request takes too long");
        drop((busy_request, busy, slot));
        assert!(connections.acquire_slot().is_some(), "a slot was released");
        assert_eq!(connections.lock().trackers.len(), 3);
    }
}
