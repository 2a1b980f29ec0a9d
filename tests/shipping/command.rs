//! Running commands to completion and waiting for conditions.

use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::repository::root;

/// Far longer than any step takes, including a release build, so that only a hang reaches it.
const TIMEOUT: Duration = Duration::from_mins(10);

/// Returns a command that runs as root.
pub(crate) fn as_root(program: &str) -> Command {
    let mut command = Command::new(root().join("scripts/as-root"));
    command.arg(program);
    command
}

/// Runs a command and returns its standard output. Panics if it fails.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}", output_text(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the standard output of a command, followed by its standard error.
pub(crate) fn output_text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Calls `check` until it returns a value. Panics after [`TIMEOUT`]; `condition` names what it waits for.
pub(crate) fn wait_for<T>(condition: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let started_at = Instant::now();
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(started_at.elapsed() < TIMEOUT, "timed out waiting for: {condition}");
        sleep(Duration::from_millis(50));
    }
}
