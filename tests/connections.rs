//! Slow, greedy and many clients cost only themselves, and the end loses no answer. Real sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use crate::common::{PATIENCE, Running, Scrape, http, seed};

/// An exporter that serves more than 10,000 series.
async fn large(arguments: &[&str]) -> (Running, Running) {
    let simulator = Running::simulator(12_000, seed(), &[]).await;
    let mut all =
        vec!["--tryvox.rate-limit=0", "--collector.number.statuses=active,pending", "--collector.number.limit=4000"];
    all.extend(arguments);
    let mut exporter = Running::exporter(&simulator.url(), &all).await;
    exporter.logged("account listed", 1).await;
    (simulator, exporter)
}

/// The status and all of an answer to requests on a connection of its own, which the other side ends.
async fn exchange(address: &str, request: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    // A chunk may end within a letter.
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

const SCRAPE: &str = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// Whether an answer of unknown length is whole: its last chunk is there, and the last line before it.
fn is_whole(answer: &str) -> bool {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return false };
    let last = body.rsplit('\n').find(|line| line.starts_with("process_threads "));
    head.starts_with("HTTP/1.1 200 ") && body.ends_with("\r\n0\r\n\r\n") && last.is_some()
}

#[tokio::test]
async fn a_scrape_is_answered_while_700_half_open_clients_hang_on() {
    let (_simulator, exporter) = large(&[]).await;
    let begin = |number: usize| {
        let address = exporter.address.clone();
        async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            // Some say nothing, some say half of what they have to say.
            if number.is_multiple_of(2) {
                stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.unwrap();
            }
            stream
        }
    };
    let half_open = join_all((0..700).map(begin)).await;

    let scrape = exporter.scrape().await;
    let series = scrape.0.lines().filter(|line| !line.starts_with('#')).count();
    assert!(series > 10_000, "{series}");
    assert!(is_whole(&exchange(&exporter.address, SCRAPE).await.unwrap()));
    // They hang on still, as many as there is room for.
    let mut open = 0;
    for stream in half_open {
        let mut byte = [0];
        let read = stream.try_read(&mut byte);
        open += usize::from(read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
    }
    assert!(open > 400, "{open}");
}

#[tokio::test]
async fn two_thousand_scrapes_at_32_in_parallel_all_succeed() {
    let (_simulator, exporter) = large(&[]).await;
    let next = AtomicUsize::new(0);
    let (http, url) = (http(), format!("{}/metrics", exporter.url()));
    let scrapers = (0..32).map(|_| async {
        let mut whole = 0;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= 2_000 {
                return whole;
            }
            // Kept connections, new ones, and both codings.
            let ok = if number.is_multiple_of(4) {
                is_whole(&exchange(&exporter.address, SCRAPE).await.unwrap())
            } else {
                let coding = ["gzip", "zstd", "identity"][number % 3];
                let answer = http.get(&url).header("accept-encoding", coding).send().await.unwrap();
                answer.status() == 200 && !answer.bytes().await.unwrap().is_empty()
            };
            whole += usize::from(ok);
        }
    });
    assert_eq!(join_all(scrapers).await.into_iter().sum::<usize>(), 2_000);
}

#[tokio::test]
async fn oversized_requests_are_refused() {
    let (_simulator, exporter) = large(&[]).await;
    let header = "x".repeat(300_000);
    for (request, status) in [
        (format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX-Large: {header}\r\n\r\n"), "431"),
        (format!("GET /{header} HTTP/1.1\r\nHost: x\r\n\r\n"), "431"),
        (format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "a: b\r\n".repeat(5_000)), "431"),
        ("POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n".to_owned(), "413"),
        ("nonsense\r\n\r\n".to_owned(), "400"),
    ] {
        let mut stream = TcpStream::connect(&exporter.address).await.unwrap();
        // It need not take all of it to know.
        _ = stream.write_all(request.as_bytes()).await;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(
            std::str::from_utf8(&answer).unwrap(),
            format!("HTTP/1.1 {status}"),
            "{}",
            &request[..40.min(request.len())]
        );
    }
    assert!(is_whole(&exchange(&exporter.address, SCRAPE).await.unwrap()));
}

#[tokio::test]
async fn a_client_has_ten_seconds_for_a_head() {
    let (_simulator, exporter) = large(&[]).await;
    let hang = |before: bool, begin: &'static str| {
        let address = exporter.address.clone();
        async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            if before {
                stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
                one_answer(&mut stream).await.unwrap();
            }
            let start = Instant::now();
            stream.write_all(begin.as_bytes()).await.unwrap();
            // However it is ended.
            let end = timeout(PATIENCE, stream.read(&mut [0])).await.expect("it hangs on for ever");
            assert_eq!(end.unwrap_or(0), 0);
            start.elapsed()
        }
    };
    let half = "GET /metrics HTTP/1.1\r\nHost: ";
    for elapsed in join_all([hang(false, ""), hang(false, half), hang(true, half)]).await {
        assert!((9..60).contains(&elapsed.as_secs()), "{elapsed:?}");
    }
}

