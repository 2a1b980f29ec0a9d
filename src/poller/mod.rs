//! Polls accounts: decides when to list each one, which listings are valid, and what stays when a poll fails.
//!
//! An [`AccountConfig`](crate::config::AccountConfig) goes in, an [`AccountSnapshot`] comes out. Each account has a
//! [`Poller`], a task that polls at once and then every interval, sooner after a failed poll, until it is stopped. A poll lists the account
//! again while the pages are inconsistent with each other. A successful poll replaces the snapshot as a whole; a
//! failed one replaces only how polling went, and the last valid listing is kept until it is stale. At the end of
//! each poll the [`PollReaction`]s run, before the [`Account`] shows the new snapshot. They derive whatever else is
//! needed from the listing, such as metrics.
//!
//! A [`FleetManager`] starts and stops pollers to match the configuration, which a [`Reloader`] reads again on
//! request.
//!
//! Readers never see parts of two snapshots, a poll that is cancelled before its end publishes nothing, and nothing
//! here knows metrics, HTTP or storage.

mod account;
mod auto_reload;
mod build;
mod fleet;
mod history;
mod log;
mod poll;
mod publication;
mod reload;
mod restore;
mod schedule;
mod suspension;
mod task;
mod thread;

pub use account::{Account, AccountSnapshot, LastListing, LastPoll, ListingContent, PollPhase, PollStats};
pub use build::{PollerFactory, build_pollers};
pub use fleet::{Fleet, FleetChange, FleetManager};
pub use history::{ChangeEvent, FailureStreak, History};
pub use poll::RecordSink;
pub use publication::{NewListing, PollReaction, PreviousListing, Publication};
pub use reload::{ExporterSource, ReloadHandle, ReloadObserver, Reloader};
pub use restore::{RestoredAccount, RestoredListing};
pub use suspension::{SuspensionTimer, total_suspended_time};
pub use task::{ListedRecords, ListingOutcome, Poller};
pub use thread::PollingThread;
