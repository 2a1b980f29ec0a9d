//! The RPM package from installation to removal.

use std::collections::BTreeSet;

use crate::command::wait_for;
use crate::licenses::assert_has_third_party_licenses;
use crate::machine::{API_KEY, Machine};
use crate::package::{service_property, write_api_key};

/// The package under test.
const PACKAGE: &str = "/srv/repository/dist/tryvox-exporter.$(uname -m).rpm";

/// Makes the packages that dpkg installed known to rpm, as far as the package under test requires them.
pub(crate) fn provide_base_system(machine: &Machine) {
    machine.write_file(
        "/tmp/base.spec",
        "Name: base\nVersion: 1\nRelease: 1\nSummary: Packages that dpkg installed\nLicense: none\nBuildArch: noarch\n\
         Provides: /bin/sh, systemd = %{systemd}\n%description\n%files\n",
    );
    machine.run(
        "version=$(systemctl --version | sed -n '1s/systemd \\([0-9]*\\).*/\\1/p')
         rpmbuild -bb --quiet --define '_topdir /tmp/rpm' --define '_rpmdir /tmp' --define '_rpmfilename base.rpm' \\
             --define \"systemd $version\" /tmp/base.spec
         rpm --install /tmp/base.rpm",
    );
}

/// Returns the files of a package by its listing, without those whose place differs between distributions.
fn files(listing: &str) -> BTreeSet<&str> {
    let is_compared =
        |path: &&str| !["zsh", "/licenses/", "/copyright", "/THIRD-PARTY.txt"].iter().any(|part| path.contains(part));
    listing.lines().filter(|path| path.starts_with('/') && !path.ends_with('/')).filter(is_compared).collect()
}

#[test]
fn package_has_the_files_of_the_debian_package() {
    let machine = Machine::boot();
    let rpm = machine.run(&format!("rpm --query --list --package {PACKAGE}"));
    let deb = machine.run(
        "dpkg-deb --contents /srv/repository/dist/tryvox-exporter_$(dpkg --print-architecture).deb | sed -n 's/^.* \\.//p'",
    );
    let folders = ["/etc/tryvox-exporter", "/usr/share/doc/tryvox-exporter"];
    let is_folder = |path: &str| {
        folders.contains(&path)
            || ["/alerts", "/dashboards"].map(|name| format!("{}{name}", folders[1])).contains(&path.to_owned())
    };
    let rpm: BTreeSet<_> = files(&rpm).into_iter().filter(|path| !is_folder(path)).collect();
    assert!(rpm.len() > 12);
    assert_eq!(rpm, files(&deb));
}

#[test]
fn package_is_installed_upgraded_and_removed() {
    let machine = Machine::boot();
    // The package is refused if systemd cannot pass the keys to the service.
    let refused = machine.output(&format!("rpm --install {PACKAGE} 2>&1"));
    let reason = String::from_utf8_lossy(&refused.stdout);
    assert!(!refused.status.success() && reason.contains("systemd >= 250 is needed"), "{reason}");
    provide_base_system(&machine);
    machine.run(&format!("rpm --install {PACKAGE}"));
    machine.run("rpm --verify tryvox-exporter");
    assert_eq!(
        machine.run("rpm --query tryvox-exporter").trim(),
        concat!("tryvox-exporter-", env!("CARGO_PKG_VERSION"), "-1.x86_64").replace("x86_64", std::env::consts::ARCH)
    );
    assert!(machine.run("getent passwd tryvox-exporter").contains("/nologin"));
    // Licenses are installed even if documentation is excluded.
    let third_party = "/usr/share/licenses/tryvox-exporter/THIRD-PARTY.txt";
    assert!(machine.run("rpm --query --licensefiles tryvox-exporter").contains(third_party));
    assert_has_third_party_licenses(&machine, third_party);
    assert_eq!(machine.run("stat -c '%U %a' /etc/tryvox-exporter/keys").trim(), "root 700");
    write_api_key(&machine);
    machine.run("systemctl enable --now tryvox-exporter 2>&1");
    machine.wait_for_listing("production");

    // An upgrade keeps the edited configuration and the mode of the keys, and restarts the service.
    machine.run("echo '# edited' >>/etc/tryvox-exporter/tryvox-exporter.yml");
    machine.run("chgrp tryvox-exporter /etc/tryvox-exporter/keys; chmod 750 /etc/tryvox-exporter/keys");
    let process_before = service_property(&machine, "MainPID");
    machine.run(&format!("rpm --upgrade --replacepkgs {PACKAGE}"));
    assert_eq!(machine.run("tail -1 /etc/tryvox-exporter/tryvox-exporter.yml").trim(), "# edited");
    assert_eq!(machine.run("stat -c '%U %G %a' /etc/tryvox-exporter/keys").trim(), "root tryvox-exporter 750");
    wait_for("the service to restart", || (service_property(&machine, "MainPID") != process_before).then_some(()));
    machine.wait_for_listing("production");

    machine.run("rpm --erase tryvox-exporter 2>&1");
    machine.run("test -s /etc/tryvox-exporter/keys/production && ! pgrep tryvox-exporter");
    machine.run("test -s /etc/tryvox-exporter/tryvox-exporter.yml.rpmsave");
    machine.run("test -s /var/lib/tryvox-exporter/state.db");
    let remaining = machine.run("find /usr /etc/systemd -xdev -name '*tryvox*'");
    assert_eq!(remaining, "", "files remain after the removal");
    assert!(!machine.run("journalctl --no-pager").contains(API_KEY), "the key is in the journal");
}
