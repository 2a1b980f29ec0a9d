//! Checks of rendered Kubernetes objects, whichever tool rendered them.

use serde_json::{Value, json};

use crate::command::output_text;
use crate::tools::{tool, validate};

/// The oldest version in which everything the manifests use is stable, and the newest with a published schema.
const KUBERNETES_VERSIONS: [&str; 2] = ["1.28.0", "1.37.0"];

/// Returns the objects of a kind.
pub(crate) fn objects_of<'a>(objects: &'a [Value], kind: &str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| object["kind"] == kind)
}

/// Returns the only object of a kind. Panics if there is none or more than one.
pub(crate) fn object<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let mut of_kind = objects_of(objects, kind);
    let object = of_kind.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(of_kind.next().is_none(), "more than one {kind}");
    object
}

/// Returns the specification of the pods.
pub(crate) fn pod(objects: &[Value]) -> &Value {
    &object(objects, "StatefulSet")["spec"]["template"]["spec"]
}

/// Returns the only container of the pods.
pub(crate) fn container(objects: &[Value]) -> &Value {
    let containers = pod(objects)["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 1);
    &containers[0]
}

/// Returns how the container mounts the volume of this name.
pub(crate) fn mount<'a>(objects: &'a [Value], volume: &str) -> &'a Value {
    let mut mounts = container(objects)["volumeMounts"].as_array().unwrap().iter();
    mounts.find(|mount| mount["name"] == volume).unwrap_or_else(|| panic!("{volume} is not mounted"))
}

/// Returns what is wrong with objects by the schemas of Kubernetes and of the Prometheus operator.
pub(crate) fn schema_errors(objects: &[Value]) -> Vec<String> {
    let is_of_operator = |object: &&Value| object["apiVersion"] == "monitoring.coreos.com/v1";
    let (of_operator, of_kubernetes): (Vec<_>, Vec<_>) = objects.iter().partition(is_of_operator);
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for (index, object) in of_kubernetes.iter().enumerate() {
        let file = folder.path().join(format!("{index}.json"));
        std::fs::write(&file, object.to_string()).unwrap();
        files.push(file);
    }
    let mut outputs = Vec::new();
    for version in KUBERNETES_VERSIONS {
        outputs.push(tool("kubernetes-validate").args(["--strict", "-k", version]).args(&files).output().unwrap());
    }
    let file = folder.path().join("operator.json");
    std::fs::write(&file, json!(of_operator).to_string()).unwrap();
    outputs.push(validate("operator", &file));
    outputs.iter().filter(|output| !output.status.success()).map(output_text).collect()
}

/// Asserts each rule of the restricted profile of
/// <https://kubernetes.io/docs/concepts/security/pod-security-standards/>, and that the root file system is read-only.
/// `user` is the user and the group of the pod; `None` if the cluster chooses them.
pub(crate) fn assert_restricted(objects: &[Value], user: Option<u32>) {
    let pod = pod(objects);
    let security = &pod["securityContext"];
    // Host namespaces, and users of the host.
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(pod[field].is_null(), "{field}");
    }
    // The rules apply to these containers, too; there are none.
    assert!(pod["initContainers"].is_null() && pod["ephemeralContainers"].is_null());
    for security in [security, &container(objects)["securityContext"]] {
        for field in ["windowsOptions", "appArmorProfile", "seLinuxOptions", "privileged", "procMount", "sysctls"] {
            assert!(security[field].is_null(), "{field}");
        }
    }
    assert!(!object(objects, "StatefulSet").to_string().contains("apparmor.security.beta.kubernetes.io"));
    let allowed =
        ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"];
    for volume in pod["volumes"].as_array().unwrap() {
        let mut types = volume.as_object().unwrap().keys().filter(|key| *key != "name");
        assert!(types.all(|volume_type| allowed.contains(&volume_type.as_str())), "{volume}");
    }
    let container = container(objects);
    assert!(container["ports"].as_array().unwrap().iter().all(|port| port["hostPort"].is_null()));
    for probe in ["livenessProbe", "readinessProbe"] {
        assert!(container[probe].is_object() && container[probe]["httpGet"]["host"].is_null());
    }
    assert!(container["lifecycle"].is_null() && container["startupProbe"].is_null());
    assert_eq!(container["securityContext"]["capabilities"], json!({"drop": ["ALL"]}));
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(security["runAsNonRoot"], true);
    for field in ["runAsUser", "runAsGroup", "fsGroup"] {
        assert_eq!(security[field].as_u64(), user.map(u64::from), "{field}");
        assert_ne!(security[field], 0);
        assert!(container["securityContext"][field].is_null());
    }
    assert_eq!(security["seccompProfile"], json!({"type": "RuntimeDefault"}));
}

