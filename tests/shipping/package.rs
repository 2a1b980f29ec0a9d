//! The Debian package from installation to purge, its service under systemd, and the crate that `cargo package` builds.

use std::process::Command;

use crate::command::{output_text, run, wait_for};
use crate::licenses::assert_has_third_party_licenses;
use crate::machine::{API_KEY, Machine};
use crate::repository::root;

/// The command that installs the package under test on a machine.
pub(crate) const INSTALL: &str =
    "apt-get install -y /srv/repository/dist/tryvox-exporter_$(dpkg --print-architecture).deb 2>&1";

/// Returns a property of the service.
pub(crate) fn service_property(machine: &Machine, name: &str) -> String {
    machine.run(&format!("systemctl show tryvox-exporter --value --property={name}")).trim().to_owned()
}

/// Writes the API key where the package expects it.
pub(crate) fn write_api_key(machine: &Machine) {
    machine.run("install -m 600 /dev/stdin /etc/tryvox-exporter/keys/production <<<\"$KEY\"");
}

/// Boots a machine on which the package is installed and its service has listed the account.
fn boot_with_running_service() -> Machine {
    let machine = Machine::boot();
    machine.run(INSTALL);
    write_api_key(&machine);
    machine.run("systemctl start tryvox-exporter");
    machine.wait_for_listing("production");
    machine
}

#[test]
fn package_is_installed_upgraded_removed_and_purged() {
    let machine = Machine::boot();
    machine.run(INSTALL);
    // Without a key the service does not start, and that is not a failure.
    let state = ["ActiveState", "Result"].map(|name| service_property(&machine, name));
    assert_eq!(state, ["inactive", "success"]);
    assert_eq!(machine.run("stat -c '%U %a' /etc/tryvox-exporter/keys").trim(), "root 700");
    assert!(machine.run("getent passwd tryvox-exporter").contains("/nologin"));
    assert_has_third_party_licenses(&machine, "/usr/share/doc/tryvox-exporter/THIRD-PARTY.txt");
    machine.run("dpkg --verify tryvox-exporter && test -s /var/lib/dpkg/info/tryvox-exporter.md5sums");
    write_api_key(&machine);
    machine.run("systemctl start tryvox-exporter");
    machine.wait_for_listing("production");
    // The state file is private to the service. Root can read it through the configuration file that the package has.
    let state =
        machine.run("stat --dereference --format='%a' /var/lib/tryvox-exporter /var/lib/tryvox-exporter/state.db");
    assert_eq!(state, "700\n600\n");
    assert!(!machine.output("setpriv --reuid=nobody cat /var/lib/tryvox-exporter/state.db").status.success());
    machine.run("tryvox-exporter changes --config.file=/etc/tryvox-exporter/tryvox-exporter.yml");
    // Other users cannot read the key.
    let denied = machine.output("setpriv --reuid=nobody cat /run/credentials/tryvox-exporter.service/keys_production");
    let text = output_text(&denied);
    assert!(!denied.status.success() && !text.contains(API_KEY), "{text}");

    // An upgrade keeps the edited configuration and restarts the service.
    machine.run("echo '# edited' >>/etc/tryvox-exporter/tryvox-exporter.yml");
    let process_before = service_property(&machine, "MainPID");
    machine.run(
        "cd /tmp && dpkg-deb --raw-extract /srv/repository/dist/tryvox-exporter_$(dpkg --print-architecture).deb new
         sed -i 's/^Version: .*/Version: 999.0.0-1/' new/DEBIAN/control
         dpkg-deb --build new new.deb && dpkg --install new.deb 2>&1",
    );
    assert_eq!(machine.run("tail -1 /etc/tryvox-exporter/tryvox-exporter.yml").trim(), "# edited");
    assert_eq!(machine.run("dpkg-query --show --showformat='${Version}' tryvox-exporter"), "999.0.0-1");
    assert_ne!(service_property(&machine, "MainPID"), process_before);
    machine.wait_for_listing("production");
    let journal = machine.run("journalctl --no-pager --unit=tryvox-exporter");
    assert!(!journal.contains("level=error"), "{journal}");

    machine.run("apt-get remove -y tryvox-exporter 2>&1");
    machine.run("test -s /etc/tryvox-exporter/keys/production && ! pgrep tryvox-exporter");
    machine.run("test -s /var/lib/tryvox-exporter/state.db");
    machine.run("apt-get purge -y tryvox-exporter 2>&1");
    let remaining = machine.run("find /etc /usr /var/lib -xdev -name '*tryvox*'");
    assert_eq!(remaining, "", "files remain after the purge");
    assert!(!machine.run("journalctl --no-pager").contains(API_KEY), "the key is in the journal");
}

