//! Opening the sockets to listen on.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

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

/// Listens on an address; without a host on all addresses, v4 and v6.
///
/// # Errors
/// When the address is taken, not this machine's, or not allowed.
pub fn bind(address: &ListenAddress) -> Result<Vec<TcpListener>, BindError> {
    sockets(address).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => "stop what listens there or choose another --web.listen-address",
            io::ErrorKind::PermissionDenied => "choose a port above 1023 with --web.listen-address",
            _ => "choose an address of this machine with --web.listen-address",
        };
        BindError { address: address.to_string(), error, hint }
    })
}

fn sockets(address: &ListenAddress) -> io::Result<Vec<TcpListener>> {
    let Some(host) = &address.host else { return Ok(vec![everywhere(address.port)?]) };
    let addresses: Vec<SocketAddr> = (host.as_str(), address.port).to_socket_addrs()?.collect();
    addresses.into_iter().map(|address| listen(address, true)).collect()
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
