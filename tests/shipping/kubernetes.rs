//! The manifests under `deploy/kubernetes/`.
//!
//! kubectl renders them, Kubernetes's published schemas and the restricted Pod Security Standard check them, and podman
//! runs their pod on a test machine in place of a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::process::Command;

use serde_json::{Value, json};

use crate::command::run;
use crate::machine::Machine;
use crate::manifests::{assert_consistent, assert_restricted, container, object, objects_of, pod, schema_errors};
use crate::repository::{files, read, root};
use crate::tools::{parse_yaml, tool, validate};

/// The overlays, and the values of the Helm chart that render the same objects.
const OVERLAYS: [(&str, &str); 4] = [
    ("single", ""),
    ("sharded", "shards=3"),
    ("persistent", "persistence.enabled=true"),
    ("operator", "serviceMonitor.enabled=true,prometheusRule.enabled=true,dashboards.enabled=true"),
];
/// The file of the accounts.
const CONFIGURATION: &str = "deploy/kubernetes/base/tryvox-exporter.yml";

/// Renders an overlay and returns its objects.
fn render(overlay: &str) -> Vec<Value> {
    parse_yaml(&run(tool("kubectl").arg("kustomize").arg(format!("deploy/kubernetes/overlays/{overlay}"))))
}

/// Renders the Helm chart with the values that `make chart` uses, and some more.
fn render_chart(values: &str) -> Vec<Value> {
    let arguments = ["template", "tryvox-exporter", "deploy/helm/tryvox-exporter", "--namespace=tryvox-exporter"];
    let options = ["--values=deploy/kubernetes/values.yaml", "--set", values];
    parse_yaml(&run(tool("helm").args(arguments).args(options)))
}

#[test]
fn rendered_files_are_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    run(Command::new(root().join("scripts/chart")).arg(folder.path()));
    let list = run(Command::new("find").arg(folder.path()).args(["-type", "f", "-printf", "%P\n"]));
    let rendered: BTreeSet<_> = list.lines().collect();
    for file in &rendered {
        let is_up_to_date = std::fs::read_to_string(folder.path().join(file)).unwrap() == read(file);
        assert!(is_up_to_date, "{file} is out of date; run make chart");
    }
    // Nothing is left of rules and dashboards that do not exist any more.
    for file in files("deploy/helm/tryvox-exporter/files", "") {
        let file = file.strip_prefix(root()).unwrap().to_str().unwrap();
        assert!(rendered.contains(file), "{file} is left over; run make chart");
    }
}

/// Returns the content of objects by kind and name, without what differs between kustomize and Helm: the labels, and the
/// name of the generated config map.
fn contents(objects: &[Value]) -> BTreeMap<(String, String), Value> {
    let mut contents = BTreeMap::new();
    for object in objects.iter().filter(|object| object["kind"] != "Namespace") {
        let mut object = object.clone();
        object["metadata"]["labels"].take();
        if let Some(name) = object.pointer_mut("/spec/template/spec/volumes/0/configMap/name") {
            let is_generated = name.as_str().unwrap().starts_with("tryvox-exporter-");
            *name = if is_generated { "tryvox-exporter".into() } else { name.take() };
        }
        let text =
            |field: &str| object[field].as_str().unwrap_or(object["metadata"][field].as_str().unwrap_or("")).to_owned();
        let key = (text("kind"), text("name"));
        if object["data"]["tryvox-exporter.yml"].is_null() {
            assert!(contents.insert(key, object).is_none());
        }
    }
    contents
}

#[test]
fn overlays_contain_the_objects_of_the_chart() {
    for (overlay, values) in OVERLAYS {
        let (overlay, chart) = (contents(&render(overlay)), contents(&render_chart(values)));
        assert_eq!(overlay.keys().collect::<Vec<_>>(), chart.keys().collect::<Vec<_>>());
        for (name, object) in overlay {
            assert!(object == chart[&name], "{object}\n{}", chart[&name]);
        }
    }
    // The accounts are those of the chart's default values, with comments.
    let configuration = &parse_yaml(&read(CONFIGURATION))[0];
    let objects = render_chart("existingConfigMap=");
    let of_chart = object(&objects, "ConfigMap")["data"]["tryvox-exporter.yml"].as_str().unwrap();
    assert_eq!(*configuration, parse_yaml(of_chart)[0]);
}

