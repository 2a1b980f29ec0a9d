//! A simulated `TryVox`: the API as its documentation has it, on a real socket.
//!
//! A [`SimulatedAccount`] is a seeded inventory that can live: numbers are bought, released, suspended,
//! reactivated and repriced. [`Simulator`] answers for it as the real API does, with its
//! authentication, filters and paging, and with every [`Fault`] that an API can have.

mod account;
mod api;
mod apply;
mod catalogue;
mod fault;
mod number;
mod options;
mod serve;

pub use account::SimulatedAccount;
pub use api::{DEFAULT_KEY, Simulator};
pub use apply::ConnectionClosed;
pub use fault::{Fault, Faults};
pub use options::SimulatorOptions;
