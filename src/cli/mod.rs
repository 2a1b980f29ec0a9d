//! The command line: one file per command, and what the commands share.
//!
//! [`run`] parses the arguments and runs a command; its result becomes the exit status: 0 for success, 1 if the work
//! failed, 2 if the command line or the configuration is invalid. Only this layer prints and exits.

mod arguments;
mod changes;
mod check;
mod demo;
mod health_target;
mod healthcheck;
mod list;
mod log;
mod man;
mod once;
mod output_file;
mod progress;
mod rows;
mod serve;
mod simulate;
mod systemd;
mod table;

use std::ffi::OsString;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::{
    CommandSpec, Config, ConfigError, ConfigSource, ListenAddress, LogOptions, Options, ProcessEnvironment,
};
use crate::web::toolkit::{WebFile, WebFileError};
use crate::web::{BoundListeners, Listener};
use arguments::Invocation;

/// Why a command failed.
#[derive(Debug)]
pub enum CommandError {
    /// The command line or the configuration is invalid: status 2.
    Usage(String),
    /// `--config.check` found problems: status 2, and one line per problem.
    Checked(ConfigError),
    /// The work failed: status 1.
    Failed(anyhow::Error),
    /// Several things failed, such as accounts: status 1, and one line for each.
    Failures(Vec<String>),
}

impl CommandError {
    /// Writes each problem as one line to stderr and returns the exit status.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        let (status, messages) = match self {
            Self::Usage(message) => (2, vec![message.clone()]),
            Self::Checked(error) => (2, error.problems().map(str::to_owned).collect()),
            Self::Failed(error) => (1, vec![format!("{error:#}")]),
            Self::Failures(failures) => (1, failures.clone()),
        };
        for message in messages {
            // If stderr is closed, only the exit status remains.
            _ = writeln!(std::io::stderr(), "tryvox-exporter: {}", message.replace('\n', " "));
        }
        ExitCode::from(status)
    }
}

impl From<ConfigError> for CommandError {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<anyhow::Error> for CommandError {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// A command on the command line: how it is used, and the function that runs it.
struct CommandEntry {
    spec: CommandSpec,
    run: fn(ConfigSource<ProcessEnvironment>) -> Result<(), CommandError>,
}

/// The options of an exporter.
const EXPORTER_OPTIONS: &[&str] =
    &["config.*", "web.*", "tryvox.*", "poll.*", "collector.*", "state.*", "shard", "total-shards", "log.*"];

/// The options that the command line of a running exporter can have. Every command that accepts the configuration of a running
/// exporter accepts them, whether they have an effect there or not.
const RUNNING_EXPORTER_OPTIONS: &[&str] = &[
    "config.file",
    "config.auto-reload-interval",
    "web.*",
    "tryvox.*",
    "poll.*",
    "collector.*",
    "state.*",
    "shard",
    "total-shards",
    "log.*",
];

/// Every command that has options; the first is the default.
static COMMANDS: [&CommandEntry; 8] = [
    &serve::COMMAND,
    &demo::COMMAND,
    &simulate::COMMAND,
    &check::COMMAND,
    &once::COMMAND,
    &list::COMMAND,
    &changes::COMMAND,
    &healthcheck::COMMAND,
];

/// Returns every command that has options; the first is the default.
pub fn commands() -> impl Iterator<Item = &'static CommandSpec> {
    COMMANDS.iter().map(|command| &command.spec)
}

/// Runs the command that the arguments name; the first argument is the program's name.
///
/// # Errors
/// If the arguments or the configuration are invalid, or the work failed.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<(), CommandError> {
    match arguments::parse(arguments)? {
        Invocation::Run(command, flags) => {
            let environment = ProcessEnvironment;
            (command.run)(ConfigSource { command: &command.spec, flags, environment, check_files })
        }
        Invocation::Print(text) => {
            print(&text);
            Ok(())
        }
    }
}

/// Runs a command that needs only options.
fn with_options(
    source: &ConfigSource<ProcessEnvironment>,
    command: impl AsyncFnOnce(&Options, CancellationToken) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let options = source.options()?;
    with_runtime(&options.log, async |stop| command(&options, stop).await)
}

/// Runs a command that needs the accounts.
fn with_config(
    source: &ConfigSource<ProcessEnvironment>,
    command: impl AsyncFnOnce(&Config, CancellationToken) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let config = source.read()?;
    with_runtime(&config.options.log, async |stop| command(&config, stop).await)
}

/// Returns what is wrong with the files that the options name: the web configuration file and the folder of the state
/// file.
fn check_files(options: &Options) -> Vec<String> {
    let checked = options.web.config_file().map(WebFile::check).transpose();
    let problems =
        |error: WebFileError| error.problems().map(|problem| format!("--web.config.file: {problem}")).collect();
    let mut problems = checked.map_or_else(problems, |_| Vec::new());
    problems.extend(options.state.folder_problem().map(|problem| format!("--state.file: {problem}")));
    problems
}

/// Runs a command with logging and a runtime; SIGINT and SIGTERM cancel its token.
fn with_runtime(
    log: &LogOptions,
    command: impl AsyncFnOnce(CancellationToken) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    log::start(log);
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| anyhow::Error::new(error).context("cannot start threads"))?;
    let result = runtime.block_on(async { command(stop_on_signals()?).await });
    // A DNS lookup or a file system that hangs must not delay the exit.
    runtime.shutdown_background();
    result
}

/// Raises the soft limit of open files to the hard limit, because each connection needs a file descriptor and the soft
/// limit is low by default.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::debug!(%error, "cannot raise the limit of open files");
    }
}

/// Returns a token that SIGINT and SIGTERM cancel.
fn stop_on_signals() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => tracing::info!(signal = "SIGINT", "stopping"),
            _ = terminate.recv() => tracing::info!(signal = "SIGTERM", "stopping"),
        }
        cancel.cancel();
    });
    Ok(stop)
}

/// Binds all addresses. Those that cannot be bound are logged if there are others.
fn bind(addresses: &[ListenAddress]) -> anyhow::Result<Vec<Listener>> {
    let BoundListeners { listeners, failures } = crate::web::bind(addresses)?;
    for failure in failures {
        tracing::warn!("{failure}");
    }
    Ok(listeners)
}

/// Returns the sockets of listeners, which must be TCP ports.
fn ports(listeners: Vec<Listener>) -> anyhow::Result<Vec<TcpListener>> {
    let ports = listeners.into_iter().map(|listener| match listener {
        Listener::Tcp(listener) => Ok(listener),
        Listener::Unix(..) => {
            Err(anyhow::anyhow!("the simulated API listens only on TCP addresses; replace unix:PATH by host:port"))
        }
    });
    ports.collect()
}

/// Returns a URL under which a browser on this machine reaches a bound address.
fn local_url(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("http://localhost:{}", address.port())
    } else {
        format!("http://{address}")
    }
}

/// Prints a warning to stderr, in one line.
fn warn(message: &str) {
    // If stderr is closed, only the exit status remains.
    _ = writeln!(std::io::stderr(), "tryvox-exporter: warning: {}", message.replace('\n', " "));
}

/// Prints to stdout. A closed pipe is not an error.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
