//! Slow, greedy and numerous clients do not affect others, and a graceful shutdown loses no response.
//! Everything here runs over real sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use crate::common::{Scrape, ServerProcess, TEST_TIMEOUT, http, output, seed};

/// Starts a simulator and an exporter that serves more than 10,000 series of it.
async fn large_exporter(arguments: &[&str]) -> (ServerProcess, ServerProcess) {
    let simulator = ServerProcess::simulator(12_000, seed(), &[]).await;
    let mut all =
        vec!["--tryvox.rate-limit=0", "--collector.number.statuses=active,pending", "--collector.number.limit=4000"];
    all.extend(arguments);
    let mut exporter = ServerProcess::exporter(&simulator.url(), &all).await;
    exporter.wait_for_log("poll succeeded", 1).await;
    (simulator, exporter)
}

/// Opens a connection, sends the request and returns everything that comes until the server closes it.
async fn exchange(address: &str, request: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    // A chunk may end within a character.
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await?;
    Ok(String::from_utf8_lossy(&response).into_owned())
}

const SCRAPE_AND_CLOSE: &str = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

const SCRAPE: &str = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
const HEALTH_CHECK_AND_CLOSE: &str = "GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
const HEALTH_CHECK: &str = "GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n";

/// The log message if responses were cut off at shutdown.
const CUT_OFF: &str = "shutdown timeout exceeded, closing connections";

/// Whether a chunked response to a scrape is complete: the last chunk and the last family are there.
fn is_complete(response: &str) -> bool {
    let Some((head, body)) = response.split_once("\r\n\r\n") else { return false };
    let has_last_family = body.lines().any(|line| line.starts_with("tryvox_exporter_http_connections_refused_total "));
    head.starts_with("HTTP/1.1 200 ") && body.ends_with("\r\n0\r\n\r\n") && has_last_family
}

#[tokio::test]
async fn scrapes_succeed_while_700_clients_never_finish_a_request() {
    let (_simulator, exporter) = large_exporter(&[]).await;
    let open_client = |number: usize| {
        let address = exporter.address.clone();
        async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            // Half of them send nothing, the others half of a request.
            if number.is_multiple_of(2) {
                stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.unwrap();
            }
            stream
        }
    };
    let clients = join_all((0..700).map(open_client)).await;
    assert!(exchange(&exporter.address, HEALTH_CHECK_AND_CLOSE).await.unwrap().starts_with("HTTP/1.1 200 "));
    // This is counted at once, because each has ten seconds for its request. As many as there is room
    // for are still connected.
    let mut open = 0;
    for stream in &clients {
        let read = stream.try_read(&mut [0]);
        open += usize::from(read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
    }
    assert!(open > 400, "{open}");

    let scrape = exporter.scrape().await;
    let series = scrape.0.lines().filter(|line| !line.starts_with('#')).count();
    assert!(series > 10_000, "{series}");
    assert!(is_complete(&exchange(&exporter.address, SCRAPE_AND_CLOSE).await.unwrap()));
}

#[tokio::test]
async fn all_of_2_000_scrapes_by_32_clients_succeed() {
    let (_simulator, exporter) = large_exporter(&[]).await;
    let next = AtomicUsize::new(0);
    let (http, url) = (http(), format!("{}/metrics", exporter.url()));
    let scrapers = (0..32).map(|_| async {
        let mut complete = 0;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= 2_000 {
                return complete;
            }
            // New and reused connections, and all encodings.
            let is_ok = if number.is_multiple_of(4) {
                is_complete(&exchange(&exporter.address, SCRAPE_AND_CLOSE).await.unwrap())
            } else {
                let encoding = ["gzip", "zstd", "identity"][number % 3];
                let response = http.get(&url).header("accept-encoding", encoding).send().await.unwrap();
                response.status() == 200 && !response.bytes().await.unwrap().is_empty()
            };
            complete += usize::from(is_ok);
        }
    });
    assert_eq!(join_all(scrapers).await.into_iter().sum::<usize>(), 2_000);
}

#[tokio::test]
async fn oversized_and_malformed_requests_are_rejected() {
    let (_simulator, exporter) = large_exporter(&[]).await;
    let header = "x".repeat(300_000);
    for (request, status) in [
        (format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX-Large: {header}\r\n\r\n"), "431"),
        (format!("GET /{header} HTTP/1.1\r\nHost: x\r\n\r\n"), "431"),
        (format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "a: b\r\n".repeat(5_000)), "431"),
        ("POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n".to_owned(), "413"),
        ("nonsense\r\n\r\n".to_owned(), "400"),
    ] {
        let mut stream = TcpStream::connect(&exporter.address).await.unwrap();
        // The server may reject it before it has read all of it.
        _ = stream.write_all(request.as_bytes()).await;
        let mut status_line = [0; 12];
        stream.read_exact(&mut status_line).await.unwrap();
        assert_eq!(
            std::str::from_utf8(&status_line).unwrap(),
            format!("HTTP/1.1 {status}"),
            "{}",
            &request[..40.min(request.len())]
        );
    }
    assert!(is_complete(&exchange(&exporter.address, SCRAPE_AND_CLOSE).await.unwrap()));
}

