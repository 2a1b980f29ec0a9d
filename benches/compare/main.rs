//! The exporter beside a plain one of the same job, in one run on one machine: what a poll and a scrape
//! cost, how much memory it takes, how soon it answers. What is judged are ratios, and limits that no
//! machine changes much.
//!
//! `make bench` measures and writes `target/bench.md`; `cargo test --benches` goes through all of it once,
//! with little to do, and judges nothing. `cargo bench --bench compare -- poll` measures one of them.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what fails has nothing to measure")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "that is what it is run for")]

mod measure;
mod process;
mod table;

use std::path::{Path, PathBuf};
use std::process::Command;

use measure::Scale;

fn main() {
    // Cargo says which of the two this is.
    let full = std::env::args().any(|argument| argument == "--bench");
    let scale = if full { Scale::FULL } else { Scale::BRIEF };
    let only: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    // Fails only where there is one already.
    _ = rustls::crypto::ring::default_provider().install_default();
    let peer = build_peer();
    let mut rows = Vec::new();
    for (_, measure) in measure::ALL.iter().filter(|(name, _)| only.is_empty() || only.iter().any(|only| only == name))
    {
        for row in measure(&peer, &scale) {
            // With little to do a ratio says nothing.
            if full {
                eprintln!("{row}");
            } else {
                eprintln!("gone through: {}", row.what);
            }
            rows.push(row);
        }
    }
    if full {
        let text = table::write(&rows);
        println!("{text}");
        if only.is_empty() {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench.md");
            std::fs::write(&path, text).unwrap();
            eprintln!("written to {}", path.display());
        }
    }
}

/// Builds the other exporter, of Debian's packages alone.
fn build_peer() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let peer = root.join("target/peer");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&peer)
        .arg(".")
        .current_dir(root.join("benches/peer"))
        .env("GO111MODULE", "off")
        .env("GOPATH", "/usr/share/gocode")
        .env("GOCACHE", root.join("target/go"))
        .status()
        .expect("go, of Debian's golang-go; `scripts/setup bench` installs it");
    assert!(built.success(), "the peer does not build; `scripts/setup bench` installs what it needs");
    peer
}
