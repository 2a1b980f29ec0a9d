//! Unix sockets in the file system. At most one process listens on a path, even if several processes start at the same
//! moment and a socket of an earlier process is still there.

use std::fmt;
use std::fs::{File, Permissions, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

/// Mode of a Unix socket: its owner and group can connect.
const SOCKET_MODE: u32 = 0o660;

/// Timeout for another process that opens a socket in the same directory, which takes a few system calls.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// Delay before the directory's lock is tried again.
const LOCK_RETRY_DELAY: Duration = Duration::from_millis(5);

/// The path of a socket. Two paths are equal if they lead to the same file.
#[derive(Debug, Clone)]
pub(super) struct SocketPath {
    /// As configured: the length of a socket's path is limited, and a short one may lead to a long one.
    path: PathBuf,
    /// Without symbolic links and `..` in the directory.
    canonical: PathBuf,
}

impl PartialEq for SocketPath {
    fn eq(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }
}

impl Eq for SocketPath {}

impl SocketPath {
    /// Returns the path of a socket that may not exist yet.
    pub(super) fn new(path: &Path) -> Self {
        let canonical = path.file_name().and_then(|name| Some(directory_of(path).canonicalize().ok()?.join(name)));
        // Without the directory the path cannot be bound.
        Self { path: path.to_owned(), canonical: canonical.unwrap_or_else(|| path.to_owned()) }
    }

    /// Listens on the path, with a queue of `backlog` connections. A socket that nothing listens on is replaced.
    ///
    /// # Errors
    /// If something else is at the path, or the directory cannot be read and written.
    pub(super) fn listen(&self, backlog: i32) -> io::Result<(SocketFile, UnixListener)> {
        // A socket that does not listen may have been left behind, or it may be about to listen. Nothing distinguishes
        // the two, so checking, binding and listening happen under a lock.
        let _lock = lock_directory(&self.path)?;
        BoundSocket::bind(&self.path)?.listen(backlog)
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Locks the directory of a path against other processes of this program, until the returned file is dropped. A
/// separate lock file would be left behind.
fn lock_directory(path: &Path) -> io::Result<File> {
    let directory = File::open(directory_of(path))?;
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        match directory.try_lock() {
            Ok(()) => return Ok(directory),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "its directory is locked by another process"));
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_RETRY_DELAY),
        }
    }
}

/// A socket that has a path with the right mode, but to which nothing can connect yet.
struct BoundSocket {
    file: SocketFile,
    socket: Socket,
}

impl BoundSocket {
    fn bind(path: &Path) -> io::Result<Self> {
        if is_left_behind(path) {
            std::fs::remove_file(path)?;
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let file = SocketFile { path: path.to_owned(), inode: read_inode(path)? };
        // The umask decided the mode. Until it is corrected, connecting is refused, because nothing listens.
        std::fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
        Ok(Self { file, socket })
    }

    fn listen(self, backlog: i32) -> io::Result<(SocketFile, UnixListener)> {
        let Self { file, socket } = self;
        socket.listen(backlog)?;
        Ok((file, UnixListener::from_std(OwnedFd::from(socket).into())?))
    }
}

/// Removes the path of a socket when dropped, unless another process has replaced it in the meantime. It must be
/// dropped before the socket: afterwards another process may take over the path, even with the same inode.
pub struct SocketFile {
    path: PathBuf,
    /// The device and inode of the path when it was created.
    inode: (u64, u64),
}

impl fmt::Debug for SocketFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SocketFile").field(&self.path).finish()
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if read_inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            _ = std::fs::remove_file(&self.path);
        }
    }
}

fn read_inode(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Returns whether the path is a socket that nothing listens on: a process that was killed leaves it behind, and
/// connecting to it is refused.
fn is_left_behind(path: &Path) -> bool {
    let connect = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // Connecting to a socket whose queue is full would block.
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)
    };
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    is_socket && connect().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn socket_has_its_mode_before_it_listens() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("http.sock");
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let refused = || std::os::unix::net::UnixStream::connect(&path).unwrap_err().kind();
        // What a process that was killed left behind has the mode of its umask.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert_ne!(mode(), SOCKET_MODE);
        let bound = BoundSocket::bind(&path).unwrap();
        assert_eq!((mode(), refused()), (SOCKET_MODE, io::ErrorKind::ConnectionRefused));
        let listening = bound.listen(1).unwrap();
        assert_eq!(mode(), SOCKET_MODE);
        std::os::unix::net::UnixStream::connect(&path).unwrap();
        drop(listening);
        assert!(!path.exists());
    }
}
