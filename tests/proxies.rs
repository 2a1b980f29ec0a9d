//! Proxies of the environment: SOCKS proxies work, and errors name the proxy and its variable.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::common::{KEY, output};
use crate::tls::https_api;

/// An environment with a key and without proxies.
const NO_PROXIES: [(&str, &str); 5] =
    [("HTTPS_PROXY", ""), ("https_proxy", ""), ("ALL_PROXY", ""), ("NO_PROXY", ""), ("TRYVOX_API_KEY", KEY)];

/// Runs `once` for an API that cannot be reached without a proxy. Returns the exit status and the error.
async fn once_through(variable: &str, proxy: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut all = vec!["once", "--tryvox.account-id=a", "--tryvox.url=https://api.invalid", "--tryvox.retry-for=1ms"];
    all.extend(arguments);
    let run = output(&all, &[&NO_PROXIES[..], &[(variable, proxy)]].concat()).await;
    (run.status.code(), String::from_utf8(run.stderr).unwrap())
}

#[tokio::test]
async fn error_names_a_proxy_that_is_down_and_its_variable() {
    // Nothing listens on the port any more.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for (variable, scheme, cause) in [
        ("HTTPS_PROXY", "http", "refused"),
        ("ALL_PROXY", "http", "refused"),
        // The library does not report the cause.
        ("HTTPS_PROXY", "socks5h", "failed to create underlying connection"),
    ] {
        let proxy = format!("{scheme}://user:secret@127.0.0.1:{port}");
        let (status, error) = once_through(variable, &proxy, &[]).await;
        let named = format!("proxy {scheme}://127.0.0.1:{port} of {variable}");
        assert!(status == Some(1) && error.contains(&named) && error.contains(cause), "{error}");
        assert!(!error.contains("api.invalid") && !error.contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn error_names_a_proxy_that_does_not_respond_or_refuses() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://{}", silent.local_addr().unwrap());
    let (_, error) = once_through("HTTPS_PROXY", &proxy, &["--tryvox.timeout=300ms"]).await;
    assert!(error.contains(&format!("no complete response through proxy {proxy} of HTTPS_PROXY")), "{error}");

    tokio::spawn(async move {
        while let Ok((mut stream, _)) = silent.accept().await {
            _ = stream.read(&mut [0; 1024]).await;
            _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    let (_, error) = once_through("HTTPS_PROXY", &proxy, &[]).await;
    assert!(error.contains(&format!("no connection through proxy {proxy} of HTTPS_PROXY: ")), "{error}");
}

#[tokio::test]
async fn variable_that_names_no_proxy_is_an_invalid_configuration_whose_value_is_not_shown() {
    let run = async |command: &[&str], variables: &[(&str, &str)]| {
        let all = [command, &["--tryvox.account-id=a", "--tryvox.url=https://api.invalid"]].concat();
        let run = output(&all, &[&NO_PROXIES[..], variables].concat()).await;
        (run.status.code(), String::from_utf8(run.stderr).unwrap())
    };
    let serve = ["serve", "--web.listen-address=127.0.0.1:0"];
    for (variable, value) in [
        ("HTTPS_PROXY", "ftp://user:secret@proxy"),
        ("HTTPS_PROXY", "http://user:se/cret@proxy"),
        ("ALL_PROXY", "socks5://user:secret@proxy:99999"),
    ] {
        let named = format!("{variable} is not the address of a proxy");
        for command in [&["serve", "--config.check"][..], &serve, &["check"], &["once"]] {
            let (status, error) = run(command, &[(variable, value)]).await;
            assert!(status == Some(2) && error.contains(&named), "{command:?}: {status:?} {error}");
            assert!(error.lines().count() == 1 && !error.contains("secret") && !error.contains("cret@"), "{error}");
        }
        // A variable that no request uses has no influence.
        let (status, error) =
            run(&["serve", "--config.check"], &[(variable, value), ("NO_PROXY", "api.invalid")]).await;
        assert_eq!(status, Some(0), "{error}");
    }
    let (status, error) = run(&["serve", "--config.check"], &[("HTTP_PROXY", "ftp://proxy")]).await;
    assert_eq!(status, Some(0), "{error}");
}

#[tokio::test]
async fn name_that_cannot_be_resolved_for_a_proxy_suggests_the_scheme_that_lets_the_proxy_resolve_it() {
    for (scheme, hint) in [("socks5", "socks5h://"), ("socks4", "socks4a://")] {
        let (status, error) = once_through("HTTPS_PROXY", &format!("{scheme}://127.0.0.1:1"), &[]).await;
        let named = format!("cannot resolve api.invalid for proxy {scheme}://127.0.0.1:1 of HTTPS_PROXY: ");
        assert!(status == Some(1) && error.contains(&named) && error.contains(hint), "{error}");
    }
}

/// Serves one SOCKS connection to a port of this machine, whatever the host.
async fn serve_socks(mut client: TcpStream) -> std::io::Result<()> {
    let mut head = [0; 2];
    client.read_exact(&mut head).await?;
    if head[0] == 4 {
        // SOCKS 4: port, address, an empty user and, for an address that begins with 0.0.0, a name.
        let port = client.read_u16().await?;
        let address = client.read_u32().await?;
        for _ in 0..if address < 256 { 2 } else { 1 } {
            while client.read_u8().await? != 0 {}
        }
        let mut api = TcpStream::connect(("127.0.0.1", port)).await?;
        client.write_all(&[0, 90, 0, 0, 0, 0, 0, 0]).await?;
        copy_bidirectional(&mut client, &mut api).await?;
        return Ok(());
    }
    // SOCKS 5 (RFC 1928).
    client.read_exact(&mut vec![0; usize::from(head[1])]).await?;
    client.write_all(&[5, 0]).await?;
    let mut request = [0; 4];
    client.read_exact(&mut request).await?;
    let length = match request[3] {
        1 => 4,
        3 => usize::from(client.read_u8().await?),
        _ => 16,
    };
    client.read_exact(&mut vec![0; length]).await?;
    let port = client.read_u16().await?;
    let mut api = TcpStream::connect(("127.0.0.1", port)).await?;
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    copy_bidirectional(&mut client, &mut api).await?;
    Ok(())
}

#[tokio::test]
async fn account_is_listed_through_a_socks_proxy() {
    let (url, certificate, requests) = https_api().await;
    let mut trust_file = tempfile::NamedTempFile::new().unwrap();
    trust_file.write_all(certificate.as_bytes()).unwrap();
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = proxy.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = connections.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = proxy.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(serve_socks(client));
        }
    });
    for (index, scheme) in ["socks5", "socks5h", "socks4", "socks4a"].into_iter().enumerate() {
        let proxy = format!("{scheme}://{address}");
        let trusted = trust_file.path().display().to_string();
        let environment = [("TRYVOX_API_KEY", KEY), ("SSL_CERT_FILE", &*trusted), ("HTTPS_PROXY", &*proxy)];
        let url = format!("--tryvox.url={url}");
        let environment = [&environment[..], &[("NO_PROXY", ""), ("no_proxy", "")]].concat();
        let listed = output(&["once", &url, "--tryvox.account-id=a"], &environment).await;
        assert!(listed.status.success(), "{listed:?}");
        let count = index + 1;
        assert_eq!((connections.load(Ordering::SeqCst), requests.load(Ordering::SeqCst)), (count, count), "{scheme}");
    }
}
