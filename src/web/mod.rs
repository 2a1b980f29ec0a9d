//! Who may read what: sockets in, the bytes of [`crate::metrics`] out.
//!
//! [`bind`] opens the sockets before anything else happens, [`serve`] answers on them until it is
//! told to stop.

mod activity;
mod listen;
mod negotiate;
mod page;
mod routes;
mod serve;
pub mod toolkit;

pub use listen::{BindError, Listener, bind, systemd_sockets};
pub use routes::{AppState, Reload, router};
pub use serve::{Server, serve};
