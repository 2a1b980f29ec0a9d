//! Lists the numbers of one account.
//!
//! A [`TryvoxClient`] requests the first page of a listing, then the others concurrently, and passes each page to a
//! callback as it arrives. An attempt at a page that fails is repeated as `retry` decides. When a page fails for good,
//! the listing fails and no further request is sent. Pages are not stored, and records are only passed on.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use fastrand::Rng;
use futures_util::{StreamExt, stream};
use reqwest::{StatusCode, Url};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::failure::{Failure, FailureReason, PageAttempt};
use super::fair_limit::FairLimit;
use super::key::ApiKey;
use super::options::TryvoxOptions;
use super::poll_key::PollKey;
use super::request_stats::RequestStats;
use super::response::RequestedWait;
use super::retry::{AttemptError, RetryDecision, RetryTimes, backoff};
use super::round_up_to_seconds;
use super::sender::{Admission, RequestSender};
use super::transport::Transport;
use super::urls::{ListingFilter, listing_url, numbers_url, page_url};
use super::wire::{GenerationWindow, ListingPage, PageText, Pagination};
use crate::duration;

/// What is known of a complete listing apart from its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListingSummary {
    /// Number of pages.
    pub pages: u32,
    /// Number of records that the first page reports, `pagination.total`.
    pub reported_total: u64,
    /// The highest total that any page reports.
    pub highest_total: u64,
    /// Whether every page reported the same total. If not, the listing changed while it was read.
    pub is_total_stable: bool,
}

/// The progress of a listing, in pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListingProgress {
    /// Pages that arrived.
    pub done: u32,
    /// Pages of the listing. Until its first page has arrived, those of the previous listing, or 0 if there was none.
    pub total: u32,
}

/// Lists the numbers of one account.
///
/// It is made for one listing at a time: the progress is that of the most recent one. Pacing, pauses and statistics
/// continue from one listing to the next.
pub struct TryvoxClient {
    /// The account's name in log messages.
    account: Arc<str>,
    numbers_url: Url,
    options: ArcSwap<TryvoxOptions>,
    sender: RequestSender,
    progress: ProgressCounters,
    now: fn() -> SystemTime,
    rng: Mutex<Rng>,
}

impl fmt::Debug for TryvoxClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryvoxClient")
            .field("account", &self.account)
            .field("numbers_url", &self.numbers_url.as_str())
            .finish_non_exhaustive()
    }
}

/// What a [`TryvoxClient`] needs besides its options.
#[derive(Debug, Clone)]
pub struct ClientContext {
    /// Sends the requests.
    pub transport: Arc<dyn Transport>,
    /// Limits the requests in flight over all accounts.
    pub fair_limit: Arc<FairLimit>,
    /// The wall clock, for responses without a `Date` header.
    pub now: fn() -> SystemTime,
    /// Randomness for the jitter of retries.
    pub rng: Rng,
}

impl TryvoxClient {
    /// Creates a client, which sends nothing yet.
    #[must_use]
    pub fn new(account: &str, account_id: &str, options: TryvoxOptions, context: ClientContext) -> Self {
        let ClientContext { transport, fair_limit, now, rng } = context;
        Self {
            account: account.into(),
            numbers_url: numbers_url(&options.url, account_id),
            sender: RequestSender::new(transport, fair_limit, options.rate_limit),
            options: ArcSwap::from_pointee(options),
            progress: ProgressCounters::default(),
            now,
            rng: Mutex::new(rng),
        }
    }

    /// Replaces the options, of which the URL must be the same. The rate limit applies at once, the others from the next
    /// listing on, so that all pages of a listing have the same size. Pauses and statistics stay.
    pub fn set_options(&self, options: TryvoxOptions) {
        self.sender.pacer().set_rate(options.rate_limit);
        self.options.store(Arc::new(options));
    }

    /// Returns the statistics of all requests so far.
    #[must_use]
    pub fn request_stats(&self) -> RequestStats {
        self.sender.stats().clone()
    }

    /// Returns a number that changes whenever [`request_stats`](Self::request_stats) does.
    #[must_use]
    pub fn request_stats_version(&self) -> u64 {
        let stats = self.sender.stats();
        stats.count + stats.retries.iter().sum::<u64>()
    }

    /// Returns the progress of the current listing, or of the last one if there is none.
    #[must_use]
    pub fn progress(&self) -> ListingProgress {
        let ProgressCounters { done, total } = &self.progress;
        ListingProgress { done: done.load(Ordering::Relaxed), total: total.load(Ordering::Relaxed) }
    }

    /// Returns when the pause that the API last requested ends; in the past if requests may start.
    #[must_use]
    pub fn paused_until(&self) -> Instant {
        self.sender.pacer().paused_until()
    }

    /// Returns the most recent failure of a request after `time`, unless the API has responded properly since.
    #[must_use]
    pub fn last_failure_since(&self, time: Instant) -> Option<Failure> {
        self.sender.gate().last_failure_since(time)
    }

