//! A simulated `TryVox`: the API of section 1 of the contract on a real socket.
//!
//! A [`World`] is a seeded inventory that can live: numbers are bought, released, suspended,
//! reactivated and repriced. [`Simulator`] answers for it as the real API does, with its
//! authentication, filters and paging.

mod api;
mod catalogue;
mod number;
mod world;

pub use api::{DEFAULT_KEY, Simulator};
pub use world::World;
