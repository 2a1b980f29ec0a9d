//! How a health check reaches a running process of this program.
//!
//! The process publishes its [`HealthTarget`] in a file in memory, which exists as long as the process and needs no
//! writable file system. A health check in the same container finds it without knowing how the process was configured.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, memfd_create};

use crate::config::ListenAddress;
use crate::web::Listener;

/// Name of the file in memory.
const FILE_NAME: &str = "tryvox-exporter-health";

/// The URL and the address at which the health of a process is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HealthTarget {
    /// The URL to request. Over a Unix socket, its host has no meaning.
    pub(super) url: String,
    /// The address to connect to.
    pub(super) address: ListenAddress,
}

impl HealthTarget {
    /// Creates the target for a path at an address that a client on this machine can connect to.
    pub(super) fn new(address: ListenAddress, tls: bool, path: &str) -> Self {
        let scheme = if tls { "https" } else { "http" };
        let url = match &address {
            ListenAddress::Unix(_) => format!("{scheme}://localhost{path}"),
            ListenAddress::Tcp { .. } => format!("{scheme}://{address}{path}"),
        };
        Self { url, address }
    }

    /// Publishes the target of the first listener until the returned file is closed.
    ///
    /// # Errors
    /// If there is no listener, or the system has no files in memory.
    pub(super) fn publish(listeners: &[Listener], tls: bool, path: &str) -> io::Result<File> {
        let address = listeners.first().ok_or(io::ErrorKind::NotFound)?.local_address()?;
        let Self { url, address } = Self::new(address, tls, path);
        let create = |flags| memfd_create(FILE_NAME, MemfdFlags::CLOEXEC | flags);
        // Before version 6.3 Linux does not know the flag, from then on it may require it.
        let mut file = File::from(create(MemfdFlags::NOEXEC_SEAL).or_else(|_| create(MemfdFlags::empty()))?);
        write!(file, "{url}\n{address}")?;
        Ok(file)
    }

    /// Returns the target that the main process of this container has published: process 1 or, if that is an init, its
    /// child. `None` if there is none or more than one, or this process may not read it.
    pub(super) fn of_this_container() -> Option<Self> {
        const INIT: &str = "1";
        let children = std::fs::read_to_string(format!("/proc/{INIT}/task/{INIT}/children")).unwrap_or_default();
        let mut targets = std::iter::once(INIT).chain(children.split_whitespace()).filter_map(Self::of_process);
        targets.next().filter(|_| targets.next().is_none())
    }

    fn of_process(pid: &str) -> Option<Self> {
        let descriptors = std::fs::read_dir(Path::new("/proc").join(pid).join("fd")).ok()?;
        let paths = descriptors.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        let is_published = |path: &PathBuf| std::fs::read_link(path).is_ok_and(|link| names_the_file(&link));
        Self::parse(&std::fs::read_to_string(paths.into_iter().find(is_published)?).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let (url, address) = text.split_once('\n')?;
        Some(Self { url: url.to_owned(), address: address.parse().ok()? })
    }
}

/// Returns whether a link in `/proc/PID/fd` leads to the file in memory.
fn names_the_file(link: &Path) -> bool {
    link.to_str().is_some_and(|link| link.strip_prefix("/memfd:").is_some_and(|name| name.starts_with(FILE_NAME)))
}
