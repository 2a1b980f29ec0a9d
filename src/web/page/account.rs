//! One account at one moment: its status, and the card that shows it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::{format, tables};
use crate::duration;
use crate::inventory::{InventorySummary, WatchedStatus};
use crate::poller::{Account, AccountSnapshot, LastPoll, ListingContent, PollPhase};

/// The status of an account; those that need an operator most come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AccountStatus {
    /// Its polls fail or are overdue, and its last successful poll is too long ago for its listing to be shown.
    Stale,
    /// Its last poll failed.
    Down,
    /// It has not been polled.
    New,
    /// Its last poll was successful.
    Up,
}

impl AccountStatus {
    pub(super) const ALL: [Self; 4] = [Self::Stale, Self::Down, Self::New, Self::Up];

    /// Returns whether an operator has to do something.
    pub(super) fn needs_attention(self) -> bool {
        matches!(self, Self::Stale | Self::Down)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stale => "Stale",
            Self::Down => "Down",
            Self::New => "Not polled yet",
            Self::Up => "Up",
        }
    }

    /// Returns the value of the query parameter that selects accounts with this status.
    pub(super) fn query_value(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::Down => "down",
            Self::New => "new",
            Self::Up => "up",
        }
    }

    pub(super) fn css_class(self) -> &'static str {
        match self {
            Self::Stale | Self::Down => "bad",
            Self::New => "warn",
            Self::Up => "good",
        }
    }
}

/// An account while the page is rendered; everything on the page is derived from one snapshot.
pub(super) struct PageAccount<'a> {
    account: &'a Account,
    pub(super) snapshot: Arc<AccountSnapshot>,
    pub(super) status: AccountStatus,
    /// `None` without a listing, and when it is stale.
    content: Option<Arc<ListingContent>>,
}

/// What the page shows of an account.
#[derive(Debug)]
pub(super) struct AccountCard {
    pub(super) name: String,
    pub(super) status: AccountStatus,
    /// The progress of the running poll; empty between polls.
    pub(super) progress: String,
    pub(super) problem: Option<CardProblem>,
    /// The effect of the failure on the metrics; empty without a failure.
    pub(super) note: &'static str,
    pub(super) facts: Vec<CardFact>,
    pub(super) age: Option<ListingAge>,
}

/// Why the last poll failed.
#[derive(Debug)]
pub(super) struct CardProblem {
    pub(super) summary: &'static str,
    pub(super) remedy: &'static str,
    pub(super) cause: String,
}

/// A named value.
#[derive(Debug)]
pub(super) struct CardFact {
    pub(super) name: &'static str,
    pub(super) value: String,
}

/// The age of a listing beside the interval between polls.
#[derive(Debug)]
pub(super) struct ListingAge {
    pub(super) text: String,
    pub(super) interval: String,
    /// The age in percent of the interval, at most 100.
    pub(super) percent: u64,
    pub(super) css_class: &'static str,
}

impl<'a> PageAccount<'a> {
    /// Reads the account's snapshot.
    pub(super) fn new(account: &'a Account, now: Instant) -> Self {
        let snapshot = account.snapshot();
        let current = snapshot.listing_at(now);
        let status = match (&snapshot.polls.last, current) {
            (None, _) => AccountStatus::New,
            (Some(_), None) if snapshot.last_listing.is_some() => AccountStatus::Stale,
            (Some(_), _) if snapshot.polls.is_up() => AccountStatus::Up,
            _ => AccountStatus::Down,
        };
        let content = current.map(|listing| listing.content.clone());
        Self { account, snapshot, status, content }
    }

    /// Returns the numbers and fees; `None` without a listing, and when it is stale.
    pub(super) fn overview(&self) -> Option<&InventorySummary> {
        self.content.as_deref().map(|content| &*content.overview)
    }

    /// Returns the watched numbers; none without a listing, and when it is stale.
    pub(super) fn watched(&self) -> &[WatchedStatus] {
        self.content.as_deref().map_or(&[], |content| &content.watched)
    }

    /// Returns how many numbers the configuration of the account watches.
    pub(super) fn watched_numbers(&self) -> usize {
        self.account.config().watch.len()
    }

