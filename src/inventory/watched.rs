//! Numbers that must work: their status in each listing, even if they are not in it.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Assignment, E164, NumberStates};

/// The status of a watched number that the account does not have.
pub const MISSING: &str = "missing";

/// A number that must work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchedNumber {
    /// The number.
    pub e164: E164,
    /// The value of the `name` label.
    pub name: Arc<str>,
}

/// A watched number as of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchedStatus {
    /// The number.
    pub number: WatchedNumber,
    /// The status as the API wrote it, or [`MISSING`]; `None` if it is not known yet.
    pub status: Option<Arc<str>>,
    /// Whether it has a trunk or an application; `None` if that is not known yet.
    pub is_assigned: Option<bool>,
}

impl WatchedStatus {
    /// Returns the status of each watched number, in order.
    ///
    /// A number that is not in the listing is missing only if the listing is exact: if it has as many numbers as the API
    /// reports and all of their records are valid. Otherwise the number keeps its `previous` status, and so does one whose
    /// record is invalid. The assignment of a number is also kept if its trunk and application cannot be read.
    #[must_use]
    pub fn of_listing(
        watched: &[WatchedNumber],
        numbers: &NumberStates,
        is_exact: bool,
        previous: &[Self],
    ) -> Arc<[Self]> {
        let previous: HashMap<E164, &Self> = previous.iter().map(|status| (status.number.e164, status)).collect();
        let status_of = |number: &WatchedNumber| {
            let previous = previous.get(&number.e164).copied();
            let previous_status = previous.and_then(|previous| previous.status.clone());
            let (status, is_assigned) = match numbers.get(number.e164) {
                None if is_exact => (Some(MISSING.into()), Some(false)),
                None => (previous_status, previous.and_then(|previous| previous.is_assigned)),
                Some(listed) => {
                    let state = numbers.state(listed).filter(|state| state.is_known());
                    // A missing number counts as unassigned, so its previous assignment is not kept.
                    let previous = previous.filter(|previous| previous.status.as_deref() != Some(MISSING));
                    let is_assigned = numbers.assignment(listed).and_then(Assignment::is_assigned);
                    (
                        state.map(|state| state.status.clone()).or(previous_status),
                        is_assigned.or_else(|| previous?.is_assigned),
                    )
                }
            };
            Self { number: number.clone(), status, is_assigned }
        };
        watched.iter().map(status_of).collect()
    }
}
