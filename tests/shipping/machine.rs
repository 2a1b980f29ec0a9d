//! A Debian of its own: booted by the real systemd in namespaces of this machine, from the folder that
//! `scripts/machine` made, and thrown away at the end. Of the internet it has what `internet.py` gives it.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The account and the key of who installs.
pub(crate) const ACCOUNT: &str = "acc_4XQ2";
pub(crate) const KEY: &str = "sk-5e5ame-0pen-U";
/// How many numbers the account has.
pub(crate) const NUMBERS: usize = 730;

const BINARY: &str = env!("CARGO_BIN_EXE_tryvox-exporter");
/// Far longer than anything here takes, a release build included: it only turns a hang into a failure.
const PATIENCE: Duration = Duration::from_secs(400);

/// A command that root runs.
pub(crate) fn as_root(program: &str) -> Command {
    let mut command = Command::new(repository().join("scripts/as-root"));
    command.arg(program);
    command
}

/// Waits until something is there.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        sleep(Duration::from_millis(50));
    }
}

/// Runs a command to its end, which must be good, and gives what it printed.
pub(crate) fn good(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// All that a command said.
pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Where this repository is.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The commit that is tested, as the exporter says it.
pub(crate) fn revision() -> String {
    let git = good(Command::new("git").current_dir(repository()).args(["rev-parse", "--short=12", "HEAD"]));
    git.trim().to_owned()
}

/// A sample of an account with all its numbers.
pub(crate) fn all_numbers(account: &str) -> String {
    format!("tryvox_listed_numbers{{account=\"{account}\"}} {NUMBERS}\n")
}

/// A running machine.
pub(crate) struct Machine {
    name: String,
    leader: u32,
    servers: Vec<Child>,
    boot: Child,
    internet: TempDir,
}

/// Runs a command in a control group of its own, as each systemd asks for one to itself.
const IN_A_GROUP: &str = "
    for root in /sys/fs/cgroup/unified /sys/fs/cgroup; do
        [ -e $root/cgroup.procs ] && mkdir -p $root/$0 && echo $$ >$root/$0/cgroup.procs && break
    done
    exec \"$@\"";

static MACHINES: AtomicU64 = AtomicU64::new(0);

impl Machine {
    /// Boots one and waits until all its services are up.
    pub(crate) fn boot() -> Self {
        let root = repository().join("target/machine/root");
        assert!(root.exists(), "`make machine` makes {}", root.display());
        let home = |variable: &str, name: &str| {
            std::env::var(variable).unwrap_or_else(|_| format!("{}/{name}", std::env::var("HOME").unwrap()))
        };
        let name = format!("newcomer-{}-{}", std::process::id(), MACHINES.fetch_add(1, Ordering::Relaxed));
        let boot = as_root("sh")
            .args(["-euc", IN_A_GROUP, &name, "systemd-nspawn"])
            .args(["--quiet", "--boot", "--volatile=overlay", "--register=no", "--keep-unit", "--private-network"])
            .args(["--link-journal=no", "--console=pipe", "--machine", &name, "--directory"])
            .arg(&root)
            .arg(format!("--bind-ro={}:/srv/repository", repository().display()))
            .arg(format!("--bind={}:/root/.cargo", home("CARGO_HOME", ".cargo")))
            .arg(format!("--bind-ro={}:/root/.rustup", home("RUSTUP_HOME", ".rustup")))
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("systemd-nspawn is there: `make setup` installs it");
        let leader = until("a machine that boots", || init_below(boot.id()));
        let internet = tempfile::tempdir().unwrap();
        let mut machine = Self { name, leader, servers: Vec::new(), boot, internet };
        until("systemd says that it is up", || {
            let state = machine.output("systemctl is-system-running");
            ["running", "degraded"].contains(&String::from_utf8_lossy(&state.stdout).trim()).then_some(())
        });
        machine.connect();
        machine
    }

    /// Boots one that has the image under its names, as if it had been pulled.
    pub(crate) fn with_image() -> Self {
        let machine = Self::boot();
        machine.run("podman load --quiet --input /srv/repository/target/image/image.tar");
        let image = "ghcr.io/tryvox-exporter/tryvox-exporter";
        machine.run(&format!("podman tag {image}:latest {image}:{}", env!("CARGO_PKG_VERSION")));
        machine
    }

    /// Gives the machine its internet, and an authority that it trusts.
    fn connect(&mut self) {
        let folder = self.internet.path().to_owned();
        let files = folder.join("tryvox-exporter/tryvox-exporter");
        good(Command::new("git").args(["clone", "--quiet", "--bare"]).arg(repository()).arg(&files));
        good(Command::new("git").arg("-C").arg(&files).arg("update-server-info"));
        let releases = files.join("releases/latest");
        std::fs::create_dir_all(&releases).unwrap();
        std::os::unix::fs::symlink(repository().join("dist"), releases.join("download")).unwrap();

        let authority =
            rcgen::generate_simple_self_signed(["github.com".to_owned(), "api.tryvox.io".to_owned()]).unwrap();
        let certificate = folder.join("certificate.pem");
        std::fs::write(&certificate, authority.cert.pem() + &authority.signing_key.serialize_pem()).unwrap();
        self.write("/usr/local/share/ca-certificates/test.crt", &authority.cert.pem());
        self.run("update-ca-certificates");
        self.run(
            "ip address add 192.0.2.1/32 dev lo
             echo 192.0.2.1 github.com api.tryvox.io >>/etc/hosts",
        );

        let key = ("TRYVOX_API_KEY", KEY);
        let (account, numbers) = (format!("--account-id={ACCOUNT}"), format!("--numbers={NUMBERS}"));
        let address = "--web.listen-address=127.0.0.1:10870";
        self.serve("message=listening", &[BINARY, "simulate", &account, &numbers, address], Some(key));
        let (folder, certificate) = (folder.display().to_string(), certificate.display().to_string());
        let script = repository().join("tests/shipping/internet.py").display().to_string();
        self.serve("up", &["/usr/bin/python3", &script, &folder, &certificate, "http://127.0.0.1:10870"], None);
    }

    /// Starts a server of this machine's on that one's network, and waits for a word that it says.
    fn serve(&mut self, word: &str, arguments: &[&str], variable: Option<(&str, &str)>) {
        let mut child = as_root("nsenter")
            .args(["--target", &self.leader.to_string(), "--net", "--"])
            .args(["sh", "-c", "exec \"$@\" 2>&1", "sh"])
            .args(arguments)
            .envs(variable)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said = String::new();
        let up = lines.by_ref().map_while(Result::ok).any(|line| {
            said.push_str(&line);
            line.contains(word)
        });
        assert!(up, "{arguments:?} does not start: {said}");
        // Its output must go on being read.
        std::thread::spawn(move || lines.for_each(drop));
        self.servers.push(child);
    }

    /// A script for a shell of the machine, as root at home, with the account and the key of who installs.
    pub(crate) fn shell(&self, script: &str) -> Command {
        let mut command = as_root("nsenter");
        command
            .args(["--target", &self.leader.to_string()])
            .args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd"])
            .args(["--", "env", "--ignore-environment", "HOME=/root"])
            .arg("PATH=/root/.cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .args([&format!("ACCOUNT={ACCOUNT}"), &format!("KEY={KEY}")])
            .args(["bash", "-euo", "pipefail", "-c", &format!("cd; {script}")])
            .stdin(Stdio::null());
        command
    }

    /// Runs a script to its end, whatever that is.
    pub(crate) fn output(&self, script: &str) -> Output {
        self.shell(script).output().unwrap()
    }

    /// Runs a script, which must end well, and gives what it printed.
    pub(crate) fn run(&self, script: &str) -> String {
        good(&mut self.shell(script))
    }

    /// Writes a file of the machine.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let script = format!("mkdir -p \"$(dirname {path})\" && cat >{path}");
        let mut child = self.shell(&script).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// What a scrape gives, if anybody answers.
    pub(crate) fn scrape(&self) -> Option<String> {
        let scrape = self.output("curl --silent --fail localhost:10869/metrics");
        scrape.status.success().then(|| String::from_utf8(scrape.stdout).unwrap())
    }

    /// Waits until the exporter shows the account's numbers, and gives that scrape.
    pub(crate) fn listed(&self, account: &str) -> String {
        let sample = all_numbers(account);
        until(&sample, || self.scrape().filter(|scrape| scrape.contains(&sample)))
    }
}

/// The first process of what a machine's booter started.
fn init_below(process: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
    children.split_whitespace().find_map(|child| {
        let child = child.parse().ok()?;
        let name = std::fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
        if name.trim() == "systemd" { Some(child) } else { init_below(child) }
    })
}

impl Drop for Machine {
    fn drop(&mut self) {
        _ = as_root("kill").args(["-KILL", &self.leader.to_string()]).status();
        for server in &mut self.servers {
            _ = as_root("kill").arg(server.id().to_string()).status();
            _ = server.wait();
        }
        _ = self.boot.wait();
        // The kernel's last word on its processes may be a moment behind.
        for root in ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"] {
            let group = Path::new(root).join(&self.name);
            if group.exists() {
                _ = as_root("find").arg(group).args(["-depth", "-type", "d", "-exec", "rmdir", "{}", "+"]).output();
            }
        }
    }
}
