//! Log lines on stderr.

use tracing::error;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use crate::config::{LogFormat, LogLevel, LogOptions};

/// Starts logging. Only this program's own lines follow the level: at `trace` libraries would
/// write down what they send.
pub(super) fn start(options: &LogOptions) {
    let level = match options.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let ours = Targets::new().with_target("tryvox_exporter", level);
    // A line that cannot be written is lost; there is nowhere to say so.
    let layer = match options.format {
        LogFormat::Logfmt => tracing_logfmt::builder()
            .with_target(false)
            .layer()
            .with_writer(std::io::stderr)
            .log_internal_errors(false)
            .boxed(),
        LogFormat::Json => tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_target(false)
            .with_writer(std::io::stderr)
            .log_internal_errors(false)
            .boxed(),
    };
    // Fails only where a log was started before, and then that one serves.
    _ = tracing_subscriber::registry().with(layer.with_filter(ours)).try_init();
    // A fault of this program is a line like any other; what it costs is for others to say.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("no message");
        error!(panic = message, place, "a fault of this program; please report it");
    }));
}
