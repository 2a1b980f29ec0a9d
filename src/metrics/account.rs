//! The metrics of one account.
//!
//! At the end of each poll the poller passes a publication to [`AccountMetrics`], which renders a new listing and
//! replaces its [`AccountView`]. A scrape loads one view per account, so the polling metrics and the listing that it
//! shows always belong together.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::previous::PreviousAccount;
use super::render::{
    OWNERS, RenderedListing, WATCHED, render_listing, with_families, without_disabled, without_unselected,
};
use super::text::CachedText;
use crate::inventory::{Listing, WatchedNumber, WatchedStatus};
use crate::poller::{
    Account, AccountSnapshot, LastListing, PollReaction, PollStats, Poller, Publication, SuspensionTimer,
    total_suspended_time,
};

/// The metrics of one account, updated at the end of each poll.
#[derive(Debug)]
pub struct AccountMetrics {
    account: Arc<Account>,
    view: ArcSwap<AccountView>,
}

/// What scrapes see of an account: a snapshot and the rendered form of its last valid listing.
#[derive(Debug)]
pub(super) struct AccountView {
    pub(super) snapshot: Arc<AccountSnapshot>,
    /// The rendered form of the snapshot's last listing, stale or not; `None` exactly if there is no listing.
    pub(super) listing: Option<Arc<RenderedListing>>,
}

impl AccountMetrics {
    /// Creates the metrics of a poller's account and adds them to the poller's reactions.
    #[must_use]
    pub fn attach(poller: &mut Poller) -> Arc<Self> {
        let metrics = Arc::new(Self::new(poller.account.clone()));
        poller.reactions.push(metrics.clone());
        metrics
    }

    fn new(account: Arc<Account>) -> Self {
        let view = ArcSwap::from_pointee(AccountView { snapshot: account.snapshot(), listing: None });
        Self { account, view }
    }

    /// Renders the listing of an earlier run, which the snapshot of the account has too.
    pub fn restore(&self, listing: &Listing) {
        let listing = Arc::new(self.without_disabled(render_listing(self.account.name(), listing, None)));
        self.view.store(Arc::new(AccountView { snapshot: self.account.snapshot(), listing: Some(listing) }));
    }

    /// Returns the account.
    #[must_use]
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Removes the samples of collectors that have been disabled since the listing began. Those of collectors that have been
    /// enabled come with the next listing, because the tables of this one are not kept.
    fn without_disabled(&self, listing: RenderedListing) -> RenderedListing {
        without_disabled(listing, &self.account.config().collector)
    }

    /// Removes the samples of collectors that are disabled, and the per-number series of numbers that have none by the current
    /// configuration, from a listing of which only the samples are known.
    fn without_unselected(&self, listing: RenderedListing) -> RenderedListing {
        let config = self.account.config();
        self.without_disabled(without_unselected(listing, &config.collector, &config.watch))
    }

    /// Completes the metrics after a first poll that failed by those of an earlier run: the time of the last success,
    /// and the inventory unless that is longer ago than `stale_after`. Returns whether there is such an inventory. Numbers
    /// that are no longer watched lose their series; those that are newly watched get them with the next valid listing.
    pub fn carry_over(&self, previous: &PreviousAccount, stale_after: Duration) -> bool {
        let AccountView { snapshot, .. } = &*self.view.load_full();
        let (Some(last_poll), None, Some(last_success_at)) =
            (snapshot.polls.last, &snapshot.last_listing, previous.last_success_at)
        else {
            return false;
        };
        let time_left = stale_after.saturating_sub(previous.age_at(last_poll.ended_at).unwrap_or_default());
        let is_carried = previous.has_inventory() && !time_left.is_zero();
        let suspended = SuspensionTimer::start(total_suspended_time);
        let stale_at = Instant::now() + if is_carried { time_left } else { Duration::ZERO };
        let content = Arc::default();
        let last_listing =
            LastListing { content, listed_at: Instant::now(), stale_at, overdue_at: stale_at, suspended };
        let polls = PollStats { last_success_at: Some(last_success_at), ..snapshot.polls.clone() };
        let snapshot =
            Arc::new(AccountSnapshot { polls, last_listing: Some(last_listing), ..AccountSnapshot::clone(snapshot) });
        let watched_before = |number: &WatchedNumber| {
            Some(WatchedStatus { number: number.clone(), ..previous.watched_number(number.e164)?.clone() })
        };
        let config = self.account.config();
        let configured =
            Listing { watched: config.watch.iter().filter_map(watched_before).collect(), ..Listing::default() };
        // Owners are rendered only if there are none, because the numbers of each are not known here.
        let families = if config.owners.is_empty() { &[WATCHED, OWNERS][..] } else { &[WATCHED] };
        let rendered = with_families(self.account.name(), families, &configured, &previous.listing());
        let listing = Some(Arc::new(self.without_unselected(rendered)));
        self.view.store(Arc::new(AccountView { snapshot, listing }));
        is_carried
    }
}

