//! Addresses to listen on.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// An address to listen on, in the notation of Prometheus exporters: `host:port`, `[v6]:port`, `:port` for all IPv4
/// and IPv6 addresses, or `unix:` and a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// A TCP port.
    Tcp {
        /// A host name or an IP address; `None` for all addresses.
        host: Option<String>,
        /// The port; 0 lets the system choose a free one.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

impl ListenAddress {
    /// Parses addresses separated by commas.
    ///
    /// # Errors
    /// If one of them is not an address.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, String> {
        text.split(',').map(|address| address.trim().parse()).collect()
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid =
            || "is not an address; write it like :10869, 127.0.0.1:10869, [::1]:10869 or unix:/run/x.sock".to_owned();
        if let Some(path) = text.strip_prefix("unix:") {
            // The limits of a socket path, see unix(7).
            let is_valid = !path.is_empty() && path.len() < 108 && !path.contains('\0') && !path.starts_with("//");
            return if is_valid { Ok(Self::Unix(path.into())) } else { Err(invalid()) };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(invalid)?;
        // `u16::from_str` also accepts `+1`.
        let port = Some(port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
        let port = port.and_then(|port| port.parse().ok()).ok_or_else(invalid)?;
        let unbracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match (host, unbracketed) {
            ("", _) => None,
            (_, Some(v6)) => Some(v6.parse::<std::net::Ipv6Addr>().map_err(|_| invalid())?.to_string()),
            (name, None) if name.contains([':', '/', '[', ']', ' ']) => return Err(invalid()),
            (name, None) => Some(name.to_owned()),
        };
        Ok(Self::Tcp { host, port })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host: None, port } => write!(f, ":{port}"),
            Self::Tcp { host: Some(v6), port } if v6.contains(':') => write!(f, "[{v6}]:{port}"),
            Self::Tcp { host: Some(host), port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_use_the_notation_of_prometheus_exporters() {
        for valid in [
            ":10869",
            "127.0.0.1:0",
            "[::1]:10869",
            "localhost:1",
            "0.0.0.0:65535",
            "[::]:80",
            "unix:/run/x.sock",
            "unix:x",
        ] {
            assert_eq!(valid.parse::<ListenAddress>().unwrap().to_string(), valid);
        }
        for invalid in [
            "",
            "10869",
            ":",
            ":x",
            ":65536",
            "::1:80",
            "[::1",
            "[x]:80",
            "http://a:80",
            "a:+1",
            "a:",
            "unix:",
            "unix://x",
            "vsock://:1",
        ] {
            assert!(invalid.parse::<ListenAddress>().is_err(), "{invalid}");
        }
    }
}
