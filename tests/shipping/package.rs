//! The Debian package's life on a machine, and what `cargo package` packs.

use std::process::Command;

use crate::machine::{KEY, Machine, good, repository, said, until};

/// How a machine gets the package that was just made.
pub(crate) const INSTALL: &str =
    "apt-get install -y /srv/repository/dist/tryvox-exporter_$(dpkg --print-architecture).deb 2>&1";

/// One value of the service, as systemd has it.
fn shown(machine: &Machine, name: &str) -> String {
    machine.run(&format!("systemctl show tryvox-exporter --value --property={name}")).trim().to_owned()
}

/// Gives the package the key of who installs.
pub(crate) fn configure(machine: &Machine) {
    machine.run("install -m 600 /dev/stdin /etc/tryvox-exporter/keys/production <<<\"$KEY\"");
}

#[test]
fn it_is_installed_started_upgraded_removed_and_purged() {
    let machine = Machine::boot();
    machine.run(INSTALL);
    // Without a key there is nothing to do, and that is no failure.
    assert_eq!((shown(&machine, "ActiveState"), shown(&machine, "Result")), ("inactive".into(), "success".into()));
    assert_eq!(machine.run("stat -c '%U %a' /etc/tryvox-exporter/keys").trim(), "root 700");
    assert!(machine.run("getent passwd tryvox-exporter").contains("/nologin"));
    configure(&machine);
    machine.run("systemctl start tryvox-exporter");
    machine.listed("production");
    // No one but root and the service reads the key.
    let stolen = machine.output("setpriv --reuid=nobody cat /run/credentials/tryvox-exporter.service/keys_production");
    assert!(!stolen.status.success() && !said(&stolen).contains(KEY), "{}", said(&stolen));

    // An upgrade keeps what the administrator wrote, and starts the new one.
    machine.run("echo '# mine' >>/etc/tryvox-exporter/tryvox-exporter.yml");
    let old = shown(&machine, "MainPID");
    machine.run(
        "cd /tmp && dpkg-deb --raw-extract /srv/repository/dist/tryvox-exporter_$(dpkg --print-architecture).deb new
         sed -i 's/^Version: .*/Version: 999.0.0-1/' new/DEBIAN/control
         dpkg-deb --build new new.deb && dpkg --install new.deb 2>&1",
    );
    assert_eq!(machine.run("tail -1 /etc/tryvox-exporter/tryvox-exporter.yml").trim(), "# mine");
    assert_eq!(machine.run("dpkg-query --show --showformat='${Version}' tryvox-exporter"), "999.0.0-1");
    assert_ne!(shown(&machine, "MainPID"), old);
    machine.listed("production");

    machine.run("apt-get remove -y tryvox-exporter 2>&1");
    machine.run("test -s /etc/tryvox-exporter/keys/production && ! pgrep tryvox-exporter");
    machine.run("apt-get purge -y tryvox-exporter 2>&1");
    let left = machine.run("find /etc /usr /var/lib/systemd -xdev -name '*tryvox*'");
    assert_eq!(left, "", "purged and still there");
    assert!(!machine.run("journalctl --no-pager").contains(KEY), "the key is in the journal");
}

#[test]
fn systemd_reloads_it_watches_over_it_and_holds_its_port() {
    let machine = Machine::boot();
    machine.run(INSTALL);
    configure(&machine);
    machine.run("systemctl start tryvox-exporter");
    machine.listed("production");
    assert_eq!(shown(&machine, "StatusText"), "polling 1 account(s)");

    // A reload is the same process with other accounts.
    let old = shown(&machine, "MainPID");
    machine.run("sed -i 's/name: production/name: renamed/' /etc/tryvox-exporter/tryvox-exporter.yml");
    machine.run("systemctl reload tryvox-exporter");
    machine.listed("renamed");
    assert_eq!(shown(&machine, "MainPID"), old);
    // One that is wrong changes nothing, and the journal and the metrics say so.
    machine.run("echo 'no such: key' >>/etc/tryvox-exporter/tryvox-exporter.yml; systemctl reload tryvox-exporter");
    until("the metrics say that it is wrong", || {
        machine.listed("renamed").contains("tryvox_exporter_config_last_reload_successful 0\n").then_some(())
    });
    let journal = machine.run("journalctl --no-pager --unit=tryvox-exporter");
    assert!(journal.contains("tryvox-exporter.yml:"), "{journal}");
    assert_eq!(shown(&machine, "MainPID"), old);
    machine.run("sed -i '/no such/d' /etc/tryvox-exporter/tryvox-exporter.yml");

    // A process that hangs is ended and started anew.
    assert_eq!(shown(&machine, "WatchdogUSec"), "30s");
    machine.run(
        "mkdir -p /run/systemd/system/tryvox-exporter.service.d
         printf '[Service]\\nWatchdogSec=1s\\nRestartSec=100ms\\n' >/run/systemd/system/tryvox-exporter.service.d/quick.conf
         systemctl daemon-reload && systemctl restart tryvox-exporter",
    );
    machine.run("kill -STOP $(systemctl show tryvox-exporter --value --property=MainPID)");
    until("the watchdog starts it anew", || (shown(&machine, "NRestarts") == "1").then_some(()));
    machine.listed("renamed");

    // systemd holds the port: who asks while nobody runs is answered.
    machine.run(
        "echo TRYVOX_EXPORTER_WEB_SYSTEMD_SOCKET=true >>/etc/default/tryvox-exporter
         systemctl stop tryvox-exporter && systemctl enable --now tryvox-exporter.socket 2>&1",
    );
    assert_eq!(shown(&machine, "ActiveState"), "inactive");
    machine.listed("renamed");
    assert_eq!(shown(&machine, "ActiveState"), "active");
}

/// What is published to crates.io builds without the rest of the repository.
#[test]
fn cargo_packs_all_that_it_builds_from() {
    let root = repository();
    let packed = good(Command::new(env!("CARGO")).current_dir(root).args(["package", "--list", "--allow-dirty"]));
    for file in ["Cargo.lock", "LICENSE", "README.md", "CHANGELOG.md", "build.rs", "src/main.rs", "src/lib.rs"] {
        assert!(packed.lines().any(|line| line == file), "{file} is not in the package: {packed}");
    }
    let unwanted = |line: &&str| ["tests/", "docs/", "deploy/", "."].iter().any(|start| line.starts_with(start));
    assert_eq!(packed.lines().find(unwanted), Some(".cargo_vcs_info.json"), "{packed}");
    let pack = ["package", "--quiet", "--locked", "--allow-dirty", "--no-verify"];
    good(Command::new(env!("CARGO")).current_dir(root).args(pack));
    // As cargo would verify it, but with the dependencies that were checked before.
    let folder = tempfile::tempdir().unwrap();
    let name = concat!("tryvox-exporter-", env!("CARGO_PKG_VERSION"));
    let archive = root.join("target/package").join(format!("{name}.crate"));
    good(Command::new("tar").arg("--extract").arg("--file").arg(archive).arg("--directory").arg(folder.path()));
    let check = ["check", "--quiet", "--locked", "--offline", "--target-dir"];
    good(Command::new(env!("CARGO")).current_dir(folder.path().join(name)).args(check).arg(root.join("target")));
}
