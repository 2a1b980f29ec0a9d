//! The promises of the exporter, one file each, on its public surface: the binary is started, asked
//! and compared.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "the test runner shows it when a test fails")]
#![allow(clippy::cast_precision_loss, reason = "counts in tests are small")]

mod accounts;
mod alerting;
mod arbitrary;
mod command_line;
mod common;
mod config;
mod connections;
mod dashboards;
mod docs;
mod exact;
mod examples;
mod families;
mod faults;
mod http;
mod key_secrecy;
mod model;
mod once;
mod page;
mod panels;
mod polling;
mod prometheus;
mod records;
mod rules;
mod shift;
mod sizing;
mod soak;
mod sockets;
mod systemd;
mod tls;
mod web_file;