/// Asserts what holds for the objects of every installation.
pub(crate) fn assert_consistent(objects: &[Value]) {
    let set = &object(objects, "StatefulSet")["spec"];
    let pod = pod(objects);
    let container = container(objects);
    // The pod has no token.
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert!(objects_of(objects, "ServiceAccount").all(|account| account["automountServiceAccountToken"] == false));

    // The number of shards equals the number of replicas.
    let environment = container["env"].as_array().unwrap();
    let shards = environment.iter().find(|variable| variable["name"] == "TRYVOX_EXPORTER_TOTAL_SHARDS");
    assert_eq!(shards.unwrap()["value"], set["replicas"].to_string());
    assert_eq!(objects_of(objects, "PodDisruptionBudget").count(), usize::from(set["replicas"] != 1));

    // The container runtime cannot create a mount point inside a read-only volume.
    let mounts = container["volumeMounts"].as_array().unwrap();
    let paths: Vec<_> = mounts.iter().map(|mount| std::path::Path::new(mount["mountPath"].as_str().unwrap())).collect();
    let is_nested = |path: &std::path::Path| paths.iter().any(|other| path != *other && path.starts_with(other));
    assert!(!paths.iter().any(|path| is_nested(path)), "{paths:?}");

    // Every volume that is mounted exists.
    let claims = set["volumeClaimTemplates"].as_array().map_or(&[][..], Vec::as_slice);
    let claims = claims.iter().map(|claim| &claim["metadata"]["name"]);
    let volumes: Vec<_> =
        pod["volumes"].as_array().unwrap().iter().map(|volume| &volume["name"]).chain(claims).collect();
    assert!(mounts.iter().all(|mount| volumes.contains(&&mount["name"])), "{mounts:?} {volumes:?}");

    // Selectors match the pods, and the ServiceMonitor the service.
    let labels = &set["template"]["metadata"]["labels"];
    let service = object(objects, "Service");
    assert_eq!(set["serviceName"], service["metadata"]["name"]);
    let mut selectors = vec![(&set["selector"]["matchLabels"], labels), (&service["spec"]["selector"], labels)];
    for policy in objects_of(objects, "NetworkPolicy") {
        selectors.push((&policy["spec"]["podSelector"]["matchLabels"], labels));
    }
    for budget in objects_of(objects, "PodDisruptionBudget") {
        selectors.push((&budget["spec"]["selector"]["matchLabels"], labels));
    }
    for monitor in objects_of(objects, "ServiceMonitor") {
        selectors.push((&monitor["spec"]["selector"]["matchLabels"], &service["metadata"]["labels"]));
        assert_eq!(monitor["spec"]["endpoints"][0]["port"], service["spec"]["ports"][0]["name"]);
    }
    for (selector, labels) in selectors {
        let selector = selector.as_object().unwrap();
        assert!(!selector.is_empty() && selector.iter().all(|(name, value)| labels[name] == *value), "{selector:?}");
    }
    assert_eq!(service["spec"]["ports"][0]["targetPort"], container["ports"][0]["name"]);

    // Each pod has a volume of its own for the state file: a claim, or one that exists as long as the pod.
    assert_eq!(mount(objects, "state")["readOnly"], Value::Null);
    let volume = pod["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == "state");
    match set["volumeClaimTemplates"].as_array().map(Vec::as_slice) {
        None => assert_eq!(volume, Some(&json!({"name": "state", "emptyDir": {}}))),
        Some([claim]) => {
            assert_eq!((volume, &claim["metadata"]["name"]), (None, &json!("state")));
            let modes = &claim["spec"]["accessModes"];
            assert!([json!(["ReadWriteOnce"]), json!(["ReadWriteOncePod"])].contains(modes));
            assert!(claim["spec"]["resources"]["requests"]["storage"].is_string());
        }
        Some(claims) => panic!("{claims:?}"),
    }
    // The files stay private to the user, although the group owns the volume.
    assert_eq!(pod["securityContext"]["fsGroupChangePolicy"], "OnRootMismatch");
}