    /// Returns the account's name.
    pub(super) fn name(&self) -> &'a str {
        self.account.name()
    }

    /// Returns why the last poll failed, if it did.
    pub(super) fn problem(&self) -> Option<CardProblem> {
        self.snapshot.polls.failure.as_ref().map(|failure| {
            let advice = failure.reason.advice();
            let cause = format!("{}: {failure}", failure.reason.as_str());
            CardProblem { summary: advice.summary, remedy: advice.remedy, cause }
        })
    }

    /// Returns the account's card.
    pub(super) fn card(&self, now: Instant, clock: SystemTime) -> AccountCard {
        let (progress, next_poll) = match self.account.phase() {
            PollPhase::Polling(_) => (self.progress(), "now".to_owned()),
            PollPhase::Waiting(next_poll_at) => {
                let seconds = next_poll_at.saturating_duration_since(now).as_millis().div_ceil(1000);
                let delay = Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX));
                (String::new(), format!("in {}", duration::format(delay)))
            }
        };
        let mut facts = self.facts(clock);
        facts.push(CardFact { name: "Next poll", value: next_poll });
        AccountCard {
            name: self.name().to_owned(),
            status: self.status,
            progress,
            problem: self.problem(),
            note: self.note(),
            facts,
            age: self.listing_age(clock),
        }
    }

    fn progress(&self) -> String {
        let progress = self.account.progress();
        let (done, total) = (progress.done, progress.total);
        let pages = if total > 0 && done < total { format!(", {done} of {total} pages") } else { String::new() };
        format!("polling now{pages}")
    }

    fn note(&self) -> &'static str {
        match (self.status, &self.snapshot.polls.failure) {
            (AccountStatus::Stale, _) => "The last valid listing is stale, so the account has no inventory metrics.",
            (AccountStatus::Down, Some(_)) if self.snapshot.last_listing.is_some() => {
                "The inventory metrics are those of the last valid listing."
            }
            (AccountStatus::Down, Some(_)) => "No poll has succeeded yet, so the account has no inventory metrics.",
            _ => "",
        }
    }

    fn facts(&self, clock: SystemTime) -> Vec<CardFact> {
        let mut facts = Vec::new();
        let mut add = |name: &'static str, value: String| facts.push(CardFact { name, value });
        if let Some(overview) = self.overview() {
            add("Numbers", format::count(overview.numbers.values().sum()));
            add("Suspended", format::count(count_suspended(overview)));
            for (currency, amount) in tables::total_fees(overview) {
                add("Monthly fees", format!("{} {currency}", format::amount(&amount)));
            }
        }
        if let Some(LastPoll { ended_at, duration, pages }) = self.snapshot.polls.last {
            add("Last poll", format::ago(ended_at, clock));
            let pages = format::count_of(pages.into(), "page", "pages");
            add("Poll duration", format!("{}, {pages}", duration::format(duration)));
        }
        if let (Some(at), Some(_)) = (self.snapshot.polls.last_success_at, &self.snapshot.polls.failure) {
            add("Last success", format::ago(at, clock));
        }
        facts
    }

    fn listing_age(&self, clock: SystemTime) -> Option<ListingAge> {
        let interval = self.account.interval();
        let age = clock.duration_since(self.snapshot.polls.last_success_at?).unwrap_or_default();
        let age = Duration::from_secs(age.as_secs());
        let percent = age.as_millis() * 100 / interval.as_millis().max(1);
        // A poll that is only a little late is nothing to worry about.
        let css_class = match percent {
            0..=150 => "active",
            151..=300 => "pending",
            _ => "suspended",
        };
        let percent = u64::try_from(percent).unwrap_or(100).min(100);
        Some(ListingAge { text: duration::format(age), interval: duration::format(interval), percent, css_class })
    }
}

/// Returns how many numbers are suspended.
pub(super) fn count_suspended(overview: &InventorySummary) -> u64 {
    overview.numbers.iter().filter(|([_, status], _)| **status == *"suspended").map(|(_, numbers)| numbers).sum()
}
