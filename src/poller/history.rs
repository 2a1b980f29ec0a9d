//! What happened to an account of late.

use std::collections::VecDeque;
use std::time::SystemTime;

use crate::inventory::{ListingDifference, NumberChange};
use crate::tryvox::Failure;

/// The last things that happened, the latest first; a few of each kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// ChangeCounters of numbers.
    pub changes: VecDeque<ChangeEvent>,
    /// PollStats that failed.
    pub failures: VecDeque<FailureStreak>,
}

/// A number that changed, or how many more did, when a listing was good.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeEvent {
    /// When that was.
    pub at: SystemTime,
    /// What happened; none where it is not told of each.
    pub change: Option<NumberChange>,
    /// Of how many numbers it is told.
    pub count: u64,
}

/// PollStats that failed one after the other for the same reason.
#[derive(Debug, Clone, PartialEq)]
pub struct FailureStreak {
    /// When the first of them ended.
    pub since: SystemTime,
    /// When the last of them ended.
    pub at: SystemTime,
    /// How many they are.
    pub times: u64,
    /// How the last of them failed.
    pub failure: Failure,
}

impl History {
    /// So many are kept of each kind.
    const KEPT: usize = 12;

    /// Adds what changed from one listing to the next.
    pub(super) fn changed(&mut self, at: SystemTime, difference: &ListingDifference) {
        // One place is for the rest.
        let told = if difference.count() > Self::KEPT as u64 { Self::KEPT - 1 } else { Self::KEPT };
        let told = &difference.changes[..difference.changes.len().min(told)];
        let rest = difference.count() - told.len() as u64;
        let each = told.iter().map(|change| ChangeEvent { at, change: Some(change.clone()), count: 1 });
        let news = each.chain((rest > 0).then_some(ChangeEvent { at, change: None, count: rest }));
        for changed in news.collect::<Vec<_>>().into_iter().rev() {
            self.changes.push_front(changed);
        }
        self.changes.truncate(Self::KEPT);
    }

    /// Adds a poll that failed; `again` when the one before it failed, too.
    pub(super) fn failed(&mut self, at: SystemTime, failure: &Failure, again: bool) {
        let last = self.failures.front_mut().filter(|last| again && last.failure.reason == failure.reason);
        if let Some(last) = last {
            *last = FailureStreak { at, times: last.times + 1, failure: failure.clone(), ..*last };
        } else {
            self.failures.push_front(FailureStreak { since: at, at, times: 1, failure: failure.clone() });
            self.failures.truncate(Self::KEPT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::E164;
    use crate::tryvox::FailureReason;
    use std::time::Duration;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn the_latest_changes_come_first_and_none_is_left_uncounted() {
        let e164 = |number: u64| -> E164 { format!("+1{number}").parse().unwrap() };
        let added = |numbers: std::ops::Range<u64>| ListingDifference {
            added: numbers.end - numbers.start,
            changes: numbers.map(|number| NumberChange::Added(e164(number))).collect(),
            ..ListingDifference::default()
        };
        let mut history = History::default();
        history.changed(at(1), &added(0..2));
        history.changed(at(2), &added(2..4));
        let told: Vec<_> = history.changes.iter().map(|changed| changed.change.clone().unwrap()).collect();
        assert_eq!(told, [2, 3, 0, 1].map(|number| NumberChange::Added(e164(number))));
        let mut many = added(0..100);
        many.added = 5000;
        history.changed(at(3), &many);
        assert_eq!(history.changes.len(), History::KEPT);
        assert_eq!(history.changes.iter().map(|changed| changed.count).sum::<u64>(), 5000);
        assert!(history.changes.back().unwrap().change.is_none());
        history.changed(at(4), &ListingDifference::default());
        assert!(history.changes.iter().all(|changed| changed.at == at(3)));
    }

    #[test]
    fn failures_of_one_kind_in_a_row_are_one_entry() {
        let failure = |reason, cause: &str| Failure::new(reason, cause);
        let mut history = History::default();
        history.failed(at(1), &failure(FailureReason::Timeout, "a"), false);
        history.failed(at(2), &failure(FailureReason::Timeout, "b"), true);
        history.failed(at(3), &failure(FailureReason::Connect, "c"), true);
        history.failed(at(9), &failure(FailureReason::Connect, "d"), false);
        let entries: Vec<_> = history
            .failures
            .iter()
            .map(|failed| (failed.since, failed.at, failed.times, &*failed.failure.cause))
            .collect();
        assert_eq!(entries, [(at(9), at(9), 1, "d"), (at(3), at(3), 1, "c"), (at(1), at(2), 2, "b")]);
    }
}
