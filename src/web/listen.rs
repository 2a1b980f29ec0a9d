//! Opening the sockets to listen on, or taking those that systemd has opened.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream as BlockingUnixStream;
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_util::either::Either;

use crate::config::ListenAddress;

/// As much as the system allows: a burst of scrapes waits instead of being refused.
const BACKLOG: i32 = 1024;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {error}; {hint}")]
pub struct BindError {
    address: String,
    error: io::Error,
    hint: &'static str,
}

/// A socket that is listened on.
#[derive(Debug)]
pub enum Listener {
    /// A port.
    Tcp(TcpListener),
    /// A path, and what removes it in the end, if that is for this process to do.
    Unix(UnixListener, Option<SocketFile>),
}

/// A connection of either kind.
pub(super) type Stream = Either<TcpStream, UnixStream>;

impl Listener {
    /// Where, as one would write it for `--web.listen-address`.
    ///
    /// # Errors
    /// When the system does not know.
    pub fn address(&self) -> io::Result<String> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(|address| address.to_string()),
            Self::Unix(listener, _) => {
                let address = listener.local_addr()?;
                Ok(format!("unix:{}", address.as_pathname().unwrap_or(Path::new("")).display()))
            }
        }
    }

    /// The port, if it is one.
    ///
    /// # Errors
    /// When the system does not know it.
    pub fn tcp_address(&self) -> io::Result<Option<SocketAddr>> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Some),
            Self::Unix(..) => Ok(None),
        }
    }

    /// The next connection; what is written to it leaves at once.
    pub(super) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // A connection that is gone already will say so when it is read.
                _ = stream.set_nodelay(true);
                Ok(Either::Left(stream))
            }
            Self::Unix(listener, _) => listener.accept().await.map(|(stream, _)| Either::Right(stream)),
        }
    }
}

/// Removes a socket's path when dropped, unless another process has taken it meanwhile.
pub struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl fmt::Debug for SocketFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SocketFile").field(&self.path).finish()
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            _ = std::fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Listens on an address; without a host on all addresses, v4 and v6.
///
/// # Errors
/// When the address is taken, not this machine's, or not allowed.
pub fn bind(address: &ListenAddress) -> Result<Vec<Listener>, BindError> {
    let bound = match address {
        ListenAddress::Tcp { host: None, port } => everywhere(*port).map(|listener| vec![Listener::Tcp(listener)]),
        ListenAddress::Tcp { host: Some(host), port } => named(host, *port),
        ListenAddress::Unix(path) => unix(path).map(|listener| vec![listener]),
    };
    bound.map_err(|error| {
        let hint = match (error.kind(), address) {
            (io::ErrorKind::AddrInUse, _) => "stop what listens there or choose another --web.listen-address",
            (io::ErrorKind::PermissionDenied, ListenAddress::Tcp { .. }) => {
                "choose a port above 1023 with --web.listen-address"
            }
            (_, ListenAddress::Tcp { .. }) => "choose an address of this machine with --web.listen-address",
            (_, ListenAddress::Unix(_)) => "choose a path in a folder that this user may write to",
        };
        BindError { address: address.to_string(), error, hint }
    })
}

/// The sockets that systemd has opened for this process (`sd_listen_fds(3)`).
///
/// # Errors
/// When there are none, or one is not for streams.
pub fn systemd_sockets() -> io::Result<Vec<Listener>> {
    let mut passed = listenfd::ListenFd::from_env();
    let taken = (0..passed.len()).map(|index| {
        if let Ok(Some(listener)) = passed.take_unix_listener(index) {
            listener.set_nonblocking(true)?;
            return Ok(Listener::Unix(UnixListener::from_std(listener)?, None));
        }
        let listener = passed.take_tcp_listener(index)?.ok_or_else(|| io::Error::other("a socket is there twice"))?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener).map(Listener::Tcp)
    });
    taken.collect::<io::Result<Vec<_>>>().and_then(|listeners| {
        let none = || io::Error::other("systemd passed none; start it by a .socket unit");
        if listeners.is_empty() { Err(none()) } else { Ok(listeners) }
    })
}

fn named(host: &str, port: u16) -> io::Result<Vec<Listener>> {
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    addresses.into_iter().map(|address| listen(address, true).map(Listener::Tcp)).collect()
}

fn everywhere(port: u16) -> io::Result<TcpListener> {
    match listen((Ipv6Addr::UNSPECIFIED, port).into(), false) {
        // A system without IPv6.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::AddrNotAvailable)
                || error.raw_os_error() == Some(EAFNOSUPPORT) =>
        {
            listen((Ipv4Addr::UNSPECIFIED, port).into(), true)
        }
        listener => listener,
    }
}

/// Linux: address family not supported by protocol.
const EAFNOSUPPORT: i32 = 97;

fn listen(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    // A restart need not wait for old connections to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn unix(path: &Path) -> io::Result<Listener> {
    // What a process that was killed has left behind; one that lives answers.
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    if is_socket && BlockingUnixStream::connect(path).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused) {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    let file = SocketFile { path: path.to_owned(), inode: inode(path)? };
    Ok(Listener::Unix(listener, Some(file)))
}
