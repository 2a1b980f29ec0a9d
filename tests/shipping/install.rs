//! Every installation method, exactly as the documentation has it.

use std::process::{Child, Stdio};

use crate::command::{output_text, wait_for};
use crate::kubernetes;
use crate::machine::{ACCOUNT, API_KEY, Machine, complete_listing_sample};
use crate::package::{INSTALL, write_api_key};
use crate::repository::{read, revision};
use crate::rpm;

/// Returns the documents that describe installation methods.
fn documents() -> [String; 2] {
    ["README.md", "docs/install.md"].map(read)
}

/// Returns the shell commands of an installation method: the block after the mark `<!-- install: NAME -->`.
fn documented_commands(method: &str) -> String {
    let documents = documents();
    let mark = format!("<!-- install: {method} -->\n```sh\n");
    let rest = documents.iter().find_map(|text| text.split_once(&mark)).expect("a document describes this method").1;
    rest.split_once("```").unwrap().0.to_owned()
}

#[test]
fn every_documented_method_has_a_test() {
    let text = documents().concat();
    let methods: Vec<_> = text.split("<!-- install: ").skip(1).map(|rest| rest.split(' ').next().unwrap()).collect();
    let expected = ["package", "rpm", "archive", "container", "helm", "source", "credentials", "service", "kubernetes"];
    assert_eq!(methods, expected);
}

/// Starts a script that runs an exporter in the foreground, and waits for a scrape with this sample.
fn start(machine: &Machine, script: &str, sample: &str) -> (Child, String) {
    let mut child = machine.shell(script).stdout(Stdio::null()).spawn().unwrap();
    let scrape = wait_for("a scrape with all numbers", || {
        assert_eq!(child.try_wait().unwrap(), None, "exited early: {script}");
        machine.scrape().filter(|scrape| scrape.contains(sample))
    });
    (child, scrape)
}

/// Checks that a scrape comes from an exporter built from the commit under test.
fn assert_built_from_this_commit(scrape: &str) {
    let (version, revision) = (env!("CARGO_PKG_VERSION"), revision());
    let info = format!("tryvox_exporter_build_info{{version=\"{version}\",revision=\"{revision}\",");
    assert!(scrape.contains(&info), "no {info} in {scrape}");
}

/// Sends `SIGTERM` to an exporter that [`start`] started, and checks that it exits with status 0.
fn stop(machine: &Machine, mut child: Child) {
    machine.run("pkill -TERM tryvox-exporter");
    assert!(child.wait().unwrap().success());
}

#[test]
fn debian_package_installs_as_documented() {
    let machine = Machine::boot();
    let printed = machine.run(&documented_commands("package"));
    assert!(printed.contains("tryvox_up{account=\"production\"}"), "{printed}");
    assert_built_from_this_commit(&machine.wait_for_listing("production"));
    assert_eq!(machine.run("systemctl is-enabled tryvox-exporter").trim(), "enabled");
    assert_eq!(machine.run("ps -o user= -C tryvox-exporter | cut -c1-7").trim(), "tryvox-");
    assert!(!machine.run("journalctl --no-pager").contains(API_KEY), "the key is in the journal");
    // The manual page and the completions are where Debian expects them.
    machine.run("man=/usr/share/man/man1/tryvox-exporter.1.gz; gzip --test $man && zcat $man | grep -q listed");
    machine.run("test -s /usr/share/zsh/vendor-completions/_tryvox-exporter");
    machine.run("test -s /usr/share/fish/vendor_completions.d/tryvox-exporter.fish");
    machine.run("bash -c '. /usr/share/bash-completion/completions/tryvox-exporter && complete -p tryvox-exporter'");
}

#[test]
fn rpm_package_installs_as_documented() {
    let machine = Machine::boot();
    rpm::provide_base_system(&machine);
    machine.run(&documented_commands("rpm"));
    assert_built_from_this_commit(&machine.wait_for_listing("production"));
    assert!(!machine.run("journalctl --no-pager").contains(API_KEY), "the key is in the journal");
}