#[tokio::test]
async fn clients_have_ten_seconds_to_send_a_request_head() {
    const LIMIT: Duration = Duration::from_secs(10);
    let (_simulator, mut exporter) = large_exporter(&[]).await;
    let time_until_closed = |has_sent_request: bool, partial_head: &'static str| {
        let address = exporter.address.clone();
        async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            if has_sent_request {
                stream.write_all(HEALTH_CHECK.as_bytes()).await.unwrap();
                read_response(&mut stream).await.unwrap();
            }
            let start = Instant::now();
            stream.write_all(partial_head.as_bytes()).await.unwrap();
            // This wait is shorter than the six minutes that an idle connection may last.
            let closed = timeout(TEST_TIMEOUT, stream.read(&mut [0])).await.expect("the connection stays open");
            // It may be closed or reset.
            assert_eq!(closed.unwrap_or(0), 0);
            start.elapsed()
        }
    };
    let half = "GET /metrics HTTP/1.1\r\nHost: ";
    let clients = [time_until_closed(false, ""), time_until_closed(false, half), time_until_closed(true, half)];
    // The server's ten seconds begin later than the client's, so no delay can make this shorter.
    for elapsed in join_all(clients).await {
        assert!(elapsed >= LIMIT, "{elapsed:?}");
    }
    exporter.wait_for_log("connection closed, timed out or evicted", 3).await;
}

/// Sends requests on one connection without reading the responses, so that the buffers of the system
/// are full at some time.
async fn greedy_client(address: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(address.parse().unwrap()).await.unwrap();
    stream.write_all(SCRAPE.repeat(40).as_bytes()).await.unwrap();
    // The first response has begun.
    stream.read_exact(&mut [0; 8]).await.unwrap();
    stream
}

#[tokio::test]
async fn connection_is_refused_with_503_while_all_others_are_in_use() {
    let (_simulator, mut exporter) = large_exporter(&["--web.max-connections=2"]).await;
    let (mut first, _second) = (greedy_client(&exporter.address).await, greedy_client(&exporter.address).await);
    // Until the buffers are full, a connection is idle for a moment after each response.
    exporter.wait_until_idle().await;
    for _ in 0..3 {
        let refused = exchange(&exporter.address, "").await.unwrap();
        assert!(refused.starts_with("HTTP/1.1 503 ") && refused.ends_with("Too many connections.\r\n"), "{refused}");
    }
    exporter.wait_for_log("connections refused", 1).await;
    let flag = format!("--web.listen-address={}", exporter.address);
    let checked = output(&["healthcheck", &flag], &[]).await;
    assert!(checked.status.success(), "the exporter works: {}", String::from_utf8_lossy(&checked.stderr));

    // The other connections lose nothing, however long they take.
    let mut responses = vec![0; 1 << 20];
    first.read_exact(&mut responses).await.unwrap();
    drop(first);
    // Its slot is free as soon as the exporter notices the disconnect.
    let scraped = async {
        loop {
            let response = exchange(&exporter.address, SCRAPE_AND_CLOSE).await;
            if let Some(response) = response.ok().filter(|response| is_complete(response)) {
                return response;
            }
        }
    };
    let response = timeout(TEST_TIMEOUT, scraped).await.expect("no slot becomes free");
    let refused = Scrape(response)
        .0
        .lines()
        .find_map(|line| line.strip_prefix("tryvox_exporter_http_connections_refused_total ")?.parse::<u64>().ok());
    assert!(refused.unwrap() >= 3, "{refused:?}");
}

#[tokio::test]
async fn open_connections_are_counted() {
    let (_simulator, exporter) = large_exporter(&["--web.max-connections=4"]).await;
    let count = async || exporter.scrape().await.value("tryvox_exporter_http_connections").unwrap();
    let wait_for = async |expected: f64| {
        let reached = async { while count().await != expected {} };
        timeout(TEST_TIMEOUT, reached).await.unwrap_or_else(|_| panic!("there are never {expected} connections"));
    };
    // Each scrape has a connection of its own.
    wait_for(1.0).await;
    let clients = join_all((0..2).map(|_| TcpStream::connect(&exporter.address))).await;
    wait_for(3.0).await;
    drop(clients);
    wait_for(1.0).await;
    // New connections replace idle ones, so there are never more than the limit.
    let fill = async {
        loop {
            let _clients = join_all((0..9).map(|_| TcpStream::connect(&exporter.address))).await;
            // If an earlier scrape's connection is closed meanwhile, there are fewer.
            let open = count().await;
            assert!(open <= 4.0, "{open}");
            if open == 4.0 {
                return;
            }
        }
    };
    timeout(TEST_TIMEOUT, fill).await.expect("there are never 4 connections");
    assert_eq!(exporter.scrape().await.value("tryvox_exporter_http_connections_refused_total"), Some(0.0));
}

