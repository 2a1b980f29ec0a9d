//! Tests of what a release ships: every documented installation method, followed on a newly installed Debian; the
//! Debian package; the container image; and everything under `deploy/`, `examples/` and `.github/`.
//!
//! `make package image machine` builds what these tests need.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod command;
mod compose;
mod helm;
mod image;
mod install;
mod kubernetes;
mod licenses;
mod machine;
mod manifests;
mod package;
mod pod;
mod repository;
mod resolver;
mod rpm;
mod systemd;
mod tools;
mod workflows;