#[test]
fn service_runs_without_credentials_as_documented() {
    let machine = Machine::boot();
    machine.run(INSTALL);
    write_api_key(&machine);
    machine.run(&format!("sed -i 's/acc_4XQ2/{ACCOUNT}/' /etc/tryvox-exporter/tryvox-exporter.yml"));
    machine.run(&documented_commands("credentials"));
    machine.wait_for_listing("production");
    machine.run("test ! -e /run/credentials/tryvox-exporter.service");
    // Other users still cannot read the key.
    let denied = machine.output("setpriv --reuid=nobody cat /etc/tryvox-exporter/keys/production");
    assert!(!denied.status.success() && !output_text(&denied).contains(API_KEY));
}

#[test]
fn static_binary_runs_as_documented() {
    let machine = Machine::boot();
    let (child, scrape) = start(&machine, &documented_commands("archive"), &complete_listing_sample(ACCOUNT));
    assert_built_from_this_commit(&scrape);
    assert!(machine.run("file=tryvox-exporter/tryvox-exporter; ldd $file 2>&1 || true").contains("statically linked"));
    stop(&machine, child);
}

#[test]
fn static_binary_installs_as_a_service_as_documented() {
    let machine = Machine::boot();
    let archive = "/srv/repository/dist/tryvox-exporter-linux-$(dpkg --print-architecture).tar.gz";
    machine.run(&format!("tar -xzf {archive} && cd tryvox-exporter\n{}", documented_commands("service")));
    assert_built_from_this_commit(&machine.wait_for_listing("production"));
    assert_eq!(machine.run("systemctl is-enabled tryvox-exporter").trim(), "enabled");
    // The user is dynamic: it exists only while the service runs.
    assert!(!machine.run("cat /etc/passwd").contains("tryvox"));
    machine.run("systemctl stop tryvox-exporter && ! getent passwd tryvox-exporter");
}

#[test]
fn container_runs_as_documented() {
    let machine = Machine::boot_with_image();
    let (child, scrape) = start(&machine, &documented_commands("container"), &complete_listing_sample(ACCOUNT));
    assert_built_from_this_commit(&scrape);
    stop(&machine, child);
}

#[test]
fn kubernetes_manifests_install_as_documented() {
    assert_installs_on_kubernetes("kubernetes");
}

#[test]
fn helm_chart_installs_as_documented() {
    assert_installs_on_kubernetes("helm");
}

fn assert_installs_on_kubernetes(method: &str) {
    let machine = Machine::boot_with_image();
    kubernetes::install_fake_clients(&machine);
    machine.run(&documented_commands(method));
    kubernetes::run_first_pod(&machine);
    assert_built_from_this_commit(&machine.wait_for_listing("production"));
    assert!(!machine.run("podman logs $(podman ps --quiet --filter name=exporter) 2>&1").contains(API_KEY));
    // The state file is in the volume, and belongs to the user of the pod.
    assert_eq!(machine.run("stat --format='%u %a' /var/volumes/state/state.db").trim(), "65532 600");
}

#[test]
fn source_builds_and_runs_as_documented() {
    let machine = Machine::boot();
    // No optimization, unlike the documented build, to save time, and no network for cargo.
    let quick = "export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=0 \
                 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_NET_OFFLINE=true\n";
    let script = format!("{quick}{}", documented_commands("source"));
    let (child, scrape) = start(&machine, &script, &complete_listing_sample(ACCOUNT));
    assert_built_from_this_commit(&scrape);
    stop(&machine, child);
}

#[test]
fn packaged_demo_runs_without_an_account() {
    let machine = Machine::boot();
    machine.run(INSTALL);
    let (child, _) = start(&machine, "tryvox-exporter demo", "tryvox_up{account=\"acc_demo\"} 1\n");
    stop(&machine, child);
}
