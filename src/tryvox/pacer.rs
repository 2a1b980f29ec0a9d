//! Decides when the next request of an account may start.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Spaces the starts of one account's requests evenly, without bursts, and pauses all of them if the API requests a
/// pause.
#[derive(Debug)]
pub(super) struct Pacer {
    schedule: Mutex<Schedule>,
}

#[derive(Debug)]
struct Schedule {
    /// Minimum time between the starts of two requests; zero if unlimited.
    interval: Duration,
    /// The earliest start that is not reserved, apart from a pause.
    next_start: Instant,
    /// No request starts before this. It never moves back.
    paused_until: Instant,
}

impl Pacer {
    /// Creates a pacer for at most `rate` requests per second; 0 means unlimited.
    pub(super) fn new(rate: f64) -> Self {
        let (interval, now) = (interval(rate), Instant::now());
        Self { schedule: Mutex::new(Schedule { interval, next_start: now, paused_until: now }) }
    }

    /// Changes the rate, from the next request on that is not waiting for its start yet.
    pub(super) fn set_rate(&self, rate: f64) {
        let (mut schedule, interval) = (self.lock_schedule(), interval(rate));
        if interval != schedule.interval {
            schedule.interval = interval;
            // Starts that were reserved far apart must not hold back those of a higher rate.
            schedule.next_start = schedule.next_start.min(Instant::now() + interval);
        }
    }

    /// Waits until the next request may start.
    pub(super) async fn wait(&self) {
        let mut start = self.reserve_start();
        loop {
            if start > Instant::now() {
                sleep_until(start).await;
            }
            // A pause that began during the sleep also applies to this request.
            if !self.is_paused() {
                return;
            }
            start = self.reserve_start();
        }
    }

    /// Lets no request start before `until`, including those already waiting. A pause is never shortened.
    pub(super) fn pause_until(&self, until: Instant) {
        let mut schedule = self.lock_schedule();
        schedule.paused_until = schedule.paused_until.max(until);
    }

    /// Returns when the last pause ends or ended.
    pub(super) fn paused_until(&self) -> Instant {
        self.lock_schedule().paused_until
    }

    /// Returns whether requests are paused.
    pub(super) fn is_paused(&self) -> bool {
        self.paused_until() > Instant::now()
    }

    /// Returns the minimum time that the starts of this many requests take.
    pub(super) fn minimum_time(&self, requests: u32) -> Duration {
        self.lock_schedule().interval.saturating_mul(requests)
    }

    fn reserve_start(&self) -> Instant {
        let mut schedule = self.lock_schedule();
        let start = schedule.next_start.max(schedule.paused_until).max(Instant::now());
        schedule.next_start = start + schedule.interval;
        start
    }

    fn lock_schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the time between the starts of two requests at this rate; zero if it is unlimited.
fn interval(rate: f64) -> Duration {
    if rate > 0.0 { Duration::from_secs_f64(rate.recip()) } else { Duration::ZERO }
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
        join_all((0..41).map(|_| pacer.wait())).await;
        assert_eq!(start.elapsed(), Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn idle_time_does_not_allow_a_burst() {
        let pacer = Pacer::new(10.0);
        pacer.wait().await;
        sleep(Duration::from_mins(1)).await;
        let start = Instant::now();
        pacer.wait().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        pacer.wait().await;
        assert_eq!(start.elapsed(), Duration::from_millis(100));
    }

    #[tokio::test(start_paused = true)]
    async fn another_rate_applies_to_the_next_request() {
        let pacer = Pacer::new(0.001);
        pacer.wait().await;
        pacer.set_rate(10.0);
        let start = Instant::now();
        pacer.wait().await;
        assert_eq!(start.elapsed(), Duration::from_millis(100));
        assert_eq!(pacer.minimum_time(5), Duration::from_millis(500));
        pacer.set_rate(1.0);
        // This start was reserved at the previous rate.
        pacer.wait().await;
        pacer.wait().await;
        assert_eq!(start.elapsed(), Duration::from_millis(1_200));
    }

    #[tokio::test(start_paused = true)]
    async fn unlimited_rate_never_waits() {
        let pacer = Pacer::new(0.0);
        let start = Instant::now();
        for _ in 0..1000 {
            pacer.wait().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn pause_applies_to_waiting_requests_which_are_spaced_afterwards() {
        for rate in [0.0, 10.0] {
            let pacer = Pacer::new(rate);
            let start = Instant::now();
            let pause = async {
                sleep(Duration::from_millis(150)).await;
                pacer.pause_until(start + Duration::from_mins(1));
                // A shorter pause does not end the longer one.
                pacer.pause_until(start + Duration::from_secs(1));
            };
            let requests = join_all((0..10).map(|_| async {
                pacer.wait().await;
                start.elapsed()
            }));
            let (mut starts, ()) = join(requests, pause).await;
            starts.sort_unstable();
            let before_pause = starts.iter().filter(|at| **at < Duration::from_mins(1)).count();
            // At 10 requests per second two start before the pause; without a limit all of them do.
            assert_eq!(before_pause, if rate > 0.0 { 2 } else { 10 });
            let is_spaced = |pair: &[Duration]| pair[1] >= pair[0] + Duration::from_millis(100);
            assert!(starts[before_pause..].windows(2).all(is_spaced), "{starts:?}");
        }
    }
}
