//! The Helm chart: rendered with many values, validated, and its configuration run by the exporter.

use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Output};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::command::{output_text, run};
use crate::manifests::{
    assert_consistent, assert_restricted, container, mount, object, objects_of, pod, schema_errors,
};
use crate::pod::Pod;
use crate::repository::{files, read, root};
use crate::tools::{parse_yaml, tool};

const CHART: &str = "deploy/helm/tryvox-exporter";
const RELEASE: &str = "tryvox-exporter";
const NAMESPACE: &str = "telephony";
/// The user and the group of the image.
const USER: u32 = 65532;

/// Each file has values of one installation.
const VALUES: &str = "tests/shipping/values";

/// Installations whose web file can reject a request of the kubelet.
const REJECTING: [&str; 5] = ["allowed-names", "client-certificates", "existing-web-file", "rate-limit", "users"];

/// Runs `helm template` with values.
fn template(values: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("values.yaml");
    std::fs::write(&file, values).unwrap();
    template_command(RELEASE, CHART).arg("--values").arg(&file).output().unwrap()
}

fn template_command(release: &str, chart: &str) -> Command {
    let mut command = tool("helm");
    command.args(["template", release, chart, "--namespace", NAMESPACE]);
    command
}

/// Renders the chart with values and returns its objects.
fn render(values: &str) -> Vec<Value> {
    let output = template(values);
    assert!(output.status.success(), "{values}\n{}", output_text(&output));
    parse_yaml(&String::from_utf8(output.stdout).unwrap())
}

/// Renders the chart with the values of a file.
fn render_file(name: &str) -> Vec<Value> {
    render(&read(format!("{VALUES}/{name}.yaml")))
}

/// Returns the names of the files with values.
fn names() -> Vec<String> {
    let names: Vec<_> =
        files(VALUES, ".yaml").iter().map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    assert!(names.len() > 15);
    names
}

/// Renders the chart with the values of each file, and calls `check` with the name of the file and the objects.
fn for_each_file(mut check: impl FnMut(&str, &[Value])) {
    for name in names() {
        let objects = render_file(&name);
        let result = catch_unwind(AssertUnwindSafe(|| check(&name, &objects)));
        assert!(result.is_ok(), "{name}.yaml failed as shown above");
    }
}

/// Returns the configuration file of rendered objects.
fn configuration(objects: &[Value]) -> &str {
    let mut texts =
        objects_of(objects, "ConfigMap").filter_map(|object| object["data"]["tryvox-exporter.yml"].as_str());
    texts.next().unwrap()
}

fn secret(name: &str, data: &[(&str, &str)]) -> Value {
    let data: serde_json::Map<_, _> =
        data.iter().map(|(entry, text)| ((*entry).to_owned(), STANDARD.encode(text).into())).collect();
    json!({"kind": "Secret", "metadata": {"name": name}, "data": data})
}

/// Returns the objects that the files with values expect in the cluster.
fn cluster() -> Vec<Value> {
    let certificate = rcgen::generate_simple_self_signed(["exporter".to_owned()]).unwrap();
    let (chain, key) = (certificate.cert.pem(), certificate.signing_key.serialize_pem());
    let keys = [("production", "key"), ("staging", "key")];
    let web = "{tls_server_config: {cert_file: c.pem, key_file: k.pem}, rate_limit: {interval: 1m, burst: 0}}";
    let accounts = "accounts: [{account_id: production, api_key_file: /run/secrets/tryvox-exporter/production}]";
    vec![
        secret("tryvox-exporter-keys", &keys),
        secret("numbers-of-a-company-keys", &keys),
        secret("keys", &keys),
        secret("tls", &[("tls.crt", &chain), ("tls.key", &key), ("ca.crt", &chain)]),
        secret("web", &[("web.yml", web), ("c.pem", &chain), ("k.pem", &key)]),
        json!({"kind": "ConfigMap", "metadata": {"name": "accounts"}, "data": {"tryvox-exporter.yml": accounts}}),
        json!({"kind": "ConfigMap", "metadata": {"name": "ca"}, "data": {}}),
    ]
}

#[test]
fn chart_passes_the_linter_with_all_values() {
    for name in names() {
        run(tool("helm").args(["lint", "--strict", CHART, "--values", &format!("{VALUES}/{name}.yaml")]));
    }
}

