//! Every way to install, word for word as the documents have it.

use std::process::{Child, Stdio};

use crate::kubernetes;
use crate::machine::{ACCOUNT, KEY, Machine, all_numbers, repository, revision, until};
use crate::package::INSTALL;

/// What says how to install.
fn documents() -> [String; 2] {
    ["README.md", "docs/install.md"].map(|path| std::fs::read_to_string(repository().join(path)).unwrap())
}

/// What the documents say for one way to install.
fn way(name: &str) -> String {
    let documents = documents();
    let mark = format!("<!-- install: {name} -->\n```sh\n");
    let rest = documents.iter().find_map(|text| text.split_once(&mark)).expect("a document has this way").1;
    rest.split_once("```").unwrap().0.to_owned()
}

/// All the ways that the documents have are tried here.
#[test]
fn no_way_is_left_out() {
    let text = documents().concat();
    let ways: Vec<_> = text.split("<!-- install: ").skip(1).map(|rest| rest.split(' ').next().unwrap()).collect();
    assert_eq!(ways, ["package", "archive", "container", "kubernetes", "source", "service"]);
}

/// Starts what does not end by itself, and gives a scrape that has this sample.
fn start(machine: &Machine, script: &str, sample: &str) -> (Child, String) {
    let mut child = machine.shell(script).stdout(Stdio::null()).spawn().unwrap();
    let scrape = until("the exporter lists the numbers", || {
        assert_eq!(child.try_wait().unwrap(), None, "it ended: {script}");
        machine.scrape().filter(|scrape| scrape.contains(sample))
    });
    (child, scrape)
}

/// What the exporter says of itself: version and revision are those of the commit that is tested.
fn is_this(scrape: &str) {
    let (version, revision) = (env!("CARGO_PKG_VERSION"), revision());
    let info = format!("tryvox_exporter_build_info{{version=\"{version}\",revision=\"{revision}\",");
    assert!(scrape.contains(&info), "{info} is not in {scrape}");
}

/// How one that was started in the foreground ends: on `SIGTERM`, with 0.
fn ends(machine: &Machine, mut child: Child) {
    machine.run("pkill -TERM tryvox-exporter");
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_package() {
    let machine = Machine::boot();
    let printed = machine.run(&way("package"));
    assert!(printed.contains("tryvox_up{account=\"production\"}"), "{printed}");
    is_this(&machine.listed("production"));
    assert_eq!(machine.run("systemctl is-enabled tryvox-exporter").trim(), "enabled");
    assert_eq!(machine.run("ps -o user= -C tryvox-exporter | cut -c1-7").trim(), "tryvox-");
    assert!(!machine.run("journalctl --no-pager").contains(KEY), "the key is in the journal");
    // What belongs to a program of Debian.
    machine.run("man=/usr/share/man/man1/tryvox-exporter.1.gz; gzip --test $man && zcat $man | grep -q listed");
    machine.run("test -s /usr/share/zsh/vendor-completions/_tryvox-exporter");
    machine.run("test -s /usr/share/fish/vendor_completions.d/tryvox-exporter.fish");
    machine.run("bash -c '. /usr/share/bash-completion/completions/tryvox-exporter && complete -p tryvox-exporter'");
}

#[test]
fn the_static_binary() {
    let machine = Machine::boot();
    let (child, scrape) = start(&machine, &way("archive"), &all_numbers(ACCOUNT));
    is_this(&scrape);
    assert!(machine.run("file=tryvox-exporter/tryvox-exporter; ldd $file 2>&1 || true").contains("statically linked"));
    ends(&machine, child);
}

#[test]
fn the_static_binary_as_a_service() {
    let machine = Machine::boot();
    let archive = "/srv/repository/dist/tryvox-exporter-linux-$(dpkg --print-architecture).tar.gz";
    machine.run(&format!("tar -xzf {archive} && cd tryvox-exporter\n{}", way("service")));
    is_this(&machine.listed("production"));
    assert_eq!(machine.run("systemctl is-enabled tryvox-exporter").trim(), "enabled");
    // Nobody made the user: it is there while the service is.
    assert!(!machine.run("cat /etc/passwd").contains("tryvox"));
    machine.run("systemctl stop tryvox-exporter && ! getent passwd tryvox-exporter");
}

#[test]
fn the_container() {
    let machine = Machine::with_image();
    let (child, scrape) = start(&machine, &way("container"), &all_numbers(ACCOUNT));
    is_this(&scrape);
    ends(&machine, child);
}

#[test]
fn in_kubernetes() {
    let machine = Machine::with_image();
    kubernetes::stands_in(&machine);
    machine.run(&way("kubernetes"));
    kubernetes::plays(&machine);
    is_this(&machine.listed("production"));
    assert!(!machine.run("podman logs $(podman ps --quiet --filter name=exporter) 2>&1").contains(KEY));
}

#[test]
fn from_source() {
    let machine = Machine::boot();
    // Quicker than what the Makefile asks for, and else the same.
    let quick = "export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
                 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_NET_OFFLINE=true\n";
    let (child, scrape) = start(&machine, &format!("{quick}{}", way("source")), &all_numbers(ACCOUNT));
    is_this(&scrape);
    ends(&machine, child);
}

/// The demo needs no account, however it was installed.
#[test]
fn the_demo_of_the_package() {
    let machine = Machine::boot();
    machine.run(INSTALL);
    let (child, _) = start(&machine, "tryvox-exporter demo", "tryvox_up{account=\"acc_demo\"} 1\n");
    ends(&machine, child);
}
