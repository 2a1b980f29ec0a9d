//! The sockets that the server listens on: opened from addresses, or taken from systemd.
//!
//! The path of a Unix socket that was opened here is removed when its [`Listener`] is dropped. A path that belongs to
//! a running process is never taken over.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_util::either::Either;

use super::unix_socket::{SocketFile, SocketPath};
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

impl BindError {
    /// Creates an error that names `address`, a configured one or one that it resolves to.
    fn new(address: String, configured: &ListenAddress, error: io::Error) -> Self {
        let hint = match (error.kind(), configured) {
            (io::ErrorKind::AddrInUse, _) => "stop the process that uses it or change --web.listen-address",
            (io::ErrorKind::PermissionDenied, ListenAddress::Tcp { .. }) => {
                "use a port above 1023 in --web.listen-address"
            }
            (_, ListenAddress::Tcp { .. }) => "use an address of this machine in --web.listen-address",
            (_, ListenAddress::Unix(_)) => "use a path in a directory that the exporter can read and write",
        };
        Self { address, error, hint }
    }
}

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    /// A TCP port.
    Tcp(TcpListener),
    /// A Unix socket, and what removes its path, if this process has created it. The path is removed before the socket
    /// is closed.
    Unix(Option<SocketFile>, UnixListener),
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
            Self::Unix(_, listener) => {
                let address = listener.local_addr()?;
                Ok(format!("unix:{}", address.as_pathname().unwrap_or(Path::new("")).display()))
            }
        }
    }

    /// Returns an address at which a client on this machine reaches the socket: that of the loopback interface if it
    /// listens on all addresses.
    ///
    /// # Errors
    /// If the system does not return the address.
    pub fn local_address(&self) -> io::Result<ListenAddress> {
        match self {
            Self::Tcp(listener) => {
                let address = listener.local_addr()?;
                let host = match address.ip() {
                    IpAddr::V6(Ipv6Addr::UNSPECIFIED) if SockRef::from(listener).only_v6()? => {
                        Ipv6Addr::LOCALHOST.into()
                    }
                    // IPv6 can be disabled on the loopback interface.
                    ip if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
                    ip => ip,
                };
                Ok(ListenAddress::Tcp { host: Some(host.to_string()), port: address.port() })
            }
            Self::Unix(_, listener) => {
                let address = listener.local_addr()?;
                std::path::absolute(address.as_pathname().unwrap_or(Path::new(""))).map(ListenAddress::Unix)
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

    /// Returns whether a connection waits to be accepted.
    pub(super) fn has_waiting_connection(&self) -> bool {
        let socket = match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(_, listener) => listener.as_fd(),
        };
        let mut sockets = [PollFd::from_borrowed_fd(socket, PollFlags::IN)];
        poll(&mut sockets, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
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
            Self::Unix(_, listener) => listener.accept().await.map(|(stream, _)| Either::Right(stream)),
        }
    }
}

/// Sockets that listen, and the addresses that could not be listened on.
#[derive(Debug)]
pub struct BoundListeners {
    /// At least one socket, in the order of the addresses.
    pub listeners: Vec<Listener>,
    /// Why the other addresses have no socket.
    pub failures: Vec<BindError>,
}

/// Listens on all addresses; one without a host means all addresses of this machine, IPv4 and IPv6. An address that is
/// given twice, or that a host name resolves to twice, gets one socket.
///
/// # Errors
/// If no address can be listened on: the first of the causes.
pub fn bind(addresses: &[ListenAddress]) -> Result<BoundListeners, BindError> {
    let (mut targets, mut listeners, mut failures): (Vec<(BindTarget, _)>, _, _) = (Vec::new(), Vec::new(), Vec::new());
    for address in addresses {
        match resolve(address) {
            Ok(resolved) => targets.extend(resolved.into_iter().map(|target| (target, address))),
            Err(error) => failures.push(BindError::new(address.to_string(), address, error)),
        }
    }
    let covering = |target: &BindTarget| -> Vec<usize> {
        let covers = |(_, (other, _)): &(usize, &(BindTarget, _))| other != target && other.covers(target);
        targets.iter().enumerate().filter(covers).map(|(index, _)| index).collect()
    };
    // A target is left out only if one that covers it is bound, so those that cover others come first.
    let mut order: Vec<usize> = (0..targets.len()).collect();
    order.sort_by_key(|index| covering(&targets[*index].0).len());
    let mut results: Vec<Option<io::Result<Listener>>> = targets.iter().map(|_| None).collect();
    for index in order {
        let (target, _) = &targets[index];
        let is_repeated = targets[..index].iter().any(|(other, _)| other == target);
        let is_covered = covering(target).into_iter().any(|other| matches!(results[other], Some(Ok(_))));
        if !is_repeated && !is_covered {
            results[index] = Some(target.listen());
        }
    }
    for ((target, address), result) in targets.iter().zip(results) {
        match result {
            Some(Ok(listener)) => listeners.push(listener),
            Some(Err(error)) => failures.push(BindError::new(target.describe(address), address, error)),
            None => {}
        }
    }
    if listeners.is_empty() && !failures.is_empty() {
        return Err(failures.swap_remove(0));
    }
    Ok(BoundListeners { listeners, failures })
}

/// What one socket is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum BindTarget {
    /// A port on all addresses of this machine, IPv4 and IPv6.
    AllAddresses(u16),
    Tcp(SocketAddr),
    Unix(SocketPath),
}

