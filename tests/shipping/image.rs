//! The image that `scripts/image` built by the Dockerfile.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::machine::{Machine, repository, revision, said, until};

/// Whoever builds it by hand, or runs it in Kubernetes, gets the version that this is.
#[test]
fn there_is_one_version() {
    for (file, before, times) in
        [("Dockerfile", "ARG VERSION=", 2), ("deploy/kubernetes/base/kustomization.yaml", "    newTag: ", 1)]
    {
        let text = std::fs::read_to_string(repository().join(file)).unwrap();
        let versions: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(before)).collect();
        assert_eq!(versions, vec![env!("CARGO_PKG_VERSION"); times], "{file}");
    }
}

const IMAGE: &str = "ghcr.io/tryvox-exporter/tryvox-exporter:latest";

#[test]
fn it_says_what_it_is_and_holds_nothing_else() {
    let machine = Machine::with_image();
    let inspected = machine.run(&format!("podman image inspect {IMAGE}"));
    let config = &serde_json::from_str::<Value>(&inspected).unwrap()[0];
    let labels: BTreeMap<String, String> = serde_json::from_value(config["Labels"].clone()).unwrap();
    let label = |name: &str| labels[&format!("org.opencontainers.image.{name}")].as_str();
    // Label, binary and commit agree; that its metrics do, too, is seen where it is installed.
    assert_eq!((label("version"), label("revision")), (env!("CARGO_PKG_VERSION"), &*revision()));
    assert_eq!((label("licenses"), label("title")), ("Apache-2.0", "tryvox-exporter"));
    assert_eq!(label("source"), env!("CARGO_PKG_REPOSITORY"));
    let printed = machine.run(&format!("podman run --rm --read-only --cap-drop=all {IMAGE} --version"));
    assert!(
        printed.starts_with(&format!("tryvox-exporter {} (revision {},", label("version"), label("revision"))),
        "{printed}"
    );
    let config = &config["Config"];
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["StopSignal"], "SIGTERM");
    assert_eq!(config["Entrypoint"], json!(["/usr/bin/tryvox-exporter"]));
    assert_eq!(config["ExposedPorts"], json!({"10869/tcp": {}}));

    let script = format!("podman create --name=held {IMAGE} >/dev/null && podman export held | tar --list");
    let listed = machine.run(&script);
    // The engine makes the mount points of a container that is made.
    let made = ["dev/", "proc/", "run/", "sys/", "etc/hosts", "etc/hostname", "etc/mtab", "etc/resolv.conf"];
    let held = listed.lines().filter(|path| !path.ends_with('/') && !made.iter().any(|made| path.starts_with(made)));
    let held: Vec<_> = held.collect();
    assert_eq!(held, ["etc/ssl/certs/ca-certificates.crt", "usr/bin/tryvox-exporter"]);
}

#[test]
fn it_starts_answers_is_healthy_and_stops() {
    let machine = Machine::with_image();
    machine
        .run(&format!("podman run --detach --name=demo --read-only --cap-drop=all --publish=10869:10869 {IMAGE} demo"));
    until("it answers", || machine.scrape().filter(|scrape| scrape.contains("tryvox_up{account=\"acc_demo\"} 1\n")));
    assert_eq!(machine.run("podman healthcheck run demo && echo good").lines().last(), Some("good"));
    assert_eq!(machine.run("stat --format='%u %g' /proc/$(pgrep --exact tryvox-exporter)").trim(), "65532 65532");
    machine.run("podman stop --time=10 demo");
    let state = "podman inspect --format='{{.State.ExitCode}} {{.State.OOMKilled}}' demo";
    assert_eq!(machine.run(state).trim(), "0 false");
    // Without an account it says what to do.
    let refused = machine.output(&format!("podman run --rm {IMAGE}"));
    assert_eq!(refused.status.code(), Some(2));
    assert!(said(&refused).contains("--tryvox.account-id"), "{}", said(&refused));
}
