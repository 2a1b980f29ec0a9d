//! The lock that keeps a second exporter from a state file: a `flock` on a file beside it, so that reading the state
//! file needs no lock.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::StateError;
use super::fault::Fault;
use super::files::{FileIdentity, MODE, restrict_mode, with_suffix};

/// An exclusive lock, released when it is dropped. The file is never deleted, because another process might lock the
/// deleted file.
#[derive(Debug)]
pub(super) struct FileLock {
    file: File,
    path: PathBuf,
}

impl FileLock {
    /// Locks a state file.
    pub(super) fn acquire(state_file: &Path) -> Result<Self, Fault> {
        let path = with_suffix(state_file, ".lock");
        let file = open(&path)?;
        restrict_mode(&path);
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(StateError::InUse(state_file.to_owned()).into()),
            Err(error) => return Err(io::Error::from(error).into()),
        }
        let lock = Self { file, path };
        // The file may have been deleted since it was opened.
        if lock.is_held() { Ok(lock) } else { Err(Fault::Moved) }
    }

    /// Returns whether the lock still keeps other exporters away, which it does not after its file was deleted.
    pub(super) fn is_held(&self) -> bool {
        let locked = self.file.metadata().map(|metadata| FileIdentity::new(&metadata)).ok();
        locked.is_some() && locked == FileIdentity::of(&self.path)
    }
}

fn open(path: &Path) -> io::Result<File> {
    let created = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(MODE).open(path);
    // A file that exists can be locked even if it cannot be written.
    created.or_else(|error| File::open(path).map_err(|_| error))
}
