//! The timeout of one request, which can be stopped while the request waits for something on this side.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Limits the time of one request. The time during which it is stopped does not count.
#[derive(Debug)]
pub(super) struct RequestTimer(Mutex<TimerState>);

#[derive(Debug, Clone, Copy)]
struct TimerState {
    deadline: Instant,
    /// Since when the timer stands still.
    stopped_at: Option<Instant>,
}

impl RequestTimer {
    /// Starts a timer that expires after `timeout`.
    pub(super) fn start(timeout: Duration) -> Self {
        Self(Mutex::new(TimerState { deadline: Instant::now() + timeout, stopped_at: None }))
    }

    /// Returns when the timer expires unless it is stopped before.
    pub(super) fn deadline(&self) -> Instant {
        self.lock().deadline
    }

    /// Runs a future with the timer stopped. Only what [`run`](Self::run) runs may call this.
    pub(super) async fn stopped<T>(&self, future: impl Future<Output = T>) -> T {
        self.lock().stopped_at = Some(Instant::now());
        let output = future.await;
        let mut state = self.lock();
        if let Some(stopped_at) = state.stopped_at.take() {
            state.deadline += stopped_at.elapsed();
        }
        output
    }

    /// Runs a future until it completes; returns `None` if the timer expires before.
    pub(super) async fn run<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let (mut future, mut sleep) = (pin!(future), pin!(sleep_until(self.deadline())));
        poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
            // Only the future changes the timer, and it has just been polled.
            let TimerState { deadline, stopped_at } = *self.lock();
            if stopped_at.is_some() {
                return Poll::Pending;
            }
            if sleep.deadline() != deadline {
                sleep.as_mut().reset(deadline);
            }
            ready!(sleep.as_mut().poll(context));
            Poll::Ready(None)
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, TimerState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::sleep;

    #[tokio::test(start_paused = true)]
    async fn time_while_stopped_does_not_count() {
        let seconds = Duration::from_secs;
        for (before, stopped, after, completes) in
            [(9, 0, 0, true), (11, 0, 0, false), (4, 3600, 5, true), (4, 3600, 7, false)]
        {
            let (timer, start) = (RequestTimer::start(seconds(10)), Instant::now());
            let request = async {
                sleep(seconds(before)).await;
                timer.stopped(sleep(seconds(stopped))).await;
                sleep(seconds(after)).await;
            };
            assert_eq!(timer.run(request).await.is_some(), completes);
            let expected = if completes { before + stopped + after } else { 10 + stopped };
            assert_eq!(start.elapsed().as_secs(), expected);
        }
    }
}
