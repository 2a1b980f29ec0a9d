//! The tools that check shipped files, and YAML parsing with one of them.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::command::run;
use crate::repository::{read, root};

/// Returns a command for a tool that `scripts/setup test` installs from `PyPI`.
pub(crate) fn tool(name: &str) -> Command {
    let path = root().join("target/tools/bin").join(name);
    assert!(path.exists(), "{} is missing; run `make setup`", path.display());
    let mut command = Command::new(path);
    command.current_dir(root());
    command
}

/// Returns commands for a program of Prometheus or Alertmanager: of the release that Debian 12 has, and of the newest one.
pub(crate) fn both_releases(name: &str) -> [Command; 2] {
    [Command::new(name), Command::new(root().join("target/tools/sid").join(name))]
}

/// Runs `validate.mjs` on a file. `kind` is `actions` or `operator`.
pub(crate) fn validate(kind: &str, file: &Path) -> Output {
    Command::new("node").arg(root().join("tests/shipping/validate.mjs")).arg(kind).arg(file).output().unwrap()
}

/// Parses the documents of a YAML stream, without empty ones.
pub(crate) fn parse_yaml(text: &str) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("input.yaml");
    std::fs::write(&file, text).unwrap();
    let script = "import json, sys, yaml; json.dump([d for d in yaml.safe_load_all(open(sys.argv[1])) if d], sys.stdout, default=str)";
    let json = run(tool("python").args(["-c", script]).arg(&file));
    serde_json::from_str(&json).unwrap()
}

/// Parses a YAML file of the repository that has exactly one document.
pub(crate) fn parse_yaml_file(path: impl AsRef<Path>) -> Value {
    let path = path.as_ref();
    let mut documents = parse_yaml(&read(path));
    assert_eq!(documents.len(), 1, "{}", path.display());
    documents.remove(0)
}