#[test]
fn objects_are_valid_and_restricted_with_all_values() {
    let mut all = Vec::new();
    for_each_file(|name, objects| {
        assert_restricted(objects, (name != "openshift").then_some(USER));
        assert_consistent(objects);
        for object in objects {
            let is_dashboard = object["metadata"]["labels"]["grafana_dashboard"] == "1";
            assert_eq!(object["metadata"]["namespace"], if is_dashboard { "grafana" } else { NAMESPACE }, "{object}");
        }
        all.extend_from_slice(objects);
    });
    assert_eq!(schema_errors(&all), [""; 0]);
}

#[test]
fn exporter_accepts_all_values_and_probes_succeed() {
    let cluster = cluster();
    for_each_file(|name, objects| {
        let pod = Pod::new(objects, &cluster);
        let output = pod.check_configuration();
        assert!(output.status.success(), "{}", output_text(&output));
        let running = pod.start();
        running.wait_for_probe("readinessProbe");
        running.wait_for_probe("livenessProbe");
        let is_rejected = REJECTING.contains(&name);
        assert_eq!(container(objects)["livenessProbe"]["exec"].is_object(), is_rejected);
        for monitor in objects_of(objects, "ServiceMonitor") {
            let endpoint = &monitor["spec"]["endpoints"][0];
            let scheme = endpoint["scheme"].as_str().unwrap_or("http");
            let (_, body) = running.get(scheme, endpoint["path"].as_str().unwrap());
            assert_eq!(body.contains("tryvox_up"), !is_rejected);
        }
    });
}

#[test]
fn texts_that_yaml_reads_as_something_else_keep_their_text() {
    let objects = render_file("every-option");
    let text = configuration(&objects);
    let configuration = &parse_yaml(text)[0];
    let accounts = &configuration["accounts"];
    assert_eq!(accounts[0]["countries"], json!(["NO", "US"]));
    assert_eq!(accounts[0]["watch"][0], json!({"number": "+18005550100", "name": "on"}));
    assert_eq!(accounts[1]["account_id"], "1e3");
    assert_eq!(accounts[0]["monthly_budget"]["GBP"], "12345678901234567.89");
    let owner = &configuration["owners"][0];
    assert_eq!(owner["name"], "null");
    assert_eq!(owner["numbers"], json!(["+18005550100", "+1415555*"]));
    assert_eq!((&owner["trunks"], &owner["applications"]), (&json!(["0123", "yes"]), &json!(["1_000", "~"])));
    // Large numbers are not written with an exponent, which the exporter would refuse.
    for line in ["USD: 1000000\n", "limit: 1000000\n", "USD: 20000000\n", "rate_limit: 1000000\n"] {
        assert!(text.contains(line), "{line}");
    }
    // Names of releases and namespaces that look like numbers stay texts.
    let output = run(tool("helm").args(["template", "123", CHART, "--namespace", "456"]));
    let objects = parse_yaml(&output);
    for object in &objects {
        assert_eq!(object["metadata"]["namespace"], "456");
        assert_eq!(object["metadata"]["labels"]["app.kubernetes.io/instance"], "123");
    }
    assert_eq!(schema_errors(&objects), [""; 0]);
}

