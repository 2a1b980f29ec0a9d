//! What checks what is shipped: Python's tools, Node.js's, and YAML as JSON.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::machine::{good, repository};

/// A tool that `scripts/setup test` installs from `PyPI`.
pub(crate) fn tool(name: &str) -> Command {
    let path = repository().join("target/tools/bin").join(name);
    assert!(path.exists(), "`make setup` installs {}", path.display());
    let mut command = Command::new(path);
    command.current_dir(repository());
    command
}

/// What `check.mjs` says of a text.
pub(crate) fn checked(what: &str, file: &Path) -> Output {
    Command::new("node").arg(repository().join("tests/shipping/check.mjs")).arg(what).arg(file).output().unwrap()
}

/// All documents of a text in YAML.
pub(crate) fn yaml(text: &str) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("text.yaml");
    std::fs::write(&file, text).unwrap();
    let script = "import json, sys, yaml; json.dump([d for d in yaml.safe_load_all(open(sys.argv[1])) if d], sys.stdout, default=str)";
    let json = good(tool("python").args(["-c", script]).arg(&file));
    serde_json::from_str(&json).unwrap()
}

/// The one document of a file in YAML.
pub(crate) fn yaml_file(path: impl AsRef<Path>) -> Value {
    let path = repository().join(path);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut documents = yaml(&text);
    assert_eq!(documents.len(), 1, "{}", path.display());
    documents.remove(0)
}

/// The files of a folder of the repository with this ending, in whatever depth.
pub(crate) fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let listed = good(Command::new("git").current_dir(repository()).args(["ls-files", "--cached", "--others"]).args([
        "--exclude-standard",
        "--",
        folder,
    ]));
    listed.lines().filter(|path| path.ends_with(ending)).map(|path| repository().join(path)).collect()
}
