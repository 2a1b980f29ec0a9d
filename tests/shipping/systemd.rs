//! The units under `deploy/systemd/` and `examples/`.

use std::process::Command;

use crate::machine::{ACCOUNT, Machine, NUMBERS, good, repository, said};
use crate::package::{INSTALL, configure};
use crate::tools::files;

/// As many as `systemd-analyze security` gives to a service, times ten.
const EXPOSURE: &str = "15";

#[test]
fn services_are_in_a_sandbox() {
    let services = [files("deploy/systemd", ".service"), files("examples", ".service")].concat();
    assert!(services.len() >= 2);
    for service in services {
        let analyze = |threshold: &str| {
            let threshold = format!("--threshold={threshold}");
            Command::new("systemd-analyze")
                .args(["security", "--offline=true", &threshold])
                .arg(&service)
                .output()
                .unwrap()
        };
        let output = analyze(EXPOSURE);
        assert!(output.status.success(), "{}: {}", service.display(), said(&output));
        // It does count.
        assert!(!analyze("1").status.success());
    }
}

/// systemd finds nothing wrong with any unit, but for programs that are not on this machine.
#[test]
fn units_are_what_systemd_takes() {
    let folder = tempfile::tempdir().unwrap();
    let binary = folder.path().join("tryvox-exporter");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_tryvox-exporter"), &binary).unwrap();
    let mut units = Vec::new();
    for ending in [".service", ".socket", ".timer"] {
        for unit in [files("deploy/systemd", ending), files("examples", ending)].concat() {
            let text = std::fs::read_to_string(&unit).unwrap();
            let copy = folder.path().join(unit.file_name().unwrap());
            let text = text.replace("/usr/bin/tryvox-exporter", binary.to_str().unwrap());
            std::fs::write(&copy, text).unwrap();
            units.push(copy);
        }
    }
    assert!(units.len() >= 4, "{units:?} {}", repository().display());
    let said = good(Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&units));
    assert_eq!(said, "");
}

/// The example's timer starts its service, which leaves a file that `node_exporter`'s textfile collector may read.
#[test]
fn the_timer_writes_a_file() {
    let machine = Machine::boot();
    machine.run(INSTALL);
    configure(&machine);
    machine.run(
        "useradd --system prometheus && install -d -o prometheus /var/lib/prometheus/node-exporter
         cp /srv/repository/examples/textfile/tryvox-once.* /etc/systemd/system && systemctl daemon-reload
         systemctl enable --now tryvox-once.timer 2>&1",
    );
    let next = machine.run("systemctl list-timers --no-legend tryvox-once.timer");
    assert!(next.contains("tryvox-once.service"), "{next}");
    machine.run("systemctl start tryvox-once.service");
    let written = machine.run("cat /var/lib/prometheus/node-exporter/tryvox.prom");
    assert!(written.contains(&format!("tryvox_listed_numbers{{account=\"{ACCOUNT}\"}} {NUMBERS}\n")), "{written}");
    assert_eq!(
        machine.run("stat --format='%U %a' /var/lib/prometheus/node-exporter/tryvox.prom").trim(),
        "prometheus 644"
    );
}
