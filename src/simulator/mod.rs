//! A simulated `TryVox`: the API as its documentation has it, on a real socket.
//!
//! A [`World`] is a seeded inventory that can live: numbers are bought, released, suspended,
//! reactivated and repriced. [`Simulator`] answers for it as the real API does, with its
//! authentication, filters and paging, and with every [`Fault`] that an API can have.

mod api;
mod catalogue;
mod fault;
mod number;
mod serve;
mod trouble;
mod world;

pub use api::{DEFAULT_KEY, Simulator};
pub use fault::{Fault, Faults};
pub use trouble::Cut;
pub use world::World;
