//! Recent events of an account, for the status page.

use std::collections::VecDeque;
use std::time::SystemTime;

use crate::inventory::{ChangeRecord, ListingDifference};
use crate::tryvox::Failure;

/// The most recent events of each kind, the latest first; a limited number of each.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// Changes of numbers.
    pub changes: VecDeque<ChangeEvent>,
    /// Failed polls.
    pub failures: VecDeque<FailureStreak>,
}

/// A change of a number between two valid listings, or a count of further changes.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeEvent {
    /// When the poll that found it ended.
    pub at: SystemTime,
    /// The change; `None` if the event counts changes that have no event of their own.
    pub change: Option<ChangeRecord>,
    /// How many changes it stands for, at least 1.
    pub count: u64,
}

/// Successive polls that failed for the same reason.
#[derive(Debug, Clone, PartialEq)]
pub struct FailureStreak {
    /// When the first of them ended.
    pub since: SystemTime,
    /// When the last of them ended.
    pub at: SystemTime,
    /// How many polls failed, at least 1.
    pub times: u64,
    /// The failure of the last of them.
    pub failure: Failure,
}

impl History {
    /// Maximum number of events of each kind.
    pub const MAX_EVENTS: usize = 12;

    /// Adds the changes between two listings.
    pub(super) fn add_difference(&mut self, at: SystemTime, difference: &ListingDifference) {
        let first = difference.changes.iter().take(Self::MAX_EVENTS).map(ChangeRecord::from).collect();
        self.add_changes(at, first, difference.count());
    }

    /// Adds `count` changes that one poll found, later than all others. `first` are those with the lowest numbers, at
    /// least [`Self::MAX_EVENTS`] unless there are fewer.
    pub fn add_changes(&mut self, at: SystemTime, mut first: Vec<ChangeRecord>, count: u64) {
        // If they do not fit, the last event counts the rest.
        first.truncate(if count > Self::MAX_EVENTS as u64 { Self::MAX_EVENTS - 1 } else { Self::MAX_EVENTS });
        let rest = count.saturating_sub(first.len() as u64);
        if rest > 0 {
            self.changes.push_front(ChangeEvent { at, change: None, count: rest });
        }
        for change in first.into_iter().rev() {
            self.changes.push_front(ChangeEvent { at, change: Some(change), count: 1 });
        }
        self.changes.truncate(Self::MAX_EVENTS);
    }

    /// Adds a failed poll; `is_repeated` if the poll before it failed, too.
    pub(super) fn add_failure(&mut self, at: SystemTime, failure: &Failure, is_repeated: bool) {
        let streak = self.failures.front_mut().filter(|last| is_repeated && last.failure.reason == failure.reason);
        if let Some(streak) = streak {
            *streak = FailureStreak { at, times: streak.times + 1, failure: failure.clone(), ..*streak };
        } else {
            self.failures.push_front(FailureStreak { since: at, at, times: 1, failure: failure.clone() });
            self.failures.truncate(Self::MAX_EVENTS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::ChangeKind;
    use crate::tryvox::FailureReason;
    use std::time::Duration;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn added_number(number: u64) -> ChangeRecord {
        ChangeRecord {
            e164: format!("+1{number}").parse().unwrap(),
            kind: ChangeKind::Added,
            from: None,
            to: Some("active".into()),
            country: "US".into(),
            number_type: "local".into(),
            monthly_fee: "1.15".into(),
            currency: "USD".into(),
        }
    }

    #[test]
    fn latest_changes_come_first_and_the_rest_is_counted() {
        let added = |numbers: std::ops::Range<u64>| -> Vec<ChangeRecord> { numbers.map(added_number).collect() };
        let mut history = History::default();
        history.add_changes(at(1), added(0..2), 2);
        history.add_changes(at(2), added(2..4), 2);
        let changes: Vec<_> = history.changes.iter().map(|event| event.change.clone().unwrap()).collect();
        assert_eq!(changes, [2, 3, 0, 1].map(added_number));
        history.add_changes(at(3), added(0..100), 5000);
        assert_eq!(history.changes.len(), History::MAX_EVENTS);
        assert_eq!(history.changes.iter().map(|event| event.count).sum::<u64>(), 5000);
        assert!(history.changes.back().unwrap().change.is_none());
        history.add_difference(at(4), &ListingDifference::default());
        assert!(history.changes.iter().all(|event| event.at == at(3)));
    }

    #[test]
    fn successive_failures_for_the_same_reason_are_one_streak() {
        let failure = |reason, cause: &str| Failure::new(reason, cause);
        let mut history = History::default();
        history.add_failure(at(1), &failure(FailureReason::Timeout, "a"), false);
        history.add_failure(at(2), &failure(FailureReason::Timeout, "b"), true);
        history.add_failure(at(3), &failure(FailureReason::Connect, "c"), true);
        history.add_failure(at(9), &failure(FailureReason::Connect, "d"), false);
        let streaks: Vec<_> = history
            .failures
            .iter()
            .map(|streak| (streak.since, streak.at, streak.times, &*streak.failure.cause))
            .collect();
        assert_eq!(streaks, [(at(9), at(9), 1, "d"), (at(3), at(3), 1, "c"), (at(1), at(2), 2, "b")]);
    }
}
