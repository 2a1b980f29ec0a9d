//! A test machine: a Debian booted by its own systemd in a `systemd-nspawn` container.
//!
//! It starts from the root file system that `scripts/machine` created, which it does not change, and is deleted when
//! dropped. Its network is separate from the host's: github.com and api.tryvox.io are `fake_internet.py`, in front of
//! a simulated `TryVox` API, and nothing else is reachable.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;

use crate::command::{as_root, run, wait_for};
use crate::repository::root;

/// The `TryVox` account of the simulated API.
pub(crate) const ACCOUNT: &str = "acc_4XQ2";
/// The API key of [`ACCOUNT`].
pub(crate) const API_KEY: &str = "sk-5e5ame-0pen-U";
/// How many numbers [`ACCOUNT`] has.
pub(crate) const NUMBERS: usize = 730;
/// The name of the container image, without a tag.
pub(crate) const IMAGE: &str = "ghcr.io/tryvox-exporter/tryvox-exporter";

const BINARY: &str = env!("CARGO_BIN_EXE_tryvox-exporter");

/// Returns the sample that an exporter serves after a complete listing of the account labelled `account`.
pub(crate) fn complete_listing_sample(account: &str) -> String {
    format!("tryvox_listed_numbers{{account=\"{account}\"}} {NUMBERS}\n")
}

/// A running test machine.
pub(crate) struct Machine {
    /// Unique on this host; also the name of its control group.
    name: String,
    /// The process on the host that is PID 1 of the machine.
    init: u32,
    /// Servers on the host that listen in the machine's network namespace.
    servers: Vec<Child>,
    /// `systemd-nspawn`.
    nspawn: Child,
    /// The files of github.com, and its certificate.
    internet: TempDir,
}

/// A script that runs its arguments in a new control group named `$0`: each systemd needs its own.
const RUN_IN_CGROUP: &str = "
    for root in /sys/fs/cgroup/unified /sys/fs/cgroup; do
        [ -e $root/cgroup.procs ] && mkdir -p $root/$0 && echo $$ >$root/$0/cgroup.procs && break
    done
    exec \"$@\"";

/// The number of machines booted by this process.
static MACHINES: AtomicU64 = AtomicU64::new(0);

impl Machine {
    /// Boots a machine and waits until systemd has started its services.
    pub(crate) fn boot() -> Self {
        let file_system = root().join("target/machine/root");
        assert!(file_system.exists(), "{} is missing; run `make machine`", file_system.display());
        let home_folder = |variable: &str, name: &str| {
            std::env::var(variable).unwrap_or_else(|_| format!("{}/{name}", std::env::var("HOME").unwrap()))
        };
        let name = format!("tryvox-{}-{}", std::process::id(), MACHINES.fetch_add(1, Ordering::Relaxed));
        let nspawn = as_root("sh")
            .args(["-euc", RUN_IN_CGROUP, &name, "systemd-nspawn"])
            .args(["--quiet", "--boot", "--volatile=overlay", "--register=no", "--keep-unit", "--private-network"])
            .args(["--link-journal=no", "--console=pipe", "--machine", &name, "--directory"])
            .arg(&file_system)
            .arg(format!("--bind-ro={}:/srv/repository", root().display()))
            .arg(format!("--bind={}:/root/.cargo", home_folder("CARGO_HOME", ".cargo")))
            .arg(format!("--bind-ro={}:/root/.rustup", home_folder("RUSTUP_HOME", ".rustup")))
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("systemd-nspawn is missing; run `make setup`");
        let init = wait_for("PID 1 of the machine", || find_init(nspawn.id()));
        let internet = tempfile::tempdir().unwrap();
        let mut machine = Self { name, init, servers: Vec::new(), nspawn, internet };
        wait_for("systemd to finish booting", || {
            let state = machine.output("systemctl is-system-running");
            ["running", "degraded"].contains(&String::from_utf8_lossy(&state.stdout).trim()).then_some(())
        });
        machine.connect_to_fake_internet();
        machine
    }

    /// Boots a machine that has the image under test as `:latest` and under its version, as if it had pulled them.
    pub(crate) fn boot_with_image() -> Self {
        let machine = Self::boot();
        machine.run("podman load --quiet --input /srv/repository/target/image/image.tar");
        machine.run(&format!("podman tag {IMAGE}:latest {IMAGE}:{}", env!("CARGO_PKG_VERSION")));
        machine
    }

