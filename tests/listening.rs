//! Where the exporter listens, limits of the system, and health checks that find it.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tryvox_exporter::config::ListenAddress;

use crate::common::web::{WebDirectory, tls};
use crate::common::{KEY, ServerProcess, TEST_TIMEOUT, command, output, wrapped_command};

/// Runs a command with a mount namespace of its own, in which `$0` is `/etc/hosts`.
const WITH_HOSTS: [&str; 5] = ["unshare", "--map-root-user", "--mount", "sh", "-c"];
const MOUNT_HOSTS: &str = r#"mount --bind "$0" /etc/hosts && exec "$@""#;

/// Returns a TCP port that is free.
fn free_port() -> u16 {
    std::net::TcpListener::bind("[::]:0").unwrap().local_addr().unwrap().port()
}

/// Returns the lines of a log that contain a text.
fn lines_with<'a>(log: &'a str, text: &str) -> Vec<&'a str> {
    log.lines().filter(|line| line.contains(text)).collect()
}

#[tokio::test]
async fn each_address_of_a_host_name_is_bound_once_and_one_is_enough() {
    let mut hosts = tempfile::NamedTempFile::new().unwrap();
    // The second address belongs to no machine (RFC 5737).
    for address in ["127.0.0.1", "127.0.0.1", "192.0.2.1"] {
        writeln!(hosts, "{address} many.test").unwrap();
    }
    writeln!(hosts, "192.0.2.1 foreign.test").unwrap();
    let wrapper = [&WITH_HOSTS[..], &[MOUNT_HOSTS, hosts.path().to_str().unwrap()]].concat();
    let server = ServerProcess::spawn(wrapped_command(&wrapper, &["demo", "--web.listen-address=many.test:0"])).await;
    assert_eq!(server.get("/-/healthy").await.status(), 200);
    let log = server.stop_with_output(Signal::TERM).await.1;
    assert_eq!(lines_with(&log, "message=listening").len(), 1, "{log}");
    let [warning] = lines_with(&log, "level=warn")[..] else { panic!("{log}") };
    assert!(warning.contains("many.test:0 (192.0.2.1:0)") && warning.contains("--web.listen-address"), "{warning}");

    let mut foreign = wrapped_command(&wrapper, &["demo", "--web.listen-address=foreign.test:0"]);
    let failed = timeout(TEST_TIMEOUT, foreign.output()).await.unwrap().unwrap();
    let stderr = String::from_utf8(failed.stderr).unwrap();
    assert!(failed.status.code() == Some(1) && stderr.contains("foreign.test:0 (192.0.2.1:0)"), "{stderr}");
}

#[tokio::test]
async fn addresses_that_are_given_twice_are_bound_once() {
    for (flags, bound) in [
        (["127.0.0.1:PORT", "127.0.0.1:PORT"], "address=127.0.0.1:"),
        (["127.0.0.1:PORT", ":PORT"], "address=[::]:"),
        (["0.0.0.0:PORT", "127.0.0.1:PORT"], "address=0.0.0.0:"),
    ] {
        let port = free_port().to_string();
        let flags = flags.map(|flag| format!("--web.listen-address={}", flag.replace("PORT", &port)));
        let server = ServerProcess::spawn(command(&["demo", &flags[0], &flags[1]])).await;
        assert_eq!(reqwest_status(&format!("http://127.0.0.1:{port}/-/healthy")).await, 200);
        let log = server.stop_with_output(Signal::TERM).await.1;
        let [listening] = lines_with(&log, "message=listening")[..] else { panic!("{log}") };
        assert!(listening.contains(bound) && lines_with(&log, "level=warn").is_empty(), "{log}");
    }
}

