//! The time for which the machine is suspended, which tokio's clock does not count.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Returns how long the machine has been suspended since it booted: `CLOCK_BOOTTIME` counts that time, the otherwise
/// equal `CLOCK_MONOTONIC` does not. Setting the wall clock changes neither.
#[must_use]
pub fn total_suspended_time() -> Duration {
    let [awake, all] = [ClockId::Monotonic, ClockId::Boottime].map(clock_gettime).map(since_boot);
    all.saturating_sub(awake)
}

fn since_boot(time: Timespec) -> Duration {
    Duration::try_from(time).unwrap_or_default()
}

/// Measures the time for which the machine is suspended from a moment on.
#[derive(Debug, Clone, Copy)]
pub struct SuspensionTimer {
    /// Returns the time suspended since the machine booted.
    total: fn() -> Duration,
    /// That time when the timer started.
    start: Duration,
}

impl SuspensionTimer {
    /// Starts to measure, by a function like [`total_suspended_time`].
    #[must_use]
    pub fn start(total: fn() -> Duration) -> Self {
        Self { total, start: total() }
    }

    /// Returns the time for which the machine was suspended since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        (self.total)().saturating_sub(self.start)
    }
}
