//! The state of a connection to the simulated API, which outlives a request.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::Extensions;

/// Identifies the connection that a request arrives on, by a value in the request's extensions.
///
/// [`Simulator::serve`](super::Simulator::serve) adds one to each request. Callers of
/// [`Simulator::respond`](super::Simulator::respond) may add clones of their own to simulate connections without a
/// socket; a request without one is alone on its connection.
#[derive(Debug, Clone, Default)]
pub struct SimulatedConnection {
    is_hung: Arc<AtomicBool>,
}

impl SimulatedConnection {
    /// Returns the connection of a request with these extensions.
    pub(super) fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_default()
    }

    /// Makes this and any later request on the connection wait forever.
    pub(super) fn hang(&self) {
        self.is_hung.store(true, Ordering::Relaxed);
    }

    /// Never returns if the connection hangs.
    pub(super) async fn wait_if_hung(&self) {
        if self.is_hung.load(Ordering::Relaxed) {
            pending::<()>().await;
        }
    }
}
