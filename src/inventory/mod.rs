//! What a listing means: records go in, exact counts and sums come out.
//!
//! A [`ListingFold`] takes a listing page by page and does not keep the records. [`ListingFold::finish`] returns the
//! [`Inventory`], which says how many numbers there are and what they cost by every label that a collector is enabled
//! for, and the [`NumberStates`], from two of which [`ListingDifference`] finds what changed in between. Nothing here
//! does I/O, reads a clock or is async.

mod assignment_table;
mod change_counters;
mod class;
mod difference;
mod e164;
mod fee_movement;
mod fold;
mod index;
mod interner;
mod listed_number;
mod listing;
mod money;
mod number_pattern;
mod number_states;
mod options;
mod owner_matcher;
mod owner_tree;
mod owners;
mod serialized;
mod summary;
mod tables;
mod unreadable;
mod watched;

pub use change_counters::ChangeCounters;
pub use class::InvalidRecord;
pub use difference::{Change, ChangeKind, ChangeRecord, ListingDifference, NumberChange, changes, is_same};
pub use e164::{E164, InvalidE164};
pub use fee_movement::{FeeCause, FeeMovement, FeeMovements};
pub use fold::ListingFold;
pub use listing::Listing;
pub use money::{InvalidMoney, Money};
pub use number_pattern::{InvalidNumberPattern, NumberPattern};
pub use number_states::{Assignment, InvalidNumberStates, NumberState, NumberStates, StatedNumber};
pub use options::CollectorOptions;
pub use owner_matcher::OwnerMatcher;
pub use owners::{OwnerLookup, OwnerTotals, Owners};
pub use summary::InventorySummary;
pub(crate) use tables::OTHER;
pub use tables::{FoldedListing, GroupTotals, InvalidRecords, Inventory, LabelTable, NumberDetails};
pub use watched::{MISSING, WatchedNumber, WatchedStatus};
