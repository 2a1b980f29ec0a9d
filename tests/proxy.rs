//! The exporter behind nginx at a path: with the prefix passed on, with the prefix stripped, and through a Unix socket.

use std::fmt::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use axum::http::StatusCode;
use axum::response::IntoResponse;
use tokio::process::{Child, Command};
use tokio::time::{Duration, sleep, timeout};

use crate::common::accounts::ConfigFile;
use crate::common::api::{MockApi, one_number};
use crate::common::browser::run_in_browser;
use crate::common::{KEY, Scrape, ServerProcess, TEST_TIMEOUT, http};

/// A running nginx; dropping it kills the process.
struct Nginx {
    url: String,
    _process: Child,
    _folder: tempfile::TempDir,
}

impl Nginx {
    /// Starts nginx with an example in which the address of the exporter is replaced. `more` is added to its server,
    /// and the user `nobody` with this group runs it, if one is given.
    async fn start(example: &str, upstream: (&str, &str), more: &str, group: Option<u32>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        // It does not report which port it chose, so find a free port first.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let text = std::fs::read_to_string(Path::new("examples/nginx").join(example)).unwrap();
        let (documented, actual) = upstream;
        assert!(text.contains("listen 80;") && text.contains(&format!("proxy_pass http://{documented}")), "{text}");
        let text = text.replace("listen 80;", &format!("listen {address};\n{more}")).replace(documented, actual);
        std::fs::write(folder.path().join("site.conf"), text).unwrap();

        let path = folder.path().display();
        let mut main = format!(
            "daemon off; master_process off; pid {path}/pid; error_log {path}/error.log; events {{}}\n\
             http {{ access_log off; include {path}/site.conf;\n"
        );
        for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            writeln!(main, "{kind}_temp_path {path}/{kind};").unwrap();
        }
        main.push('}');
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, main).unwrap();
        let mut command = match group {
            None => Command::new("nginx"),
            Some(group) => {
                let mut command = Command::new("scripts/as-root");
                let groups = format!("--groups={group}");
                command.args(["setpriv", "--reuid=nobody", "--regid=nogroup", &groups, "nginx"]);
                command
            }
        };
        // Debian has it in /usr/sbin, which is not in the path of every user.
        let search_path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap());
        let log = folder.path().join("error.log");
        command.env("PATH", search_path).arg("-c").arg(&file).arg("-e").arg(&log).kill_on_drop(true);
        let process = command.spawn().expect("nginx is not installed; run `make setup`");
        let url = format!("http://{address}");
        let listens = async {
            while http().get(&url).send().await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let is_listening = timeout(TEST_TIMEOUT, listens).await.is_ok();
        assert!(is_listening, "nginx does not listen: {}", std::fs::read_to_string(&log).unwrap_or_default());
        Self { url, _process: process, _folder: folder }
    }
}

/// Starts an exporter of 30 accounts, one of which is down.
async fn start_exporter(api: &MockApi, flags: &[&str]) -> (ServerProcess, ConfigFile) {
    let mut text = format!("tryvox: {{url: '{}', rate_limit: 0}}\npoll: {{interval: 1h}}\naccounts:\n", api.url());
    for number in 0..30 {
        let id = if number == 7 { "refused" } else { "fine" };
        writeln!(text, "- {{account_id: {id}, name: account-{number}}}").unwrap();
    }
    let file = ConfigFile::new(&text);
    let config_flag = file.flag();
    let arguments: Vec<_> = [&*config_flag, "--log.level=debug"].into_iter().chain(flags.iter().copied()).collect();
    let mut exporter = ServerProcess::start(&arguments, &[("TRYVOX_API_KEY", KEY)]).await;
    exporter.wait_for_polls(30).await;
    (exporter, file)
}

async fn start_api() -> MockApi {
    MockApi::start(|request| async move {
        if request.uri.path().contains("refused") {
            (StatusCode::UNAUTHORIZED, "").into_response()
        } else {
            one_number()
        }
    })
    .await
}

/// Asserts that each endpoint is served below `/tryvox`.
async fn assert_endpoints(nginx: &Nginx) {
    let get = async |path: &str| http().get(format!("{}{path}", nginx.url)).send().await.unwrap();
    for path in
        ["/tryvox/", "/tryvox/metrics", "/tryvox/metrics?account=account-3", "/tryvox/-/healthy", "/tryvox/-/ready"]
    {
        let response = get(path).await;
        let status = response.status();
        assert_eq!(status, 200, "{path}: {}", response.text().await.unwrap());
    }
    for encoding in ["gzip", "identity"] {
        let request = http().get(format!("{}/tryvox/metrics", nginx.url)).header("accept-encoding", encoding);
        let scrape = Scrape(request.send().await.unwrap().text().await.unwrap());
        scrape.lint();
        assert_eq!(scrape.family("tryvox_up").len(), 30);
    }
    let redirect = get("/tryvox").await;
    let target = redirect.url().join(redirect.headers()["location"].to_str().unwrap()).unwrap();
    assert_eq!((redirect.status().as_u16(), target.as_str()), (301, &*format!("{}/tryvox/", nginx.url)));
    let reload = http().post(format!("{}/tryvox/-/reload", nginx.url)).send().await.unwrap();
    assert_eq!(reload.status(), 403);
    assert_eq!(get("/metrics").await.status(), 404);
}

#[tokio::test]
async fn status_page_works_in_a_browser_behind_nginx_at_a_path() {
    let api = start_api().await;
    let (prefixed, _file) = start_exporter(&api, &["--web.route-prefix=/tryvox"]).await;
    let (plain, _other_file) = start_exporter(&api, &[]).await;
    let documented = "127.0.0.1:10869";
    let passing = Nginx::start("route-prefix.conf", (documented, &prefixed.address), "", None).await;
    // A proxy that serves the page without a redirect to the path with a slash.
    let address = &plain.address;
    let bare = format!(
        "location = /bare {{ proxy_pass http://{address}/; }} location /bare/ {{ proxy_pass http://{address}/; }}"
    );
    let stripping = Nginx::start("strip-prefix.conf", (documented, address), &bare, None).await;
    for nginx in [&passing, &stripping] {
        assert_endpoints(nginx).await;
    }

    let subject = serde_json::json!({
        "pages": [
            format!("{}/tryvox/", prefixed.url()),
            format!("{}/tryvox", prefixed.url()),
            format!("{}/", prefixed.url()),
            format!("{}/tryvox/", passing.url),
            format!("{}/tryvox", passing.url),
            format!("{}/tryvox/", stripping.url),
            format!("{}/tryvox", stripping.url),
        ],
        "bare": format!("{}/bare", stripping.url),
    });
    run_in_browser(&["tests/browser/proxy.mjs"], &subject).await;
}

#[tokio::test]
async fn nginx_of_another_user_connects_to_the_unix_socket_if_it_is_in_the_group() {
    let api = start_api().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let socket = folder.path().join("http.sock").display().to_string();
    let (_exporter, _file) = start_exporter(&api, &[&format!("--web.listen-address=unix:{socket}")]).await;
    let group = rustix::process::getegid().as_raw();
    let upstream = ("unix:/run/tryvox-exporter/http.sock", &*format!("unix:{socket}"));
    let nginx = Nginx::start("unix-socket.conf", upstream, "", Some(group)).await;
    assert_endpoints(&nginx).await;

    // Users outside the group cannot connect.
    let nginx = Nginx::start("unix-socket.conf", upstream, "", Some(u32::from(u16::MAX) - 1)).await;
    assert_eq!(http().get(format!("{}/tryvox/", nginx.url)).send().await.unwrap().status(), 502);
}