impl PollReaction for AccountMetrics {
    fn poll_ended(&self, publication: &Publication<'_>) {
        let previous = self.view.load_full();
        let listing = match publication.new_listing {
            Some(new) => {
                let previous = previous.listing.as_deref();
                let rendered = render_listing(self.account.name(), new.listing, previous);
                Some(Arc::new(self.without_disabled(rendered)))
            }
            None => previous.listing.clone(),
        };
        self.view.store(Arc::new(AccountView { snapshot: publication.snapshot.clone(), listing }));
    }

    fn config_changed(&self, account: &Account, snapshot: &Arc<AccountSnapshot>) {
        let (previous, config) = (self.view.load_full(), account.config());
        let listing = previous.listing.as_deref().map(|rendered| {
            let content = snapshot.last_listing.as_ref().map(|last| &*last.content);
            let configured = content.map(|content| Listing {
                owners: config.owners.totals(&content.numbers, config.collector.label_limit, &snapshot.changes.fees),
                watched: content.watched.clone(),
                ..Listing::default()
            });
            let configured = configured.unwrap_or_default();
            let rendered = with_families(account.name(), &[OWNERS, WATCHED], &configured, rendered);
            Arc::new(self.without_unselected(rendered))
        });
        self.view.store(Arc::new(AccountView { snapshot: snapshot.clone(), listing }));
    }
}

/// An account at the moment of a scrape.
#[derive(Debug)]
pub(super) struct ScrapedAccount {
    pub(super) account: Arc<Account>,
    pub(super) view: Arc<AccountView>,
    pub(super) version: AccountVersion,
}

/// The version of an account's live metrics: they are the same in two scrapes with equal versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AccountVersion {
    serial: u64,
    config: u64,
    polls: u64,
    requests: u64,
    has_listing: bool,
}

impl ScrapedAccount {
    /// Loads the current view of an account.
    pub(super) fn new(metrics: &AccountMetrics, now: Instant) -> Self {
        let AccountMetrics { account, view } = metrics;
        // Before what they are versions of is read: if that changes in between, the version is only older.
        let (config, requests) = (account.config_version(), account.requests_version());
        let view = view.load_full();
        let version = AccountVersion {
            serial: account.serial(),
            config,
            polls: view.snapshot.polls.count(),
            requests,
            has_listing: view.snapshot.listing_at(now).is_some(),
        };
        Self { account: account.clone(), view, version }
    }