    /// Sends later requests only on connections that are opened after `time`.
    pub fn discard_connections(&self, time: Instant) {
        self.sender.discard_connections(&self.numbers_url, time);
    }

    /// Waits until requests may start, as far as pauses are concerned.
    pub async fn wait_while_paused(&self) {
        while self.sender.pacer().is_paused() {
            sleep_until(self.paused_until()).await;
        }
    }

    /// Lists the numbers that match a filter: page 1 first, then the others concurrently.
    ///
    /// `on_page` is called with each page and its number as it arrives, in any order after page 1. If nothing fails,
    /// there is one request per page.
    ///
    /// The listing does not end at the `deadline` on its own: the caller drops the future then. The deadline only
    /// prevents attempts and pages that cannot be done in time.
    ///
    /// # Errors
    /// The failure of the first page that failed; other pages may have been passed to `on_page` before. No request
    /// starts afterwards, but the requests in flight are awaited: the API has seen them, so they must count.
    pub async fn list<F>(
        &self,
        key: &PollKey,
        filter: &ListingFilter,
        deadline: Instant,
        on_page: F,
    ) -> Result<ListingSummary, Failure>
    where
        F: Fn(u32, ListingPage<'_>),
    {
        let url = listing_url(&self.numbers_url, filter);
        ListingRun {
            client: self,
            options: self.options.load_full(),
            key,
            url,
            deadline,
            on_page,
            failed: CancellationToken::new(),
        }
        .run()
        .await
    }

    /// Returns a random number from 0 to 1.
    fn jitter(&self) -> f64 {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).f64()
    }
}

/// The counters of a [`ListingProgress`].
#[derive(Debug, Default)]
struct ProgressCounters {
    done: AtomicU32,
    total: AtomicU32,
}

/// One listing in progress.
struct ListingRun<'a, F> {
    client: &'a TryvoxClient,
    /// The options of the whole listing.
    options: Arc<TryvoxOptions>,
    key: &'a PollKey,
    /// The URL of the listing, without a page.
    url: Url,
    deadline: Instant,
    on_page: F,
    /// Cancelled when a page fails, so that no other page is requested any more.
    failed: CancellationToken,
}

/// Why there is no page.
enum PageError {
    /// The last attempt at the page failed.
    Failed(Failure),
    /// Another page failed before this one arrived.
    Cancelled,
}