    /// Starts github.com and api.tryvox.io for the machine, with a certificate that it trusts.
    fn connect_to_fake_internet(&mut self) {
        let folder = self.internet.path().to_owned();
        let clone = folder.join("tryvox-exporter/tryvox-exporter");
        run(Command::new("git").args(["clone", "--quiet", "--bare"]).arg(packed_repository()).arg(&clone));
        run(Command::new("git").arg("-C").arg(&clone).arg("update-server-info"));
        let releases = clone.join("releases/latest");
        std::fs::create_dir_all(&releases).unwrap();
        std::os::unix::fs::symlink(root().join("dist"), releases.join("download")).unwrap();

        let authority =
            rcgen::generate_simple_self_signed(["github.com".to_owned(), "api.tryvox.io".to_owned()]).unwrap();
        let certificate = folder.join("certificate.pem");
        std::fs::write(&certificate, authority.cert.pem() + &authority.signing_key.serialize_pem()).unwrap();
        self.write_file("/usr/local/share/ca-certificates/test.crt", &authority.cert.pem());
        self.run("update-ca-certificates");
        self.run(
            "ip address add 192.0.2.1/32 dev lo
             echo 192.0.2.1 github.com api.tryvox.io >>/etc/hosts",
        );

        let key = ("TRYVOX_API_KEY", API_KEY);
        let (account, numbers) = (format!("--account-id={ACCOUNT}"), format!("--numbers={NUMBERS}"));
        let address = "--web.listen-address=127.0.0.1:10870";
        self.start_server("message=listening", &[BINARY, "simulate", &account, &numbers, address], Some(key));
        let (folder, certificate) = (folder.display().to_string(), certificate.display().to_string());
        let script = root().join("tests/shipping/fake_internet.py").display().to_string();
        let arguments = ["/usr/bin/python3", &script, &folder, &certificate, "http://127.0.0.1:10870"];
        self.start_server("ready", &arguments, None);
    }

    /// Starts a program of the host in the machine's network namespace, and waits until it prints `ready_text`.
    fn start_server(&mut self, ready_text: &str, arguments: &[&str], variable: Option<(&str, &str)>) {
        let mut server = as_root("nsenter")
            .args(["--target", &self.init.to_string(), "--net", "--"])
            .args(["sh", "-c", "exec \"$@\" 2>&1", "sh"])
            .args(arguments)
            .envs(variable)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
        let mut printed = String::new();
        let is_ready = lines.by_ref().map_while(Result::ok).any(|line| {
            printed.push_str(&line);
            line.contains(ready_text)
        });
        assert!(is_ready, "{arguments:?} did not start: {printed}");
        // Keep reading: a full pipe would block the server.
        std::thread::spawn(move || lines.for_each(drop));
        self.servers.push(server);
    }

    /// Returns a command that runs a bash script on the machine, as root in `/root`. It has the
    /// variables `ACCOUNT` and `KEY`, which the documentation requires to be set.
    pub(crate) fn shell(&self, script: &str) -> Command {
        let mut command = as_root("nsenter");
        command
            .args(["--target", &self.init.to_string()])
            .args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd"])
            .args(["--", "env", "--ignore-environment", "HOME=/root"])
            .arg("PATH=/root/.cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .args([&format!("ACCOUNT={ACCOUNT}"), &format!("KEY={API_KEY}")])
            .args(["bash", "-euo", "pipefail", "-c", &format!("cd; {script}")])
            .stdin(Stdio::null());
        command
    }

    /// Runs a script and returns its output and exit status.
    pub(crate) fn output(&self, script: &str) -> Output {
        self.shell(script).output().unwrap()
    }

    /// Runs a script and returns its standard output. Panics if it fails.
    pub(crate) fn run(&self, script: &str) -> String {
        run(&mut self.shell(script))
    }

    /// Writes a file on the machine.
    pub(crate) fn write_file(&self, path: &str, text: &str) {
        let script = format!("mkdir -p \"$(dirname {path})\" && cat >{path}");
        let mut child = self.shell(&script).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// Scrapes the exporter on the machine. Returns `None` if there is no successful response.
    pub(crate) fn scrape(&self) -> Option<String> {
        let scrape = self.output("curl --silent --fail localhost:10869/metrics");
        scrape.status.success().then(|| String::from_utf8(scrape.stdout).unwrap())
    }

    /// Waits until a scrape has the complete listing of the account labelled `account`, and returns that scrape.
    pub(crate) fn wait_for_listing(&self, account: &str) -> String {
        let sample = complete_listing_sample(account);
        wait_for(&sample, || self.scrape().filter(|scrape| scrape.contains(&sample)))
    }
}

/// Returns the systemd process among the descendants of a process.
fn find_init(process: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
    children.split_whitespace().find_map(|child| {
        let child = child.parse().ok()?;
        let name = std::fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
        if name.trim() == "systemd" { Some(child) } else { find_init(child) }
    })
}

/// Returns a clone of the repository with all objects in one file, because the machines' github.com sends each file in a
/// response of its own.
fn packed_repository() -> &'static Path {
    static CLONE: LazyLock<PathBuf> = LazyLock::new(|| {
        let clone = Path::new(env!("CARGO_TARGET_TMPDIR")).join("repository.git");
        // That of an earlier run has other commits.
        _ = std::fs::remove_dir_all(&clone);
        run(Command::new("git").args(["clone", "--quiet", "--bare", "--no-local"]).arg(root()).arg(&clone));
        clone
    });
    &CLONE
}

impl Drop for Machine {
    fn drop(&mut self) {
        _ = as_root("kill").args(["-KILL", &self.init.to_string()]).status();
        for server in &mut self.servers {
            _ = as_root("kill").arg(server.id().to_string()).status();
            _ = server.wait();
        }
        _ = self.nspawn.wait();
        // The kernel may still be removing the last processes, so a group that is not yet empty is left behind.
        for root in ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"] {
            let group = Path::new(root).join(&self.name);
            if group.exists() {
                _ = as_root("find").arg(group).args(["-depth", "-type", "d", "-exec", "rmdir", "{}", "+"]).output();
            }
        }
    }
}