/// At the limit a new connection replaces an idle one, and one that never sent a request goes first.
#[tokio::test]
async fn new_connections_replace_idle_ones_at_the_limit() {
    let (_simulator, exporter) = large_exporter(&["--web.max-connections=3"]).await;
    let mut reused = TcpStream::connect(&exporter.address).await.unwrap();
    let mut status_line = [0; 12];
    for _ in 0..20 {
        reused.write_all(HEALTH_CHECK.as_bytes()).await.unwrap();
        let mut head = vec![0; 4096];
        let length = reused.read(&mut head).await.unwrap();
        assert!(head[..length].starts_with(b"HTTP/1.1 200"), "the connection in use is closed");
        let mut silent = TcpStream::connect(&exporter.address).await.unwrap();
        let mut other = TcpStream::connect(&exporter.address).await.unwrap();
        other.write_all(HEALTH_CHECK.as_bytes()).await.unwrap();
        other.read_exact(&mut status_line).await.unwrap();
        assert_eq!(&status_line, b"HTTP/1.1 200");
        // Two more connections, and the silent one is closed.
        let more = [
            TcpStream::connect(&exporter.address).await.unwrap(),
            TcpStream::connect(&exporter.address).await.unwrap(),
        ];
        assert_eq!(timeout(TEST_TIMEOUT, silent.read(&mut [0])).await.unwrap().unwrap_or(0), 0);
        drop(more);
    }
}

/// Requests that were sent before SIGTERM get a complete response, on new and on reused connections.
#[tokio::test]
async fn shutdown_under_load_loses_no_scrape() {
    let (_simulator, exporter) = large_exporter(&[]).await;
    let stopping = Arc::new(AtomicBool::new(false));
    let (address, responses) = (exporter.address.clone(), Arc::new(AtomicUsize::new(0)));
    let scraper = |keeps_alive: bool| {
        let (address, stopping, responses) = (address.clone(), stopping.clone(), responses.clone());
        tokio::spawn(async move {
            let (mut complete, mut reused) = (0_usize, None);
            loop {
                let mut stream: TcpStream = match reused.take() {
                    Some(stream) => stream,
                    None => match TcpStream::connect(&address).await {
                        Ok(stream) => stream,
                        Err(_) if stopping.load(Ordering::SeqCst) => return complete,
                        Err(error) => panic!("refused before SIGTERM: {error}"),
                    },
                };
                let sent = stream.write_all(SCRAPE.as_bytes()).await;
                let in_flight = sent.is_ok() && !stopping.load(Ordering::SeqCst);
                match read_response(&mut stream).await {
                    Ok(is_last) => {
                        complete += 1;
                        responses.fetch_add(1, Ordering::SeqCst);
                        reused = (keeps_alive && !is_last).then_some(stream);
                    }
                    Err(error) if in_flight => panic!("a scrape is lost: {error}"),
                    Err(_) => return complete,
                }
            }
        })
    };
    let scrapers: Vec<_> = (0..32).map(|number| scraper(number % 2 == 0)).collect();
    while responses.load(Ordering::SeqCst) < 100 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // From now on a request may come too late; those that were sent before may not get lost.
    stopping.store(true, Ordering::SeqCst);
    let (status, output) = exporter.stop_with_output(Signal::TERM).await;
    assert!(status == Some(0) && !output.contains(CUT_OFF), "{output}");
    let complete: usize = join_all(scrapers).await.into_iter().map(|scraper| scraper.expect("a scrape is lost")).sum();
    assert!(complete >= 100);
}

