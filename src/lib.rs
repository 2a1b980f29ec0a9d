//! A Prometheus exporter for the phone numbers that a company rents from `TryVox`.
//!
//! Data flows in one direction: [`poller`] requests a listing through [`tryvox`], whose pages are folded into an
//! [`inventory`]; [`metrics`] renders each listing once, and [`web`] serves the bytes. [`config`] validates flags,
//! environment and files, [`cli`] connects the layers, and [`simulator`] replaces the API in demos and tests. A layer
//! knows only the layers below it.

mod blocking;
pub mod cli;
pub mod config;
pub mod duration;
pub mod inventory;
pub mod metrics;
pub mod options;
pub mod persistence;
pub mod plural;
pub mod poller;
mod short_text;
pub mod simulator;
pub mod state;
pub mod timestamp;
pub mod tryvox;
pub mod web;
pub mod yaml;
