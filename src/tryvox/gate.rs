//! Lets the requests of an account start one at a time while they fail.
//!
//! Requests enter the gate before they are sent, and report what became of them. The first failure closes the gate:
//! from then on one request at a time passes, a probe, after a backoff that grows with each probe that fails. The first
//! response that is not a failure opens the gate again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::failure::Failure;

/// The gate of one account.
#[derive(Debug, Default)]
pub(super) struct RequestGate {
    outage: Mutex<Option<Outage>>,
    /// Notified whenever waiting requests have to check the outage again.
    changed: Notify,
}

/// The time since the last response that was not a failure.
#[derive(Debug)]
struct Outage {
    /// Failed requests, at least 1. Requests that were in flight when the first one failed do not count.
    failures: u32,
    /// When the next probe may start.
    next_probe_at: Instant,
    /// Whether a probe is in flight.
    is_probing: bool,
    /// The most recent failure, and when it happened.
    last_failure: (Failure, Instant),
    /// Distinguishes this outage from others of the account.
    id: u64,
}

/// What a request finds at the gate.
enum GateState {
    Open,
    /// Closed; the request is the next probe of this outage.
    Probe(u64),
    /// Closed until then, or until the state changes.
    ClosedUntil(Instant),
    /// Closed until the probe in flight is done.
    Probing,
}

/// The permission to send one request. If it is dropped without a result, for example because the poll was cancelled,
/// the next request probes instead.
#[derive(Debug)]
pub(super) struct GatePass<'a> {
    gate: &'a RequestGate,
    /// The outage that the request probes; `None` if there was none when it passed.
    probed_outage: Option<u64>,
}

impl RequestGate {
    /// Waits until a request may be sent.
    pub(super) async fn enter(&self) -> GatePass<'_> {
        loop {
            // Created before the state is read, so that no change is missed.
            let changed = self.changed.notified();
            match self.state() {
                GateState::Open => return GatePass { gate: self, probed_outage: None },
                GateState::Probe(outage) => return GatePass { gate: self, probed_outage: Some(outage) },
                GateState::ClosedUntil(time) => _ = timeout_at(time, changed).await,
                GateState::Probing => changed.await,
            }
        }
    }

    /// Returns whether a request with this pass may still be sent; not if the gate has closed meanwhile.
    pub(super) fn admits(&self, pass: &GatePass<'_>) -> bool {
        self.lock().as_ref().is_none_or(|outage| pass.probed_outage == Some(outage.id))
    }

    /// Returns the most recent failure after `time`, unless there was a response since that was not a failure.
    pub(super) fn last_failure_since(&self, time: Instant) -> Option<Failure> {
        let outage = self.lock();
        let (failure, failed_at) = &outage.as_ref()?.last_failure;
        (*failed_at >= time).then(|| failure.clone())
    }

    fn state(&self) -> GateState {
        match &mut *self.lock() {
            None => GateState::Open,
            Some(outage) if outage.is_probing => GateState::Probing,
            Some(outage) if outage.next_probe_at > Instant::now() => GateState::ClosedUntil(outage.next_probe_at),
            Some(outage) => {
                outage.is_probing = true;
                GateState::Probe(outage.id)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Outage>> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GatePass<'_> {
    /// Opens the gate: the API responded, and the request need not be repeated.
    pub(super) fn succeed(self) {
        *self.gate.lock() = None;
    }

    /// Closes the gate. `next_probe_at` returns when the next probe may start, given the number of failures.
    pub(super) fn fail(self, failure: &Failure, next_probe_at: impl FnOnce(u32) -> Instant) {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);

        let last_failure = (failure.clone(), Instant::now());
        let mut outage = self.gate.lock();
        match &mut *outage {
            None => {
                let (next_probe_at, id) = (next_probe_at(1), NEXT_ID.fetch_add(1, Ordering::Relaxed));
                *outage = Some(Outage { failures: 1, next_probe_at, is_probing: false, last_failure, id });
            }
            Some(outage) => {
                if self.probed_outage == Some(outage.id) {
                    outage.failures = outage.failures.saturating_add(1);
                    outage.next_probe_at = next_probe_at(outage.failures);
                }
                outage.last_failure = last_failure;
            }
        }
    }
}

impl Drop for GatePass<'_> {
    fn drop(&mut self) {
        if let Some(outage) = &mut *self.gate.lock()
            && self.probed_outage == Some(outage.id)
        {
            outage.is_probing = false;
        }
        self.gate.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tryvox::FailureReason;
    use futures_util::future::join_all;
    use std::time::Duration;
    use tokio::time::sleep;

    fn failure() -> Failure {
        Failure::new(FailureReason::ServerError, "")
    }

    fn in_seconds(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn one_probe_at_a_time_passes_until_one_succeeds() {
        let (gate, start) = (RequestGate::default(), Instant::now());
        let request = async |number: u64| {
            let pass = gate.enter().await;
            let entered = start.elapsed().as_secs();
            sleep(Duration::from_secs(1)).await;
            // Up to three seconds after the start requests fail.
            if start.elapsed().as_secs() <= 3 {
                pass.fail(&failure(), |failures| in_seconds(failures.into()));
            } else {
                pass.succeed();
            }
            (number, entered)
        };
        let mut entered = join_all((0..3).map(&request)).await;
        entered.extend(join_all((3..8).map(&request)).await);
        let times: Vec<_> = entered.iter().map(|(_, entered)| *entered).collect();
        // Three are in flight at first. Probes start one and two seconds after the failures before them.
        assert_eq!(times, [0, 0, 0, 2, 5, 6, 6, 6]);
        assert_eq!(gate.last_failure_since(start), None);
    }

    #[tokio::test(start_paused = true)]
    async fn dropped_probe_makes_way_for_the_next() {
        let (gate, start) = (RequestGate::default(), Instant::now());
        let (first, late) = (gate.enter().await, gate.enter().await);
        first.fail(&failure(), |_| in_seconds(0));
        assert!(!gate.admits(&late) && gate.last_failure_since(start) == Some(failure()));
        let probe = gate.enter().await;
        assert!(gate.admits(&probe));
        let next = async {
            drop(gate.enter().await);
            Instant::now()
        };
        let release = async {
            sleep(Duration::from_secs(7)).await;
            drop(probe);
            Instant::now()
        };
        let (entered, released) = futures_util::future::join(next, release).await;
        assert_eq!(entered, released);
        assert_eq!(gate.last_failure_since(Instant::now()), None, "an earlier failure");
        late.succeed();
        assert_eq!(gate.last_failure_since(start), None);
    }

    #[tokio::test(start_paused = true)]
    async fn probe_of_an_earlier_outage_does_not_end_that_of_a_later_one() {
        let gate = RequestGate::default();
        let (first, second) = (gate.enter().await, gate.enter().await);
        first.fail(&failure(), |_| in_seconds(0));
        let old_probe = gate.enter().await;
        second.succeed();
        gate.enter().await.fail(&failure(), |_| in_seconds(0));
        let probe = gate.enter().await;
        drop(old_probe);
        let next = tokio::time::timeout(Duration::from_secs(1), gate.enter()).await;
        assert!(next.is_err() && gate.admits(&probe));
    }
}
