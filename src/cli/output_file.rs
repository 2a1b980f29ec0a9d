//! Files that are replaced atomically.

use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::bail;
use tempfile::NamedTempFile;

/// The new content of a file, which replaces the old one when it is complete: readers see the old content or the new one,
/// but no mixture. The old content stays if it is dropped before.
#[derive(Debug)]
pub(super) struct OutputFile {
    path: PathBuf,
    content: NamedTempFile,
}

impl OutputFile {
    /// Checks that a path does not name something that a file must not replace, such as a device.
    pub(super) fn check(path: &Path) -> anyhow::Result<()> {
        if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            bail!(
                "cannot replace {}: it is not a regular file; set --output.file to the path of a file",
                path.display()
            );
        }
        Ok(())
    }

    /// Starts new content of a file, which is still empty.
    ///
    /// # Errors
    /// If its folder does not exist or is not writable.
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        // Without the extension of the file, so that no other program reads it before it is complete.
        let content =
            tempfile::Builder::new().prefix(".tryvox-exporter-").suffix(".tmp").tempfile_in(folder_of(path))?;
        Ok(Self { path: path.to_owned(), content })
    }

    /// Returns the file to write the content to.
    pub(super) fn content(&self) -> &File {
        self.content.as_file()
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// If the content cannot be written; then the old content is unchanged.
    pub(super) fn replace(self) -> io::Result<()> {
        let Self { path, content } = self;
        content.as_file().set_permissions(PermissionsExt::from_mode(0o644))?;
        content.as_file().sync_all()?;
        content.persist(&path)?;
        File::open(folder_of(&path))?.sync_all()
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}
