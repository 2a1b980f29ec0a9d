//! What the tests share: the binary as a user starts it, an API that a test scripts, and a count of
//! a simulated account that knows nothing of the exporter's code.

pub(crate) mod accounts;
pub(crate) mod api;
pub(crate) mod bytes;
pub(crate) mod dashboards;
pub(crate) mod expected;
pub(crate) mod harness;
pub(crate) mod history;
pub(crate) mod prometheus;
pub(crate) mod promql;
pub(crate) mod web;

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_tryvox-exporter");

/// Far longer than anything here takes: it only turns a hang into a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(100);

/// A key that no output may hold.
pub(crate) const KEY: &str = "sk-5e5ame-0pen-U";

/// The binary, without what the environment of the tests may hold.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TRYVOX_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Runs the binary to its end.
pub(crate) async fn output(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let run = command(arguments).envs(environment.iter().copied()).output();
    timeout(PATIENCE, run).await.expect("the command does not end").unwrap()
}

/// A running binary.
pub(crate) struct Running {
    child: Child,
    /// Where it listens, as `host:port`.
    pub(crate) address: String,
    log: watch::Receiver<String>,
    printed: watch::Receiver<String>,
}

impl Running {
    /// Starts a command on a free port and waits until it listens.
    pub(crate) async fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut child = command(arguments)
            .arg("--web.listen-address=127.0.0.1:0")
            .envs(environment.iter().copied())
            .spawn()
            .unwrap();
        let log = follow(child.stderr.take().unwrap());
        let printed = follow(child.stdout.take().unwrap());
        let mut running = Self { child, address: String::new(), log, printed };
        let line = running.logged("message=listening", 1).await;
        Self { address: line.split("address=").nth(1).unwrap().trim().to_owned(), ..running }
    }

    /// An exporter of one account, with [`KEY`].
    pub(crate) async fn exporter(url: &str, arguments: &[&str]) -> Self {
        let url = format!("--tryvox.url={url}");
        let mut all = vec![&*url, "--tryvox.account-id=acc_demo", "--log.level=debug"];
        all.extend(arguments);
        Self::start(&all, &[("TRYVOX_API_KEY", KEY)]).await
    }

    /// A simulator whose account takes [`KEY`].
    pub(crate) async fn simulator(numbers: usize, seed: u64, arguments: &[&str]) -> Self {
        let (numbers, seed) = (format!("--numbers={numbers}"), format!("--seed={seed}"));
        let mut all = vec!["simulate", &*numbers, &*seed];
        all.extend(arguments);
        Self::start(&all, &[("TRYVOX_API_KEY", KEY)]).await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until this was logged so many times and gives the last of those lines.
    pub(crate) async fn logged(&mut self, text: &str, times: usize) -> String {
        let found = |log: &String| log.lines().filter(|line| line.contains(text)).nth(times - 1).map(str::to_owned);
        let waited = timeout(PATIENCE, self.log.wait_for(|log| found(log).is_some())).await;
        let line = waited.ok().and_then(|log| found(&*log.ok()?));
        line.unwrap_or_else(|| panic!("never logged {times} times: {text}\n{}", self.said()))
    }

    /// Waits until so many polls ended, one way or the other.
    pub(crate) async fn polled(&mut self, times: usize) {
        let waited = timeout(PATIENCE, self.log.wait_for(|log| polls_of(log) >= times)).await;
        waited.expect("no poll ends").unwrap();
    }

    /// How many polls ended.
    pub(crate) fn polls(&self) -> usize {
        polls_of(&self.log.borrow())
    }

    /// All it said so far, on both streams.
    pub(crate) fn said(&self) -> String {
        format!("{}{}", *self.log.borrow(), *self.printed.borrow())
    }

    /// The answer to a GET.
    pub(crate) async fn get(&self, path: &str) -> reqwest::Response {
        http().get(format!("{}{path}", self.url())).send().await.unwrap()
    }

    pub(crate) async fn scrape(&self) -> Scrape {
        let response = self.get("/metrics").await;
        assert_eq!(response.status(), 200);
        Scrape(response.text().await.unwrap())
    }

    /// Has a simulator do this wrong from now on, and nothing else.
    pub(crate) async fn set_faults(&self, faults: &str) {
        let url = format!("{}/-/faults", self.url());
        let answer = http().post(url).body(faults.to_owned()).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    }

    /// How often a simulator was asked for numbers.
    pub(crate) async fn requests(&self) -> u64 {
        let body = self.get("/-/faults").await.bytes().await.unwrap();
        serde_json::from_slice::<serde_json::Value>(&body).unwrap()["requests"].as_u64().unwrap()
    }

    /// Memory in bytes: `VmRSS` for what it has, `VmHWM` for the most that it ever had.
    pub(crate) fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// What `ps` shows of it.
    pub(crate) fn command_line(&self) -> String {
        std::fs::read_to_string(format!("/proc/{}/cmdline", self.child.id().unwrap())).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Sends a signal and gives the exit status.
    pub(crate) async fn end(mut self, signal: Signal) -> Option<i32> {
        self.signal(signal);
        timeout(PATIENCE, self.child.wait()).await.expect("it does not end").unwrap().code()
    }
}

fn polls_of(log: &str) -> usize {
    log.lines().filter(|line| line.contains("account listed") || line.contains("poll failed")).count()
}

/// The text of a stream, up to now.
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

/// A client that follows nothing and knows no proxy.
pub(crate) fn http() -> reqwest::Client {
    let builder = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    _ = rustls::crypto::ring::default_provider().install_default();
    builder.redirect(reqwest::redirect::Policy::none()).timeout(PATIENCE).build().unwrap()
}

/// The text of one scrape.
pub(crate) struct Scrape(pub(crate) String);

impl Scrape {
    /// The value of a series, written as in the exposition.
    pub(crate) fn value(&self, series: &str) -> Option<f64> {
        self.family(series.split('{').next().unwrap()).get(series).copied()
    }

    /// All series of a family.
    pub(crate) fn family(&self, name: &str) -> BTreeMap<String, f64> {
        let samples = self.0.lines().filter(|line| !line.starts_with('#'));
        samples
            .map(|line| line.rsplit_once(' ').unwrap())
            .filter(|(series, _)| series.split('{').next() == Some(name))
            .map(|(series, value)| (series.to_owned(), value.parse().unwrap()))
            .collect()
    }

    /// All series of the inventory that says how many numbers there are and what they cost.
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

    /// The value of a series of the one account, with this label besides.
    pub(crate) fn of(&self, family: &str, label: &str) -> f64 {
        let label = if label.is_empty() { String::new() } else { format!(",{label}") };
        let series = format!(r#"{family}{{account="acc_demo"{label}}}"#);
        self.value(&series).unwrap_or_else(|| panic!("no {series} in {}", self.0))
    }

    /// Has Prometheus's own linter look at it.
    pub(crate) fn lint(&self) {
        let mut promtool = std::process::Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("promtool is there: `make setup` installs it");
        promtool.stdin.take().unwrap().write_all(self.0.as_bytes()).unwrap();
        let output = promtool.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{said}");
    }
}

/// A number that differs from run to run.
pub(crate) fn seed() -> u64 {
    let seed = fastrand::u64(..);
    println!("seed: {seed}");
    seed
}
