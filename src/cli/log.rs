//! Logging to stderr, as logfmt or JSON.

use tracing::error;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use crate::config::{LogFormat, LogLevel, LogOptions};

/// Starts logging, and logs panics. Only events of this crate are logged, at any level: at `trace`, libraries would log
/// what they send, such as the API key.
pub(super) fn start(options: &LogOptions) {
    let level = match options.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let own_events = Targets::new().with_target("tryvox_exporter", level);
    // Write errors are ignored because there is no other place to report them.
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
    // Fails only if a subscriber is already installed, which then stays in use.
    _ = tracing_subscriber::registry().with(layer.with_filter(own_events)).try_init();
    // A panic is logged as one event like any other. What it aborts is decided where it is caught.
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("no message");
        error!(panic = message, location, "panicked; please report this bug");
    }));
}
