//! The `tryvox-exporter` binary: runs the command line and turns its result into an exit status.

use std::process::ExitCode;

fn main() -> ExitCode {
    match tryvox_exporter::cli::run(std::env::args_os()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}
