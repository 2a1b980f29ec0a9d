//! The manifests under `deploy/kubernetes/`.
//!
//! kubectl renders them, Kubernetes's published schemas and the restricted Pod Security Standard check them, and podman
//! runs their pod on a test machine in place of a cluster.

use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::command::{output_text, run};
use crate::machine::Machine;
use crate::repository::read;
use crate::tools::{parse_yaml, tool, validate};

const OVERLAYS: [&str; 4] = ["single", "sharded", "persistent", "operator"];
/// The oldest version in which everything the manifests use is stable, and the newest with a published schema.
const KUBERNETES_VERSIONS: [&str; 2] = ["1.28.0", "1.37.0"];

/// Renders an overlay and returns its objects.
fn render(overlay: &str) -> Vec<Value> {
    parse_yaml(&run(tool("kubectl").arg("kustomize").arg(format!("deploy/kubernetes/overlays/{overlay}"))))
}

/// Returns the only object of a kind. Panics if there is none or more than one.
fn object<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let mut of_kind = objects.iter().filter(|object| object["kind"] == kind);
    let object = of_kind.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(of_kind.next().is_none(), "more than one {kind}");
    object
}

#[test]
fn every_overlay_is_valid_and_in_its_namespace() {
    let folder = tempfile::tempdir().unwrap();
    for overlay in OVERLAYS {
        let objects = render(overlay);
        let (of_operator, of_kubernetes): (Vec<_>, Vec<_>) =
            objects.iter().partition(|object| object["apiVersion"] == "monitoring.coreos.com/v1");
        for (index, object) in of_kubernetes.iter().enumerate() {
            let file = folder.path().join(format!("{overlay}-{index}.json"));
            std::fs::write(&file, object.to_string()).unwrap();
            for version in KUBERNETES_VERSIONS {
                run(tool("kubernetes-validate").args(["--strict", "-k", version]).arg(&file));
            }
        }
        let file = folder.path().join("operator.json");
        std::fs::write(&file, json!(of_operator).to_string()).unwrap();
        let output = validate("operator", &file);
        assert!(output.status.success(), "{overlay}: {}", output_text(&output));
        assert_eq!(of_operator.len(), if overlay == "operator" { 2 } else { 0 });
        for object in objects.iter().filter(|object| object["kind"] != "Namespace") {
            assert_eq!(object["metadata"]["namespace"], "tryvox-exporter", "{object}");
        }
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
    let mut invalid = object(&render("operator"), "ServiceMonitor").clone();
    invalid["spec"]["endpoints"] = json!("metrics");
    std::fs::write(&file, json!([invalid]).to_string()).unwrap();
    assert!(!validate("operator", &file).status.success());
}

/// Checks each rule of the restricted profile of
/// <https://kubernetes.io/docs/concepts/security/pod-security-standards/>.
#[test]
fn pod_meets_the_restricted_pod_security_standard() {
    for overlay in OVERLAYS {
        let objects = render(overlay);
        let pod = &object(&objects, "StatefulSet")["spec"]["template"]["spec"];
        for field in ["hostNetwork", "hostPID", "hostIPC", "initContainers", "ephemeralContainers"] {
            assert!(pod[field].is_null(), "{field}");
        }
        for container in pod["containers"].as_array().unwrap() {
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
            let mut types = volume.as_object().unwrap().keys().filter(|key| *key != "name");
            assert!(types.all(|volume_type| allowed.contains(&volume_type.as_str())), "{volume}");
        }
        // The namespace enforces the standard.
        let namespace = object(&objects, "Namespace");
        assert_eq!(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
    }
}

#[test]
fn pod_has_no_token_and_reads_keys_only_from_files() {
    for overlay in OVERLAYS {
        let objects = render(overlay);
        let pod = &object(&objects, "StatefulSet")["spec"]["template"]["spec"];
        assert_eq!(pod["automountServiceAccountToken"], false);
        assert!(!objects.iter().any(|object| object["kind"] == "Secret"));
        assert!(!pod.to_string().contains("API_KEY"));
    }
}

/// The container runtime cannot create a mount point inside a read-only volume.
#[test]
fn no_volume_is_mounted_inside_another() {
    for overlay in OVERLAYS {
        let objects = render(overlay);
        let mounts = &object(&objects, "StatefulSet")["spec"]["template"]["spec"]["containers"][0]["volumeMounts"];
        let paths: Vec<_> =
            mounts.as_array().unwrap().iter().map(|mount| mount["mountPath"].as_str().unwrap()).collect();
        let is_nested = |path: &str| paths.iter().any(|other| path != *other && path.starts_with(other));
        assert!(!paths.iter().any(|path| is_nested(path)), "{paths:?}");
    }
}

#[test]
fn resources_match_the_sizing_guide_and_probes_match_the_endpoints() {
    let (cpu, memory) = ("100m", "32");
    let advice = format!("Five accounts of 10,000 numbers, polled every 5 minutes: {cpu} and {memory} MiB.");
    assert!(read("docs/sizing.md").contains(&advice));
    for overlay in OVERLAYS {
        let objects = render(overlay);
        let container = &object(&objects, "StatefulSet")["spec"]["template"]["spec"]["containers"][0];
        let resources = json!({"cpu": cpu, "memory": format!("{memory}Mi")});
        assert_eq!(container["resources"], json!({"limits": resources, "requests": resources}));
        assert_eq!(container["livenessProbe"]["httpGet"], json!({"path": "/-/healthy", "port": "metrics"}));
        assert_eq!(container["readinessProbe"]["httpGet"], json!({"path": "/-/ready", "port": "metrics"}));
    }
}

#[test]
fn number_of_shards_equals_the_number_of_replicas() {
    for overlay in OVERLAYS {
        let objects = render(overlay);
        let set = &object(&objects, "StatefulSet")["spec"];
        let environment = set["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
        let shards = environment.iter().find(|variable| variable["name"] == "TRYVOX_EXPORTER_TOTAL_SHARDS");
        assert_eq!(shards.unwrap()["value"], set["replicas"].to_string());
        assert_eq!(set["replicas"], if overlay == "sharded" { 3 } else { 1 });
    }
}

#[test]
fn selectors_match_the_pod_and_the_service() {
    for overlay in OVERLAYS {
        let objects = render(overlay);
        let set = &object(&objects, "StatefulSet")["spec"];
        let labels = &set["template"]["metadata"]["labels"];
        let service = object(&objects, "Service");
        for selector in [
            &set["selector"]["matchLabels"],
            &service["spec"]["selector"],
            &object(&objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        ] {
            let selector = selector.as_object().unwrap();
            assert!(!selector.is_empty() && selector.iter().all(|(name, value)| labels[name] == *value));
        }
        assert_eq!(set["serviceName"], service["metadata"]["name"]);
    }
    let objects = render("operator");
    let (monitor, service) = (&object(&objects, "ServiceMonitor")["spec"], object(&objects, "Service"));
    let mut selector = monitor["selector"]["matchLabels"].as_object().unwrap().iter();
    assert!(selector.all(|(name, value)| service["metadata"]["labels"][name] == *value));
    assert_eq!(monitor["endpoints"][0]["port"], service["spec"]["ports"][0]["name"]);
}

/// A state file must never be used by two pods.
#[test]
fn each_pod_has_a_volume_of_its_own_for_the_state_file() {
    for overlay in OVERLAYS {
        let objects = render(overlay);
        let set = &object(&objects, "StatefulSet")["spec"];
        let pod = &set["template"]["spec"];
        let mount = mount(pod, "state");
        assert_eq!(mount["readOnly"], Value::Null);
        let config = objects.iter().find_map(|object| object["data"]["tryvox-exporter.yml"].as_str());
        let config = parse_yaml(config.unwrap());
        let path = Path::new(config[0]["state"]["file"].as_str().unwrap());
        assert_eq!(path.parent(), mount["mountPath"].as_str().map(Path::new));
        let volume = pod["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == "state");
        let claims = set["volumeClaimTemplates"].as_array().map_or(&[][..], Vec::as_slice);
        if overlay == "persistent" {
            let [claim] = claims else { panic!("{claims:?}") };
            assert_eq!((volume, &claim["metadata"]["name"]), (None, &json!("state")));
            assert_eq!(claim["spec"]["accessModes"], json!(["ReadWriteOnce"]));
            assert!(claim["spec"]["resources"]["requests"]["storage"].is_string());
        } else {
            assert!(claims.is_empty());
            assert_eq!(volume, Some(&json!({"name": "state", "emptyDir": {}})));
        }
        // The files stay private to the user, although the group owns the volume.
        let security = &pod["securityContext"];
        assert_eq!(security["fsGroup"], security["runAsUser"]);
        assert_eq!(security["fsGroupChangePolicy"], "OnRootMismatch");
    }
}

/// Returns how a pod mounts the volume of this name.
fn mount<'a>(pod: &'a Value, volume: &str) -> &'a Value {
    let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
    mounts.iter().find(|mount| mount["name"] == volume).unwrap()
}

#[test]
fn operator_overlay_contains_every_dashboard_unchanged() {
    let objects = render("operator");
    let mut dashboards: Vec<_> = objects
        .iter()
        .filter(|object| object["metadata"]["labels"]["grafana_dashboard"] == "1")
        .flat_map(|object| object["data"].as_object().unwrap())
        .collect();
    dashboards.sort_by_key(|(name, _)| *name);
    let names: Vec<_> = dashboards.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["tryvox-costs.json", "tryvox-exporter.json", "tryvox-numbers.json"]);
    for (name, text) in dashboards {
        assert_eq!(text.as_str().unwrap(), read(format!("dashboards/{name}")));
    }
}

/// A replacement for kubectl that needs no cluster: it appends every object that it would apply to one file, and lets
/// the real kubectl render and check them.
const FAKE_KUBECTL: &str = r#"#!/bin/bash
set -euo pipefail
kubectl=/srv/repository/target/tools/bin/kubectl
{
    echo ---
    case "$*" in
        "apply --kustomize="*) "$kubectl" kustomize "${2#*=}" ;;
        "apply --filename="*) cat "${2#*=}" ;;
        *) "$kubectl" "$@" --dry-run=client --output=yaml ;;
    esac
} >>/var/cluster.yaml
"#;

pub(crate) fn install_fake_kubectl(machine: &Machine) {
    machine.write_file("/usr/local/bin/kubectl", FAKE_KUBECTL);
    machine.run("chmod +x /usr/local/bin/kubectl");
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