#[test]
fn wrong_values_are_refused_by_name() {
    // A value, and a part of the error.
    let cases = [
        ("shard: 2", "shard"),
        ("shards: 0", "/shards"),
        ("shards: '3'", "/shards"),
        ("accounts: []", "/accounts"),
        ("accounts: [{name: a}]", "account_id"),
        ("accounts: [{account_id: a, watch: [{number: +18005550100}]}]", "/accounts/0/watch/0/number"),
        ("accounts: [{account_id: a, watch: [{number: '18005550100'}]}]", "/accounts/0/watch/0/number"),
        ("accounts: [{account_id: a, countries: [NO]}]", "/accounts/0/countries/0"),
        ("accounts: [{account_id: a, countries: [usa]}]", "/accounts/0/countries/0"),
        ("accounts: [{account_id: 7}]", "/accounts/0/account_id"),
        ("accounts: [{account_id: a, interval: 5}]", "/accounts/0/interval"),
        ("accounts: [{account_id: a, monthly_budget: {usd: 5}}]", "/accounts/0/monthly_budget"),
        ("accounts: [{account_id: a, api_key: k}]", "api_key"),
        ("owners: [{name: a, numbers: [+1415555]}]", "/owners/0/numbers/0"),
        ("owners: [{name: a, countries: [NO]}]", "/owners/0/countries/0"),
        ("config: {poll: {intervall: 5m}}", "intervall"),
        ("config: {state: {file: /x}}", "file"),
        ("config: {tryvox: {per_page: 0}}", "/config/tryvox/per_page"),
        ("config: null", "config"),
        ("image: {digest: abc}", "/image/digest"),
        ("image: {tag: 1.0}", "/image/tag"),
        ("persistence: {accessMode: ReadWriteMany}", "/persistence/accessMode"),
        ("web: {config: {tls_server_config: {min_version: TLS11}}}", "/web/config/tls_server_config/min_version"),
        ("extraVolumes: [{name: a, hostPath: {path: /}}]", "hostPath"),
        ("extraVolumes: [{name: state, emptyDir: {}}]", "/extraVolumes/0/name"),
        ("networkPolicy: {egressPorts: [https]}", "/networkPolicy/egressPorts/0"),
        ("serviceMonitor: {interval: 30}", "/serviceMonitor/interval"),
        ("resources: {limits: {cpu: lots}}", "/resources/limits/cpu"),
        ("livenessProbe: {httpGet: {path: /}}", "httpGet"),
        // What a schema cannot say.
        ("{existingSecret: a, apiKeys: {production: k}}", "apiKeys: cannot be combined with existingSecret"),
        ("web: {existingSecret: a, tlsSecret: b}", "web.existingSecret: cannot be combined"),
        ("accounts: [{account_id: a}, {account_id: b, name: a}]", "accounts[1].name: \"a\" is already"),
        ("accounts: [{account_id: a, name: b c}]", "accounts[0].name: \"b c\" cannot be"),
        ("accounts: [{account_id: a, api_key_file: keys/a}]", "accounts[0].api_key_file: must be an absolute path"),
        ("accounts: [{account_id: a, api_key_env: KEY_A}]", "accounts[0].api_key_env: extraEnv has no KEY_A"),
        ("apiKeys: {staging: k}", "apiKeys: has no key of the account \"production\""),
        ("extraArgs: [--total-shards=2]", "extraArgs: --total-shards is set by the chart; use the value shards"),
        ("extraArgs: [--web.route-prefix, /x]", "/extraArgs/1"),
        ("extraArgs: [--web.route-prefix=/x]", "use the value config.web.route_prefix"),
        ("extraEnv: [{name: TRYVOX_EXPORTER_STATE_FILE, value: /x}]", "use the value persistence"),
    ];
    for (values, expected) in cases {
        let output = template(values);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{values} is accepted");
        assert!(error.contains(expected), "{values}: {error}");
    }
    // Errors do not show keys and passwords.
    for values in [
        "apiKeys: {production: 5555555}",
        "apiKeys: {production: [se5ame]}",
        "accounts: [{account_id: a, api_key_file: se5ame}]",
        "web: {config: {basic_auth_users: {a: se5ame}}}",
        "web: {config: {basic_auth_users: {a: 5555555}}}",
    ] {
        let output = template(values);
        let error = output_text(&output);
        assert!(!output.status.success() && !error.contains("se5ame") && !error.contains("5555555"), "{error}");
    }
}

