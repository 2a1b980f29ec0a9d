//! Tells the binary which commit and which compiler it was built from.

use std::path::Path;
use std::process::Command;

fn main() {
    // A package or an image is built without a `.git`: there the environment says which commit.
    let revision = std::env::var("TRYVOX_EXPORTER_REVISION")
        .ok()
        .filter(|revision| !revision.is_empty())
        .or_else(|| output("git", &["rev-parse", "--short=12", "HEAD"]))
        .unwrap_or_else(|| "unknown".to_owned());
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let rustc = output(&rustc, &["--version"])
        .and_then(|line| line.split_whitespace().nth(1).map(str::to_owned))
        .unwrap_or_else(|| "unknown".to_owned());

    println!("cargo::rustc-env=TRYVOX_EXPORTER_REVISION={revision}");
    println!("cargo::rustc-env=TRYVOX_EXPORTER_RUSTC={rustc}");
    println!("cargo::rerun-if-env-changed=TRYVOX_EXPORTER_REVISION");
    println!("cargo::rerun-if-changed=build.rs");
    // Every commit and checkout is a line in this file.
    if Path::new(".git/logs/HEAD").exists() {
        println!("cargo::rerun-if-changed=.git/logs/HEAD");
    }
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
