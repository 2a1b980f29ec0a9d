//! A Prometheus exporter for the phone numbers that a company rents from `TryVox`.
//!
//! The data goes one way: [`poller`] asks [`tryvox`] for a listing, its pages are folded into an
//! [`inventory`], [`metrics`] writes that down once, and [`web`] hands out the bytes.
//! [`config`] says how, [`cli`] ties the rooms together, and [`simulator`] stands in for the API.

pub mod cli;
pub mod config;
pub mod duration;
pub mod inventory;
pub mod metrics;
pub mod options;
pub mod poller;
pub mod simulator;
pub mod tryvox;
pub mod web;
pub mod yaml;