#[test]
fn values_have_the_documented_effects() {
    // Defaults: no limits, no optional object, and keys in files of a secret.
    let defaults = render_file("defaults");
    let mut kinds: Vec<_> = defaults.iter().map(|object| object["kind"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["ConfigMap", "Service", "ServiceAccount", "StatefulSet"]);
    assert!(container(&defaults)["resources"].is_null());
    let image = format!("ghcr.io/tryvox-exporter/tryvox-exporter:{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(container(&defaults)["image"], image);
    assert_eq!(mount(&defaults, "keys")["mountPath"], "/run/secrets/tryvox-exporter");

    let sharded = render_file("sharded");
    let set = &object(&sharded, "StatefulSet")["spec"];
    assert_eq!(
        (&set["replicas"], &object(&sharded, "PodDisruptionBudget")["spec"]["maxUnavailable"]),
        (&json!(3), &json!(1))
    );
    assert_eq!(set["persistentVolumeClaimRetentionPolicy"], json!({"whenDeleted": "Retain", "whenScaled": "Delete"}));
    // A Deployment would run two pods at once during an update.
    assert_eq!(set["updateStrategy"], Value::Null);

    let claim = |objects: &[Value]| object(objects, "StatefulSet")["spec"]["volumeClaimTemplates"][0].clone();
    assert_eq!(claim(&sharded)["spec"]["storageClassName"], Value::Null);
    assert_eq!(claim(&render_file("storage-class"))["spec"]["storageClassName"], "fast");
    assert_eq!(claim(&render_file("no-storage-class"))["spec"]["storageClassName"], "");

    let prefixed = render_file("route-prefix");
    let probe = json!({"path": "/tryvox/-/healthy", "port": "metrics", "scheme": "HTTPS"});
    assert_eq!(container(&prefixed)["livenessProbe"]["httpGet"], probe);
    let monitor = object(&prefixed, "ServiceMonitor");
    assert_eq!(monitor["metadata"]["labels"]["release"], "kube-prometheus-stack");
    assert_eq!(
        (&monitor["spec"]["endpoints"][0]["path"], &monitor["spec"]["endpoints"][0]["scheme"]),
        (&json!("/tryvox/prom"), &json!("https"))
    );

    let existing = render_file("existing-objects");
    assert_eq!(objects_of(&existing, "Secret").chain(objects_of(&existing, "ConfigMap")).count(), 0);
    let created = render_file("created-secret");
    let expected = json!({"production": STANDARD.encode("sk-1"), "007": STANDARD.encode("0x1F")});
    assert_eq!(object(&created, "Secret")["data"], expected);
    assert!(!object(&created, "StatefulSet").to_string().contains("sk-1"));

    let environment = render_file("keys-from-environment");
    assert!(!pod(&environment).to_string().contains("tryvox-exporter-keys"));

    let openshift = render_file("openshift");
    assert_eq!(pod(&openshift)["serviceAccountName"], "default");
    let policy = &object(&openshift, "NetworkPolicy")["spec"];
    let ports: Vec<_> = policy["egress"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|rule| rule["ports"].as_array().unwrap())
        .map(|port| port["port"].as_u64().unwrap())
        .collect();
    assert_eq!(ports, [53, 53, 5353, 5353, 443, 3128]);

    let digest = render_file("scheduling");
    let image = container(&digest)["image"].as_str().unwrap();
    assert!(image.starts_with("ghcr.io/tryvox-exporter/tryvox-exporter@sha256:e3b0"), "{image}");
    for (field, value) in
        [("priorityClassName", json!("low")), ("nodeSelector", json!({"kubernetes.io/arch": "arm64"}))]
    {
        assert_eq!(pod(&digest)[field], value);
    }
    assert_eq!(object(&digest, "Service")["spec"]["ports"][0]["port"], 80);
}

#[test]
fn documented_values_are_valid() {
    for document in ["docs/install.md", &format!("{CHART}/README.md")] {
        let text = read(document);
        let blocks: Vec<_> = text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
        let [values] = blocks[..] else { panic!("{document}") };
        let objects = render(values);
        assert_eq!(schema_errors(&objects), [""; 0], "{document}");
        let output = Pod::new(&objects, &cluster()).check_configuration();
        assert!(output.status.success(), "{document}: {}", output_text(&output));
    }
}

/// A change restarts the pods, except of the keys, which are read at each poll.
#[test]
fn pods_restart_when_their_configuration_changes() {
    let pod_template = |values: &str| object(&render(values), "StatefulSet")["spec"]["template"].clone();
    let before = "{apiKeys: {production: a}, web: {config: {rate_limit: {interval: 1s, burst: 1}}}}";
    assert_eq!(pod_template(before), pod_template(&before.replace("production: a", "production: b")));
    for (text, changed) in [("burst: 1", "burst: 2"), ("{apiKeys", "{owners: [{name: a}], apiKeys")] {
        assert_ne!(pod_template(before), pod_template(&before.replace(text, changed)), "{changed}");
    }
}

#[test]
fn rules_and_dashboards_are_those_of_the_repository() {
    let objects = render("{prometheusRule: {enabled: true}, dashboards: {enabled: true}}");
    let rules = &parse_yaml(&read("alerts/tryvox.rules.yml"))[0];
    assert_eq!(object(&objects, "PrometheusRule")["spec"], *rules);
    assert!(rules.to_string().contains("{{"));
    let dashboards: Vec<_> =
        objects.iter().filter(|object| object["metadata"]["labels"]["grafana_dashboard"] == "1").collect();
    let paths = files("dashboards", ".json");
    assert!(!paths.is_empty() && dashboards.len() == paths.len());
    for path in paths {
        let name = path.file_name().unwrap().to_str().unwrap();
        let found = dashboards.iter().filter_map(|dashboard| dashboard["data"][name].as_str());
        assert_eq!(found.collect::<Vec<_>>(), [read(&path)], "{name}");
    }
}

#[test]
fn templates_do_not_query_the_cluster() {
    let templates = files(&format!("{CHART}/templates"), "");
    assert!(templates.len() > 10);
    for template in templates {
        let text = read(&template);
        for word in ["Capabilities", "lookup"] {
            assert!(!text.contains(word), "{}: {word}", template.display());
        }
    }
}

#[test]
fn notes_end_an_installation_with_two_commands() {
    let notes = |values: &[&str]| {
        let arguments = ["install", "numbers", CHART, "--dry-run=client", "--namespace", NAMESPACE];
        let output = run(tool("helm").args(arguments).args(values));
        output.split_once("NOTES:\n").unwrap().1.to_owned()
    };
    let commands = |notes: &str| -> Vec<String> {
        notes.lines().filter_map(|line| line.strip_prefix("  kubectl ")).map(str::to_owned).collect()
    };
    let check = "--namespace=telephony exec numbers-tryvox-exporter-0 -- tryvox-exporter check \
                 --config.file=/etc/tryvox-exporter/tryvox-exporter.yml --total-shards=1";
    let accounts = "accounts=[{\"account_id\":\"a\"},{\"account_id\":\"b\"},{\"account_id\":\"c\",\"api_key_file\":\"/run/secrets/tryvox-exporter/a\"}]";
    let create = "--namespace=telephony create secret generic numbers-tryvox-exporter-keys --from-file=a=FILE --from-file=b=FILE";
    assert_eq!(commands(&notes(&["--set-json", accounts])), [create, check]);
    let status = "--namespace=telephony rollout status statefulset/numbers-tryvox-exporter";
    assert_eq!(commands(&notes(&["--set", "existingSecret=keys"])), [status, check]);
}

#[test]
fn packaged_chart_renders_the_same_objects() {
    let folder = tempfile::tempdir().unwrap();
    run(tool("helm").args(["package", CHART, "--destination"]).arg(folder.path()));
    let package = folder.path().join(format!("tryvox-exporter-{}.tgz", env!("CARGO_PKG_VERSION")));
    let options = ["--set", "prometheusRule.enabled=true,dashboards.enabled=true"];
    let from_package = run(template_command(RELEASE, package.to_str().unwrap()).args(options));
    assert_eq!(from_package, run(template_command(RELEASE, CHART).args(options)));
}

#[test]
fn chart_works_as_a_dependency_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let chart = folder.path().join("charts/tryvox-exporter");
    std::fs::create_dir_all(chart.parent().unwrap()).unwrap();
    run(Command::new("cp").arg("-r").arg(root().join(CHART)).arg(&chart));
    let version = env!("CARGO_PKG_VERSION");
    let mut text = String::from("{apiVersion: v2, name: umbrella, version: 1.0.0, dependencies: [");
    writeln!(text, "{{name: tryvox-exporter, version: {version}, condition: tryvox-exporter.enabled}}]}}").unwrap();
    std::fs::write(folder.path().join("Chart.yaml"), text).unwrap();
    let values = "{global: {a: b}, tryvox-exporter: {enabled: true, dashboards: {enabled: true}}}";
    std::fs::write(folder.path().join("values.yaml"), values).unwrap();
    let render = |chart: &Path| parse_yaml(&run(&mut template_command(RELEASE, chart.to_str().unwrap())));
    assert_eq!(objects_of(&render(folder.path()), "ConfigMap").count(), 4);
}
