//! The repository under test: its root, its commit and its files.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::run;

/// Returns the root directory of this repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the commit under test, abbreviated as the exporter reports it.
pub(crate) fn revision() -> String {
    let revision = run(Command::new("git").current_dir(root()).args(["rev-parse", "--short=12", "HEAD"]));
    revision.trim().to_owned()
}

/// Returns the text of a file.
pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the files under a folder whose names end with `suffix`, except ignored ones.
pub(crate) fn files(folder: &str, suffix: &str) -> Vec<PathBuf> {
    let list = ["ls-files", "--cached", "--others", "--exclude-standard", "--", folder];
    let paths = run(Command::new("git").current_dir(root()).args(list));
    paths.lines().filter(|path| path.ends_with(suffix)).map(|path| root().join(path)).collect()
}
