//! Files that are replaced atomically.

use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::bail;
use rustix::io::Errno;
use tempfile::NamedTempFile;

/// The mode of a new file, from which the umask is removed.
const NEW_FILE_MODE: u32 = 0o666;

/// The bits of a mode that a new content keeps: the permissions.
const PERMISSIONS: u32 = 0o777;

/// Maximum number of symbolic links that are followed, as in the Linux kernel.
const MAX_LINKS: usize = 40;

/// The new content of a file, which replaces the old one when it is complete: readers see the old content or the new one,
/// but no mixture. The old content stays if it is dropped before.
///
/// As if the file were written in place, symbolic links are followed, an existing file keeps its permissions, and a new one
/// has those that the umask allows.
#[derive(Debug)]
pub(super) struct OutputFile {
    /// The file itself, which is no symbolic link.
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
    /// If its directory does not exist or is not writable, or if symbolic links form a loop.
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let path = follow_links(path)?;
        // The content is not readable by more users than the old one, however long it takes until it is complete.
        let mode = existing(&path)?.map_or(NEW_FILE_MODE, |old| old.mode() & PERMISSIONS);
        let content = tempfile::Builder::new()
            // Without the extension of the file, so that no other program reads it before it is complete.
            .prefix(".tryvox-exporter-")
            .suffix(".tmp")
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(folder_of(&path))?;
        Ok(Self { path, content })
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
        if let Some(old) = existing(&path)? {
            keep_access(content.as_file(), &old)?;
        }
        content.as_file().sync_all()?;
        content.persist(&path)?;
        File::open(folder_of(&path))?.sync_all()
    }
}

/// Returns the path of the file that a path names, which need not exist.
fn follow_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match std::fs::read_link(&path) {
            Ok(target) => path = folder_of(&path).join(target),
            // It is another kind of file, or there is none.
            Err(_) => return Ok(path),
        }
    }
    Err(Errno::LOOP.into())
}

/// Returns the metadata of a file, if it exists.
fn existing(path: &Path) -> io::Result<Option<Metadata>> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Gives a file the permissions of another one and, as far as this process may, its owner and group.
fn keep_access(file: &File, old: &Metadata) -> io::Result<()> {
    // Separately, because a user may choose among their groups, but only root may choose the owner. What is not permitted is
    // as with any new file.
    _ = std::os::unix::fs::fchown(file, None, Some(old.gid()));
    _ = std::os::unix::fs::fchown(file, Some(old.uid()), None);
    file.set_permissions(Permissions::from_mode(old.mode() & PERMISSIONS))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}
