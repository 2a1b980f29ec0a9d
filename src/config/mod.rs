//! How to run: flags and environment in, one validated configuration out.
//!
//! An option is one entry of [`OPTIONS`]: from it come its flag, its environment variable and its
//! help. [`Settings`] is what was written, [`ServeConfig`] and [`SimulatorConfig`] are what it
//! means. Nothing here opens a port or asks the API.

mod options;
mod serve;
mod settings;
mod simulator;
mod source;
mod values;

pub use options::{CommandOptions, OPTIONS, OptionSpec};
pub use serve::{AccountConfig, ServeConfig};
pub use settings::{LogFormat, LogLevel, Settings};
pub use simulator::SimulatorConfig;
pub use source::{Environment, ProcessEnvironment, settings};
pub use values::ListenAddress;

/// What is wrong with the configuration: what, where and what to do, in one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// The variable that holds the API key; there is no flag for it.
pub const API_KEY_VARIABLE: &str = "TRYVOX_API_KEY";
