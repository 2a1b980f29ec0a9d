//! The sockets that the server listens on: opened from addresses, or taken from systemd.
//!
//! The path of a Unix socket that was opened here is removed when its [`Listener`] is dropped. A path that belongs to
//! a running process is never taken over.

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

/// Length of the queue of connections that are not accepted yet; the system may lower it. A burst of scrapes waits
/// instead of being refused.
const BACKLOG: i32 = 1024;

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {error}; {hint}")]
pub struct BindError {
    address: String,
    error: io::Error,
    hint: &'static str,
}

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    /// A TCP port.
    Tcp(TcpListener),
    /// A Unix socket, and what removes its path, if this process has created it.
    Unix(UnixListener, Option<SocketFile>),
}

/// A client connection of either kind.
pub(super) type ClientStream = Either<TcpStream, UnixStream>;

impl Listener {
    /// Returns the address in the notation of `--web.listen-address`.
    ///
    /// # Errors
    /// If the system does not return the address.
    pub fn address(&self) -> io::Result<String> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(|address| address.to_string()),
            Self::Unix(listener, _) => {
                let address = listener.local_addr()?;
                Ok(format!("unix:{}", address.as_pathname().unwrap_or(Path::new("")).display()))
            }
        }
    }

    /// Returns the address of a TCP socket, `None` for a Unix socket.
    ///
    /// # Errors
    /// If the system does not return the address.
    pub fn tcp_address(&self) -> io::Result<Option<SocketAddr>> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Some),
            Self::Unix(..) => Ok(None),
        }
    }

    /// Accepts the next connection, with Nagle's algorithm off.
    pub(super) async fn accept(&self) -> io::Result<ClientStream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // This fails if the client has gone; reading fails then, too.
                _ = stream.set_nodelay(true);
                Ok(Either::Left(stream))
            }
            Self::Unix(listener, _) => listener.accept().await.map(|(stream, _)| Either::Right(stream)),
        }
    }
}

/// Removes the path of a socket when dropped, unless another process has replaced it in the meantime.
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

/// Listens on an address; without a host on all addresses, IPv4 and IPv6.
///
/// # Errors
/// If the address is in use, not an address of this machine, or not permitted.
pub fn bind(address: &ListenAddress) -> Result<Vec<Listener>, BindError> {
    let bound = match address {
        ListenAddress::Tcp { host: None, port } => {
            listen_on_all_addresses(*port).map(|listener| vec![Listener::Tcp(listener)])
        }
        ListenAddress::Tcp { host: Some(host), port } => listen_on_host(host, *port),
        ListenAddress::Unix(path) => listen_on_path(path).map(|listener| vec![listener]),
    };
    bound.map_err(|error| {
        let hint = match (error.kind(), address) {
            (io::ErrorKind::AddrInUse, _) => "stop the process that uses it or change --web.listen-address",
            (io::ErrorKind::PermissionDenied, ListenAddress::Tcp { .. }) => {
                "use a port above 1023 in --web.listen-address"
            }
            (_, ListenAddress::Tcp { .. }) => "use an address of this machine in --web.listen-address",
            (_, ListenAddress::Unix(_)) => "use a path in a directory that the exporter can write to",
        };
        BindError { address: address.to_string(), error, hint }
    })
}

/// Takes the sockets that systemd has opened for this process (`sd_listen_fds(3)`).
///
/// # Errors
/// If there are none, or one is not a stream socket.
pub fn take_systemd_sockets() -> io::Result<Vec<Listener>> {
    let mut passed = listenfd::ListenFd::from_env();
    let listeners = (0..passed.len()).map(|index| {
        if let Ok(Some(listener)) = passed.take_unix_listener(index) {
            listener.set_nonblocking(true)?;
            return Ok(Listener::Unix(UnixListener::from_std(listener)?, None));
        }
        let listener =
            passed.take_tcp_listener(index)?.ok_or_else(|| io::Error::other("systemd passed a socket twice"))?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener).map(Listener::Tcp)
    });
    listeners.collect::<io::Result<Vec<_>>>().and_then(|listeners| {
        let none = || io::Error::other("systemd passed no sockets; start the exporter with a .socket unit");
        if listeners.is_empty() { Err(none()) } else { Ok(listeners) }
    })
}

fn listen_on_host(host: &str, port: u16) -> io::Result<Vec<Listener>> {
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    addresses.into_iter().map(|address| listen_tcp(address, true).map(Listener::Tcp)).collect()
}

fn listen_on_all_addresses(port: u16) -> io::Result<TcpListener> {
    match listen_tcp((Ipv6Addr::UNSPECIFIED, port).into(), false) {
        // The system has no IPv6.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::AddrNotAvailable)
                || error.raw_os_error() == Some(EAFNOSUPPORT) =>
        {
            listen_tcp((Ipv4Addr::UNSPECIFIED, port).into(), true)
        }
        listener => listener,
    }
}

/// Linux error number: address family not supported by protocol.
const EAFNOSUPPORT: i32 = 97;

fn listen_tcp(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    // Without it a restart fails while old connections are in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn listen_on_path(path: &Path) -> io::Result<Listener> {
    // A process that was killed leaves its socket behind; connecting to it is refused.
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    if is_socket && BlockingUnixStream::connect(path).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused) {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    let file = SocketFile { path: path.to_owned(), inode: read_inode(path)? };
    Ok(Listener::Unix(listener, Some(file)))
}
