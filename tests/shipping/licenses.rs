//! The licenses of the crates and libraries that are linked into the binary.

use std::collections::BTreeSet;
use std::process::Command;

use crate::command::run;
use crate::machine::Machine;
use crate::repository::{read, root};

const FILE: &str = "deploy/licenses/THIRD-PARTY.txt";

/// Checks that a file on a machine has the licenses of this commit.
pub(crate) fn assert_has_third_party_licenses(machine: &Machine, path: &str) {
    machine.run(&format!("cmp /srv/repository/{FILE} {path}"));
}

#[test]
fn third_party_licenses_are_those_of_the_linked_crates() {
    let text = read(FILE);
    let generated = run(Command::new("python3").arg(root().join("deploy/licenses/generate.py")));
    assert!(text == generated, "{FILE} is outdated; run `make licenses`");

    // The crates are read from their list, independently of how it was generated.
    let list = text.split("\n\n").nth(1).unwrap();
    let listed: BTreeSet<_> = list.lines().map(|line| line.split_once(": ").unwrap().0.to_owned()).collect();
    let mut linked = BTreeSet::new();
    for architecture in ["x86_64", "aarch64"] {
        let target = format!("--target={architecture}-unknown-linux-musl");
        let options = ["tree", "--locked", "--edges=normal,no-proc-macro", "--prefix=none", &target];
        let tree = run(Command::new(env!("CARGO")).current_dir(root()).args(options));
        linked.extend(tree.lines().filter_map(|line| {
            let (name, rest) = line.split_once(" v")?;
            let version = rest.split(' ').next()?;
            (name != env!("CARGO_PKG_NAME")).then(|| format!("{name} {version}"))
        }));
    }
    assert!(linked.len() > 100, "{linked:?}");
    assert_eq!(listed, linked);
    for part in ["Rich Felker", "Rust standard library is", "Jason Evans", "ring", "Meta Platforms", "May you do good"]
    {
        assert!(text.contains(part), "{part}");
    }
}

#[test]
fn archive_has_the_third_party_licenses() {
    let architecture = run(Command::new("dpkg").arg("--print-architecture"));
    let archive = root().join(format!("dist/tryvox-exporter-linux-{}.tar.gz", architecture.trim()));
    let name = "tryvox-exporter/THIRD-PARTY.txt";
    let text = run(Command::new("tar").args(["--extract", "--to-stdout", "--file"]).arg(archive).arg(name));
    assert!(text == read(FILE));
}
