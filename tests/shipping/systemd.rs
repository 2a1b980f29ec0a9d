//! The systemd units under `deploy/systemd/` and `examples/`.

use std::process::Command;

use crate::command::{output_text, run};
use crate::machine::{ACCOUNT, Machine, complete_listing_sample};
use crate::package::{INSTALL, write_api_key};
use crate::repository::files;

/// The highest exposure level that `systemd-analyze security` may report, in tenths.
const MAX_EXPOSURE: &str = "15";

#[test]
fn services_are_sandboxed() {
    let services = [files("deploy/systemd", ".service"), files("examples", ".service")].concat();
    assert!(services.len() >= 2);
    for service in services {
        let analyze = |threshold: &str| {
            let mut command = Command::new("systemd-analyze");
            command.args(["security", "--offline=true", &format!("--threshold={threshold}")]);
            command.arg(&service).output().unwrap()
        };
        let output = analyze(MAX_EXPOSURE);
        assert!(output.status.success(), "{}: {}", service.display(), output_text(&output));
        // The threshold has an effect.
        assert!(!analyze("1").status.success());
    }
}

#[test]
fn systemd_accepts_all_units_without_warnings() {
    let folder = tempfile::tempdir().unwrap();
    // The units refer to the installed binary, which must exist.
    let binary = folder.path().join("tryvox-exporter");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_tryvox-exporter"), &binary).unwrap();
    let mut units = Vec::new();
    for suffix in [".service", ".socket", ".timer"] {
        for unit in [files("deploy/systemd", suffix), files("examples", suffix)].concat() {
            let text = std::fs::read_to_string(&unit).unwrap();
            let copy = folder.path().join(unit.file_name().unwrap());
            let text = text.replace("/usr/bin/tryvox-exporter", binary.to_str().unwrap());
            std::fs::write(&copy, text).unwrap();
            units.push(copy);
        }
    }
    assert!(units.len() >= 4, "{units:?}");
    let warnings = run(Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&units));
    assert_eq!(warnings, "");
}

#[test]
fn example_timer_writes_a_file_for_the_textfile_collector() {
    let machine = Machine::boot();
    machine.run(INSTALL);
    write_api_key(&machine);
    machine.run(
        "useradd --system prometheus && install -d -o prometheus /var/lib/prometheus/node-exporter
         cp /srv/repository/examples/textfile/tryvox-once.* /etc/systemd/system && systemctl daemon-reload
         systemctl enable --now tryvox-once.timer 2>&1",
    );
    let timers = machine.run("systemctl list-timers --no-legend tryvox-once.timer");
    assert!(timers.contains("tryvox-once.service"), "{timers}");
    machine.run("systemctl start tryvox-once.service");
    let path = "/var/lib/prometheus/node-exporter/tryvox.prom";
    let metrics = machine.run(&format!("cat {path}"));
    assert!(metrics.contains(&complete_listing_sample(ACCOUNT)), "{metrics}");
    assert_eq!(machine.run(&format!("stat --format='%U %a' {path}")).trim(), "prometheus 644");
}
