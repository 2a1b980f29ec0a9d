//! The HTTP server: connections in, the bytes of [`crate::metrics`] and the status page out.
//!
//! [`bind`] opens the sockets before anything else starts. [`serve()`] accepts connections on them and responds to
//! requests with a [`router()`] until it is stopped; then it finishes the requests in flight. A request never
//! waits for a poll, and neither a slow client nor a panic in a handler affects other requests.

mod connection_tracker;
mod connections;
mod listen;
mod negotiate;
mod page;
mod response_body;
mod routes;
mod serve;
mod throttled_log;
pub mod toolkit;
mod tracked_stream;
mod unix_socket;

pub use listen::{BindError, BoundListeners, Listener, bind, take_systemd_sockets};
pub use routes::{AppState, router};
pub use serve::{Server, serve};
