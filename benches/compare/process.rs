//! The processes that are measured: they are started, scraped and stopped, and their CPU time and memory are read from
//! the operating system.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tryvox_exporter::simulator::DEFAULT_KEY;

/// The binary that Cargo built for this benchmark. It also contains the API simulator.
pub(crate) const BUILT_EXPORTER: &str = env!("CARGO_BIN_EXE_tryvox-exporter");

/// The static binary, if that is what is measured.
static SHIPPED_EXPORTER: OnceLock<PathBuf> = OnceLock::new();

/// Builds the static binary as it is shipped, and measures it from now on instead of the one that Cargo built for this
/// benchmark.
pub(crate) fn measure_shipped_exporter() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let build = ["build", "--locked", "--quiet", "--release", "--target", &target, "--target-dir"];
    let folder = root.join("target");
    let status = Command::new(env!("CARGO")).args(build).arg(&folder).current_dir(root).status();
    assert!(status.is_ok_and(|status| status.success()), "cannot build for {target}; run `scripts/setup bench`");
    _ = SHIPPED_EXPORTER.set(folder.join(target).join("release/tryvox-exporter"));
}

/// Returns the binary of the exporter that is measured.
pub(crate) fn exporter_binary() -> &'static Path {
    SHIPPED_EXPORTER.get().map_or(Path::new(BUILT_EXPORTER), PathBuf::as_path)
}

/// A server process that is killed on drop.
pub(crate) struct ServerProcess {
    child: Child,
    /// The listen address as `host:port`.
    pub(crate) address: String,
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // The process may have exited already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// A process that lists the account once for each line on its standard input, and is killed on drop.
pub(crate) struct CountingProcess {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Drop for CountingProcess {
    fn drop(&mut self) {
        // The process may have exited already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl CountingProcess {
    pub(crate) fn start(program: impl AsRef<Path>, arguments: &[&str]) -> Self {
        let mut command = Command::new(program.as_ref());
        command.args(arguments).env("TRYVOX_API_KEY", DEFAULT_KEY).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.as_ref().display()));
        let (stdin, stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, stdin, stdout }
    }

    /// Returns the CPU time of a listing after the first one, in seconds. The process must count this many numbers.
    pub(crate) fn cpu_seconds_of_listing(&mut self, numbers: usize, listings: f64) -> f64 {
        self.list(numbers);
        let (before, mut done) = (cpu_seconds(self.child.id()), 0.0);
        while done < listings {
            self.list(numbers);
            done += 1.0;
        }
        (cpu_seconds(self.child.id()) - before) / listings
    }

