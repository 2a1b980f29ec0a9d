//! Runs a script that drives Chromium.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use super::TEST_TIMEOUT;

/// Runs a script with its arguments, passes it `subject` as JSON on stdin, and asserts that it succeeds.
pub(crate) async fn run_in_browser(script: &[&str], subject: &Value) {
    let mut node = Command::new("node")
        .args(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("node is not installed; run `make setup`");
    node.stdin.take().unwrap().write_all(subject.to_string().as_bytes()).await.unwrap();
    let output = timeout(TEST_TIMEOUT * 3, node.wait_with_output()).await.expect("the browser test hangs").unwrap();
    let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}");
}
