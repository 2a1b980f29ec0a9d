//! How many requests all accounts have in flight together.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Lets so many requests in at a time, fairly: accounts take turns, however many requests one has.
#[derive(Debug)]
pub struct FairLimit {
    permits: Arc<Semaphore>,
    size: Mutex<usize>,
}

/// Where the requests of one account wait, so that only the first of them queues at the gate. The
/// queue there is first come, first served, and so accounts take turns.
#[derive(Debug, Default)]
pub(super) struct Turnstile(tokio::sync::Mutex<()>);

impl FairLimit {
    /// At most `size` requests at a time.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(size)), size: Mutex::new(size) }
    }

    /// Changes the size; what is in flight beyond it ends as it would have.
    pub fn resize(&self, size: usize) {
        let mut now = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        self.permits.add_permits(size.saturating_sub(*now));
        let surplus = u32::try_from(now.saturating_sub(size)).unwrap_or(u32::MAX);
        if surplus > 0 {
            let permits = self.permits.clone();
            // The semaphore is never closed.
            tokio::spawn(async move { permits.acquire_many_owned(surplus).await.map(OwnedSemaphorePermit::forget) });
        }
        *now = size;
    }

    /// Waits for a place, which is free again when the permit is dropped.
    pub(super) async fn enter(&self, turnstile: &Turnstile) -> Option<OwnedSemaphorePermit> {
        let _first = turnstile.0.lock().await;
        // The semaphore is never closed.
        self.permits.clone().acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures_util::future::join_all;
    use tokio::time::{Instant, sleep};

    /// A request of a second.
    async fn request(gate: &FairLimit, turnstile: &Turnstile, most: &AtomicUsize, now: &AtomicUsize) {
        let _permit = gate.enter(turnstile).await;
        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        sleep(Duration::from_secs(1)).await;
        now.fetch_sub(1, Ordering::SeqCst);
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_with_many_requests_delays_no_other() {
        let (gate, most, now) = (FairLimit::new(2), AtomicUsize::new(0), AtomicUsize::new(0));
        let (busy, small) = (Turnstile::default(), Turnstile::default());
        let crowd = join_all((0..100).map(|_| request(&gate, &busy, &most, &now)));
        let start = Instant::now();
        let late = async {
            sleep(Duration::from_millis(500)).await;
            request(&gate, &small, &most, &now).await;
            start.elapsed()
        };
        let (_, took) = futures_util::future::join(crowd, late).await;
        // One of the crowd waited at the gate before it, and one second is its own.
        assert!(took <= Duration::from_secs(3), "{took:?}");
        assert_eq!(start.elapsed(), Duration::from_secs(51));
        assert_eq!(most.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn its_size_can_change() {
        let (gate, turnstile) = (FairLimit::new(1), Turnstile::default());
        for size in [5, 2, 8, 1] {
            gate.resize(size);
            let (most, now) = (AtomicUsize::new(0), AtomicUsize::new(0));
            sleep(Duration::from_millis(1)).await;
            join_all((0..20).map(|_| request(&gate, &turnstile, &most, &now))).await;
            assert_eq!(most.load(Ordering::SeqCst), size);
        }
    }
}