/// RequestStats on one connection, none of whose answers is taken: the system's buffers are full at some time.
async fn greedy(address: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(address.parse().unwrap()).await.unwrap();
    let requests = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(40);
    stream.write_all(requests.as_bytes()).await.unwrap();
    // One answer has begun.
    stream.read_exact(&mut [0; 8]).await.unwrap();
    stream
}

#[tokio::test]
async fn where_all_are_being_answered_one_more_is_refused_and_told() {
    let (_simulator, mut exporter) = large(&["--web.max-connections=2"]).await;
    let (mut first, _second) = (greedy(&exporter.address).await, greedy(&exporter.address).await);
    let refused = exchange(&exporter.address, "").await.unwrap();
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.ends_with("Too many connections.\r\n"), "{refused}");
    exporter.logged("connections refused", 1).await;

    // Those that have a place lose nothing, however long they take.
    let mut answers = vec![0; 1 << 20];
    first.read_exact(&mut answers).await.unwrap();
    drop(first);
    // Its place is free as soon as that is noticed.
    let scraped = async {
        loop {
            let answer = exchange(&exporter.address, SCRAPE).await;
            if answer.is_ok_and(|answer| is_whole(&answer)) {
                return;
            }
        }
    };
    timeout(PATIENCE, scraped).await.expect("no place is free again");
}

/// A connection that does nothing gives way to one that asks, and one that asked before comes last.
#[tokio::test]
async fn idle_connections_give_way() {
    let (_simulator, exporter) = large(&["--web.max-connections=3"]).await;
    let ask = "GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut kept = TcpStream::connect(&exporter.address).await.unwrap();
    let mut answer = [0; 12];
    for _ in 0..20 {
        kept.write_all(ask.as_bytes()).await.unwrap();
        let mut head = vec![0; 4096];
        let length = kept.read(&mut head).await.unwrap();
        assert!(head[..length].starts_with(b"HTTP/1.1 200"), "the one that asked before is still served");
        let mut silent = TcpStream::connect(&exporter.address).await.unwrap();
        let mut other = TcpStream::connect(&exporter.address).await.unwrap();
        other.write_all(ask.as_bytes()).await.unwrap();
        other.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        // Two more, and the one that said nothing is gone.
        let more = [
            TcpStream::connect(&exporter.address).await.unwrap(),
            TcpStream::connect(&exporter.address).await.unwrap(),
        ];
        assert_eq!(timeout(PATIENCE, silent.read(&mut [0])).await.unwrap().unwrap_or(0), 0);
        drop(more);
    }
}

/// RequestStats that were sent before SIGTERM are answered whole, on connections old and new.
#[tokio::test]
async fn the_end_under_load_loses_no_scrape() {
    let (_simulator, exporter) = large(&[]).await;
    let ended = Arc::new(AtomicBool::new(false));
    let (address, first) = (exporter.address.clone(), Arc::new(AtomicUsize::new(0)));
    let scraper = |keeps: bool| {
        let (address, ended, first) = (address.clone(), ended.clone(), first.clone());
        tokio::spawn(async move {
            let (mut whole, mut stream) = (0_usize, None);
            loop {
                let kept = stream.take();
                let mut open: TcpStream = match kept {
                    Some(open) => open,
                    None => match TcpStream::connect(&address).await {
                        Ok(open) => open,
                        Err(_) if ended.load(Ordering::SeqCst) => return whole,
                        Err(error) => panic!("refused while it runs: {error}"),
                    },
                };
                let sent = open.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
                let in_flight = sent.is_ok() && !ended.load(Ordering::SeqCst);
                match one_answer(&mut open).await {
                    Ok(last) => {
                        whole += 1;
                        first.fetch_add(1, Ordering::SeqCst);
                        stream = (keeps && !last).then_some(open);
                    }
                    Err(error) if in_flight => panic!("a scrape is lost: {error}"),
                    Err(_) => return whole,
                }
            }
        })
    };
    let scrapers: Vec<_> = (0..32).map(|number| scraper(number % 2 == 0)).collect();
    while first.load(Ordering::SeqCst) < 100 {
        tokio::task::yield_now().await;
    }
    // From now on a request may come too late; what was sent before may not.
    ended.store(true, Ordering::SeqCst);
    let start = Instant::now();
    assert_eq!(exporter.end(Signal::TERM).await, Some(0));
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    let whole: usize = join_all(scrapers).await.into_iter().map(|scraper| scraper.expect("a scrape is lost")).sum();
    assert!(whole >= 100);
}

