//! Numbers that must work: their status in each listing, even if they are not in it.

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
    /// The status as the API wrote it, or [`MISSING`].
    pub status: Arc<str>,
    /// Whether it has a trunk or an application.
    pub is_assigned: bool,
}

impl WatchedStatus {
    /// Returns the status of each watched number, in order.
    ///
    /// A number that is not in the listing is missing only if the listing is exact: if it has as many numbers as the API
    /// reports and all of their records are valid. Otherwise the number keeps its `previous` status; it has none if that
    /// is not known, either.
    #[must_use]
    pub fn of_listing(
        watched: &[WatchedNumber],
        numbers: &NumberStates,
        is_exact: bool,
        previous: &[Self],
    ) -> Arc<[Self]> {
        let status_of = |number: &WatchedNumber| {
            let listed =
                numbers.get(number.e164).and_then(|number| numbers.state(number).zip(numbers.assignment(number)));
            let (status, is_assigned) = if let Some((state, assignment)) = listed {
                (state.status.clone(), is_assigned(assignment))
            } else if is_exact {
                (MISSING.into(), false)
            } else {
                let previous = previous.iter().find(|status| status.number.e164 == number.e164)?;
                (previous.status.clone(), previous.is_assigned)
            };
            Some(Self { number: number.clone(), status, is_assigned })
        };
        watched.iter().filter_map(status_of).collect()
    }
}

fn is_assigned(Assignment { trunk, application }: &Assignment) -> bool {
    [trunk, application].into_iter().flatten().any(|id| !id.is_empty())
}
