//! A whole listing: its pages, each asked for until it is there or there is no hope.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fastrand::Rng;
use futures_util::{StreamExt, stream};
use reqwest::{StatusCode, Url};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::address::{Filter, listing_url, numbers_url, page_url};
use super::answer::{date, plausible, refusal};
use super::gate::{FairLimit, Turnstile};
use super::pacing::Pacer;
use super::retry::{ATTEMPTS, Refused, pause};
use super::transport::{ApiResponse, Transport};
use super::wire::{Page, Pagination, WriteWindow};
use super::{ApiKey, Attempt, Failure, Reason, RequestStats, TryvoxOptions};

/// What a whole listing was like; its records went elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListingSummary {
    /// Pages that were read.
    pub pages: u32,
    /// `pagination.total` of the first page.
    pub reported: u64,
    /// Whether every page reported that same total.
    pub steady: bool,
}

/// Asks for one account's numbers.
pub struct Client {
    name: Arc<str>,
    transport: Arc<dyn Transport>,
    numbers: Url,
    options: TryvoxOptions,
    now: fn() -> SystemTime,
    rng: Mutex<Rng>,
    pacer: Pacer,
    gate: Arc<FairLimit>,
    turnstile: Turnstile,
    requests: Mutex<RequestStats>,
    progress: (AtomicU32, AtomicU32),
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("name", &self.name)
            .field("numbers", &self.numbers.as_str())
            .finish_non_exhaustive()
    }
}

/// What a [`Client`] needs beside its options.
#[derive(Debug, Clone)]
pub struct ClientContext {
    /// Sends the requests.
    pub transport: Arc<dyn Transport>,
    /// Limits the requests in flight over all accounts.
    pub gate: Arc<FairLimit>,
    /// The wall clock, for responses without a `Date` header.
    pub now: fn() -> SystemTime,
    /// Randomness for the jitter of retries.
    pub rng: Rng,
}

impl Client {
    /// A client that has asked for nothing yet.
    #[must_use]
    pub fn new(name: &str, account_id: &str, options: TryvoxOptions, context: ClientContext) -> Self {
        let ClientContext { transport, gate, now, rng } = context;
        Self {
            name: name.into(),
            transport,
            numbers: numbers_url(&options.url, account_id),
            now,
            rng: Mutex::new(rng),
            pacer: Pacer::new(options.rate_limit),
            options,
            gate,
            turnstile: Turnstile::default(),
            requests: Mutex::default(),
            progress: Default::default(),
        }
    }

    /// What the requests came to so far.
    #[must_use]
    pub fn requests(&self) -> RequestStats {
        self.lock_requests().clone()
    }

    /// Another number whenever that is something else.
    #[must_use]
    pub fn requests_version(&self) -> u64 {
        let requests = self.lock_requests();
        requests.count + requests.retries.iter().sum::<u64>()
    }

    /// How many pages of the listing that goes on were read, and of how many, as far as that is known.
    #[must_use]
    pub fn progress(&self) -> (u32, u32) {
        let (read, pages) = &self.progress;
        (read.load(Ordering::Relaxed), pages.load(Ordering::Relaxed))
    }

    /// When the API, which may have asked for patience, may be asked again; that may have passed.
    #[must_use]
    pub fn ready_at(&self) -> Instant {
        self.pacer.held_until()
    }

    /// Waits until then.
    pub async fn ready(&self) {
        while self.ready_at() > Instant::now() {
            sleep_until(self.ready_at()).await;
        }
    }