/// The process is stopped while the requests and then SIGTERM are sent, so it learns of the shutdown
/// before it reads them.
#[tokio::test]
async fn requests_sent_before_sigterm_but_read_after_it_get_a_response() {
    let (_simulator, exporter) = large_exporter(&[]).await;
    let mut reused = Vec::new();
    for _ in 0..16 {
        let mut stream = TcpStream::connect(&exporter.address).await.unwrap();
        stream.write_all(SCRAPE.as_bytes()).await.unwrap();
        read_response(&mut stream).await.unwrap();
        reused.push(stream);
    }
    exporter.signal(Signal::STOP);
    // The kernel accepts connections for a stopped process, too.
    let new = join_all((0..16).map(|_| TcpStream::connect(&exporter.address))).await.into_iter().map(Result::unwrap);
    let mut streams: Vec<_> = reused.into_iter().chain(new).collect();
    for stream in &mut streams {
        stream.write_all(SCRAPE.as_bytes()).await.unwrap();
    }
    exporter.signal(Signal::TERM);
    exporter.signal(Signal::CONT);
    for (number, mut stream) in streams.into_iter().enumerate() {
        read_response(&mut stream).await.unwrap_or_else(|error| panic!("response {number} is lost: {error}"));
        assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0, "connection {number} is not closed");
    }
    assert_eq!(exporter.stop(Signal::TERM).await, Some(0));
}

/// Reads one response; returns whether it announces that the connection is closed after it.
async fn read_response(stream: &mut TcpStream) -> std::io::Result<bool> {
    let mut read = Vec::new();
    let closes_after = |read: &[u8]| {
        let head = read.windows(4).position(|four| four == b"\r\n\r\n")?;
        let text = String::from_utf8_lossy(&read[..head]).into_owned();
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        let is_complete = match length {
            Some(length) => read.len() == head + 4 + length,
            None => read.ends_with(b"\r\n0\r\n\r\n"),
        };
        is_complete.then(|| text.lines().any(|line| line == "connection: close"))
    };
    loop {
        if stream.read_buf(&mut read).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(closes) = closes_after(&read) {
            return Ok(closes);
        }
    }
}

#[tokio::test]
async fn shutdown_waits_five_seconds_for_an_unfinished_request_and_not_at_all_for_idle_connections() {
    let (_simulator, exporter) = large_exporter(&[]).await;
    let mut idle = TcpStream::connect(&exporter.address).await.unwrap();
    let mut half = TcpStream::connect(&exporter.address).await.unwrap();
    half.write_all(b"GET /metrics HTTP/1.1\r\n").await.unwrap();
    // Once the exporter is idle, it has read the half of a request.
    exporter.wait_until_idle().await;
    let start = Instant::now();
    let (status, output) = exporter.stop_with_output(Signal::INT).await;
    assert!(status == Some(0) && output.contains(CUT_OFF), "{output}");
    // The exporter's five seconds begin later than these.
    assert!(start.elapsed() >= Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(idle.read(&mut [0]).await.unwrap_or(0), 0);

    let (_simulator, exporter) = large_exporter(&[]).await;
    let _silent = TcpStream::connect(&exporter.address).await.unwrap();
    let (status, output) = exporter.stop_with_output(Signal::TERM).await;
    assert!(status == Some(0) && !output.contains(CUT_OFF), "{output}");
}

#[tokio::test]
async fn scrape_is_encoded_as_negotiated_and_decodes_to_the_same_text() {
    let (_simulator, exporter) = large_exporter(&["--poll.interval=1h"]).await;
    let url = format!("{}/metrics", exporter.url());
    let plain = exporter.scrape().await;
    let without_decoding = reqwest::Client::builder().no_proxy().no_gzip().tls_certs_only([]).build().unwrap();
    for (accepted, encoding) in [
        ("gzip", "gzip"),
        ("gzip;q=0.1, zstd", "zstd"),
        ("gzip, deflate, br, zstd", "gzip"),
        ("br", ""),
        ("identity", ""),
        ("gzip;q=0", ""),
        ("gzip;q=0, *", ""),
        ("gzip;q=0, identity;q=0, *", "zstd"),
    ] {
        let response = without_decoding.get(&url).header("accept-encoding", accepted).send().await.unwrap();
        let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(header("content-encoding").unwrap_or_default(), encoding, "{accepted}");
        assert_eq!(header("vary").as_deref(), Some("Accept, Accept-Encoding"));
        let body = response.bytes().await.unwrap();
        // The decoders are those of real clients.
        let decoded = match encoding {
            "gzip" => curl(&[&url, "--compressed", "--header", "Accept-Encoding: gzip"]).await,
            "zstd" => String::from_utf8(zstd::decode_all(&*body).unwrap()).unwrap(),
            _ => String::from_utf8(body.to_vec()).unwrap(),
        };
        assert_eq!(Scrape(decoded).inventory(), plain.inventory(), "{accepted}");
        if !encoding.is_empty() {
            assert!(body.len() * 4 < plain.0.len(), "{accepted}: {} of {}", body.len(), plain.0.len());
        }
    }
}

async fn curl(arguments: &[&str]) -> String {
    let output =
        tokio::process::Command::new("curl").args(["--silent", "--fail"]).args(arguments).output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}