    fn list(&mut self, numbers: usize) {
        writeln!(self.stdin).unwrap();
        let mut line = String::new();
        assert_ne!(self.stdout.read_line(&mut line).unwrap(), 0, "the process exited");
        assert_eq!(line.trim().parse(), Ok(numbers), "{line}");
    }
}

impl ServerProcess {
    /// Starts a program and waits until it has logged its listen address to stderr as `address=…`.
    pub(crate) fn start(program: impl AsRef<Path>, arguments: &[&str]) -> Self {
        let program = program.as_ref();
        let mut child = Command::new(program)
            .args(arguments)
            .env("TRYVOX_API_KEY", DEFAULT_KEY)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "{} exited: {arguments:?}", program.display());
            if let Some((_, address)) = line.split_once("address=") {
                break address
                    .split_whitespace()
                    .next()
                    .unwrap()
                    .trim_start_matches("http://")
                    .trim_end_matches('/')
                    .into();
            }
        };
        // Discards the rest of the log, because the process would block on a full pipe.
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        Self { child, address }
    }

    /// Starts the simulated API on a free port.
    pub(crate) fn simulator(arguments: &[&str]) -> Self {
        Self::start(BUILT_EXPORTER, &[&["simulate", "--web.listen-address=127.0.0.1:0"], arguments].concat())
    }

    /// Starts the exporter on a free port, polling that API without a rate limit.
    pub(crate) fn exporter(api: &Self, arguments: &[&str]) -> Self {
        Self::exporter_from(exporter_binary(), api, arguments)
    }

    /// Starts the exporter from a binary on a free port, polling that API without a rate limit.
    pub(crate) fn exporter_from(binary: &Path, api: &Self, arguments: &[&str]) -> Self {
        let url = format!("--tryvox.url=http://{}", api.address);
        let defaults = [
            "serve",
            "--web.listen-address=127.0.0.1:0",
            "--tryvox.account-id=acc_demo",
            "--tryvox.rate-limit=0",
            "--poll.timeout=5m",
            &url,
        ];
        Self::start(binary, &[&defaults[..], arguments].concat())
    }

    /// Returns the user and system CPU time of the process so far, in seconds.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        cpu_seconds(self.child.id())
    }

    /// Returns a field of `/proc/PID/status` in KiB: `VmRSS:` is the resident memory, `VmHWM:` its peak.
    pub(crate) fn memory_kib(&self, field: &str) -> f64 {
        memory_kib(self.child.id(), field).unwrap()
    }

    /// Returns the current metrics.
    pub(crate) fn scrape(&self) -> String {
        get(&self.address, "/metrics").unwrap()
    }

    /// Waits until at least `count` polls have succeeded and returns the metrics of that moment.
    pub(crate) fn wait_for_polls(&self, count: f64) -> String {
        let start = Instant::now();
        loop {
            let metrics = self.scrape();
            if successful_polls(&metrics) >= count {
                return metrics;
            }
            assert!(start.elapsed() < Duration::from_mins(5), "fewer than {count} polls succeeded:\n{metrics}");
            // Rarely, because scrapes take CPU time, too.
            std::thread::sleep(Duration::from_millis(250));
        }
    }
}

/// Returns the user and system CPU time of a process so far, in seconds.
fn cpu_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // Fields 14 and 15 of proc_pid_stat(5). Field 2 is the name, which ends at the last parenthesis.
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
    let ticks: f64 = fields.skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap()).sum();
    ticks / f64::from(u32::try_from(rustix::param::clock_ticks_per_second()).unwrap())
}

/// Returns a field of `/proc/PID/status` in KiB; `None` if the process has exited.
pub(crate) fn memory_kib(process: u32, field: &str) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(field))?;
    value.split_whitespace().next()?.parse().ok()
}

/// Returns the number of successful polls.
pub(crate) fn successful_polls(metrics: &str) -> f64 {
    let sum = |family: &str| -> f64 { metrics.lines().filter(|line| line.starts_with(family)).map(value).sum() };
    sum("tryvox_polls_total{") - sum("tryvox_poll_errors_total{")
}

/// Returns the value of the first series of a family, if the family has any.
pub(crate) fn first_value(metrics: &str, family: &str) -> Option<f64> {
    metrics.lines().find(|line| line.strip_prefix(family).is_some_and(|rest| rest.starts_with('{'))).map(value)
}

/// Returns the number of series.
pub(crate) fn count_series(metrics: &str) -> usize {
    metrics.lines().filter(|line| !line.starts_with('#')).count()
}

/// Returns the value of a sample without a timestamp.
fn value(line: &str) -> f64 {
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

/// Sends a GET request and returns the body of a response with status 200.
pub(crate) fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    // After a response to an HTTP/1.0 request, the server closes the connection, and it cannot send chunks.
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).ok()?;
    let (head, body) = response.split_once("\r\n\r\n")?;
    head.contains(" 200 ").then(|| body.to_owned())
}

/// Builds the `client_golang` program in a folder of `benches/` with Go packages from Debian only. Returns the binary's path.
pub(crate) fn build_go(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let binary = root.join("target").join(name);
    let status = Command::new("go")
        .args(["build", "-o"])
        .arg(&binary)
        .arg(".")
        .current_dir(root.join("benches").join(name))
        .env("GO111MODULE", "off")
        .env("GOPATH", "/usr/share/gocode")
        .env("GOCACHE", root.join("target/go"))
        .status()
        .expect("cannot run go; `scripts/setup bench` installs it");
    assert!(status.success(), "cannot build benches/{name}; `scripts/setup bench` installs its dependencies");
    binary
}
