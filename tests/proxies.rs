//! Proxies of the environment: SOCKS proxies work, and errors name the proxy and its variable.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::common::{KEY, output};
use crate::tls::https_api;

/// Runs `once` for an API that cannot be reached without a proxy. Returns the exit status and the error.
async fn once_through(variable: &str, proxy: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut all = vec!["once", "--tryvox.account-id=a", "--tryvox.url=https://api.invalid", "--tryvox.retry-for=1ms"];
    all.extend(arguments);
    let none = [("HTTPS_PROXY", ""), ("https_proxy", ""), ("ALL_PROXY", ""), ("NO_PROXY", ""), ("TRYVOX_API_KEY", KEY)];
    let run = output(&all, &[&none[..], &[(variable, proxy)]].concat()).await;
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
async fn variable_that_names_no_proxy_is_reported_without_its_value() {
    let (status, error) = once_through("HTTPS_PROXY", "ftp://user:secret@proxy", &[]).await;
    assert!(status == Some(1) && error.contains("HTTPS_PROXY is not the address of a proxy"), "{error}");
    assert!(!error.contains("secret"), "{error}");
}

/// Serves one SOCKS 5 connection (RFC 1928) to a port of this machine, whatever the host.
async fn serve_socks(mut client: TcpStream) -> std::io::Result<()> {
    let mut head = [0; 2];
    client.read_exact(&mut head).await?;
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
    for (count, scheme) in [(1, "socks5"), (2, "socks5h")] {
        let proxy = format!("{scheme}://{address}");
        let trusted = trust_file.path().display().to_string();
        let environment = [("TRYVOX_API_KEY", KEY), ("SSL_CERT_FILE", &*trusted), ("HTTPS_PROXY", &*proxy)];
        let url = format!("--tryvox.url={url}");
        let environment = [&environment[..], &[("NO_PROXY", ""), ("no_proxy", "")]].concat();
        let listed = output(&["once", &url, "--tryvox.account-id=a"], &environment).await;
        assert!(listed.status.success(), "{listed:?}");
        assert_eq!((connections.load(Ordering::SeqCst), requests.load(Ordering::SeqCst)), (count, count));
    }
}
