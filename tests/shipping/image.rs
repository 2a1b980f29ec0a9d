//! The container image that `scripts/image` builds from the Dockerfile.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};

use crate::command::{output_text, run, wait_for};
use crate::licenses::assert_has_third_party_licenses;
use crate::machine::{ACCOUNT, IMAGE, Machine};
use crate::repository::{read, revision, root};

#[test]
fn dockerfile_and_chart_have_the_version_of_the_crate() {
    let chart = "deploy/helm/tryvox-exporter/Chart.yaml";
    for (file, prefix, count) in
        [("Dockerfile", "ARG VERSION=", 2), (chart, "version: ", 1), (chart, "appVersion: ", 1)]
    {
        let text = read(file);
        let versions: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(prefix)).collect();
        assert_eq!(versions, vec![env!("CARGO_PKG_VERSION"); count], "{file}");
    }
}

#[test]
fn changelog_has_a_dated_section_and_a_link_for_the_version_of_the_crate() {
    let text = read("CHANGELOG.md");
    let sections: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(sections[0], "[Unreleased]");
    let version = concat!("[", env!("CARGO_PKG_VERSION"), "]");
    let date = sections[1].strip_prefix(version).and_then(|rest| rest.strip_prefix(" - ")).unwrap();
    run(Command::new("date").args(["--date", date]));
    for section in &sections {
        let name = section.split(' ').next().unwrap();
        assert!(text.contains(&format!("\n{name}: {}/", env!("CARGO_PKG_REPOSITORY"))), "{name} has no link");
    }
}

#[test]
fn image_is_labelled_and_contains_only_the_binary_its_licenses_and_the_ca_certificates() {
    let machine = Machine::boot_with_image();
    let inspected = machine.run(&format!("podman image inspect {IMAGE}:latest"));
    let image = &serde_json::from_str::<Value>(&inspected).unwrap()[0];
    let labels: BTreeMap<String, String> = serde_json::from_value(image["Labels"].clone()).unwrap();
    let label = |name: &str| labels[&format!("org.opencontainers.image.{name}")].as_str();
    // Labels, binary and commit agree. The installation tests check the same of the metrics.
    assert_eq!((label("version"), label("revision")), (env!("CARGO_PKG_VERSION"), &*revision()));
    assert_eq!((label("licenses"), label("title")), ("Apache-2.0", "tryvox-exporter"));
    assert_eq!((label("source"), label("url")), (env!("CARGO_PKG_REPOSITORY"), env!("CARGO_PKG_REPOSITORY")));
    // All labels of the OCI image specification that do not depend on where the image is stored.
    let created = run(Command::new("git").args(["log", "-1", "--format=%cI"]).current_dir(root()));
    assert_eq!(label("created"), created.trim());
    for name in ["authors", "description", "documentation", "vendor"] {
        assert!(!label(name).is_empty(), "{name}");
    }
    let version = machine.run(&format!("podman run --rm --read-only --cap-drop=all {IMAGE}:latest --version"));
    let expected = format!("tryvox-exporter {} (revision {},", label("version"), label("revision"));
    assert!(version.starts_with(&expected), "{version}");
    let config = &image["Config"];
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["StopSignal"], "SIGTERM");
    assert_eq!(config["Entrypoint"], json!(["/usr/bin/tryvox-exporter"]));
    assert_eq!(config["ExposedPorts"], json!({"10869/tcp": {}}));

    let script = format!(
        "podman create --name=exported {IMAGE}:latest >/dev/null && podman export --output=exported.tar exported
         tar --list --file=exported.tar"
    );
    let listed = machine.run(&script);
    // podman adds these mount points to every container.
    let added = ["dev/", "proc/", "run/", "sys/", "etc/hosts", "etc/hostname", "etc/mtab", "etc/resolv.conf"];
    let is_of_image = |path: &&str| !path.ends_with('/') && !added.iter().any(|prefix| path.starts_with(prefix));
    let files: Vec<_> = listed.lines().filter(is_of_image).collect();
    let licenses = ["LICENSE", "THIRD-PARTY.txt"].map(|name| format!("usr/share/doc/tryvox-exporter/{name}"));
    let [license, third_party] = &licenses;
    assert_eq!(files, ["etc/ssl/certs/ca-certificates.crt", "usr/bin/tryvox-exporter", license, third_party]);
    assert_has_third_party_licenses(
        &machine,
        &format!("<(tar --extract --to-stdout --file=exported.tar {third_party})"),
    );
    // The folder for the state file belongs to the user of the image.
    let folder = machine.run("tar --list --verbose --numeric-owner --file=exported.tar var/lib/tryvox-exporter");
    assert!(folder.starts_with("drwxr-xr-x 65532/65532 "), "{folder}");
}

#[test]
fn container_keeps_its_state_in_a_volume() {
    let machine = Machine::boot_with_image();
    let volume = "--volume=state:/var/lib/tryvox-exporter";
    let options = format!("--detach --read-only --read-only-tmpfs=false --cap-drop=all --publish=10869:10869 {volume}");
    let run = format!(
        "podman run {options} --name=exporter --env=TRYVOX_API_KEY=$KEY {IMAGE}:latest \
         --tryvox.account-id={ACCOUNT} --state.file=/var/lib/tryvox-exporter/state.db"
    );
    for _ in 0..2 {
        machine.run(&run);
        machine.wait_for_listing(ACCOUNT);
        machine.run("podman stop --time=10 exporter && podman rm exporter");
        // A volume belongs to the user of the image, and outlives the container.
        let state =
            machine.run("stat --format='%u %a' $(podman volume inspect state --format='{{.Mountpoint}}')/state.db");
        assert_eq!(state.trim(), "65532 600");
    }
    machine.run(&format!(
        "podman run --rm {volume}:ro {IMAGE}:latest changes --state.file=/var/lib/tryvox-exporter/state.db"
    ));
}

#[test]
fn container_serves_metrics_passes_its_health_check_and_stops() {
    let machine = Machine::boot_with_image();
    let options = "--detach --name=demo --read-only --read-only-tmpfs=false --cap-drop=all --publish=10869:10871";
    machine.run(&format!("podman run {options} {IMAGE}:latest demo --web.listen-address=:10871"));
    wait_for("the demo account to be up", || {
        machine.scrape().filter(|scrape| scrape.contains("tryvox_up{account=\"acc_demo\"} 1\n"))
    });
    machine.run("podman healthcheck run demo");
    assert_eq!(machine.run("stat --format='%u %g' /proc/$(pgrep --exact tryvox-exporter)").trim(), "65532 65532");
    machine.run("podman stop --time=10 demo");
    let inspect = "podman inspect --format='{{.State.ExitCode}} {{.State.OOMKilled}}' demo";
    assert_eq!(machine.run(inspect).trim(), "0 false");

    let without_account = machine.output(&format!("podman run --rm {IMAGE}:latest"));
    assert_eq!(without_account.status.code(), Some(2));
    let text = output_text(&without_account);
    assert!(text.contains("--tryvox.account-id"), "{text}");
}
