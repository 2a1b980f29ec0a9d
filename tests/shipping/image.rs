//! The container image that `scripts/image` builds from the Dockerfile.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::command::{output_text, wait_for};
use crate::machine::{IMAGE, Machine};
use crate::repository::{read, revision};

#[test]
fn dockerfile_and_kustomization_have_the_version_of_the_crate() {
    for (file, prefix, count) in
        [("Dockerfile", "ARG VERSION=", 2), ("deploy/kubernetes/base/kustomization.yaml", "    newTag: ", 1)]
    {
        let text = read(file);
        let versions: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(prefix)).collect();
        assert_eq!(versions, vec![env!("CARGO_PKG_VERSION"); count], "{file}");
    }
}

#[test]
fn image_is_labelled_and_contains_only_the_binary_and_the_ca_certificates() {
    let machine = Machine::boot_with_image();
    let inspected = machine.run(&format!("podman image inspect {IMAGE}:latest"));
    let image = &serde_json::from_str::<Value>(&inspected).unwrap()[0];
    let labels: BTreeMap<String, String> = serde_json::from_value(image["Labels"].clone()).unwrap();
    let label = |name: &str| labels[&format!("org.opencontainers.image.{name}")].as_str();
    // Labels, binary and commit agree. The installation tests check the same of the metrics.
    assert_eq!((label("version"), label("revision")), (env!("CARGO_PKG_VERSION"), &*revision()));
    assert_eq!((label("licenses"), label("title")), ("Apache-2.0", "tryvox-exporter"));
    assert_eq!(label("source"), env!("CARGO_PKG_REPOSITORY"));
    let version = machine.run(&format!("podman run --rm --read-only --cap-drop=all {IMAGE}:latest --version"));
    let expected = format!("tryvox-exporter {} (revision {},", label("version"), label("revision"));
    assert!(version.starts_with(&expected), "{version}");
    let config = &image["Config"];
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["StopSignal"], "SIGTERM");
    assert_eq!(config["Entrypoint"], json!(["/usr/bin/tryvox-exporter"]));
    assert_eq!(config["ExposedPorts"], json!({"10869/tcp": {}}));

    let script =
        format!("podman create --name=exported {IMAGE}:latest >/dev/null && podman export exported | tar --list");
    let listed = machine.run(&script);
    // podman adds these mount points to every container.
    let added = ["dev/", "proc/", "run/", "sys/", "etc/hosts", "etc/hostname", "etc/mtab", "etc/resolv.conf"];
    let is_of_image = |path: &&str| !path.ends_with('/') && !added.iter().any(|prefix| path.starts_with(prefix));
    let files: Vec<_> = listed.lines().filter(is_of_image).collect();
    assert_eq!(files, ["etc/ssl/certs/ca-certificates.crt", "usr/bin/tryvox-exporter"]);
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
