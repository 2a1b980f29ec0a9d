//! Log messages that may become frequent, written at a limited rate.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Minimum time between two messages.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Counts occurrences of an event and logs them at most once per [`LOG_INTERVAL`].
#[derive(Debug, Default)]
pub(super) struct ThrottledLog(Mutex<Throttle>);

/// Logs each of several errors like a [`ThrottledLog`]: one that has not occurred recently is logged at once.
#[derive(Debug, Default)]
pub(super) struct ThrottledErrorLog(Mutex<HashMap<String, Throttle>>);

#[derive(Debug, Default)]
struct Throttle {
    /// Occurrences since the last message.
    occurrences: u64,
    next_log_at: Option<Instant>,
}

impl Throttle {
    fn is_due(&self, now: Instant) -> bool {
        self.next_log_at.is_none_or(|next_log_at| next_log_at <= now)
    }

    fn record(&mut self, now: Instant, log: impl FnOnce(u64)) {
        self.occurrences += 1;
        if self.is_due(now) {
            self.next_log_at = Some(now + LOG_INTERVAL);
            log(std::mem::take(&mut self.occurrences));
        }
    }
}

impl ThrottledLog {
    /// Records an occurrence. If a message is due, calls `log` with the number of occurrences since the last one.
    pub(super) fn record(&self, log: impl FnOnce(u64)) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).record(Instant::now(), log);
    }
}

impl ThrottledErrorLog {
    /// Records an occurrence of `error`. If a message is due, calls `log` with the number of its occurrences since the
    /// last one.
    pub(super) fn record(&self, error: &str, log: impl FnOnce(u64)) {
        let mut throttles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        // Errors that have not occurred recently are removed, which bounds memory.
        throttles.retain(|other, throttle| other == error || !throttle.is_due(now));
        throttles.entry(error.to_owned()).or_default().record(now, log);
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

    #[tokio::test(start_paused = true)]
    async fn each_error_is_logged_at_once_and_then_at_a_limited_rate() {
        let log = ThrottledErrorLog::default();
        let mut messages = Vec::new();
        for error in ["a", "b", "a", "b", "a"] {
            log.record(error, |occurrences| messages.push((error, occurrences)));
        }
        advance(LOG_INTERVAL).await;
        log.record("a", |occurrences| messages.push(("a", occurrences)));
        assert_eq!(messages, [("a", 1), ("b", 1), ("a", 3)]);
        assert_eq!(log.0.lock().unwrap().len(), 1);
    }
}