/// The same where it matters most: the process learns of the end before it reads what was sent before.
#[tokio::test]
async fn what_was_sent_before_the_end_is_answered_after_it() {
    const REQUEST: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    let (_simulator, exporter) = large(&[]).await;
    let mut kept = Vec::new();
    for _ in 0..16 {
        let mut stream = TcpStream::connect(&exporter.address).await.unwrap();
        stream.write_all(REQUEST).await.unwrap();
        one_answer(&mut stream).await.unwrap();
        kept.push(stream);
    }
    exporter.signal(Signal::STOP);
    // The system makes connections also for a process that stands still.
    let new = join_all((0..16).map(|_| TcpStream::connect(&exporter.address))).await.into_iter().map(Result::unwrap);
    let mut all: Vec<_> = kept.into_iter().chain(new).collect();
    for stream in &mut all {
        stream.write_all(REQUEST).await.unwrap();
    }
    exporter.signal(Signal::TERM);
    exporter.signal(Signal::CONT);
    for (number, mut stream) in all.into_iter().enumerate() {
        one_answer(&mut stream).await.unwrap_or_else(|error| panic!("{number} is lost: {error}"));
        assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0, "{number} is ended, whether it was told so or not");
    }
    assert_eq!(exporter.end(Signal::TERM).await, Some(0));
}

/// Reads one answer to its end; whether it says that it is the last.
async fn one_answer(stream: &mut TcpStream) -> std::io::Result<bool> {
    let mut read = Vec::new();
    let end = |read: &[u8]| {
        let head = read.windows(4).position(|four| four == b"\r\n\r\n")?;
        let text = String::from_utf8_lossy(&read[..head]).into_owned();
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        let whole = match length {
            Some(length) => read.len() == head + 4 + length,
            None => read.ends_with(b"\r\n0\r\n\r\n"),
        };
        whole.then(|| text.lines().any(|line| line == "connection: close"))
    };
    loop {
        if stream.read_buf(&mut read).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(last) = end(&read) {
            return Ok(last);
        }
    }
}

/// An end without anybody who waits is quick; one with a client that never comes to its point is not for
/// ever.
#[tokio::test]
async fn the_end_waits_five_seconds_at_most() {
    let (_simulator, exporter) = large(&[]).await;
    let mut idle = TcpStream::connect(&exporter.address).await.unwrap();
    let mut half = TcpStream::connect(&exporter.address).await.unwrap();
    half.write_all(b"GET /metrics HTTP/1.1\r\n").await.unwrap();
    // What came before these is read before these.
    for _ in 0..50 {
        exchange(&exporter.address, SCRAPE).await.unwrap();
    }
    let start = Instant::now();
    let end = exporter.end(Signal::INT);
    assert_eq!(end.await, Some(0));
    let elapsed = start.elapsed();
    assert!((Duration::from_secs(5)..Duration::from_secs(20)).contains(&elapsed), "{elapsed:?}");
    assert_eq!(idle.read(&mut [0]).await.unwrap_or(0), 0);

    let (_simulator, exporter) = large(&[]).await;
    let _silent = TcpStream::connect(&exporter.address).await.unwrap();
    let start = Instant::now();
    assert_eq!(exporter.end(Signal::TERM).await, Some(0));
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

/// What comes packed is what comes plain.
#[tokio::test]
async fn a_scrape_comes_in_the_coding_that_is_asked_for() {
    let (_simulator, exporter) = large(&["--poll.interval=1h"]).await;
    let url = format!("{}/metrics", exporter.url());
    let plain = exporter.scrape().await;
    let as_it_comes = reqwest::Client::builder().no_proxy().no_gzip().tls_certs_only([]).build().unwrap();
    for (asked, coding) in [
        ("gzip", "gzip"),
        ("gzip;q=0.1, zstd", "zstd"),
        ("gzip, deflate, br, zstd", "gzip"),
        ("br", ""),
        ("identity", ""),
        ("gzip;q=0", ""),
    ] {
        let answer = as_it_comes.get(&url).header("accept-encoding", asked).send().await.unwrap();
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(header("content-encoding").unwrap_or_default(), coding, "{asked}");
        assert_eq!(header("vary").as_deref(), Some("Accept, Accept-Encoding"));
        let body = answer.bytes().await.unwrap();
        // Clients that people have.
        let unpacked = match coding {
            "gzip" => curl(&[&url, "--compressed", "--header", "Accept-Encoding: gzip"]).await,
            "zstd" => String::from_utf8(zstd::decode_all(&*body).unwrap()).unwrap(),
            _ => String::from_utf8(body.to_vec()).unwrap(),
        };
        assert_eq!(Scrape(unpacked).inventory(), plain.inventory(), "{asked}");
        if !coding.is_empty() {
            assert!(body.len() * 4 < plain.0.len(), "{asked}: {} of {}", body.len(), plain.0.len());
        }
    }
}

async fn curl(arguments: &[&str]) -> String {
    let output =
        tokio::process::Command::new("curl").args(["--silent", "--fail"]).args(arguments).output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}