#[test]
fn every_overlay_is_valid_and_in_its_namespace() {
    for (overlay, _) in OVERLAYS {
        let objects = render(overlay);
        assert_eq!(schema_errors(&objects), [""; 0], "{overlay}");
        assert_consistent(&objects);
        for object in objects.iter().filter(|object| object["kind"] != "Namespace") {
            assert_eq!(object["metadata"]["namespace"], "tryvox-exporter", "{object}");
        }
        let of_operator = ["ServiceMonitor", "PrometheusRule"].map(|kind| objects_of(&objects, kind).count());
        assert_eq!(of_operator, [usize::from(overlay == "operator"); 2]);
        let replicas = &object(&objects, "StatefulSet")["spec"]["replicas"];
        assert_eq!(*replicas, if overlay == "sharded" { 3 } else { 1 });
        assert_eq!(object(&objects, "StatefulSet")["spec"]["volumeClaimTemplates"].is_array(), overlay == "persistent");
    }
}

#[test]
fn validation_detects_invalid_objects() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("invalid.json");
    let mut invalid = object(&render("single"), "StatefulSet").clone();
    invalid["spec"]["replica"] = json!(1);
    std::fs::write(&file, invalid.to_string()).unwrap();
    assert!(!tool("kubernetes-validate").args(["--strict"]).arg(&file).output().unwrap().status.success());
    assert!(!schema_errors(&[invalid]).is_empty());
    let mut invalid = object(&render("operator"), "ServiceMonitor").clone();
    invalid["spec"]["endpoints"] = json!("metrics");
    std::fs::write(&file, json!([invalid]).to_string()).unwrap();
    assert!(!validate("operator", &file).status.success());
    assert!(!schema_errors(&[invalid]).is_empty());
}

#[test]
fn pod_meets_the_restricted_pod_security_standard() {
    for (overlay, _) in OVERLAYS {
        let objects = render(overlay);
        assert_restricted(&objects, Some(65532));
        // The namespace enforces the standard.
        let namespace = object(&objects, "Namespace");
        assert_eq!(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
    }
}

#[test]
fn pod_reads_keys_only_from_files() {
    for (overlay, _) in OVERLAYS {
        let objects = render(overlay);
        assert_eq!(objects_of(&objects, "Secret").count(), 0);
        assert!(!pod(&objects).to_string().contains("API_KEY"));
    }
}

#[test]
fn resources_match_the_sizing_guide_and_probes_match_the_endpoints() {
    let (cpu, memory) = ("100m", "32");
    let advice = format!("Five accounts of 10,000 numbers, polled every 5 minutes: {cpu} and {memory} MiB.");
    assert!(read("docs/sizing.md").contains(&advice));
    for (overlay, _) in OVERLAYS {
        let objects = render(overlay);
        let container = container(&objects);
        let resources = json!({"cpu": cpu, "memory": format!("{memory}Mi")});
        assert_eq!(container["resources"], json!({"limits": resources, "requests": resources}));
        assert_eq!(container["livenessProbe"]["httpGet"], json!({"path": "/-/healthy", "port": "metrics"}));
        assert_eq!(container["readinessProbe"]["httpGet"], json!({"path": "/-/ready", "port": "metrics"}));
    }
}

/// A replacement for kubectl and helm that needs no cluster: it appends every object that they would apply to one file, and
/// lets the real ones render and check them.
const FAKE_CLIENT: &str = r#"#!/bin/bash
set -euo pipefail
tools=/srv/repository/target/tools/bin
{
    echo ---
    case "${0##*/} $*" in
        "helm install "*) "$tools/helm" template "${@:2}" ;;
        "kubectl apply --kustomize="*) "$tools/kubectl" kustomize "${2#*=}" ;;
        "kubectl apply --filename="*) cat "${2#*=}" ;;
        "kubectl create "*|"kubectl --namespace="*) "$tools/kubectl" "$@" --dry-run=client --output=yaml ;;
        *) echo "unexpected: $*" >&2; exit 1 ;;
    esac
} >>/var/cluster.yaml
"#;

