//! Shared test support: processes of the binary as a user starts them, mock APIs, and expected values
//! that are computed without any of the exporter's code.

pub(crate) mod accounts;
pub(crate) mod api;
pub(crate) mod browser;
pub(crate) mod bytes;
pub(crate) mod dashboards;
pub(crate) mod drifted_page;
pub(crate) mod expected;
pub(crate) mod harness;
pub(crate) mod history;
pub(crate) mod https;
pub(crate) mod monitoring;
pub(crate) mod prometheus;
pub(crate) mod promql;
pub(crate) mod release;
pub(crate) mod state;
pub(crate) mod web;

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::process::{Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;

use release::Release;
use tryvox_exporter::tryvox::DURATION_BUCKETS;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_tryvox-exporter");

/// Limit of every wait. It is far longer than any step takes, so it only turns a hang into a failure.
pub(crate) const TEST_TIMEOUT: Duration = Duration::from_secs(100);

/// The API key of the tests, which no output may contain.
pub(crate) const KEY: &str = "sk-5e5ame-0pen-U";

/// Returns the binary with these arguments, with all streams piped and without the `TRYVOX_` variables
/// of the environment that the tests run in.
pub(crate) fn command(arguments: &[&str]) -> Command {
    wrapped_command(&[], arguments)
}

/// Returns a command that runs the binary through another one, like `unshare --pid`.
pub(crate) fn wrapped_command(wrapper: &[&str], arguments: &[&str]) -> Command {
    let words: Vec<&str> = wrapper.iter().copied().chain([BINARY]).chain(arguments.iter().copied()).collect();
    let mut command = Command::new(words[0]);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TRYVOX_") {
            command.env_remove(name);
        }
    }
    command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Runs the binary until it exits and returns its exit status and output.
pub(crate) async fn output(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let run = command(arguments).envs(environment.iter().copied()).output();
    timeout(TEST_TIMEOUT, run).await.expect("the command does not exit").unwrap()
}

/// Runs the binary with a closed pipe as stdout: the read end is closed before the binary starts, so its
/// first write fails with EPIPE, however little it prints.
pub(crate) async fn output_to_closed_pipe(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    // `Command::output` would replace stdout.
    let child = command(arguments).envs(environment.iter().copied()).stdout(writer).spawn().unwrap();
    timeout(TEST_TIMEOUT, child.wait_with_output()).await.expect("the command does not exit").unwrap()
}

/// A process of the binary that serves HTTP: an exporter, a simulator or a demo.
pub(crate) struct ServerProcess {
    child: Child,
    /// The last listening address that was logged, as `host:port`.
    pub(crate) address: String,
    log: watch::Receiver<String>,
    printed: watch::Receiver<String>,
}

