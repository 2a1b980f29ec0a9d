//! A simulated `TryVox` API that behaves as documented, except for the faults that are set.
//!
//! Each [`SimulatedAccount`] holds numbers generated from a seed; over time they are purchased, released, suspended,
//! reactivated and repriced. A [`Simulator`] responds to requests for them with the API's authentication, filters and
//! pagination, on a socket or called directly. Every [`Fault`] makes some responses wrong in one way, to test and show
//! how a client copes. The simulator shares no code with the client.

mod account;
mod api;
mod apply;
mod connection;
mod content;
mod countries;
mod fault;
mod fault_kind;
mod number;
mod options;
mod query;
mod response;

pub use account::SimulatedAccount;
pub use api::{DEFAULT_KEY, Simulator};
pub use connection::SimulatedConnection;
pub use fault::{Fault, Faults};
pub use options::SimulatorOptions;
pub use response::ConnectionClosed;

#[cfg(test)]
mod tests;
