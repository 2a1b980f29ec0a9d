//! When to list an account, and what is known of it in between.
//!
//! An [`Account`] is what readers see: its [`AccountSnapshot`] state is swapped in whole, so nobody sees
//! half of a listing. [`Poller::run`] keeps it current: it polls at once, then every interval,
//! until it is told to stop. A poll reads the listing again while its pages do not add up; one that
//! fails changes nothing but how polling goes, and a listing that nothing replaces turns stale. A
//! [`FleetManager`] starts and stops pollers as the configuration has them.

mod account;
mod fleet;
mod history;
mod poll;
mod run;
mod text;

pub use account::{
    Account, AccountSnapshot, Budget, ChangeCounters, Encode, Encoded, LastListing, LastPoll, Listing, PollPhase,
    PollStats,
};
pub use fleet::{Fleet, FleetChange, FleetManager};
pub use history::{ChangeEvent, FailureStreak, History};
pub use run::Poller;
pub use text::Text;
