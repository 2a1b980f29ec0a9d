//! The releases of Prometheus, Alertmanager and their tools that the exporter is tested with.

use std::process::Command;

/// Returns the address that a line of the log of Prometheus or Alertmanager says it listens on.
pub(crate) fn listening_address(line: &str) -> Option<String> {
    let (_, fields) = line.split_once("msg=\"Listening on\"")?;
    Some(fields.split_once(" address=")?.1.split_whitespace().next()?.to_owned())
}

/// A release of all programs together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Release {
    /// The packages of Debian 12: Prometheus 2.42 and Alertmanager 0.25.
    Oldest,
    /// The packages of Debian sid: Prometheus 3 and Alertmanager 0.33.
    Newest,
}

impl Release {
    pub(crate) const ALL: [Self; 2] = [Self::Oldest, Self::Newest];

    /// Returns the path of a program of this release.
    pub(crate) fn program(self, name: &str) -> String {
        match self {
            Self::Oldest => name.to_owned(),
            Self::Newest => format!("target/tools/sid/{name}"),
        }
    }

    /// Returns the output of a program, on both streams. Panics if it fails.
    pub(crate) fn run(self, name: &str, arguments: &[&str]) -> String {
        let output = Command::new(self.program(name)).args(arguments).output();
        let output = output.unwrap_or_else(|_| panic!("{} is not installed; run `make setup`", self.program(name)));
        let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {arguments:?}: {printed}", self.program(name));
        printed.into_owned()
    }
}