impl<F: Fn(u32, ListingPage<'_>)> ListingRun<'_, F> {
    /// Fetches all pages.
    async fn run(&self) -> Result<ListingSummary, Failure> {
        let progress = &self.client.progress;
        progress.done.store(0, Ordering::Relaxed);
        let first = self.fetch_page(1).await.map_err(|error| match error {
            PageError::Failed(failure) => failure,
            PageError::Cancelled => Failure::new(
                FailureReason::Internal,
                "the listing was cancelled without a failure; please report this bug",
            ),
        })?;
        let pages = first.page_count()?;
        progress.done.store(1, Ordering::Relaxed);
        progress.total.store(pages, Ordering::Relaxed);
        self.check_rate_limit(pages)?;

        let concurrency = self.options.concurrency;
        let mut others = stream::iter((2..=pages).map(|page| self.fetch_page(page))).buffer_unordered(concurrency);
        let (mut is_total_stable, mut highest_total, mut first_failure) = (true, first.total, None);
        while let Some(page) = others.next().await {
            match page {
                Ok(pagination) => {
                    progress.done.fetch_add(1, Ordering::Relaxed);
                    is_total_stable &= pagination.total == first.total;
                    highest_total = highest_total.max(pagination.total);
                }
                Err(PageError::Failed(failure)) => first_failure = first_failure.or(Some(failure)),
                Err(PageError::Cancelled) => {}
            }
        }
        let summary = ListingSummary { pages, reported_total: first.total, highest_total, is_total_stable };
        first_failure.map_or(Ok(summary), Err)
    }

    /// Checks that the rate limit lets all pages after the first be requested before the deadline.
    fn check_rate_limit(&self, pages: u32) -> Result<(), Failure> {
        let needed = self.client.sender.pacer().minimum_time(pages - 1);
        let left = self.deadline.saturating_duration_since(Instant::now());
        if needed <= left {
            return Ok(());
        }
        let sufficient_rate = f64::from(pages) / left.as_secs_f64().max(0.001);
        Err(Failure::new(
            FailureReason::Timeout,
            format!(
                "{pages} pages at {} requests per second take {}, but the poll has only {} left; set \
                 --tryvox.rate-limit to at least {}, or raise --poll.interval and --poll.timeout",
                self.options.rate_limit,
                duration::format(round_up_to_seconds(needed)),
                duration::format(round_up_to_seconds(left)),
                sufficient_rate.ceil(),
            ),
        ))
    }

    /// Fetches a page. If that fails, no other page is requested any more.
    async fn fetch_page(&self, page: u32) -> Result<Pagination, PageError> {
        self.fetch_with_retries(page).await.inspect_err(|_| self.failed.cancel())
    }

    /// Makes attempts at a page until one succeeds, for at most `--tryvox.retry-for` after the first failure.
    async fn fetch_with_retries(&self, page: u32) -> Result<Pagination, PageError> {
        let (sender, options) = (&self.client.sender, &self.options);
        let account = &*self.client.account;
        let (mut attempt, mut give_up_at, mut is_key_replaced) = (1, None, false);
        loop {
            let Admission { pass, permit } = self.unless_failed(sender.admit()).await?;
            let key = self.key.current();
            let mut error = match self.attempt_page(page, &key, permit).await {
                Ok(pagination) => {
                    pass.succeed();
                    return Ok(pagination);
                }
                Err(error) => error,
            };
            error.failure.attempt = Some(PageAttempt { page, attempt });
            error.failure.cause = self.key.redactor().redact(&error.failure.cause);

            let reason = error.failure.reason;
            if error.is_retryable {
                let (now, jitter) = (Instant::now(), self.client.jitter());
                let give_up_at = *give_up_at.get_or_insert(now + options.retry_for);
                // The last attempt is made when the time for retries ends.
                let retry_at = |failures| (now + backoff(failures, jitter)).min(give_up_at.max(now));
                pass.fail(&error.failure, retry_at);
                let retry_at = retry_at(attempt);
                let failure = self.check_retry(error, now, retry_at, give_up_at).map_err(PageError::Failed)?;
                let backoff = retry_at - now;
                debug!(account, reason = reason.as_str(), error = %failure, ?backoff, "retrying");
                self.unless_failed(sleep_until(retry_at)).await?;
            } else {
                pass.succeed();
                let is_retried = reason == FailureReason::Unauthorized
                    && !is_key_replaced
                    && self.unless_failed(self.key.replace(&key)).await?;
                if !is_retried {
                    return Err(PageError::Failed(error.failure));
                }
                debug!(account, "retrying with a new API key");
                is_key_replaced = true;
            }
            sender.stats().record_retry(reason);
            attempt += 1;
        }
    }

    /// Waits for a future until it completes or another page fails.
    async fn unless_failed<T>(&self, future: impl Future<Output = T>) -> Result<T, PageError> {
        self.failed.run_until_cancelled(future).await.ok_or(PageError::Cancelled)
    }

    /// Pauses the account's requests if the response requests it, and decides whether the attempt that failed `now` is
    /// repeated. If so, returns the failure of the attempt.
    ///
    /// # Errors
    /// The failure to report if the attempt is not repeated.
    fn check_retry(
        &self,
        error: AttemptError,
        now: Instant,
        retry_at: Instant,
        give_up_at: Instant,
    ) -> Result<Failure, Failure> {
        let pacer = self.client.sender.pacer();
        if let Some(wait) = error.requested_wait {
            pacer.pause_until(now + wait.duration);
        }
        let paused_until = pacer.paused_until();
        let decision = error.decide(RetryTimes { now, retry_at, give_up_at, paused_until, deadline: self.deadline });
        let AttemptError { failure, requested_wait, .. } = error;
        match decision {
            RetryDecision::Retry => Ok(failure),
            RetryDecision::GiveUp => Err(failure),
            RetryDecision::GiveUpPaused => {
                let wait = duration::format(round_up_to_seconds(paused_until - now));
                let pause = match requested_wait {
                    Some(RequestedWait { header, .. }) => format!("{header} {wait} exceeds the poll's deadline"),
                    None => format!("requests are paused for {wait}, which exceeds the poll's deadline"),
                };
                // What follows the last semicolon is the remedy.
                let cause = match failure.cause.rsplit_once("; ") {
                    Some((cause, remedy)) => format!("{cause}, {pause}; {remedy}"),
                    None => format!("{}, {pause}", failure.cause),
                };
                Err(Failure { cause, ..failure })
            }
        }
    }

    /// Makes one attempt at a page and passes it to `on_page`.
    async fn attempt_page(
        &self,
        page: u32,
        key: &ApiKey,
        permit: OwnedSemaphorePermit,
    ) -> Result<Pagination, AttemptError> {
        let url = page_url(&self.url, page, self.options.per_page);
        let start = Instant::now();
        let response = self.client.sender.send(url, key, self.options.timeout, permit).await?;
        let date = response.date().unwrap_or_else(self.client.now);
        if response.status != StatusCode::OK {
            return Err(AttemptError::from_status(&response, date, &self.key.redactor()));
        }
        let body = response.body?;
        let text = PageText::new(&body);
        let mut parsed = ListingPage::parse(&text, self.options.per_page).map_err(Failure::from)?;
        parsed.generated = Some(GenerationWindow::of_response(date, start.elapsed()));
        let pagination = parsed.pagination;
        (self.on_page)(page, parsed);
        Ok(pagination)
    }
}
