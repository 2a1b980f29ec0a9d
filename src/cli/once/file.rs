//! The file that `once` writes for a textfile collector, as it is read again when an account fails.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use anyhow::{Context, bail};

use crate::metrics::PreviousMetrics;

/// Maximum size of a file that is read, in bytes; a run with a thousand accounts writes less.
const MAX_SIZE: u64 = 64 << 20;

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