async fn reqwest_status(url: &str) -> u16 {
    crate::common::http().get(url).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn only_an_address_without_a_host_listens_on_ipv4_and_ipv6() {
    for (listen, hosts) in [(":0", &["127.0.0.1", "[::1]"][..]), ("[::]:0", &["[::1]"]), ("0.0.0.0:0", &["127.0.0.1"])]
    {
        let server = ServerProcess::spawn(command(&["demo", &format!("--web.listen-address={listen}")])).await;
        let port = server.address.rsplit(':').next().unwrap();
        for host in ["127.0.0.1", "[::1]"] {
            let connected = TcpStream::connect(format!("{host}:{port}")).await;
            assert_eq!(connected.is_ok(), hosts.contains(&host), "{listen}: {host}: {connected:?}");
        }
    }
}

#[tokio::test]
async fn an_address_in_use_is_a_warning_if_another_one_is_bound() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("--web.listen-address={}", taken.local_addr().unwrap());
    let server = ServerProcess::start(&["demo", &taken], &[]).await;
    assert_eq!(server.get("/-/healthy").await.status(), 200);
    let log = server.stop_with_output(Signal::TERM).await.1;
    let [warning] = lines_with(&log, "level=warn")[..] else { panic!("{log}") };
    assert!(warning.contains("cannot listen on 127.0.0.1:"), "{warning}");
}

#[tokio::test]
async fn an_address_is_bound_if_the_one_that_covers_it_cannot_be() {
    let taken = std::net::TcpListener::bind("127.0.0.2:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for all in [format!("0.0.0.0:{port}"), format!(":{port}")] {
        let flags = [all, format!("127.0.0.1:{port}")].map(|address| format!("--web.listen-address={address}"));
        let server = ServerProcess::spawn(command(&["demo", &flags[0], &flags[1]])).await;
        assert_eq!(reqwest_status(&format!("http://127.0.0.1:{port}/-/healthy")).await, 200);
        let log = server.stop_with_output(Signal::TERM).await.1;
        assert_eq!(
            (lines_with(&log, "message=listening").len(), lines_with(&log, "level=warn").len()),
            (1, 1),
            "{log}"
        );
    }
}

/// Waits until a Unix socket accepts a connection, and returns its mode at that moment.
fn mode_when_it_accepts(path: &Path) -> u32 {
    let start = Instant::now();
    while UnixStream::connect(path).is_err() {
        assert!(start.elapsed() < TEST_TIMEOUT, "it does not listen");
        std::hint::spin_loop();
    }
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn unix_socket_has_mode_0660_when_it_accepts_connections() {
    for umask in ["000", "022", "077", "777"] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("http.sock");
        let flag = format!("--web.listen-address=unix:{}", path.display());
        let script = format!(r#"umask {umask}; exec "$@""#);
        let server = wrapped_command(&["sh", "-c", &script, "sh"], &["demo", &flag]).spawn().unwrap();
        let mode = tokio::task::spawn_blocking(move || mode_when_it_accepts(&path)).await.unwrap();
        assert_eq!(mode, 0o660, "umask {umask}: {mode:o}");
        drop(server);
    }
}

#[tokio::test]
async fn unix_socket_with_several_spellings_is_bound_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::create_dir(path("a")).unwrap();
    std::os::unix::fs::symlink("a", path("link")).unwrap();
    for other in ["a/./http.sock", "a//http.sock", "a/../a/http.sock", "link/http.sock"] {
        let flags = ["a/http.sock", other].map(|spelling| format!("--web.listen-address=unix:{}", path(spelling)));
        let server = ServerProcess::spawn(command(&["demo", &flags[0], &flags[1]])).await;
        UnixStream::connect(path("a/http.sock")).unwrap();
        let log = server.stop_with_output(Signal::TERM).await.1;
        assert_eq!(
            (lines_with(&log, "message=listening").len(), lines_with(&log, "level=warn").len()),
            (1, 0),
            "{other}: {log}"
        );
    }
}

/// Creates a socket like one that a killed process left behind.
fn leave_socket_behind(path: &Path) {
    _ = std::fs::remove_file(path);
    drop(UnixListener::bind(path).unwrap());
}

