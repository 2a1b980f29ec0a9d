//! Integration tests: one module per behaviour of the exporter, tested through its public surface.
//!
//! Most tests start the binary, send it requests and compare the responses with what a simulated or
//! scripted API listed. Tests about time run a poller and a simulated API in one process instead, on
//! tokio's paused clock.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "the test runner shows it when a test fails")]
#![expect(clippy::cast_precision_loss, reason = "counts in tests are small")]

mod accounts;
mod alerting;
mod arbitrary;
mod auto_reload;
mod changes;
mod chart;
mod check;
mod command_line;
mod common;
mod config;
mod connections;
mod dashboards;
mod docs;
mod drift;
mod exact;
mod examples;
mod families;
mod faults;
mod fee_causes;
mod http;
mod intercepting_proxy;
mod key_secrecy;
mod keys;
mod large_bodies;
mod list;
mod listening;
mod mixin;
mod model;
mod mutations;
mod number_times;
mod once;
mod outages;
mod output_file;
mod owners;
mod page;
mod panels;
mod polling;
mod prometheus;
mod proxies;
mod proxy;
mod recipes;
mod records;
mod recovery;
mod reload;
mod restarts;
mod rules;
mod shift;
mod sizing;
mod soak;
mod sockets;
mod state_faults;
mod state_file;
mod suspension;
mod systemd;
mod textfile;
mod tls;
mod watched;
mod web_client_certificates;
mod web_file;
mod web_passwords;
mod web_toolkit;
