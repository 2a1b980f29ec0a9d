//! When the next request of an account may start.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Spaces the requests of one account evenly, without bursts, and holds all of them back while the
/// API asks for patience.
#[derive(Debug)]
pub(super) struct Pacer {
    gap: Duration,
    moments: Mutex<Moments>,
}

#[derive(Debug)]
struct Moments {
    /// The next that is free.
    next: Instant,
    /// Nothing starts before.
    held: Instant,
}

impl Pacer {
    /// At most `rate` requests a second; 0 is no limit.
    pub(super) fn new(rate: f64) -> Self {
        let gap = if rate > 0.0 { Duration::from_secs_f64(rate.recip()) } else { Duration::ZERO };
        let now = Instant::now();
        Self { gap, moments: Mutex::new(Moments { next: now, held: now }) }
    }

    /// Waits for the next free moment and takes it.
    pub(super) async fn turn(&self) {
        let mut moment = self.take();
        loop {
            if moment > Instant::now() {
                sleep_until(moment).await;
            }
            // While this one slept, another may have been told to wait, and that concerns all.
            if self.held_until() <= Instant::now() {
                return;
            }
            moment = self.take();
        }
    }

    /// Lets nothing start before `until`, those that wait for their turn included.
    pub(super) fn hold(&self, until: Instant) {
        let mut moments = self.lock();
        moments.held = moments.held.max(until);
    }

    /// The moment before which nothing starts; it may have passed.
    pub(super) fn held_until(&self) -> Instant {
        self.lock().held
    }

    /// What so many requests take at least.
    pub(super) fn at_least(&self, requests: u32) -> Duration {
        self.gap.saturating_mul(requests)
    }

    fn take(&self) -> Instant {
        let mut moments = self.lock();
        let moment = moments.next.max(moments.held).max(Instant::now());
        moments.next = moment + self.gap;
        moment
    }

    fn lock(&self) -> MutexGuard<'_, Moments> {
        self.moments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::{join, join_all};
    use tokio::time::sleep;

    #[tokio::test(start_paused = true)]
    async fn requests_are_spaced_evenly_however_many_wait() {
        let pacer = Pacer::new(20.0);
        let start = Instant::now();
        join_all((0..41).map(|_| pacer.turn())).await;
        assert_eq!(start.elapsed(), Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_earns_no_burst() {
        let pacer = Pacer::new(10.0);
        pacer.turn().await;
        sleep(Duration::from_mins(1)).await;
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

    #[tokio::test(start_paused = true)]
    async fn a_hold_concerns_all_and_is_spaced_after() {
        for rate in [0.0, 10.0] {
            let pacer = Pacer::new(rate);
            let start = Instant::now();
            let hold = async {
                sleep(Duration::from_millis(150)).await;
                pacer.hold(start + Duration::from_mins(1));
                // A shorter one does not end it.
                pacer.hold(start + Duration::from_secs(1));
            };
            let turns = join_all((0..10).map(|_| async {
                pacer.turn().await;
                start.elapsed()
            }));
            let (mut starts, ()) = join(turns, hold).await;
            starts.sort_unstable();
            let early = starts.iter().filter(|at| **at < Duration::from_mins(1)).count();
            // At 10 a second two had started before the hold, without a limit all.
            assert_eq!(early, if rate > 0.0 { 2 } else { 10 });
            let spaced = |pair: &[Duration]| pair[1] >= pair[0] + Duration::from_millis(100);
            assert!(starts[early..].windows(2).all(spaced), "{starts:?}");
        }
    }
}
