//! When the next request may start.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Spaces the requests of one account evenly, without bursts.
#[derive(Debug)]
pub(super) struct Pacer {
    gap: Duration,
    next: Mutex<Instant>,
}

impl Pacer {
    /// At most `rate` requests a second; 0 is no limit.
    pub(super) fn new(rate: f64) -> Self {
        let gap = if rate > 0.0 { Duration::from_secs_f64(rate.recip()) } else { Duration::ZERO };
        Self { gap, next: Mutex::new(Instant::now()) }
    }

    /// Waits for the next free moment and takes it.
    pub(super) async fn turn(&self) {
        if self.gap.is_zero() {
            return;
        }
        let moment = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let moment = (*next).max(Instant::now());
            *next = moment + self.gap;
            moment
        };
        sleep_until(moment).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_are_spaced_evenly_however_many_wait() {
        let pacer = Pacer::new(20.0);
        let start = Instant::now();
        futures_util::future::join_all((0..41).map(|_| pacer.turn())).await;
        assert_eq!(start.elapsed(), Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_earns_no_burst() {
        let pacer = Pacer::new(10.0);
        pacer.turn().await;
        tokio::time::sleep(Duration::from_mins(1)).await;
        let start = Instant::now();
        pacer.turn().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        pacer.turn().await;
        assert_eq!(start.elapsed(), Duration::from_millis(100));
    }

    #[tokio::test(start_paused = true)]
    async fn no_limit_waits_for_nothing() {
        let pacer = Pacer::new(0.0);
        let start = Instant::now();
        for _ in 0..1000 {
            pacer.turn().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
