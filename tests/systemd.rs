//! Listening on Unix sockets and on sockets passed by systemd, and notifications to systemd.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use tokio::net::UnixDatagram;
use tokio::process::Command;
use tokio::time::timeout;

use crate::common::api::{MockApi, one_number};
use crate::common::web::CurlOutput;
use crate::common::{BINARY, KEY, ServerProcess, TEST_TIMEOUT, output};

/// Returns the status of a health check over a Unix socket.
async fn health_over(socket: &Path) -> u16 {
    let socket = socket.display().to_string();
    CurlOutput::http(Path::new("/"), &["--unix-socket", &socket, "http://x/-/healthy"]).await.0
}

#[tokio::test]
async fn exporter_listens_on_all_addresses_and_removes_only_its_own_sockets() {
    let api = MockApi::start(|_| async { one_number() }).await;
    let directory = tempfile::tempdir().unwrap();
    let (one, two) = (directory.path().join("one.sock"), directory.path().join("two.sock"));
    let addresses = [format!("unix:{}", one.display()), format!("unix:{}", two.display()), "[::1]:0".to_owned()];
    let flags = addresses.map(|address| format!("--web.listen-address={address}"));
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let mut exporter = ServerProcess::exporter(&api.url(), &flags).await;
    let fourth = exporter.wait_for_log("message=listening", 4).await;
    assert!(fourth.contains("address=127.0.0.1:"), "{fourth}");
    let third = exporter.wait_for_log("message=listening", 3).await;
    let v6 = format!("http://{}/-/healthy", third.split("address=").nth(1).unwrap().trim());
    assert_eq!(CurlOutput::http(Path::new("/"), &[&v6]).await.0, 200);
    assert_eq!((health_over(&one).await, health_over(&two).await), (200, 200));
    let healthy = output(&["healthcheck", flags[0]], &[]).await;
    assert!(healthy.status.success(), "{healthy:?}");

    // A socket in use is not replaced; one that was left behind is.
    let second = output(&["--tryvox.account-id=a", flags[0]], &[("TRYVOX_API_KEY", KEY)]).await;
    let stderr = String::from_utf8(second.stderr).unwrap();
    assert!(second.status.code() == Some(1) && stderr.contains("one.sock: Address already in use"), "{stderr}");
    assert_eq!(health_over(&one).await, 200);
    assert_eq!(exporter.stop(Signal::KILL).await, None);
    assert!(one.exists());
    let exporter = ServerProcess::exporter(&api.url(), &flags).await;
    assert_eq!(health_over(&one).await, 200);
    // At its exit the exporter keeps a file that has replaced its socket.
    std::fs::remove_file(&two).unwrap();
    std::fs::write(&two, "precious").unwrap();
    assert_eq!(exporter.stop(Signal::TERM).await, Some(0));
    assert!(!one.exists() && two.exists());
    // A file that is no socket is never removed.
    let refused = output(&["--tryvox.account-id=a", flags[1]], &[("TRYVOX_API_KEY", KEY)]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(std::fs::read_to_string(&two).unwrap(), "precious");
}

/// Returns the next notification that is no watchdog keep-alive.
async fn notification(socket: &UnixDatagram) -> String {
    loop {
        let message = message(socket).await;
        if message != "WATCHDOG=1" {
            return message;
        }
    }
}

/// Returns the next notification.
async fn message(socket: &UnixDatagram) -> String {
    let mut message = [0; 4096];
    let length = timeout(TEST_TIMEOUT, socket.recv(&mut message)).await.expect("no notification").unwrap();
    String::from_utf8_lossy(&message[..length]).trim().to_owned()
}

#[tokio::test]
async fn systemd_is_notified_of_readiness_watchdog_reload_and_stop() {
    let api = MockApi::start(|_| async { one_number() }).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let url = format!("--tryvox.url={}", api.url());
    let environment = [("TRYVOX_API_KEY", KEY), ("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "200000")];
    let exporter = ServerProcess::start(&[&url, "--tryvox.account-id=a"], &environment).await;
    assert_eq!(notification(&socket).await, "READY=1\nSTATUS=polling 1 account");
    // Keep-alives come twice in each watchdog interval of 0.2 s; the limit leaves room for a busy machine.
    let start = std::time::Instant::now();
    for _ in 0..10 {
        assert_eq!(message(&socket).await, "WATCHDOG=1");
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());

    exporter.signal(Signal::HUP);
    let reloading = notification(&socket).await;
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert!(notification(&socket).await.starts_with("READY=1\n"));
    assert_eq!(exporter.stop(Signal::TERM).await, Some(0));
    assert_eq!(notification(&socket).await, "STOPPING=1");
}

/// Starts a command as systemd does: with listening sockets from file descriptor 3 on.
const ACTIVATE: &str = "
import os, socket, sys
sockets = [socket.socket(socket.AF_INET6), socket.socket(socket.AF_UNIX)]
sockets[0].bind(('::1', 0))
sockets[1].bind(sys.argv[1])
for sock in sockets:
    sock.listen()
print(sockets[0].getsockname()[1], flush=True)
high = [os.dup2(sock.fileno(), 100 + n) for n, sock in enumerate(sockets)]
for n, fd in enumerate(high):
    os.dup2(fd, 3 + n, inheritable=True)
os.environ['LISTEN_FDS'], os.environ['LISTEN_PID'] = str(len(high)), str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
";

#[tokio::test]
async fn exporter_listens_on_sockets_passed_by_systemd() {
    use tokio::io::{AsyncBufReadExt, BufReader};
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("passed.sock");
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", ACTIVATE, path.to_str().unwrap(), BINARY])
        .args(["--tryvox.account-id=a", "--tryvox.url=http://127.0.0.1:1", "--web.systemd-socket"])
        .env("TRYVOX_API_KEY", KEY)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let port = BufReader::new(child.stdout.take().unwrap()).lines().next_line().await.unwrap().unwrap();
    // Connections queue until the exporter accepts them.
    assert_eq!(CurlOutput::http(Path::new("/"), &[&format!("http://[::1]:{port}/-/healthy")]).await.0, 200);
    assert_eq!(health_over(&path).await, 200);
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut listening = Vec::new();
    while listening.len() < 2 {
        let line = log.next_line().await.unwrap().unwrap();
        listening.extend(line.contains("message=listening").then_some(line));
    }
    assert!(listening[0].contains(&format!("address=[::1]:{port}")), "{listening:?}");
    assert!(listening[1].contains("passed.sock"), "{listening:?}");

    let none = output(&["--tryvox.account-id=a", "--web.systemd-socket"], &[("TRYVOX_API_KEY", KEY)]).await;
    let stderr = String::from_utf8(none.stderr).unwrap();
    assert!(none.status.code() == Some(1) && stderr.contains("systemd passed no sockets"), "{stderr}");
}
