//! The programs that are measured, as the operating system sees them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tryvox_exporter::simulator::DEFAULT_KEY;

/// The exporter itself, and the simulated API.
pub(crate) const EXPORTER: &str = env!("CARGO_BIN_EXE_tryvox-exporter");

/// A program that runs until this is dropped.
pub(crate) struct Running {
    child: Child,
    /// `host:port`.
    pub(crate) address: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Running {
    /// Starts a program that says on stderr which address it listens on.
    pub(crate) fn start(program: impl AsRef<Path>, arguments: &[&str]) -> Self {
        let program = program.as_ref();
        let mut child = Command::new(program)
            .args(arguments)
            .env("TRYVOX_API_KEY", DEFAULT_KEY)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert_ne!(said.read_line(&mut line).unwrap(), 0, "{} ended: {arguments:?}", program.display());
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
        // So that it is never held up by what nobody reads.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Self { child, address }
    }

    /// The simulated API.
    pub(crate) fn simulator(arguments: &[&str]) -> Self {
        Self::start(EXPORTER, &[&["simulate", "--web.listen-address=127.0.0.1:0"], arguments].concat())
    }

    /// The exporter, which polls that API as fast as it may.
    pub(crate) fn exporter(api: &Self, arguments: &[&str]) -> Self {
        let url = format!("--tryvox.url=http://{}", api.address);
        let fixed = [
            "serve",
            "--web.listen-address=127.0.0.1:0",
            "--tryvox.account-id=acc_demo",
            "--tryvox.rate-limit=0",
            "--poll.timeout=5m",
            &url,
        ];
        Self::start(EXPORTER, &[&fixed[..], arguments].concat())
    }

    /// What it has used of all cores so far, as user and in the kernel, in seconds.
    pub(crate) fn cpu(&self) -> f64 {
        let stat = self.read("stat");
        // Fields 14 and 15 of proc_pid_stat(5), behind the name, which ends at the last parenthesis.
        let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
        let ticks: f64 = fields.skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap()).sum();
        ticks / f64::from(u32::try_from(rustix::param::clock_ticks_per_second()).unwrap())
    }

    /// A line of `/proc/PID/status`, in KiB: `VmRSS` is the memory it has, `VmHWM` the most it had.
    pub(crate) fn kib(&self, name: &str) -> f64 {
        let status = self.read("status");
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap()
    }

    /// Its metrics, as they are now.
    pub(crate) fn scrape(&self) -> String {
        get(&self.address, "/metrics").unwrap()
    }

    /// Waits until so many polls have succeeded, and gives what it shows then.
    pub(crate) fn polls(&self, least: f64) -> String {
        let start = Instant::now();
        loop {
            let text = self.scrape();
            if polls(&text) >= least {
                return text;
            }
            assert!(start.elapsed() < Duration::from_mins(5), "no poll succeeds:\n{text}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// How many polls have succeeded.
pub(crate) fn polls(text: &str) -> f64 {
    text.lines().find(|line| line.starts_with("tryvox_polls_total{") && line.contains("success")).map_or(0.0, value)
}

/// The value of the only series of a family.
pub(crate) fn sample(text: &str, family: &str) -> Option<f64> {
    text.lines().find(|line| line.strip_prefix(family).is_some_and(|rest| rest.starts_with('{'))).map(value)
}

/// How many series there are.
pub(crate) fn series(text: &str) -> usize {
    text.lines().filter(|line| !line.starts_with('#')).count()
}

fn value(line: &str) -> f64 {
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

/// The body of a page, if it is there.
pub(crate) fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    // A server of HTTP/1.1 ends such an answer with the connection, and sends it in one piece.
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.contains(" 200 ").then(|| body.to_owned())
}
