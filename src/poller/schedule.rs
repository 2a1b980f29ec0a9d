//! When an account is polled next.
//!
//! The result of each poll goes in, the time of the next one comes out. Nothing here waits or reads a clock.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

/// Time between the end of a failed poll and the next one, on average.
const RETRY_PAUSE: Duration = Duration::from_secs(15);

/// Share of a pause by which it is shortened or extended at random, so that accounts do not poll in step after an
/// outage that they share.
const JITTER: f64 = 0.2;

/// Duration of an outage from which on the pauses grow.
const SHORT_OUTAGE: Duration = Duration::from_mins(10);

/// The schedule of one account: one poll every interval, and more polls after failed ones.
#[derive(Debug)]
pub(super) struct Schedule {
    interval: Duration,
    /// The next time at which the account is polled if polls succeed. Such times are one interval apart.
    next_tick: Instant,
    outage: Option<Outage>,
    rng: Rng,
}

/// A series of failed polls.
#[derive(Debug, Clone, Copy)]
struct Outage {
    /// When the first of them ended.
    since: Instant,
    /// The pause before the next poll, without jitter.
    pause: Duration,
}

impl Schedule {
    /// Creates a schedule whose first tick is at `first_tick`.
    pub(super) fn new(first_tick: Instant, interval: Duration, rng: Rng) -> Self {
        Self { interval, next_tick: first_tick, outage: None, rng }
    }

    /// Returns when the next poll starts, after one that ended at `now`. If it failed, `failure_pause` is the minimum time
    /// until the next one, unless the interval is shorter; `None` if it was successful.
    ///
    /// After a successful poll that is the next tick. If the poll took longer than the interval, it is now; the polls
    /// missed are skipped, and later ones keep to the schedule. After a failed poll it is 15 s later, and once an outage
    /// has lasted ten minutes, twice as long as before, but never more than the interval.
    pub(super) fn next_poll_at(&mut self, now: Instant, failure_pause: Option<Duration>) -> Instant {
        let Some(min_pause) = failure_pause else {
            self.outage = None;
            return self.next_tick;
        };
        let outage = self.outage.get_or_insert(Outage { since: now, pause: RETRY_PAUSE });
        if now - outage.since >= SHORT_OUTAGE {
            outage.pause = (outage.pause * 2).min(self.interval);
        }
        let jitter = 1.0 + JITTER * (2.0 * self.rng.f64() - 1.0);
        now + outage.pause.mul_f64(jitter).max(min_pause).min(self.interval)
    }

    /// Changes the interval at `now`. The next tick is one interval after the last one; if that has passed, the ticks
    /// since are skipped. So accounts whose polls are spread stay spread.
    pub(super) fn set_interval(&mut self, now: Instant, interval: Duration) {
        let (previous, new) = (self.interval.as_nanos(), interval.as_nanos());
        let left = self.next_tick.saturating_duration_since(now);
        let left = if interval >= self.interval {
            left + interval.saturating_sub(self.interval)
        } else {
            // The last tick was `previous - left` ago; what is left until the next one that is `new` later.
            let left = (left.as_nanos() + previous.div_ceil(new.max(1)) * new).saturating_sub(previous);
            Duration::from_nanos_u128(left.checked_rem(new).unwrap_or(0))
        };
        (self.interval, self.next_tick) = (interval, now + left);
    }

    /// Returns when the next poll starts after a failed one if its cause may have been removed at `now`: soon, as after the
    /// first failure.
    pub(super) fn retry_soon(&mut self, now: Instant) -> Instant {
        self.outage = None;
        self.next_poll_at(now, Some(Duration::ZERO))
    }

