//! Blocking work off the threads that run tasks.

use tokio::task::JoinError;

/// Runs work that takes long or waits for a disk on a thread where it delays no other task.
///
/// Never returns if the runtime shuts down before the work has started.
///
/// # Panics
/// If the work panics.
pub(crate) async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await.map_err(JoinError::try_into_panic) {
        Ok(value) => value,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(_)) => std::future::pending().await,
    }
}
