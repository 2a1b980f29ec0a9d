//! Squid as a proxy that requires a password and terminates TLS with a CA of its own.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::common::{KEY, TEST_TIMEOUT, output};
use crate::tls::https_api;

/// A running Squid, which is stopped on drop.
struct Squid {
    process: Child,
    port: u16,
    /// `ca.pem` is its CA certificate, `authorities/` a folder with it, and `api.pem` the certificate of the API.
    folder: TempDir,
}

impl Drop for Squid {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Squid {
    /// Starts Squid for the user `user` with the password `s3same`. It trusts the certificate of the API.
    async fn start(api_certificate: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Squid, started by root, reads and writes the files as another user.
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        let path = |name: &str| folder.path().join(name);
        let write = |name: &str, text: &str| {
            std::fs::write(path(name), text).unwrap();
            std::fs::set_permissions(path(name), Permissions::from_mode(0o644)).unwrap();
        };
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, "Example proxy CA");
        let key = KeyPair::generate().unwrap();
        let certificate = authority.self_signed(&key).unwrap();
        write("ca.pem", &certificate.pem());
        write("ca-and-key.pem", &(certificate.pem() + &key.serialize_pem()));
        write("api.pem", api_certificate);
        std::fs::create_dir(path("authorities")).unwrap();
        write("authorities/proxy.crt", &certificate.pem());
        run("openssl", &["rehash", &path("authorities").display().to_string()]);
        let hash = run("openssl", &["passwd", "-apr1", "s3same"]);
        write("users", &format!("user:{hash}"));
        let certgen = "/usr/lib/squid/security_file_certgen";
        run(certgen, &["-c", "-s", &path("certificates").display().to_string(), "-M", "4MB"]);
        run("chmod", &["-R", "a+rwX", &path("certificates").display().to_string()]);
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let directory = folder.path().display();
        write(
            "squid.conf",
            &format!(
                "http_port 127.0.0.1:{port} ssl-bump tls-cert={directory}/ca-and-key.pem generate-host-certificates=on
                 sslcrtd_program {certgen} -s {directory}/certificates -M 4MB
                 sslcrtd_children 1 startup=1
                 auth_param basic program /usr/lib/squid/basic_ncsa_auth {directory}/users
                 auth_param basic children 1 startup=1
                 acl users proxy_auth REQUIRED
                 http_access allow users
                 http_access deny all
                 acl first_step at_step SslBump1
                 ssl_bump peek first_step
                 ssl_bump bump all
                 tls_outgoing_options cafile={directory}/api.pem
                 cache deny all
                 pid_filename none
                 access_log none
                 cache_log {directory}/cache.log
                 coredump_dir {directory}
                 shutdown_lifetime 0 seconds
                "
            ),
        );
        // Debian has it in /usr/sbin, which is not in the path of every user.
        let search_path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap());
        let process = Command::new("squid")
            .env("PATH", search_path)
            .args(["-N", "-f"])
            .arg(path("squid.conf"))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("squid is missing; run `make setup`");
        let squid = Self { process, port, folder };
        let listens = async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let is_listening = timeout(TEST_TIMEOUT, listens).await.is_ok();
        assert!(is_listening, "{}", std::fs::read_to_string(squid.folder.path().join("cache.log")).unwrap_or_default());
        squid
    }

    /// Lists the account of an API through Squid. Returns the exit status and the last line of the error.
    async fn once(&self, url: &str, password: &str, environment: &[(&str, &str)]) -> (Option<i32>, String) {
        let proxy = format!("http://user:{password}@127.0.0.1:{}", self.port);
        let url = format!("--tryvox.url={url}");
        let arguments = ["once", "--tryvox.account-id=a", &url, "--tryvox.retry-for=1ms"];
        let defaults = [("TRYVOX_API_KEY", KEY), ("HTTPS_PROXY", &*proxy), ("https_proxy", ""), ("NO_PROXY", "")];
        let run = output(&arguments, &[&defaults[..], environment].concat()).await;
        let error = String::from_utf8(run.stderr).unwrap();
        assert!(!error.contains(password) && !error.contains(KEY), "{error}");
        (run.status.code(), error.lines().last().unwrap_or_default().to_owned())
    }
}

/// Runs a program and returns what it prints.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn account_is_listed_through_a_proxy_with_a_password_and_its_own_ca() {
    let (url, certificate, requests) = https_api().await;
    let squid = Squid::start(&certificate).await;
    let path = |name: &str| squid.folder.path().join(name).display().to_string();
    let count = || requests.load(std::sync::atomic::Ordering::SeqCst);
    for variable in [("SSL_CERT_FILE", path("ca.pem")), ("SSL_CERT_DIR", path("authorities"))] {
        let before = count();
        let environment = [(variable.0, &*variable.1)];
        assert_eq!(squid.once(&url, "s3same", &environment).await, (Some(0), String::new()), "{variable:?}");
        assert_eq!(count(), before + 1);
    }
    // Without the proxy, the certificate is that of the API.
    let direct = [("NO_PROXY", "localhost"), ("SSL_CERT_FILE", &*path("api.pem"))];
    assert_eq!(squid.once(&url, "s3same", &direct).await.0, Some(0));

    let before = count();
    let trusted = path("ca.pem");
    let (status, error) = squid.once(&url, "wrong-one", &[("SSL_CERT_FILE", &trusted)]).await;
    let proxy = format!("proxy http://127.0.0.1:{} of HTTPS_PROXY", squid.port);
    assert!(status == Some(1) && error.contains(&proxy) && error.contains("authorization required"), "{error}");
    // The error names the certificate of the proxy's CA, which has to be added.
    let (status, error) = squid.once(&url, "s3same", &[("SSL_CERT_FILE", &path("api.pem"))]).await;
    assert!(status == Some(1) && error.contains(&proxy), "{error}");
    assert!(error.contains("issued by \"CN=Example proxy CA\": its issuer is not trusted"), "{error}");
    assert_eq!(count(), before);
}