impl ServerProcess {
    /// Starts a command on a free port and waits until it listens. Both log formats are understood.
    pub(crate) async fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = command(arguments);
        command.arg("--web.listen-address=127.0.0.1:0").envs(environment.iter().copied());
        Self::spawn(command).await
    }

    /// Starts a command and waits until it listens.
    pub(crate) async fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let log = follow(child.stderr.take().unwrap());
        let printed = follow(child.stdout.take().unwrap());
        let mut running = Self { child, address: String::new(), log, printed };
        let address = listen_address(&running.wait_for_log("listening", 1).await);
        Self { address, ..running }
    }

    /// Starts an exporter of the account `acc_demo` with [`KEY`], logging at `debug`.
    pub(crate) async fn exporter(url: &str, arguments: &[&str]) -> Self {
        let url = format!("--tryvox.url={url}");
        let mut all = vec![&*url, "--tryvox.account-id=acc_demo", "--log.level=debug"];
        all.extend(arguments);
        Self::start(&all, &[("TRYVOX_API_KEY", KEY)]).await
    }

    /// Starts a simulator whose account accepts [`KEY`].
    pub(crate) async fn simulator(numbers: usize, seed: u64, arguments: &[&str]) -> Self {
        let (numbers, seed) = (format!("--numbers={numbers}"), format!("--seed={seed}"));
        let mut all = vec!["simulate", &*numbers, &*seed];
        all.extend(arguments);
        Self::start(&all, &[("TRYVOX_API_KEY", KEY)]).await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until `times` log lines contain `text` and returns the last of them.
    pub(crate) async fn wait_for_log(&mut self, text: &str, times: usize) -> String {
        let found = |log: &String| log.lines().filter(|line| line.contains(text)).nth(times - 1).map(str::to_owned);
        let waited = timeout(TEST_TIMEOUT, self.log.wait_for(|log| found(log).is_some())).await;
        let line = waited.ok().and_then(|log| found(&*log.ok()?));
        line.unwrap_or_else(|| panic!("not logged {times} times: {text}\n{}", self.output_so_far()))
    }

    /// Waits until `polls` polls in all have succeeded or failed.
    pub(crate) async fn wait_for_polls(&mut self, polls: usize) {
        let waited = timeout(TEST_TIMEOUT, self.log.wait_for(|log| count_polls(log) >= polls)).await;
        waited.expect("too few polls").expect("the process exited");
    }

    /// Returns how many polls have succeeded or failed so far.
    pub(crate) fn polls(&self) -> usize {
        count_polls(&self.log.borrow())
    }

    /// Returns everything that was printed so far, on both streams.
    pub(crate) fn output_so_far(&self) -> String {
        format!("{}{}", *self.log.borrow(), *self.printed.borrow())
    }

    /// Sends a GET and returns the response.
    pub(crate) async fn get(&self, path: &str) -> reqwest::Response {
        http().get(format!("{}{path}", self.url())).send().await.unwrap()
    }

    pub(crate) async fn scrape(&self) -> Scrape {
        let response = self.get("/metrics").await;
        assert_eq!(response.status(), 200);
        Scrape(response.text().await.unwrap())
    }

    /// Replaces the faults of a simulator.
    pub(crate) async fn set_faults(&self, faults: &str) {
        let url = format!("{}/-/faults", self.url());
        let response = http().post(url).body(faults.to_owned()).send().await.unwrap();
        assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
    }

    /// Returns how many requests for numbers a simulator has received.
    pub(crate) async fn requests(&self) -> u64 {
        let body = self.get("/-/faults").await.bytes().await.unwrap();
        serde_json::from_slice::<serde_json::Value>(&body).unwrap()["requests"].as_u64().unwrap()
    }

    /// Returns resident memory in bytes: `VmRSS` is the current size, `VmHWM` the peak.
    pub(crate) fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// Waits until all threads of the process sleep, see [`wait_until_idle`].
    pub(crate) async fn wait_until_idle(&self) {
        wait_until_idle(self.id()).await;
    }

    /// Returns the command line that `ps` shows.
    pub(crate) fn command_line(&self) -> String {
        std::fs::read_to_string(format!("/proc/{}/cmdline", self.child.id().unwrap())).unwrap()
    }

    /// Returns the id of the process that was started.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Sends a signal, waits for the exit and returns the exit status: none if the signal killed it.
    pub(crate) async fn stop(self, signal: Signal) -> Option<i32> {
        self.stop_with_output(signal).await.0
    }

    /// Does the same and also returns everything that was ever printed, on both streams.
    pub(crate) async fn stop_with_output(mut self, signal: Signal) -> (Option<i32>, String) {
        self.signal(signal);
        let status = timeout(TEST_TIMEOUT, self.child.wait()).await.expect("the process does not exit").unwrap();
        for stream in [&mut self.log, &mut self.printed] {
            // The sender is dropped at the end of the stream.
            let closed = async { while stream.changed().await.is_ok() {} };
            timeout(TEST_TIMEOUT, closed).await.expect("a stream of the process stays open");
        }
        (status.code(), self.output_so_far())
    }
}

/// Waits until all threads of a process sleep: then it has handled all that was sent to it, as far as it can
/// without further input.
pub(crate) async fn wait_until_idle(process: u32) {
    let all_sleep = || {
        let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
        let mut stats = threads.filter_map(|thread| std::fs::read_to_string(thread.unwrap().path().join("stat")).ok());
        stats.all(|stat| stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('S')))
    };
    let idle = async {
        // Threads are looked at one after the other, so one look may miss that one wakes another.
        let mut consecutive = 0;
        while consecutive < 5 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            consecutive = if all_sleep() { consecutive + 1 } else { 0 };
        }
    };
    timeout(TEST_TIMEOUT, idle).await.expect("the process is never idle");
}

/// Returns the address in a log line that says where the process listens, in logfmt or JSON.
fn listen_address(line: &str) -> String {
    match serde_json::from_str::<serde_json::Value>(line) {
        Ok(line) => line["address"].as_str().unwrap().to_owned(),
        Err(_) => line.split("address=").nth(1).unwrap().trim().to_owned(),
    }
}

