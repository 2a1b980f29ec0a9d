//! The files under `deploy/compose/`, checked without running the images.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::command::run;
use crate::repository::{files, root};
use crate::tools::{both_releases, parse_yaml_file, tool};

const FOLDER: &str = "deploy/compose";

fn compose_file() -> Value {
    parse_yaml_file(format!("{FOLDER}/compose.yaml"))
}

/// Returns the file or folder of the repository that is mounted read-only at `target` in a service.
fn mount_source(compose: &Value, service: &str, target: &str) -> PathBuf {
    let volumes = compose["services"][service]["volumes"].as_array().unwrap();
    let parts = |volume: &Value| volume.as_str().unwrap().split(':').map(str::to_owned).collect::<Vec<_>>();
    let volume =
        volumes.iter().map(parts).find(|parts| parts[1] == target).unwrap_or_else(|| panic!("{target} is not mounted"));
    assert_eq!(volume[2], "ro");
    root().join(FOLDER).join(&volume[0]).canonicalize().unwrap_or_else(|error| panic!("{volume:?}: {error}"))
}

#[test]
fn compose_file_is_valid_and_refers_to_existing_files_and_volumes() {
    run(tool("check-jsonschema").args(["--builtin-schema", "vendor.compose-spec", &format!("{FOLDER}/compose.yaml")]));
    let compose = compose_file();
    let services = compose["services"].as_object().unwrap();
    for service in services.values() {
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let source = volume.as_str().unwrap().split(':').next().unwrap();
            let exists = if source.starts_with('.') {
                let path = root().join(FOLDER).join(source).canonicalize().unwrap();
                let path = path.strip_prefix(root()).expect("inside the repository");
                !files(path.to_str().unwrap(), "").is_empty()
            } else {
                compose["volumes"].as_object().unwrap().contains_key(source)
            };
            assert!(exists, "{source}");
        }
    }
    assert_eq!(services["exporter"]["image"], "ghcr.io/tryvox-exporter/tryvox-exporter:latest");
    // Only the state file is written.
    assert_eq!(services["exporter"]["read_only"], true);
    assert_eq!(services["exporter"]["volumes"], json!(["exporter:/var/lib/tryvox-exporter"]));
    let build = services["exporter"]["build"].as_str().unwrap();
    assert!(root().join(FOLDER).join(build).join("Dockerfile").exists());
}

#[test]
fn prometheus_and_alertmanager_accept_their_configuration() {
    let compose = compose_file();
    let config = mount_source(&compose, "prometheus", "/etc/prometheus/prometheus.yml");
    let rules = mount_source(&compose, "prometheus", "/etc/prometheus/tryvox.rules.yml");
    // The configuration names the rules by a relative path, so both go into one folder, as in the container.
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(&config, folder.path().join("prometheus.yml")).unwrap();
    std::fs::copy(&rules, folder.path().join("tryvox.rules.yml")).unwrap();
    for mut promtool in both_releases("promtool") {
        let report = run(promtool.args(["check", "config"]).arg(folder.path().join("prometheus.yml")));
        assert!(report.contains("1 rule files found") && report.contains("rules found"), "{report}");
    }

    let config = mount_source(&compose, "alertmanager", "/etc/alertmanager/alertmanager.yml");
    for mut amtool in both_releases("amtool") {
        run(amtool.arg("check-config").arg(&config));
    }
}

#[test]
fn services_address_each_other_by_their_names_and_published_ports() {
    let compose = compose_file();
    let prometheus = parse_yaml_file(mount_source(&compose, "prometheus", "/etc/prometheus/prometheus.yml"));
    let target = &prometheus["scrape_configs"][0]["static_configs"][0]["targets"][0];
    let alertmanager = &prometheus["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"][0];
    let data_source_url = Value::from(data_source(&compose)["url"].as_str().unwrap().trim_start_matches("http://"));
    for address in [target, alertmanager, &data_source_url] {
        let (host, port) = address.as_str().unwrap().split_once(':').unwrap();
        let ports = compose["services"][host]["ports"].as_array().unwrap();
        assert!(ports.iter().any(|published| published.as_str().unwrap().ends_with(&format!(":{port}"))), "{address}");
    }
}

fn data_source(compose: &Value) -> Value {
    let folder = mount_source(compose, "grafana", "/etc/grafana/provisioning/datasources");
    parse_yaml_file(folder.join("prometheus.yaml"))["datasources"][0].clone()
}

#[test]
fn grafana_is_provisioned_with_prometheus_and_the_dashboards() {
    let compose = compose_file();
    let data_source = data_source(&compose);
    // The fields in Grafana's documentation of provisioning files.
    let known = ["name", "uid", "type", "access", "url", "isDefault", "jsonData"];
    assert!(data_source.as_object().unwrap().keys().all(|field| known.contains(&field.as_str())), "{data_source}");
    assert_eq!((&data_source["type"], &data_source["access"]), (&Value::from("prometheus"), &Value::from("proxy")));

    let folder = mount_source(&compose, "grafana", "/etc/grafana/provisioning/dashboards");
    let provider = parse_yaml_file(folder.join("tryvox.yaml"));
    let path = provider["providers"][0]["options"]["path"].as_str().unwrap().to_owned();
    let dashboards = mount_source(&compose, "grafana", &path);
    assert_eq!(dashboards, root().join("dashboards").canonicalize().unwrap());
    let environment = &compose["services"]["grafana"]["environment"];
    let home = environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].as_str().unwrap();
    assert!(dashboards.join(Path::new(home).strip_prefix(&path).unwrap()).exists(), "{home}");
}
