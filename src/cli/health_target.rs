//! How a health check reaches a running process of this program.
//!
//! The process publishes its [`HealthTarget`] in a file in memory, which exists as long as the process and needs no
//! writable file system. A health check on the same machine or in the same container finds it without knowing how the process was
//! configured.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, memfd_create};

use crate::config::ListenAddress;
use crate::web::Listener;

/// The path below the route prefix that tells whether an exporter is healthy.
pub(super) const HEALTH_PATH: &str = "/-/healthy";

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

    /// Returns the target of the running process of this program: of the processes with the same executable, in the same
    /// mount namespace and with these variables in its environment, the one with the lowest ID that has published a target.
    /// Exporters come before simulators. `None` if there is none, or this process may not read it.
    pub(super) fn of_running_process(variables: &[OsString]) -> Option<Self> {
        let this = Identity::of_process("self").ok()?;
        let entries = std::fs::read_dir(PROC).ok()?.filter_map(Result::ok);
        let mut ids: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        ids.sort_unstable();
        let candidates = ids.into_iter().map(|id| id.to_string()).filter(|id| {
            Identity::of_process(id).is_ok_and(|other| other == this) && has_variables(id, variables).unwrap_or(false)
        });
        candidates.filter_map(|id| Self::of_process(&id)).min_by_key(|target| !target.url.ends_with(HEALTH_PATH))
    }

    fn of_process(id: &str) -> Option<Self> {
        let descriptors = std::fs::read_dir(process_path(id, "fd")).ok()?;
        let paths = descriptors.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        let is_published = |path: &PathBuf| std::fs::read_link(path).is_ok_and(|link| names_the_file(&link));
        Self::parse(&std::fs::read_to_string(paths.into_iter().find(is_published)?).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let (url, address) = text.split_once('\n')?;
        Some(Self { url: url.to_owned(), address: address.parse().ok()? })
    }
}

/// Where the system describes processes.
const PROC: &str = "/proc";

fn process_path(id: &str, file: &str) -> PathBuf {
    Path::new(PROC).join(id).join(file)
}

/// What processes of one program in one container have in common. Containers may share process IDs, but have file systems
/// of their own.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    /// Device and inode of the executable.
    executable: (u64, u64),
    /// Device and inode of the mount namespace.
    mount_namespace: (u64, u64),
}

impl Identity {
    fn of_process(id: &str) -> io::Result<Self> {
        let inode = |file| std::fs::metadata(process_path(id, file)).map(|metadata| (metadata.dev(), metadata.ino()));
        Ok(Self { executable: inode("exe")?, mount_namespace: inode("ns/mnt")? })
    }
}

/// Returns whether a process was started with all of these variables, each written as `NAME=VALUE`.
fn has_variables(id: &str, variables: &[OsString]) -> io::Result<bool> {
    let environment = std::fs::read(process_path(id, "environ"))?;
    let is_set = |variable: &OsString| environment.split(|byte| *byte == 0).any(|set| set == variable.as_bytes());
    Ok(variables.iter().all(is_set))
}

/// Returns whether a link in `/proc/PID/fd` leads to the file in memory.
fn names_the_file(link: &Path) -> bool {
    link.to_str().is_some_and(|link| link.strip_prefix("/memfd:").is_some_and(|name| name.starts_with(FILE_NAME)))
}
