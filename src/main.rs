//! The `tryvox-exporter` binary: it runs the command line and ends with its status.

use std::process::ExitCode;

fn main() -> ExitCode {
    match tryvox_exporter::cli::run(std::env::args_os()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}