fn count_polls(log: &str) -> usize {
    log.lines().filter(|line| line.contains("poll succeeded") || line.contains("poll failed")).count()
}

/// Reads a stream line by line and returns the text that has been read so far, as it grows.
fn follow(stream: impl AsyncRead + Unpin + Send + 'static) -> watch::Receiver<String> {
    let (sender, receiver) = watch::channel(String::new());
    tokio::spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            sender.send_modify(|text| {
                text.push_str(&line);
                text.push('\n');
            });
        }
    });
    receiver
}

/// Returns a client that follows no redirects and uses no proxy.
pub(crate) fn http() -> reqwest::Client {
    let builder = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    _ = rustls::crypto::ring::default_provider().install_default();
    builder.redirect(reqwest::redirect::Policy::none()).timeout(TEST_TIMEOUT).build().unwrap()
}

/// The text of one scrape.
pub(crate) struct Scrape(pub(crate) String);

impl Scrape {
    /// Returns the value of a series, which is written as in the exposition.
    pub(crate) fn value(&self, series: &str) -> Option<f64> {
        self.family(series.split('{').next().unwrap()).get(series).copied()
    }

    /// Returns the series of a family and their values.
    pub(crate) fn family(&self, name: &str) -> BTreeMap<String, f64> {
        let samples = self.0.lines().filter(|line| !line.starts_with('#'));
        samples
            .map(|line| line.rsplit_once(' ').unwrap())
            .filter(|(series, _)| series.split('{').next() == Some(name))
            .map(|(series, value)| (series.to_owned(), value.parse().unwrap()))
            .collect()
    }

    /// Returns the series that are computed from a listing: counts and fees of numbers.
    pub(crate) fn inventory(&self) -> expected::Series {
        let families = [
            "tryvox_numbers",
            "tryvox_monthly_fees",
            "tryvox_setup_fees",
            "tryvox_listed_numbers",
            "tryvox_reported_numbers",
        ];
        families.into_iter().flat_map(|family| self.family(family)).collect()
    }

    /// Returns the value of a series of `acc_demo`; `label` is one more label pair, or empty.
    pub(crate) fn account_value(&self, family: &str, label: &str) -> f64 {
        let label = if label.is_empty() { String::new() } else { format!(",{label}") };
        let series = format!(r#"{family}{{account="acc_demo"{label}}}"#);
        self.value(&series).unwrap_or_else(|| panic!("no {series} in {}", self.0))
    }

    /// Returns how many polls of `acc_demo` failed.
    pub(crate) fn failed_polls(&self) -> f64 {
        self.family("tryvox_poll_errors_total")
            .iter()
            .filter(|(series, _)| series.contains(r#"{account="acc_demo","#))
            .map(|(_, value)| value)
            .sum()
    }

    /// Returns how many polls of `acc_demo` were successful: all that ended except the failed ones.
    pub(crate) fn successful_polls(&self) -> f64 {
        self.account_value("tryvox_polls_total", "") - self.failed_polls()
    }

    /// Asserts that `promtool check metrics` finds no problems. Prometheus 3 gets an excerpt, because its time grows with the
    /// square of the number of series in a family: it takes minutes for 20,000.
    pub(crate) fn lint(&self) {
        for release in Release::ALL {
            let text = match release {
                Release::Oldest => self.0.clone(),
                Release::Newest => self.excerpt(),
            };
            let mut promtool = std::process::Command::new(release.program("promtool"))
                .args(["check", "metrics"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("promtool is missing: `make setup` installs it");
            promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
            let output = promtool.wait_with_output().unwrap();
            let problems = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && problems.is_empty(), "{release:?}: {problems}");
        }
    }

    /// Returns the metrics with only the first series of each name, and no histogram without some of its buckets.
    fn excerpt(&self) -> String {
        const SERIES: usize = 40 * (DURATION_BUCKETS.len() + 1);
        let (mut counts, mut excerpt) = (HashMap::new(), String::new());
        for line in self.0.lines() {
            let count: &mut usize = counts.entry(line.split(['{', ' ']).next()).or_default();
            *count += 1;
            if line.starts_with('#') || *count <= SERIES {
                excerpt.extend([line, "\n"]);
            }
        }
        excerpt
    }
}

/// Returns a random seed and prints it, so that a failure can be reproduced.
pub(crate) fn seed() -> u64 {
    let seed = fastrand::u64(..);
    println!("seed: {seed}");
    seed
}
