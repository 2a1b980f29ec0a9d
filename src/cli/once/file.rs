//! The file that `once` writes for a textfile collector, and reads again when an account fails.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, bail};

use crate::metrics::PreviousMetrics;

/// Maximum size of a file that is read, in bytes; a run with a thousand accounts writes less.
const MAX_SIZE: u64 = 64 << 20;

/// Checks that a path does not name something that a file must not replace, such as a device.
pub(super) fn check(path: &Path) -> anyhow::Result<()> {
    if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        bail!("cannot replace {}: it is not a regular file; set --output.file to the path of a file", path.display());
    }
    Ok(())
}

/// Returns the metrics that an earlier run wrote to this path; `None` if there is no file.
///
/// # Errors
/// If the file cannot be read, or is not one that this program wrote and completed.
pub(super) fn read(path: &Path) -> anyhow::Result<Option<PreviousMetrics>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.context("it cannot be read")?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes).context("it cannot be read")?;
    if bytes.len() as u64 > MAX_SIZE {
        bail!("it is larger than {} MiB", MAX_SIZE >> 20);
    }
    let text = std::str::from_utf8(&bytes).context("it is not UTF-8, so tryvox-exporter did not write it")?;
    Ok(Some(PreviousMetrics::parse(text)?))
}

/// Replaces a file atomically: readers see the old content or the new one, but no mixture.
///
/// # Errors
/// If the file cannot be written; then the old content is unchanged.
pub(super) fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    // Without the extension `.prom`, so that node_exporter does not read it before it is complete.
    let mut file = tempfile::Builder::new().prefix(".tryvox-exporter-").suffix(".tmp").tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(PermissionsExt::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(folder)?.sync_all()?;
    Ok(())
}