#[tokio::test]
async fn one_of_many_processes_that_start_at_the_same_moment_gets_the_unix_socket() {
    const PROCESSES: usize = 6;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("http.sock");
    leave_socket_behind(&path);
    let flag = format!("--web.listen-address=unix:{}", path.display());
    let mut processes: FuturesUnordered<_> =
        (0..PROCESSES).map(|_| command(&["demo", &flag]).spawn().unwrap().wait_with_output()).collect();
    for _ in 1..PROCESSES {
        let exited = timeout(TEST_TIMEOUT, processes.next()).await.expect("several processes listen");
        let exited = exited.unwrap().unwrap();
        let stderr = String::from_utf8(exited.stderr).unwrap();
        assert!(exited.status.code() == Some(1) && stderr.contains("cannot listen on unix:"), "{stderr}");
        assert!(
            stderr.contains("http.sock: Address already in use") && stderr.contains("stop the process"),
            "{stderr}"
        );
    }
    UnixStream::connect(&path).unwrap();
}

/// Threads run into the race, which lasts a few system calls, more often than processes do.
#[tokio::test]
async fn one_of_many_threads_gets_a_unix_socket_that_was_left_behind() {
    const THREADS: usize = 6;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("http.sock");
    let addresses = [ListenAddress::Unix(path.clone())];
    let (barrier, runtime) = (Barrier::new(THREADS), tokio::runtime::Handle::current());
    for round in 0..300 {
        leave_socket_behind(&path);
        let bind = || {
            let _guard = runtime.enter();
            barrier.wait();
            tryvox_exporter::web::bind(&addresses)
        };
        let results: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(bind)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let winners = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(winners, 1, "round {round}: {results:?}");
        UnixStream::connect(&path).unwrap();
    }
}

/// Opens a connection and makes a request on it; the connection is then idle.
async fn idle_connection(address: &str) -> TcpStream {
    let request = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut status_line = [0; 12];
        stream.read_exact(&mut status_line).await.unwrap();
        assert_eq!(&status_line, b"HTTP/1.1 200");
        stream
    };
    timeout(TEST_TIMEOUT, request).await.expect("idle connections block others")
}

#[tokio::test]
async fn new_connections_replace_idle_ones_when_file_descriptors_run_out() {
    let mut server = ServerProcess::start(&["demo"], &[]).await;
    let mut connections = Vec::new();
    for _ in 0..20 {
        connections.push(idle_connection(&server.address).await);
    }
    server.wait_for_polls(1).await;
    let files = std::fs::read_dir(format!("/proc/{}/fd", server.id())).unwrap();
    let open: Vec<u64> = files.filter_map(|file| file.unwrap().file_name().to_str()?.parse().ok()).collect();
    let free = (0..=u64::MAX).find(|file| !open.contains(file));
    let limit = Rlimit { current: free, ..getrlimit(Resource::Nofile) };
    let pid = Pid::from_raw(i32::try_from(server.id()).unwrap());
    prlimit(pid, Resource::Nofile, limit).unwrap();
    // An idle connection would keep its file descriptor for six minutes.
    for _ in 0..40 {
        connections.push(idle_connection(&server.address).await);
    }
    server.wait_for_log("accept failed, retrying", 1).await;
}

