//! Passes the commit, the compiler version and the target triple of the build to the crate as environment variables.

use std::path::Path;
use std::process::Command;

fn main() {
    // Packages and images are built without a `.git` directory and set the commit in the environment.
    let revision = std::env::var("TRYVOX_EXPORTER_REVISION")
        .ok()
        .filter(|revision| !revision.is_empty())
        .or_else(|| command_output("git", &["rev-parse", "--short=12", "HEAD"]))
        .unwrap_or_else(|| "unknown".to_owned());
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let rustc = command_output(&rustc, &["--version"])
        .and_then(|line| line.split_whitespace().nth(1).map(str::to_owned))
        .unwrap_or_else(|| "unknown".to_owned());
    let target = std::env::var("TARGET").unwrap_or_else(|_| "unknown".to_owned());

    println!("cargo::rustc-env=TRYVOX_EXPORTER_REVISION={revision}");
    println!("cargo::rustc-env=TRYVOX_EXPORTER_RUSTC={rustc}");
    println!("cargo::rustc-env=TRYVOX_EXPORTER_TARGET={target}");
    println!("cargo::rerun-if-env-changed=TRYVOX_EXPORTER_REVISION");
    println!("cargo::rerun-if-changed=build.rs");
    // Every commit and checkout adds a line to this file.
    if Path::new(".git/logs/HEAD").exists() {
        println!("cargo::rerun-if-changed=.git/logs/HEAD");
    }
}

/// Returns the trimmed standard output of a program, or `None` if it fails or prints nothing.
fn command_output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