pub(crate) fn install_fake_clients(machine: &Machine) {
    for name in ["kubectl", "helm"] {
        machine.write_file(&format!("/usr/local/bin/{name}"), FAKE_CLIENT);
        machine.run(&format!("chmod +x /usr/local/bin/{name}"));
    }
}

/// Runs the first pod of the applied `StatefulSet` with podman as a kubelet would: with its image, arguments,
/// environment, user and volumes, and with the pod's group and the volume's mode on each file. Waits until its probes
/// succeed.
pub(crate) fn run_first_pod(machine: &Machine) {
    let objects = parse_yaml(&machine.run("cat /var/cluster.yaml"));
    let set = object(&objects, "StatefulSet");
    let (name, pod) = (format!("{}-0", set["metadata"]["name"].as_str().unwrap()), &set["spec"]["template"]["spec"]);
    let (container, security) = (&pod["containers"][0], &pod["securityContext"]);
    let mut script = format!(
        "podman run --detach --name={name} --hostname={name} --publish=10869:10869 --user={}:{} --cap-drop=all \
         --read-only --security-opt=no-new-privileges",
        security["runAsUser"], security["runAsGroup"]
    );
    for variable in container["env"].as_array().unwrap() {
        write!(script, " --env={}={}", variable["name"].as_str().unwrap(), variable["value"].as_str().unwrap())
            .unwrap();
    }
    for mount in container["volumeMounts"].as_array().unwrap() {
        let volumes = pod["volumes"].as_array().unwrap();
        let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).unwrap();
        let folder = create_volume(machine, &objects, volume, &security["fsGroup"]);
        let access = if mount["readOnly"] == true { "ro" } else { "rw" };
        write!(script, " --volume={folder}:{}:{access}", mount["mountPath"].as_str().unwrap()).unwrap();
    }
    write!(script, " {}", container["image"].as_str().unwrap()).unwrap();
    for argument in container["args"].as_array().unwrap() {
        write!(script, " {}", argument.as_str().unwrap()).unwrap();
    }
    machine.run(&script);
    for probe in ["livenessProbe", "readinessProbe"] {
        let path = container[probe]["httpGet"]["path"].as_str().unwrap();
        machine
            .run(&format!("curl --silent --fail --retry 50 --retry-delay 1 --retry-all-errors localhost:10869{path}"));
    }
}

/// Creates a volume on the machine, with the files of its config map or secret, and returns its folder.
fn create_volume(machine: &Machine, objects: &[Value], volume: &Value, group: &Value) -> String {
    let folder = format!("/var/volumes/{}", volume["name"].as_str().unwrap());
    if !volume["emptyDir"].is_null() {
        machine.run(&format!("mkdir -p {folder} && chgrp {group} {folder} && chmod 2777 {folder}"));
        return folder;
    }
    let (kind, name, decode) = if volume["secret"].is_null() {
        ("ConfigMap", &volume["configMap"]["name"], "cat")
    } else {
        ("Secret", &volume["secret"]["secretName"], "base64 --decode")
    };
    let is_source = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == *name;
    let source = objects.iter().find(is_source).unwrap();
    let mode = volume["secret"]["defaultMode"].as_u64().unwrap_or(0o644);
    for (file, text) in source["data"].as_object().unwrap() {
        machine.write_file("/tmp/text", text.as_str().unwrap());
        machine.run(&format!("mkdir -p {folder} && {decode} /tmp/text >{folder}/{file}"));
        machine.run(&format!("chgrp {group} {folder}/{file} && chmod {mode:o} {folder}/{file}"));
    }
    folder
}
