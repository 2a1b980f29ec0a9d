//! The limit of requests in flight over all accounts.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Limits the requests in flight over all accounts, fairly: accounts take turns, however many requests each has.
///
/// Permits are granted first come, first served, and each account queues for one permit at a time (its
/// `AccountQueue`), so a request waits behind at most one request of every other account.
#[derive(Debug)]
pub struct FairLimit {
    permits: Arc<Semaphore>,
    /// Number of permits, including those in use.
    size: Mutex<usize>,
}

/// The requests of one account that wait for a permit of a [`FairLimit`]; only the first of them queues there.
#[derive(Debug, Default)]
pub(super) struct AccountQueue(tokio::sync::Mutex<()>);

impl FairLimit {
    /// Creates a limit of `size` requests in flight.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(size)), size: Mutex::new(size) }
    }

    /// Changes the limit. Requests in flight beyond a lower limit are not interrupted.
    ///
    /// # Panics
    /// If the limit is lowered outside a tokio runtime.
    pub fn resize(&self, size: usize) {
        let mut current = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        self.permits.add_permits(size.saturating_sub(*current));
        let surplus = u32::try_from(current.saturating_sub(size)).unwrap_or(u32::MAX);
        if surplus > 0 {
            let permits = self.permits.clone();
            // Surplus permits are taken out as they become free. An error means that the semaphore is closed, which
            // never happens.
            tokio::spawn(async move { permits.acquire_many_owned(surplus).await.map(OwnedSemaphorePermit::forget) });
        }
        *current = size;
    }

    /// Waits for a permit for one request of the account that the queue belongs to. Dropping the permit frees it.
    pub(super) async fn acquire(&self, queue: &AccountQueue) -> OwnedSemaphorePermit {
        let _head = queue.0.lock().await;
        match self.permits.clone().acquire_owned().await {
            Ok(permit) => permit,
            // An error means that the semaphore is closed, which never happens.
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures_util::future::{join, join_all};
    use tokio::time::{Instant, sleep};

    /// Counts requests in flight.
    #[derive(Default)]
    struct InFlight {
        current: AtomicUsize,
        maximum: AtomicUsize,
    }

    impl InFlight {
        /// Makes a request that takes one second.
        async fn request(&self, limit: &FairLimit, queue: &AccountQueue) {
            let _permit = limit.acquire(queue).await;
            self.maximum.fetch_max(self.current.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            sleep(Duration::from_secs(1)).await;
            self.current.fetch_sub(1, Ordering::SeqCst);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_with_many_requests_does_not_delay_others() {
        let (limit, in_flight) = (FairLimit::new(2), InFlight::default());
        let (busy, small) = (AccountQueue::default(), AccountQueue::default());
        let requests_of_busy = join_all((0..100).map(|_| in_flight.request(&limit, &busy)));
        let start = Instant::now();
        let request_of_small = async {
            sleep(Duration::from_millis(500)).await;
            in_flight.request(&limit, &small).await;
            start.elapsed()
        };
        let (_, elapsed) = join(requests_of_busy, request_of_small).await;
        // Half a second before it starts, up to a second behind one queued request, and one second of its own.
        assert!(elapsed <= Duration::from_secs(3), "{elapsed:?}");
        assert_eq!(start.elapsed(), Duration::from_secs(51));
        assert_eq!(in_flight.maximum.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn limit_can_be_resized() {
        let (limit, queue) = (FairLimit::new(1), AccountQueue::default());
        for size in [5, 2, 8, 1] {
            limit.resize(size);
            let in_flight = InFlight::default();
            sleep(Duration::from_millis(1)).await;
            join_all((0..20).map(|_| in_flight.request(&limit, &queue))).await;
            assert_eq!(in_flight.maximum.load(Ordering::SeqCst), size);
        }
    }
}
