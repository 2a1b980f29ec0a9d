//! The web configuration file of Prometheus's exporter-toolkit: TLS, users, response headers and a rate limit, by the
//! schema of
//! <https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md>.
//!
//! [`WebFile::open`] reads a file. Connections are accepted with [`WebFile::acceptor`] and requests checked by
//! [`WebFile::check_request`]; both read the file again, so that changes take effect without a restart. Each key of
//! the schema is supported or rejected by name. While the file is invalid, no connection and no request is served.
//! Nothing here depends on the rest of the crate except the YAML reader and the throttled log.

mod authorities;
mod certificate;
mod client_auth;
mod disk;
mod error;
mod file;
mod rate;
mod tls;
mod tls_warning;
mod users;
mod web_file;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use error::WebFileError;
pub use web_file::{RequestRejection, WebFile};

/// Locks a mutex whose value is valid even if a thread panicked while it held the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
