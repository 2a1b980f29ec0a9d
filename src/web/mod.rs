//! Who may read what: sockets in, the bytes of [`crate::metrics`] out.
//!
//! [`bind`] opens the sockets before anything else happens, [`serve`] answers on them until it is
//! told to stop.

mod listen;
mod negotiate;
mod routes;
mod serve;

pub use listen::{BindError, bind};
pub use routes::{Reload, Site, router};
pub use serve::serve;
