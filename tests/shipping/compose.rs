//! What is under `deploy/compose/`, as far as it can be looked at without its images.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::machine::{good, repository};
use crate::tools::{files, tool, yaml_file};

const FOLDER: &str = "deploy/compose";

/// Where a file of a service is in the repository.
fn mounted(compose: &Value, service: &str, inside: &str) -> std::path::PathBuf {
    let volumes = compose["services"][service]["volumes"].as_array().unwrap();
    let parts = |volume: &Value| volume.as_str().unwrap().split(':').map(str::to_owned).collect::<Vec<_>>();
    let volume =
        volumes.iter().map(parts).find(|parts| parts[1] == inside).unwrap_or_else(|| panic!("{inside} is not mounted"));
    assert_eq!(volume[2], "ro");
    repository().join(FOLDER).join(&volume[0]).canonicalize().unwrap_or_else(|error| panic!("{volume:?}: {error}"))
}

#[test]
fn the_stack_is_wired_up() {
    good(tool("check-jsonschema").args(["--builtin-schema", "vendor.compose-spec", &format!("{FOLDER}/compose.yaml")]));
    let compose = yaml_file(format!("{FOLDER}/compose.yaml"));
    let services = compose["services"].as_object().unwrap();
    // Every file that is mounted is in the repository, and every volume is declared.
    for service in services.values() {
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let source = volume.as_str().unwrap().split(':').next().unwrap();
            let there = if source.starts_with('.') {
                let path = repository().join(FOLDER).join(source).canonicalize().unwrap();
                let path = path.strip_prefix(repository()).expect("within the repository");
                !files(path.to_str().unwrap(), "").is_empty()
            } else {
                compose["volumes"].as_object().unwrap().contains_key(source)
            };
            assert!(there, "{source}");
        }
    }
    // Its image is the one that is built, and its port the exporter's.
    assert_eq!(services["exporter"]["image"], "ghcr.io/tryvox-exporter/tryvox-exporter:latest");
    assert!(
        repository().join(FOLDER).join(services["exporter"]["build"].as_str().unwrap()).join("Dockerfile").exists()
    );

    // Prometheus and Alertmanager take what is mounted.
    let config = mounted(&compose, "prometheus", "/etc/prometheus/prometheus.yml");
    let rules = mounted(&compose, "prometheus", "/etc/prometheus/tryvox.rules.yml");
    // Side by side, as in the container.
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(&config, folder.path().join("prometheus.yml")).unwrap();
    std::fs::copy(&rules, folder.path().join("tryvox.rules.yml")).unwrap();
    let checked = good(Command::new("promtool").args(["check", "config"]).arg(folder.path().join("prometheus.yml")));
    assert!(checked.contains("1 rule files found") && checked.contains("rules found"), "{checked}");
    good(Command::new("amtool").arg("check-config").arg(mounted(
        &compose,
        "alertmanager",
        "/etc/alertmanager/alertmanager.yml",
    )));

    // Who asks whom is there, on the port it has.
    let prometheus = yaml_file(&config);
    let target = &prometheus["scrape_configs"][0]["static_configs"][0]["targets"][0];
    let alertmanager = &prometheus["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"][0];
    let source =
        yaml_file(mounted(&compose, "grafana", "/etc/grafana/provisioning/datasources").join("prometheus.yaml"));
    let source = &source["datasources"][0];
    for address in [target, alertmanager, &Value::from(source["url"].as_str().unwrap().trim_start_matches("http://"))] {
        let (host, port) = address.as_str().unwrap().split_once(':').unwrap();
        let ports = services[host]["ports"].as_array().unwrap();
        assert!(ports.iter().any(|published| published.as_str().unwrap().ends_with(&format!(":{port}"))), "{address}");
    }
    // Grafana's fields of provisioning, as its documentation has them.
    let fields = ["name", "uid", "type", "access", "url", "isDefault", "jsonData"];
    assert!(source.as_object().unwrap().keys().all(|field| fields.contains(&field.as_str())), "{source}");
    assert_eq!((&source["type"], &source["access"]), (&Value::from("prometheus"), &Value::from("proxy")));
    let provider = yaml_file(mounted(&compose, "grafana", "/etc/grafana/provisioning/dashboards").join("tryvox.yaml"));
    let path = provider["providers"][0]["options"]["path"].as_str().unwrap().to_owned();
    let dashboards = mounted(&compose, "grafana", &path);
    assert_eq!(dashboards, repository().join("dashboards").canonicalize().unwrap());
    let home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].as_str().unwrap();
    assert!(dashboards.join(Path::new(home).strip_prefix(&path).unwrap()).exists(), "{home}");
}