    /// Notes that a poll starts at `now`. A tick that has passed is replaced by the first one after `now`.
    pub(super) fn poll_started(&mut self, now: Instant) {
        if now >= self.next_tick {
            let late = (now - self.next_tick).as_nanos();
            let since_last = late.checked_rem(self.interval.as_nanos()).and_then(|rest| u64::try_from(rest).ok());
            self.next_tick = now + self.interval.saturating_sub(Duration::from_nanos(since_last.unwrap_or(0)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_mins(5);

    #[test]
    fn ticks_keep_to_the_schedule_after_a_late_poll() {
        let tick = Instant::now();
        let next = |late| {
            let mut schedule = Schedule::new(tick, Duration::from_secs(10), Rng::with_seed(7));
            let now = tick + Duration::from_secs(late);
            schedule.poll_started(now);
            schedule.next_poll_at(now, None) - tick
        };
        assert_eq!([0, 3, 10, 25].map(next), [10, 10, 20, 30].map(Duration::from_secs));
    }

    #[test]
    fn another_interval_counts_from_the_last_tick_and_keeps_the_phase() {
        let start = Instant::now();
        let next = |first, previous, now, new| {
            let minutes = |minutes: u64| Duration::from_mins(minutes);
            let mut schedule = Schedule::new(start + minutes(first), minutes(previous), Rng::new());
            schedule.set_interval(start + minutes(now), minutes(new));
            (schedule.next_poll_at(start + minutes(now), None) - start).as_secs() / 60
        };
        // Longer, shorter, and so much shorter that ticks have been missed.
        assert_eq!([next(60, 60, 10, 90), next(60, 60, 10, 30), next(60, 60, 50, 7)], [90, 30, 56]);
        // Polls that are spread over the first interval stay spread.
        let spread: Vec<_> = (30..90).map(|first| next(first, 60, 1, 10)).collect();
        for minute in 1..=10 {
            assert_eq!(spread.iter().filter(|next| **next == minute).count(), 6, "{spread:?}");
        }
        let mut schedule = Schedule::new(start, Duration::from_nanos(3), Rng::new());
        schedule.set_interval(start + Duration::from_hours(1), Duration::from_nanos(1));
        schedule.set_interval(start, Duration::from_hours(24 * 365));
    }

    /// Returns the pauses after polls that fail at once, until an outage of this duration has ended.
    fn pauses(duration: Duration, interval: Duration, seed: u64) -> Vec<f64> {
        let start = Instant::now();
        let mut schedule = Schedule::new(start + interval, interval, Rng::with_seed(seed));
        let (mut now, mut pauses) = (start, Vec::new());
        while now - start < duration {
            let next = schedule.next_poll_at(now, Some(Duration::ZERO));
            pauses.push((next - now).as_secs_f64());
            now = next;
            schedule.poll_started(now);
        }
        assert!(schedule.next_poll_at(now, None) > now);
        pauses
    }

    #[test]
    fn failed_polls_are_repeated_soon_and_later_less_often() {
        let short = pauses(SHORT_OUTAGE, INTERVAL, fastrand::u64(..));
        assert!(short.iter().all(|pause| (12.0..=18.0).contains(pause)), "{short:?}");
        let long = pauses(Duration::from_hours(24), INTERVAL, fastrand::u64(..));
        let growing: Vec<_> = long.iter().skip_while(|pause| **pause <= 18.0).take(4).collect();
        let doubled = [30.0, 60.0, 120.0, 240.0];
        assert!(
            growing.iter().zip(doubled).all(|(pause, doubled)| (**pause / doubled - 1.0).abs() <= JITTER),
            "{long:?}"
        );
        assert!(long[60..].iter().all(|pause| (240.0..=300.0).contains(pause)), "{long:?}");
    }

    #[test]
    fn pause_is_never_longer_than_the_interval() {
        let short = pauses(Duration::from_mins(30), Duration::from_secs(5), fastrand::u64(..));
        assert!(short.iter().all(|pause| *pause <= 5.0), "{short:?}");
        let long = pauses(Duration::from_hours(48), Duration::from_hours(6), fastrand::u64(..));
        let mut schedule = Schedule::new(Instant::now() + INTERVAL, INTERVAL, Rng::new());
        let now = Instant::now();
        for (minimum, expected) in [(0, 12..=18), (100, 100..=100), (1000, 300..=300)] {
            let pause = schedule.next_poll_at(now, Some(Duration::from_secs(minimum))) - now;
            assert!(expected.contains(&pause.as_secs()), "{pause:?}");
        }
        assert!(long.iter().any(|pause| *pause > 17_000.0) && long.iter().all(|pause| *pause <= 21_600.0), "{long:?}");
    }
}