    /// Lists every number that matches once: page 1 first, then the rest, as many at a time as may be in flight.
    ///
    /// `take` is given each page as it arrives, in any order. When nothing fails there are as many
    /// requests as pages. It is the caller who ends it at the `deadline`; here that only tells what
    /// is not worth starting.
    ///
    /// # Errors
    /// The first page that could not be had; other pages may have been taken by then. No request is
    /// started after it, and those in flight are heard out: the API sees them, so they count.
    pub async fn list<F>(
        &self,
        key: &ApiKey,
        filter: &Filter,
        deadline: Instant,
        take: F,
    ) -> Result<ListingSummary, Failure>
    where
        F: Fn(u32, Page<'_>),
    {
        let failed = CancellationToken::new();
        let listing = listing_url(&self.numbers, filter);
        let page = |page| {
            let request = Request { page, url: page_url(&listing, page, self.options.per_page), key };
            let attempts = self.page(request, deadline, &take, &failed);
            async { attempts.await.inspect_err(|_| failed.cancel()) }
        };
        let (read, of) = &self.progress;
        read.store(0, Ordering::Relaxed);
        let first = page(1).await.map_err(given_up)?;
        let Pagination { total, total_pages } = first;
        let pages = plausible(total, total_pages)?;
        read.store(1, Ordering::Relaxed);
        of.store(pages, Ordering::Relaxed);
        self.fits(pages, deadline)?;
        let mut rest = stream::iter((2..=pages).map(page)).buffer_unordered(self.options.concurrency);
        let (mut steady, mut failure) = (true, None);
        while let Some(page) = rest.next().await {
            read.fetch_add(1, Ordering::Relaxed);
            match page {
                Ok(pagination) => steady &= pagination.total == total,
                Err(why) => failure = failure.or(why),
            }
        }
        failure.map_or(Ok(ListingSummary { pages, reported: total, steady }), Err)
    }

    /// Whether the pages that follow the first can all be asked for before the deadline.
    fn fits(&self, pages: u32, deadline: Instant) -> Result<(), Failure> {
        let needed = self.pacer.at_least(pages - 1);
        let left = deadline.saturating_duration_since(Instant::now());
        if needed <= left {
            return Ok(());
        }
        let rate = f64::from(pages) / left.as_secs_f64().max(0.001);
        Err(Failure::new(
            Reason::Timeout,
            format!(
                "{pages} pages at {} requests a second take {} and the poll has {} left: set --tryvox.rate-limit to \
                 {} or more, or --poll.interval and --poll.timeout to more than that",
                self.options.rate_limit,
                round(needed),
                round(left),
                rate.ceil(),
            ),
        ))
    }

    /// Asks for a page, up to [`ATTEMPTS`] times. The error is `None` when another page `failed`
    /// before this one was there.
    async fn page<F>(
        &self,
        request: Request<'_>,
        deadline: Instant,
        take: &F,
        failed: &CancellationToken,
    ) -> Result<Pagination, Option<Failure>>
    where
        F: Fn(u32, Page<'_>),
    {
        let mut attempt = 1;
        loop {
            let place = failed.run_until_cancelled(self.turn()).await.ok_or(None)?;
            let Refused { failure, again, retry_after } = match self.attempt(&request, place, take).await {
                Ok(pagination) => return Ok(pagination),
                Err(refused) => refused,
            };
            let cause = request.key.redact(&failure.cause);
            let failure = Failure { at: Some(Attempt { page: request.page, attempt }), cause, ..failure };

            let now = Instant::now();
            let pause = pause(attempt, self.lock_rng().f64());
            match retry_after {
                Some(wait) => self.pacer.hold(now + wait),
                // Without a word of when, the others need not find out by themselves.
                None if failure.reason == Reason::RateLimited => self.pacer.hold(now + pause),
                None => {}
            }
            if again && self.pacer.held_until() > deadline {
                let wait = round(self.pacer.held_until() - now);
                let cause = format!("{}; it asks for patience for {wait}, past the end of this poll", failure.cause);
                return Err(Some(Failure { reason: Reason::RateLimited, cause, ..failure }));
            }
            if !again || attempt == ATTEMPTS || now + pause > deadline {
                return Err(Some(failure));
            }
            debug!(account = &*self.name, reason = failure.reason.as_str(), error = %failure, ?pause, "trying again");
            failed.run_until_cancelled(sleep(pause)).await.ok_or(None)?;
            self.lock_requests().retry(failure.reason);
            attempt += 1;
        }
    }

    /// Waits until a request may start, and takes its place among those of all accounts.
    async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        loop {
            self.pacer.turn().await;
            let place = self.gate.enter(&self.turnstile).await;
            // While this one queued, another may have been told to wait.
            if self.pacer.held_until() <= Instant::now() {
                return place;
            }
        }
    }

    /// One request and what it means. Its `place` is free again when the answer is there.
    async fn attempt<F>(
        &self,
        request: &Request<'_>,
        place: Option<OwnedSemaphorePermit>,
        take: &F,
    ) -> Result<Pagination, Refused>
    where
        F: Fn(u32, Page<'_>),
    {
        let asked = Instant::now();
        let answer = self.request(request).await;
        drop(place);
        let ApiResponse { status, headers, body } = answer?;
        let now = date(&headers).unwrap_or_else(self.now);
        if status != StatusCode::OK {
            return Err(Refused::by_status(status, &headers, refusal(status, &headers), now));
        }
        let body = body?;
        let mut read = Page::read(&body)
            .map_err(|error| Failure::new(Reason::Decode, format!("the body is not a page of numbers: {error}")))?;
        for example in &mut read.unreadable.examples {
            *example = request.key.redact(example);
        }
        read.written = Some(WriteWindow::answered(now, asked.elapsed()));
        let pagination = read.pagination;
        take(request.page, read);
        Ok(pagination)
    }

    /// Sends a request, which is counted however it ends.
    async fn request(&self, request: &Request<'_>) -> Result<ApiResponse, Failure> {
        let bearer = request.key.bearer().map_err(|error| Failure::new(Reason::ApiKey, error.to_string()))?;
        let mut counted = Counted { requests: &self.requests, start: Instant::now(), status: None };
        let answer = timeout(self.options.timeout, self.transport.get(request.url.clone(), bearer)).await;
        let answer = answer.unwrap_or_else(|_| {
            let after = humantime::format_duration(self.options.timeout);
            Err(Failure::new(Reason::Timeout, format!("no whole answer within {after} (--tryvox.timeout)")))
        })?;
        counted.status = Some(answer.status.as_u16());
        Ok(answer)
    }

    fn lock_requests(&self) -> MutexGuard<'_, RequestStats> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_rng(&self) -> MutexGuard<'_, Rng> {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What to ask for.
struct Request<'a> {
    page: u32,
    url: Url,
    key: &'a ApiKey,
}

/// A request in flight; it is counted when this is dropped, and so also when the poll is given up.
struct Counted<'a> {
    requests: &'a Mutex<RequestStats>,
    start: Instant,
    status: Option<u16>,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.observe(self.status, self.start.elapsed());
    }
}

/// Why a page is not there that nothing but itself can have stopped.
fn given_up(failure: Option<Failure>) -> Failure {
    failure.unwrap_or_else(|| Failure::new(Reason::Internal, "given up without a reason"))
}

/// Whole seconds, rounded up, for people.
fn round(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(duration.as_secs() + u64::from(duration.subsec_nanos() > 0)))
}