    /// Returns the samples of a family of the inventory, unless there are none or the listing is stale.
    pub(super) fn inventory_samples(&self, family: usize) -> Option<&CachedText> {
        let listing = self.view.listing.as_ref().filter(|_| self.version.has_listing)?;
        listing.get(family).map(|text| &**text).filter(|text| !text.bytes().is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::{Duration, SystemTime};

    use futures_util::FutureExt;
    use futures_util::future::{BoxFuture, pending};
    use reqwest::Url;
    use reqwest::header::HeaderValue;

    use super::*;
    use crate::config::{AccountConfig, PollOptions};
    use crate::metrics::{INVENTORY, PreviousMetrics, seal};
    use crate::poller::{LastPoll, NewListing, PollStats};
    use crate::tryvox::{
        ApiKeySource, ApiResponse, ClientContext, Failure, FailureReason, FairLimit, Transport, TryvoxClient,
        TryvoxOptions,
    };

    /// An API that is never called.
    #[derive(Debug)]
    struct UnusedApi;

    impl Transport for UnusedApi {
        fn get(&self, _: Url, _: HeaderValue) -> BoxFuture<'_, Result<ApiResponse, Failure>> {
            pending().boxed()
        }
    }

    fn account_metrics() -> AccountMetrics {
        let context = ClientContext {
            transport: Arc::new(UnusedApi),
            fair_limit: Arc::new(FairLimit::new(1)),
            now: SystemTime::now,
            rng: fastrand::Rng::with_seed(7),
        };
        let config = AccountConfig {
            key: ApiKeySource::Missing(String::new()),
            name: "a".into(),
            account_id: "acc".into(),
            tryvox: TryvoxOptions::default(),
            poll: PollOptions::default(),
            collector: Arc::default(),
            budget: BTreeMap::new(),
            owners: Arc::default(),
            watch: Arc::default(),
        };
        let client = TryvoxClient::new("a", "acc", TryvoxOptions::default(), context);
        AccountMetrics::new(Arc::new(Account::new(config, client)))
    }

    #[test]
    fn a_failed_poll_replaces_the_snapshot_and_keeps_the_rendered_listing_until_it_is_stale() {
        let (metrics, now) = (account_metrics(), Instant::now());
        let samples = |now| -> usize {
            let scraped = ScrapedAccount::new(&metrics, now);
            (0..INVENTORY.len()).filter(|family| scraped.inventory_samples(*family).is_some()).count()
        };
        assert_eq!(samples(now), 0, "the account has not been polled");

        let (stale_at, suspended) = (now + Duration::from_mins(15), SuspensionTimer::start(|| Duration::ZERO));
        let content = Arc::default();
        let last_listing = LastListing { content, listed_at: now, stale_at, overdue_at: stale_at, suspended };
        let succeeded = Arc::new(AccountSnapshot { last_listing: Some(last_listing), ..AccountSnapshot::default() });
        let listing = Arc::new(Listing { reported: 7, ..Listing::default() });
        let new_listing = Some(NewListing { listing: &listing, numbers: &Arc::default(), previous: None });
        metrics.poll_ended(&Publication { account: &metrics.account, snapshot: &succeeded, new_listing });
        assert_eq!(samples(now), 4, "the families of the whole listing");

        let rendered = metrics.view.load().listing.clone().unwrap();
        let polls = PollStats { failure: Some(Failure::new(FailureReason::Timeout, "")), ..PollStats::default() };
        let failed = Arc::new(AccountSnapshot { polls, ..(*succeeded).clone() });
        metrics.poll_ended(&Publication { account: &metrics.account, snapshot: &failed, new_listing: None });
        let view = metrics.view.load_full();
        assert!(Arc::ptr_eq(&view.snapshot, &failed) && Arc::ptr_eq(view.listing.as_ref().unwrap(), &rendered));
        assert_eq!([now, stale_at].map(samples), [4, 0]);
    }

    #[test]
    fn inventory_of_a_previous_run_is_carried_over_unless_it_is_stale_or_far_in_the_future() {
        let previous = "# HELP tryvox_listed_numbers h\n# TYPE tryvox_listed_numbers gauge\n\
                        tryvox_listed_numbers{account=\"a\"} 7\n\
                        # HELP tryvox_last_success_timestamp_seconds h\n\
                        # TYPE tryvox_last_success_timestamp_seconds gauge\n\
                        tryvox_last_success_timestamp_seconds{account=\"a\"} 10000\n";
        let previous = PreviousMetrics::parse(&seal(previous.to_owned(), [("a", "source".to_owned())])).unwrap();
        let (previous, stale_after) = (previous.account("a", "source").unwrap(), Duration::from_mins(15));
        for (ended_at, is_carried) in [(9_000, false), (9_200, true), (10_899, true), (10_900, false)] {
            let metrics = account_metrics();
            let ended_at = SystemTime::UNIX_EPOCH + Duration::from_secs(ended_at);
            let last = Some(LastPoll { ended_at, duration: Duration::ZERO, pages: 0 });
            let failure = Some(Failure::new(FailureReason::Timeout, ""));
            let polls = PollStats { failure, last, ..PollStats::default() };
            let failed = Arc::new(AccountSnapshot { polls, ..AccountSnapshot::default() });
            metrics.poll_ended(&Publication { account: &metrics.account, snapshot: &failed, new_listing: None });
            assert_eq!(metrics.carry_over(previous, stale_after), is_carried, "{ended_at:?}");
            let scraped = ScrapedAccount::new(&metrics, Instant::now());
            let samples = (0..INVENTORY.len()).filter(|family| scraped.inventory_samples(*family).is_some());
            assert_eq!(samples.count(), usize::from(is_carried));
            let success = SystemTime::UNIX_EPOCH + Duration::from_secs(10_000);
            assert_eq!(scraped.view.snapshot.polls.last_success_at, Some(success));
            assert!(!metrics.carry_over(previous, stale_after), "it is carried over once");
        }
    }
}
