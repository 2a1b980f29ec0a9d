//! The command line: one file a command, and what ties the rooms together.
//!
//! [`run`] reads the arguments, does what they say, and tells `main` how it went: the exit status is
//! 0 when all is well, 1 when the work failed and 2 when the command line or the configuration is
//! wrong.

mod arguments;
mod check;
mod demo;
mod healthcheck;
mod log;
mod once;
mod serve;
mod simulate;
mod systemd;

use std::ffi::OsString;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::{ConfigError, ListenAddress, LogOptions, Options, ProcessEnvironment, Source, Subcommand};
use crate::web::Listener;
use crate::web::toolkit::{WebFile, WebFileError};
pub use arguments::command;

use arguments::Request;

/// A command that did not do what it was told to.
#[derive(Debug)]
pub enum CommandError {
    /// The command line or the configuration is wrong: status 2.
    Usage(String),
    /// The configuration was to be checked and is wrong: status 2, and a line a problem.
    Checked(ConfigError),
    /// The work failed: status 1.
    Failed(anyhow::Error),
}

impl CommandError {
    /// Says on stderr, in one line each, what went wrong, and gives the exit status.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        let (status, messages) = match self {
            Self::Usage(message) => (2, vec![message.clone()]),
            Self::Checked(error) => (2, error.problems().map(str::to_owned).collect()),
            Self::Failed(error) => (1, vec![format!("{error:#}")]),
        };
        for message in messages {
            // Where stderr is gone there is nobody to tell.
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

/// Runs the command that the arguments say; the first argument is the program's name.
///
/// # Errors
/// When the arguments are wrong or the work failed.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<(), CommandError> {
    let (command, flags) = match arguments::parse(arguments)? {
        Request::Run(command, flags) => (command, flags),
        Request::Print(text) => {
            print(&text);
            return Ok(());
        }
    };
    let source = Source { command, flags, environment: ProcessEnvironment, check_files };
    if matches!(command, Subcommand::Demo | Subcommand::Simulate | Subcommand::Healthcheck) {
        let options = source.options()?;
        return with_runtime(&options.log, async |stop| match command {
            Subcommand::Demo => demo::run(&options, stop).await,
            Subcommand::Simulate => simulate::run(&options, &source.environment, stop).await,
            _ => healthcheck::run(&options.web).await,
        });
    }
    let is_check = source.is_check();
    let config = source.read().map_err(|error| if is_check { CommandError::Checked(error) } else { error.into() })?;
    if is_check {
        serve::print_checked(&config);
        return Ok(());
    }
    let log = config.options.log.clone();
    with_runtime(&log, async |stop| match command {
        Subcommand::Check => check::run(&config, stop).await,
        Subcommand::Once => once::run(&config, stop).await,
        _ => serve::run(source, config, stop).await,
    })
}

/// Returns what is wrong with the web configuration file, if there is one.
fn check_files(options: &Options) -> Vec<String> {
    let opened = options.web.config_file().map(WebFile::open).transpose();
    let problems =
        |error: WebFileError| error.problems().map(|problem| format!("--web.config.file: {problem}")).collect();
    opened.map_or_else(problems, |_| Vec::new())
}

/// Runs a command to its end, which SIGINT and SIGTERM bring about.
fn with_runtime(
    log: &LogOptions,
    command: impl AsyncFnOnce(CancellationToken) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    log::start(log);
    allow_many_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| anyhow::Error::new(error).context("cannot start threads"))?;
    let ended = runtime.block_on(async { command(stop_on_signals()?).await });
    // A name look-up or a file that hangs must not keep the process.
    runtime.shutdown_background();
    ended
}

/// Takes as many file descriptors as this process may have: each connection needs one, and what a
/// process has at the start is for programs of the time when none had as many.
fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// A token that SIGINT and SIGTERM cancel.
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

/// Opens the sockets of all addresses.
fn bind(addresses: &[ListenAddress]) -> anyhow::Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    for address in addresses {
        listeners.extend(crate::web::bind(address)?);
    }
    Ok(listeners)
}

/// Opens the sockets of all addresses, which have to be ports.
fn bind_ports(addresses: &[ListenAddress]) -> anyhow::Result<Vec<TcpListener>> {
    let ports = bind(addresses)?.into_iter().map(|listener| match listener {
        Listener::Tcp(listener) => Ok(listener),
        Listener::Unix(..) => Err(anyhow::anyhow!("the simulated API listens on ports alone, not on unix: paths")),
    });
    ports.collect()
}

/// A URL that a browser on this machine opens, for a port that is listened on.
fn local_url(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("http://localhost:{}", address.port())
    } else {
        format!("http://{address}")
    }
}

/// Prints to stdout; a reader that has gone away is no error.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
