//! The `tryvox-exporter` binary: runs the command line and turns its result into an exit status.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// With musl's allocator, which requests memory from the kernel for each page of the API, a poll would take almost twice the CPU
/// time. `.cargo/config.toml` has the options.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    match tryvox_exporter::cli::run(std::env::args_os()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}
