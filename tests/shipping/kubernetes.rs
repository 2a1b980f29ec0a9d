//! What is under `deploy/kubernetes/`: rendered by kubectl, held against Kubernetes's own schemas and the restricted pod
//! security standard, and its pods run by an engine, as there is no cluster here.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::machine::{Machine, good, repository, said};
use crate::tools::{checked, tool, yaml};

const OVERLAYS: [&str; 3] = ["single", "sharded", "operator"];
/// The oldest Kubernetes with which `kubernetes.io/metadata.name` and all else here is stable, and the newest known.
const VERSIONS: [&str; 2] = ["1.28.0", "1.37.0"];

fn rendered(overlay: &str) -> String {
    good(tool("kubectl").arg("kustomize").arg(format!("deploy/kubernetes/overlays/{overlay}")))
}

fn objects(overlay: &str) -> Vec<Value> {
    yaml(&rendered(overlay))
}

/// The object of a kind, of which there is one.
fn one<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let mut of_kind = objects.iter().filter(|object| object["kind"] == kind);
    let found = of_kind.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(of_kind.next().is_none(), "more than one {kind}");
    found
}

#[test]
fn every_overlay_is_what_kubernetes_takes() {
    let folder = tempfile::tempdir().unwrap();
    for overlay in OVERLAYS {
        let objects = objects(overlay);
        let (operators, own): (Vec<_>, Vec<_>) =
            objects.iter().partition(|object| object["apiVersion"] == "monitoring.coreos.com/v1");
        for (number, object) in own.iter().enumerate() {
            let file = folder.path().join(format!("{overlay}-{number}.json"));
            std::fs::write(&file, object.to_string()).unwrap();
            for version in VERSIONS {
                good(tool("kubernetes-validate").args(["--strict", "-k", version]).arg(&file));
            }
        }
        let file = folder.path().join("operator.json");
        std::fs::write(&file, json!(operators).to_string()).unwrap();
        let output = checked("operator", &file);
        assert!(output.status.success(), "{overlay}: {}", said(&output));
        assert_eq!(operators.len(), if overlay == "operator" { 2 } else { 0 });
        // All are in the namespace that is made for them, and known by one name.
        for object in &objects {
            if object["kind"] != "Namespace" {
                assert_eq!(object["metadata"]["namespace"], "tryvox-exporter", "{object}");
            }
        }
    }
    // What is no object of Kubernetes is found out.
    let file = folder.path().join("wrong.json");
    let mut wrong = one(&objects("single"), "StatefulSet").clone();
    wrong["spec"]["replica"] = json!(1);
    std::fs::write(&file, wrong.to_string()).unwrap();
    assert!(!tool("kubernetes-validate").args(["--strict"]).arg(&file).output().unwrap().status.success());
    let mut wrong = one(&objects("operator"), "ServiceMonitor").clone();
    wrong["spec"]["endpoints"] = json!("metrics");
    std::fs::write(&file, json!([wrong]).to_string()).unwrap();
    assert!(!checked("operator", &file).status.success());
}

