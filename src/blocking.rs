//! Blocking work off the threads that run tasks.

use tokio::sync::Semaphore;
use tokio::task::JoinError;

/// The computations that run at the same time. More would be no faster, and each thread takes memory.
static COMPUTATIONS: Semaphore = Semaphore::const_new(4);

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

/// Runs work that needs nothing but CPU time, and more of it than a task may take. Otherwise it is like [`run_blocking`].
///
/// # Panics
/// If the work panics.
pub(crate) async fn run_computation<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    // An error means that the semaphore is closed, which never happens.
    let _permit = COMPUTATIONS.acquire().await;
    run_blocking(work).await
}