impl BindTarget {
    /// Returns whether a socket of this target also receives the connections to another one, which then cannot be bound.
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::AllAddresses(port), Self::Tcp(other)) => *port != 0 && *port == other.port(),
            (Self::Tcp(all), Self::Tcp(other)) => {
                all.port() != 0
                    && all.port() == other.port()
                    && all.ip().is_unspecified()
                    && all.is_ipv4() == other.is_ipv4()
            }
            _ => false,
        }
    }

    fn listen(&self) -> io::Result<Listener> {
        match self {
            Self::AllAddresses(port) => listen_on_all_addresses(*port).map(Listener::Tcp),
            Self::Tcp(address) => listen_tcp(*address, true).map(Listener::Tcp),
            Self::Unix(path) => path.listen(BACKLOG).map(|(file, listener)| Listener::Unix(Some(file), listener)),
        }
    }

    /// Returns the configured address, and for a host name also the one that it resolves to.
    fn describe(&self, configured: &ListenAddress) -> String {
        match (self, configured) {
            (Self::Tcp(resolved), _) if resolved.to_string() != configured.to_string() => {
                format!("{configured} ({resolved})")
            }
            _ => configured.to_string(),
        }
    }
}

/// Returns what to bind for an address.
fn resolve(address: &ListenAddress) -> io::Result<Vec<BindTarget>> {
    match address {
        ListenAddress::Tcp { host: None, port } => Ok(vec![BindTarget::AllAddresses(*port)]),
        ListenAddress::Tcp { host: Some(host), port } => {
            Ok((host.as_str(), *port).to_socket_addrs()?.map(BindTarget::Tcp).collect())
        }
        ListenAddress::Unix(path) => Ok(vec![BindTarget::Unix(SocketPath::new(path))]),
    }
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
            return Ok(Listener::Unix(None, UnixListener::from_std(listener)?));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_address_covers_those_of_its_family_and_port() {
        let tcp = |text: &str| BindTarget::Tcp(text.parse().unwrap());
        let all = BindTarget::AllAddresses(80);
        for covered in ["127.0.0.1:80", "[::1]:80", "0.0.0.0:80", "[::]:80"] {
            assert!(all.covers(&tcp(covered)), "{covered}");
        }
        assert!(tcp("0.0.0.0:80").covers(&tcp("127.0.0.1:80")) && tcp("[::]:80").covers(&tcp("[::1]:80")));
        for (target, other) in [
            (all, "127.0.0.1:81"),
            (BindTarget::AllAddresses(0), "127.0.0.1:0"),
            (tcp("0.0.0.0:80"), "[::1]:80"),
            (tcp("[::]:80"), "127.0.0.1:80"),
            (tcp("127.0.0.1:80"), "0.0.0.0:80"),
            (BindTarget::Unix(SocketPath::new(Path::new("80"))), "127.0.0.1:80"),
        ] {
            assert!(!target.covers(&tcp(other)), "{target:?} {other}");
        }
    }
}