/// The restricted profile of <https://kubernetes.io/docs/concepts/security/pod-security-standards/>, rule by rule.
#[test]
fn the_pod_is_under_the_restricted_standard() {
    for overlay in OVERLAYS {
        let objects = objects(overlay);
        let pod = &one(&objects, "StatefulSet")["spec"]["template"]["spec"];
        for field in ["hostNetwork", "hostPID", "hostIPC", "initContainers", "ephemeralContainers"] {
            assert!(pod[field].is_null(), "{field}");
        }
        let containers = pod["containers"].as_array().unwrap();
        for container in containers {
            let security = &container["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], false);
            assert_eq!(security["capabilities"], json!({"drop": ["ALL"]}));
            assert_eq!(security["readOnlyRootFilesystem"], true);
            assert!(security["privileged"].is_null() && security["procMount"].is_null());
            assert!(container["ports"].as_array().unwrap().iter().all(|port| port["hostPort"].is_null()));
        }
        let security = &pod["securityContext"];
        assert_eq!((&security["runAsNonRoot"], &security["runAsUser"]), (&json!(true), &json!(65532)));
        assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault");
        assert!(security["sysctls"].is_null() && security["seLinuxOptions"].is_null());
        let allowed = [
            "configMap",
            "csi",
            "downwardAPI",
            "emptyDir",
            "ephemeral",
            "persistentVolumeClaim",
            "projected",
            "secret",
        ];
        for volume in pod["volumes"].as_array().unwrap() {
            let kinds = volume.as_object().unwrap().keys().filter(|key| *key != "name");
            assert!(kinds.into_iter().all(|kind| allowed.contains(&kind.as_str())), "{volume}");
        }
        // The namespace refuses what is not, and there is no token to steal.
        let namespace = one(&objects, "Namespace");
        assert_eq!(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
        assert_eq!(pod["automountServiceAccountToken"], false);
        // A key is a file, and in no object here.
        assert!(!objects.iter().any(|object| object["kind"] == "Secret"));
        assert!(!pod.to_string().contains("API_KEY"));
        // A mount below a read-only one cannot be made.
        let mounts: Vec<_> =
            containers[0]["volumeMounts"].as_array().unwrap().iter().map(|mount| &mount["mountPath"]).collect();
        let nested = |(a, b): (&Value, &Value)| a != b && a.as_str().unwrap().starts_with(b.as_str().unwrap());
        assert!(!mounts.iter().any(|a| mounts.iter().any(|b| nested((a, b)))), "{mounts:?}");
    }
}

#[test]
fn sizes_probes_shards_and_names_fit() {
    let sizing = std::fs::read_to_string(repository().join("docs/sizing.md")).unwrap();
    let (cpu, memory) = ("100m", "32");
    assert!(
        sizing.contains(&format!("Five accounts of 10,000 numbers, polled every 5 minutes: {cpu} and {memory} MiB."))
    );
    for overlay in OVERLAYS {
        let objects = objects(overlay);
        let set = &one(&objects, "StatefulSet")["spec"];
        let container = &set["template"]["spec"]["containers"][0];
        let size = json!({"cpu": cpu, "memory": format!("{memory}Mi")});
        assert_eq!(container["resources"], json!({"limits": size, "requests": size}));
        assert_eq!(container["livenessProbe"]["httpGet"], json!({"path": "/-/healthy", "port": "metrics"}));
        assert_eq!(container["readinessProbe"]["httpGet"], json!({"path": "/-/ready", "port": "metrics"}));
        // As many share the accounts as there are.
        let shards = container["env"]
            .as_array()
            .unwrap()
            .iter()
            .find(|variable| variable["name"] == "TRYVOX_EXPORTER_TOTAL_SHARDS");
        assert_eq!(shards.unwrap()["value"], set["replicas"].to_string());
        assert_eq!(set["replicas"], if overlay == "sharded" { 3 } else { 1 });
        // Whoever selects the pods selects these.
        let labels = &set["template"]["metadata"]["labels"];
        let service = one(&objects, "Service");
        for selector in [
            &set["selector"]["matchLabels"],
            &service["spec"]["selector"],
            &one(&objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        ] {
            let selector = selector.as_object().unwrap();
            assert!(!selector.is_empty() && selector.iter().all(|(name, value)| labels[name] == *value));
        }
        assert_eq!(set["serviceName"], service["metadata"]["name"]);
    }
    let objects = objects("operator");
    let (monitor, service) = (&one(&objects, "ServiceMonitor")["spec"], one(&objects, "Service"));
    let mut selected = monitor["selector"]["matchLabels"].as_object().unwrap().iter();
    assert!(selected.all(|(name, value)| service["metadata"]["labels"][name] == *value));
    assert_eq!(monitor["endpoints"][0]["port"], service["spec"]["ports"][0]["name"]);
    // Grafana's sidecar gets each dashboard as it is.
    let mut dashboards: Vec<_> = objects
        .iter()
        .filter(|object| object["metadata"]["labels"]["grafana_dashboard"] == "1")
        .flat_map(|object| object["data"].as_object().unwrap())
        .collect();
    dashboards.sort_by_key(|(name, _)| *name);
    let names: Vec<_> = dashboards.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["tryvox-costs.json", "tryvox-exporter.json", "tryvox-numbers.json"]);
    for (name, text) in dashboards {
        assert_eq!(
            text.as_str().unwrap(),
            std::fs::read_to_string(repository().join("dashboards").join(name)).unwrap()
        );
    }
}

/// What stands in for a cluster: kubectl renders and checks what it is told, without a server, into one file.
const KUBECTL: &str = r#"#!/bin/bash
set -euo pipefail
real=/srv/repository/target/tools/bin/kubectl
{
    echo ---
    case "$*" in
        "apply --kustomize="*) "$real" kustomize "${2#*=}" ;;
        "apply --filename="*) cat "${2#*=}" ;;
        *) "$real" "$@" --dry-run=client --output=yaml ;;
    esac
} >>/var/cluster.yaml
"#;

pub(crate) fn stands_in(machine: &Machine) {
    machine.write("/usr/local/bin/kubectl", KUBECTL);
    machine.run("chmod +x /usr/local/bin/kubectl");
}

/// Has the engine run the first pod of the `StatefulSet` that the stand-in was given, as a kubelet would: its image,
/// arguments, variables, user and volumes, with the group and the mode that it gives to files.
pub(crate) fn plays(machine: &Machine) {
    let objects = yaml(&machine.run("cat /var/cluster.yaml"));
    let set = one(&objects, "StatefulSet");
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
        let (kind, source) = if volume["secret"].is_null() {
            ("ConfigMap", &volume["configMap"]["name"])
        } else {
            ("Secret", &volume["secret"]["secretName"])
        };
        let from =
            objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == *source).unwrap();
        let folder = format!("/var/volumes/{}", mount["name"].as_str().unwrap());
        let decode = if kind == "Secret" { "base64 --decode" } else { "cat" };
        for (file, text) in from["data"].as_object().unwrap() {
            machine.write("/tmp/text", text.as_str().unwrap());
            machine.run(&format!("mkdir -p {folder} && {decode} /tmp/text >{folder}/{file}"));
            let mode = volume["secret"]["defaultMode"].as_u64().unwrap_or(0o644);
            machine.run(&format!("chgrp {} {folder}/{file} && chmod {mode:o} {folder}/{file}", security["fsGroup"]));
        }
        write!(script, " --volume={folder}:{}:ro", mount["mountPath"].as_str().unwrap()).unwrap();
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