#[test]
fn service_reloads_in_place_and_keeps_its_configuration_if_the_new_one_is_invalid() {
    let machine = boot_with_running_service();
    assert_eq!(service_property(&machine, "StatusText"), "polling 1 account");
    let process = service_property(&machine, "MainPID");
    machine.run("sed -i 's/name: production/name: renamed/' /etc/tryvox-exporter/tryvox-exporter.yml");
    machine.run("systemctl reload tryvox-exporter");
    machine.wait_for_listing("renamed");
    assert_eq!(service_property(&machine, "MainPID"), process);

    machine.run("echo 'no such: key' >>/etc/tryvox-exporter/tryvox-exporter.yml; systemctl reload tryvox-exporter");
    wait_for("the metrics to report the failed reload", || {
        let scrape = machine.wait_for_listing("renamed");
        scrape.contains("tryvox_exporter_config_last_reload_successful 0\n").then_some(())
    });
    let journal = machine.run("journalctl --no-pager --unit=tryvox-exporter");
    assert!(journal.contains("tryvox-exporter.yml:"), "{journal}");
    assert_eq!(service_property(&machine, "MainPID"), process);
}

#[test]
fn watchdog_restarts_a_process_that_hangs() {
    let machine = boot_with_running_service();
    assert_eq!(service_property(&machine, "WatchdogUSec"), "30s");
    machine.run(
        "mkdir -p /run/systemd/system/tryvox-exporter.service.d
         printf '[Service]\\nWatchdogSec=1s\\nRestartSec=100ms\\n' >/run/systemd/system/tryvox-exporter.service.d/quick.conf
         systemctl daemon-reload && systemctl restart tryvox-exporter",
    );
    machine.run("kill -STOP $(systemctl show tryvox-exporter --value --property=MainPID)");
    wait_for("the watchdog restart", || (service_property(&machine, "NRestarts") == "1").then_some(()));
    machine.wait_for_listing("production");
}

#[test]
fn socket_activation_starts_the_service_on_the_first_request() {
    let machine = boot_with_running_service();
    machine.run(
        "echo TRYVOX_EXPORTER_WEB_SYSTEMD_SOCKET=true >>/etc/default/tryvox-exporter
         systemctl stop tryvox-exporter && systemctl enable --now tryvox-exporter.socket 2>&1",
    );
    assert_eq!(service_property(&machine, "ActiveState"), "inactive");
    machine.wait_for_listing("production");
    assert_eq!(service_property(&machine, "ActiveState"), "active");
}

/// `cargo publish` would build the crate itself, but with all its dependencies.
#[test]
fn crate_can_be_published_and_contains_all_that_its_build_needs() {
    let cargo = || Command::new(env!("CARGO"));
    let listed = run(cargo().current_dir(root()).args(["package", "--list", "--allow-dirty"]));
    for file in ["Cargo.lock", "LICENSE", "README.md", "CHANGELOG.md", "build.rs", "src/main.rs", "src/lib.rs"] {
        assert!(listed.lines().any(|line| line == file), "{file} is not in the crate: {listed}");
    }
    let is_unwanted = |line: &&str| ["tests/", "docs/", "deploy/", "."].iter().any(|prefix| line.starts_with(prefix));
    assert_eq!(listed.lines().find(is_unwanted), Some(".cargo_vcs_info.json"), "{listed}");
    let options = ["--quiet", "--locked", "--allow-dirty", "--no-verify"];
    run(cargo().current_dir(root()).args(["publish", "--dry-run"]).args(options));
    run(cargo().current_dir(root()).arg("package").args(options));
    let folder = tempfile::tempdir().unwrap();
    let name = concat!("tryvox-exporter-", env!("CARGO_PKG_VERSION"));
    let archive = root().join("target/package").join(format!("{name}.crate"));
    run(Command::new("tar").arg("--extract").arg("--file").arg(archive).arg("--directory").arg(folder.path()));
    let check = ["check", "--quiet", "--locked", "--offline", "--target-dir"];
    run(cargo().current_dir(folder.path().join(name)).args(check).arg(root().join("target")));
}