#[tokio::test]
async fn connections_leave_files_for_everything_else() {
    for (files, arguments, allowed) in [(200, &["--web.max-connections=1000"][..], 72), (200, &[], 72), (100, &[], 25)]
    {
        let script = format!(r#"ulimit -n {files}; exec "$@""#);
        let all = [&["demo", "--web.listen-address=127.0.0.1:0"], arguments].concat();
        let server = ServerProcess::spawn(wrapped_command(&["sh", "-c", &script, "sh"], &all)).await;
        let mut connections = Vec::new();
        for _ in 0..150 {
            connections.push(idle_connection(&server.address).await);
        }
        let open = server.scrape().await.value("tryvox_exporter_http_connections");
        assert_eq!(open, Some(f64::from(allowed)), "{files} {arguments:?}");
        let log = server.stop_with_output(Signal::TERM).await.1;
        let [warning] = lines_with(&log, "level=warn")[..] else { panic!("{log}") };
        assert!(warning.ends_with(&format!("max_connections={allowed}")), "{warning}");
    }
}

#[tokio::test]
async fn simulator_survives_running_out_of_file_descriptors() {
    let wrapper = ["sh", "-c", r#"ulimit -n 40; exec "$@""#, "sh"];
    let arguments = ["simulate", "--web.listen-address=127.0.0.1:0"];
    let mut simulator = ServerProcess::spawn(wrapped_command(&wrapper, &arguments)).await;
    let connections: Vec<_> = (0..60).map(|_| std::net::TcpStream::connect(&simulator.address).unwrap()).collect();
    simulator.wait_for_log("accept failed, retrying", 1).await;
    drop(connections);
    assert_eq!(simulator.get("/-/faults").await.status(), 200);
}

#[tokio::test]
async fn connection_limit_above_the_file_limit_is_one_warning() {
    let wrapper = ["sh", "-c", r#"ulimit -n 200; exec "$@""#, "sh"];
    for (connections, warnings) in [("1000", 1), ("50", 0)] {
        let limit = format!("--web.max-connections={connections}");
        let arguments = ["demo", "--web.listen-address=127.0.0.1:0", &limit];
        let server = ServerProcess::spawn(wrapped_command(&wrapper, &arguments)).await;
        let log = server.stop_with_output(Signal::TERM).await.1;
        let warned = lines_with(&log, "level=warn");
        assert_eq!(warned.len(), warnings, "{log}");
        assert!(
            warned.iter().all(|line| line.contains("--web.max-connections") && line.contains("limit=200")),
            "{log}"
        );
    }
}

/// Starts a process as the first one of a container: in a PID namespace of its own.
const AS_CONTAINER: [&str; 7] =
    ["unshare", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"];

/// Returns the first process of the container of a server, by its id outside of it.
fn first_process(server: &ServerProcess) -> Pid {
    let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children", id = server.id())).unwrap();
    Pid::from_raw(children.trim().parse().unwrap()).unwrap()
}

/// Returns the processes that a process has started, by their ids outside of the container.
fn children(process: Pid) -> Vec<Pid> {
    let id = process.as_raw_nonzero();
    let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    children.split_whitespace().map(|id| Pid::from_raw(id.parse().unwrap()).unwrap()).collect()
}

/// Runs a health check without flags in the container of a server, with these variables. Returns its exit status and error.
async fn health_check(server: &ServerProcess, variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let first = first_process(server).as_raw_nonzero().to_string();
    let wrapper = ["nsenter", "--target", &first, "--user", "--preserve-credentials", "--pid", "--mount"];
    let run = wrapped_command(&wrapper, &["healthcheck"]).envs(variables.iter().copied()).output().await.unwrap();
    (run.status.code(), String::from_utf8_lossy(&run.stderr).into_owned())
}

/// Runs health checks without flags in the container of a server, until the exit status is the expected one.
async fn assert_health_check(server: &ServerProcess, status: i32) {
    let mut last = String::new();
    let check = async {
        loop {
            let (code, error) = health_check(server, &[]).await;
            if code == Some(status) {
                return;
            }
            last = error;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(timeout(TEST_TIMEOUT, check).await.is_ok(), "{last}");
}

#[tokio::test]
async fn health_check_without_flags_asks_the_exporter_of_its_container() {
    let (web, authority) = WebDirectory::new();
    web.write_pair("client.pem", "client.key", authority.issue(&["prometheus"], 30));
    let with_users = format!("{}basic_auth_users: {{ann: {}}}\n", tls(""), bcrypt::hash("x", 4).unwrap());
    let with_certificates = tls("client_ca_file: ca.pem\nclient_auth_type: RequireAndVerifyClientCert");
    let socket = format!("--web.listen-address=unix:{}", web.path("http.sock").display());
    let (file, config) = (web.flag(), format!("--config.file={}", web.path("tryvox.yml").display()));
    let valid =
        "web: {listen_address: '127.0.0.1:0'}\ntryvox: {url: 'http://127.0.0.1:1'}\naccounts: [{account_id: a}]\n";
    for (web_file, arguments) in [
        ("", &["demo", "--web.listen-address=127.0.0.1:0"][..]),
        ("", &["demo", "--web.listen-address=:0"]),
        ("", &["demo", "--web.listen-address=[::]:0", "--web.route-prefix=/tryvox"]),
        ("", &["demo", &socket]),
        ("", &["simulate", "--web.listen-address=:0"]),
        (&with_users, &[&config, &file]),
        (&with_certificates, &[&config, &file]),
    ] {
        web.configure(web_file);
        // As the first process, as the child of an init, and as a child of that.
        let start = r#""$@" & wait"#;
        for init in [&[][..], &["sh", "-c", start, "sh"], &["sh", "-c", start, "sh", "sh", "-c", start, "sh"]] {
            web.write("tryvox.yml", valid);
            let mut command = wrapped_command(&[&AS_CONTAINER[..], init].concat(), arguments);
            command.env("TRYVOX_API_KEY", KEY);
            let server = ServerProcess::spawn(command).await;
            assert_health_check(&server, 0).await;
            // A file that was changed, but is not in effect, has no influence.
            web.write("tryvox.yml", "invalid: true\n");
            assert_health_check(&server, 0).await;
            // The next server uses the same Unix socket.
            server.stop_with_output(Signal::KILL).await;
        }
    }
}

#[tokio::test]
async fn health_check_without_flags_fails_if_the_exporter_does_not_respond() {
    let arguments = ["demo", "--web.listen-address=127.0.0.1:0"];
    let server = ServerProcess::spawn(wrapped_command(&AS_CONTAINER, &arguments)).await;
    assert_health_check(&server, 0).await;
    kill_process(first_process(&server), Signal::STOP).unwrap();
    assert_health_check(&server, 1).await;
}

/// As in a pod whose containers share their processes: each container has a mount namespace of its own.
#[tokio::test]
async fn health_check_without_flags_asks_the_first_exporter_with_its_own_file_system() {
    let start = r#"unshare --mount "$@" & read _ < "$0/2"; "$@" & read _ < "$0/3"; "$@" & wait"#;
    let folder = tempfile::tempdir().unwrap();
    // One pipe per process: of a shared one, the second reader could open it before the first writer has closed it, and read
    // only its end.
    let next = [2, 3].map(|started| folder.path().join(started.to_string()));
    assert!(std::process::Command::new("mkfifo").args(&next).status().unwrap().success());
    let folder = folder.path().display().to_string();
    let wrapper = [&AS_CONTAINER[..], &["sh", "-c", start, &folder]].concat();
    let arguments = ["demo", "--numbers=1", "--web.listen-address=127.0.0.1:0"];
    let mut server = ServerProcess::spawn(wrapped_command(&wrapper, &arguments)).await;
    // One after the other, so that their ids are in this order.
    for (started, pipe) in (2..).zip(&next) {
        tokio::fs::write(pipe, "\n").await.unwrap();
        server.wait_for_log("listening", started).await;
    }
    let [foreign, first, second] = children(first_process(&server)).try_into().unwrap();
    assert_health_check(&server, 0).await;
    for (stopped, status) in [(foreign, 0), (second, 0), (first, 1)] {
        kill_process(stopped, Signal::STOP).unwrap();
        assert_health_check(&server, status).await;
    }
    kill_process(first, Signal::KILL).unwrap();
    kill_process(second, Signal::CONT).unwrap();
    assert_health_check(&server, 0).await;
}

#[tokio::test]
async fn health_check_without_flags_follows_its_own_variables_if_they_differ_from_those_of_the_exporter() {
    const ADDRESS: &str = "TRYVOX_EXPORTER_WEB_LISTEN_ADDRESS";
    const PREFIX: &str = "TRYVOX_EXPORTER_WEB_ROUTE_PREFIX";
    const FILE: &str = "TRYVOX_EXPORTER_CONFIG_FILE";
    let (web, _) = WebDirectory::new();
    web.write("other.yml", "web: {listen_address: '127.0.0.1:9'}\n");
    let file = web.path("other.yml").display().to_string();
    // Flags of the exporter override its environment, which a health check in the same container has, too.
    let own = [(ADDRESS, "127.0.0.1:9"), (PREFIX, "/tryvox"), ("TRYVOX_EXPORTER_LOG_LEVEL", "warn")];
    let arguments = ["demo", "--web.listen-address=127.0.0.1:0", "--web.route-prefix=/other", "--log.level=info"];
    let mut command = wrapped_command(&AS_CONTAINER, &arguments);
    command.envs(own);
    let server = ServerProcess::spawn(command).await;
    assert_health_check(&server, 0).await;
    for variables in [&own[..], &own[..1], &[(ADDRESS, ""), (FILE, "")], &[("TRYVOX_EXPORTER_LOG_LEVEL", "debug")]] {
        assert_eq!(health_check(&server, variables).await, (Some(0), String::new()), "{variables:?}");
    }
    for (variables, url) in [
        (&[(ADDRESS, "127.0.0.1:11")][..], "http://127.0.0.1:11/-/healthy"),
        (&[own[0], (PREFIX, "/third")], "http://127.0.0.1:9/third/-/healthy"),
        (&[(FILE, &file)], "http://127.0.0.1:9/-/healthy"),
    ] {
        let (status, error) = health_check(&server, variables).await;
        assert!(status == Some(1) && error.contains(url), "{variables:?}: {status:?} {error}");
    }
    let invalid = [("TRYVOX_EXPORTER_WEB_CONFIG_FILE", "/missing.yml")];
    assert_eq!(health_check(&server, &invalid).await.0, Some(2));
}

/// Serves the same response to each connection without reading its request, and returns the address.
async fn respond_at_once(response: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Like the exporter, it closes the connection without reading the request.
            _ = stream.try_write(response.as_bytes());
        }
    });
    address
}

/// `connection_is_refused_with_503_while_all_others_are_in_use` checks the response that the exporter sends.
#[tokio::test]
async fn health_check_accepts_503_only_if_it_is_due_to_the_limit_of_connections() {
    let (web, _) = WebDirectory::new();
    web.configure(&tls(""));
    for (body, status) in [("Too many connections.\r\n", 0), ("Service Unavailable\n", 1)] {
        let length = body.len();
        let head = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length";
        let address = respond_at_once(format!("{head}: {length}\r\n\r\n{body}")).await;
        let flag = format!("--web.listen-address={address}");
        for flags in [&["healthcheck", &flag][..], &["healthcheck", &flag, &web.flag()]] {
            for _ in 0..20 {
                let checked = output(flags, &[]).await;
                let error = String::from_utf8_lossy(&checked.stderr);
                assert_eq!(checked.status.code(), Some(status), "{flags:?}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn failure_of_a_systemd_credential_asks_for_a_restart() {
    let file = "--tryvox.api-key-file=/run/credentials/none.service/keys_production";
    let failed = output(&["--tryvox.account-id=a", file, "--config.check"], &[]).await;
    let stderr = String::from_utf8(failed.stderr).unwrap();
    assert!(stderr.contains("keys_production") && stderr.contains("restart the service"), "{stderr}");
    assert!(!stderr.contains("next poll"), "{stderr}");
}
