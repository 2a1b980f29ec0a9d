//! The interface to what happens at the end of a poll.
//!
//! The poller passes a [`Publication`] to each [`PollReaction`] of an account; it does not know what they do.

use std::fmt::Debug;
use std::sync::Arc;

use super::account::{Account, AccountSnapshot};
use crate::inventory::{Listing, ListingDifference, NumberStates};

/// What a poll that has ended publishes.
#[derive(Debug, Clone, Copy)]
pub struct Publication<'a> {
    /// The account that was polled. Its own snapshot is still the previous one.
    pub account: &'a Account,
    /// The snapshot that the account is about to show.
    pub snapshot: &'a Arc<AccountSnapshot>,
    /// The valid listing that the poll gave; `None` if it failed, in which case the snapshot has the failure.
    pub new_listing: Option<NewListing<'a>>,
}

/// A valid listing in full. The account keeps only its overview; a reaction that needs more keeps it itself.
#[derive(Debug, Clone, Copy)]
pub struct NewListing<'a> {
    /// The listing, with its label values limited.
    pub listing: &'a Arc<Listing>,
    /// The state of each number.
    pub numbers: &'a Arc<NumberStates>,
    /// The previous valid listing; `None` if there is none to compare with.
    pub previous: Option<PreviousListing<'a>>,
}

/// The valid listing before a new one.
#[derive(Debug, Clone, Copy)]
pub struct PreviousListing<'a> {
    /// The state of each number.
    pub numbers: &'a Arc<NumberStates>,
    /// What changed since.
    pub difference: &'a ListingDifference,
}

/// Something that happens at the end of each poll of an account, such as rendering metrics.
pub trait PollReaction: Debug + Send + Sync {
    /// Reacts to a poll that has ended, successful or not.
    ///
    /// Reactions run one after the other, in the order of [`Poller::reactions`](super::Poller::reactions), on a
    /// thread where they may block. When they return, the account shows the snapshot. A reaction that is running
    /// while its poller is stopped runs to its end.
    ///
    /// # Panics
    /// A panic costs one poll: the reactions after this one are skipped, and the poll is published to all of them
    /// again as failed, for [`FailureReason::Internal`](crate::tryvox::FailureReason::Internal).
    fn poll_ended(&self, publication: &Publication<'_>);

    /// Reacts to a change of [`Account::config`]. No poll has ended: the snapshot that the account is about to show
    /// differs only in when its listing becomes stale. It runs like [`poll_ended`](Self::poll_ended), never at the same
    /// time, but on the thread of the reload.
    ///
    /// # Panics
    /// A panic leaves this reaction with the previous configuration.
    fn config_changed(&self, account: &Account, snapshot: &Arc<AccountSnapshot>) {
        _ = (account, snapshot);
    }
}
