//! The files of a state file: itself, those that SQLite puts beside it, and the lock.

use std::ffi::OsString;
use std::fs::{self, Metadata, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tracing::warn;

use super::{StateError, times};

/// The mode of every file: they contain phone numbers.
pub(super) const MODE: u32 = 0o600;

/// What SQLite appends to the name of a file for the files beside it.
const SIDE_FILES: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Identifies a file while it is open, whatever its name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileIdentity {
    device: u64,
    inode: u64,
}

impl FileIdentity {
    pub(super) fn new(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// Returns the identity of the file at a path; `None` if there is none.
    pub(super) fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|metadata| Self::new(&metadata))
    }
}

/// How many symbolic links in a row are followed.
const MAX_LINKS: usize = 40;

/// Returns the path of a state file without symbolic links, because SQLite's side files and the lock are beside the
/// file itself. The file need not exist.
pub(super) fn resolve(path: &Path) -> Result<PathBuf, StateError> {
    let mut file = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::metadata(&file) {
            Ok(metadata) if !metadata.is_file() => return Err(StateError::NotAFile(path.to_owned())),
            Ok(_) => return Ok(fs::canonicalize(&file).unwrap_or(file)),
            Err(_) => {}
        }
        let Some(name) = file.file_name().map(ToOwned::to_owned) else {
            return Err(StateError::NotAFile(path.to_owned()));
        };
        let folder = folder_of(&file);
        let is_missing = match fs::metadata(folder) {
            Ok(metadata) => !metadata.is_dir(),
            Err(error) => matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
        };
        if is_missing {
            return Err(StateError::MissingFolder(path.to_owned()));
        }
        let folder =
            fs::canonicalize(folder).or_else(|_| std::path::absolute(folder)).unwrap_or_else(|_| folder.to_owned());
        match fs::read_link(&file) {
            // The file that the link names will be created there.
            Ok(target) => file = folder.join(target),
            Err(_) => return Ok(folder.join(name)),
        }
    }
    Err(StateError::NotAFile(path.to_owned()))
}

/// Returns the folder that contains a file.
pub(super) fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Returns a path with something appended to its file name.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = OsString::from(path);
    path.push(suffix);
    path.into()
}

/// Removes permissions that go beyond [`MODE`] from a state file and its side files, as far as they exist.
pub(super) fn restrict_modes(path: &Path) {
    restrict_mode(path);
    for suffix in SIDE_FILES {
        restrict_mode(&with_suffix(path, suffix));
    }
}

/// Removes permissions that go beyond [`MODE`].
pub(super) fn restrict_mode(path: &Path) {
    let Ok(metadata) = fs::metadata(path) else { return };
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & !MODE == 0 {
        return;
    }
    if let Err(error) = fs::set_permissions(path, Permissions::from_mode(mode & MODE)) {
        warn!(file = %path.display(), %error, "cannot restrict the mode of a state file; set it to 0600");
    }
}

/// Renames a corrupt state file and its side files, which must not be open, and returns the new path.
pub(super) fn move_aside(path: &Path, now: SystemTime) -> std::io::Result<PathBuf> {
    restrict_modes(path);
    let name = with_suffix(path, &format!(".corrupt-{}", times::file_name(now)));
    let mut target = name.clone();
    let mut attempt = 1;
    while fs::symlink_metadata(&target).is_ok() {
        attempt += 1;
        target = with_suffix(&name, &format!("-{attempt}"));
    }
    // The side files go first: SQLite would apply those that are left to the file that comes next.
    for suffix in SIDE_FILES {
        rename(&with_suffix(path, suffix), &with_suffix(&target, suffix))?;
    }
    rename(path, &target)?;
    Ok(target)
}

fn rename(from: &Path, to: &Path) -> std::io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
