//! What is shipped, as a newcomer gets it: every way to install, followed as the README says it on a Debian that is
//! new, the image, and all that is under `deploy/`. `make package image machine` makes what these tests take.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "the test runner shows it when a test fails")]

mod compose;
mod image;
mod install;
mod kubernetes;
mod machine;
mod package;
mod systemd;
mod tools;
mod workflows;
