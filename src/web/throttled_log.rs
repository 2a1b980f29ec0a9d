//! Log messages that may become frequent, written at a limited rate.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Minimum time between two messages.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Counts occurrences of an event and logs them at most once per [`LOG_INTERVAL`].
#[derive(Debug, Default)]
pub(super) struct ThrottledLog(Mutex<Throttle>);

#[derive(Debug, Default)]
struct Throttle {
    /// Occurrences since the last message.
    occurrences: u64,
    next_log_at: Option<Instant>,
}

impl ThrottledLog {
    /// Records an occurrence. If a message is due, calls `log` with the number of occurrences since the last one.
    pub(super) fn record(&self, log: impl FnOnce(u64)) {
        let mut throttle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        throttle.occurrences += 1;
        let now = Instant::now();
        if throttle.next_log_at.is_none_or(|next_log_at| next_log_at <= now) {
            throttle.next_log_at = Some(now + LOG_INTERVAL);
            log(std::mem::take(&mut throttle.occurrences));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn occurrences_between_two_messages_are_counted() {
        let log = ThrottledLog::default();
        let mut messages = Vec::new();
        for _ in 0..3 {
            log.record(|occurrences| messages.push(occurrences));
        }
        advance(LOG_INTERVAL).await;
        log.record(|occurrences| messages.push(occurrences));
        assert_eq!(messages, [1, 3]);
    }
}
