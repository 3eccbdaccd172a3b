//! Tests of the load client: it must count right, and must not pass what is wrong.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::backend::{self, Body, parse_request};
use crate::http1::{Connection, Head, parse_head};
use crate::rate::Plan;
use crate::report::summarise;
use crate::tls::{Negotiated, agree};
use crate::{Arguments, Load, Mode, ads, bulk, handshake, idle, rate, requests};

async fn backend() -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        backend::connection(stream).await.unwrap();
    });
    TcpStream::connect(address).await.unwrap()
}

#[tokio::test]
async fn small_and_bulk_transfers_follow_each_other_on_one_connection() {
    let mut connection = Connection::new(backend().await, "bench");
    connection.small().await.unwrap();
    connection.download(300_001).await.unwrap();
    connection.upload(200_003).await.unwrap();
    connection.small().await.unwrap();
}

#[tokio::test]
async fn the_backend_counts_a_chunked_upload() {
    let mut stream = backend().await;
    let request = b"POST /sink HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
        5;a=b\r\nhello\r\n3\r\nabc\r\n0\r\nTrailer: x\r\n\r\n";
    for part in request.chunks(7) {
        stream.write_all(part).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("\r\n\r\n8"), "{answer}");
}

#[tokio::test]
async fn a_wrong_answer_fails_the_run() {
    for answer in [
        "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\nabc",
        "",
    ] {
        let (mut server, client) = tokio::io::duplex(4096);
        server.write_all(answer.as_bytes()).await.unwrap();
        server.shutdown().await.unwrap();
        assert!(Connection::new(client, "bench").small().await.is_err(), "{answer}");
    }
}

#[test]
fn heads_are_read_whole_or_not_at_all() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 12\r\nConnection: close\r\n\r\nbody";
    for cut in 0..head.len() - 4 {
        assert!(parse_head(&head[..cut]).unwrap().is_none());
    }
    let expected = Head { status: 200, length: 12, close: true };
    assert_eq!(parse_head(head).unwrap(), Some((expected, head.len() - 4)));
    assert!(parse_head(b"HTTP/1.1 200 OK\r\n\r\n").is_err(), "no length");
    assert!(parse_head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err(), "chunked");
}

#[test]
fn requests_say_what_they_want() {
    let (request, _) = parse_request(b"GET /bulk/77 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().unwrap();
    assert_eq!((request.bulk, request.sink, request.close), (Some(77), false, false));
    let (request, _) =
        parse_request(b"POST /sink HTTP/1.1\r\ncontent-length: 9\r\nconnection: close\r\n\r\n")
            .unwrap()
            .unwrap();
    assert_eq!((request.sink, request.body, request.close), (true, Body::Length(9), true));
    assert!(parse_request(b"nonsense\r\n\r\n").is_err());
}

#[test]
fn percentiles_are_nearest_rank() {
    let latency = summarise((1..=200).rev().collect()).unwrap();
    assert_eq!((latency.p50, latency.p99, latency.max), (100, 198, 200));
    assert_eq!(summarise(vec![7]).unwrap().p99, 7);
    assert!(summarise(Vec::new()).is_none());
}

#[test]
fn connections_that_negotiate_differently_fail_the_run() {
    let one = Negotiated {
        version: "TLSv1_3".into(),
        cipher: "TLS13_AES_128_GCM_SHA256".into(),
        group: "X25519".into(),
        key: "ECDSA P-256".into(),
        alpn: "h2".into(),
        mutual: false,
    };
    let mut run = None;
    agree(&mut run, Some(one.clone())).unwrap();
    agree(&mut run, Some(one.clone())).unwrap();
    assert!(agree(&mut run, Some(Negotiated { alpn: "http/1.1".into(), ..one })).is_err());
}

#[test]
fn connections_without_tls_agree_on_nothing() {
    let mut run = None;
    agree(&mut run, None).unwrap();
    agree(&mut run, None).unwrap();
    assert!(run.is_none());
}

#[test]
fn a_rate_is_shared_out_over_the_connections() {
    let plan = |first| Plan { first, connections: 3, count: 7, rate: 1000 };
    let due = |first| plan(first).due().map(|due| due.as_micros()).collect::<Vec<_>>();
    assert_eq!(due(0), [0, 3000, 6000]);
    assert_eq!(due(1), [1000, 4000]);
    assert_eq!(due(2), [2000, 5000]);
}

/// A server of many connections, whose answers take as long as is wanted.
async fn slow_server(delay: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 1024];
                let answer =
                    [&b"HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n"[..], &[b'h'; 1024]].concat();
                while matches!(stream.read(&mut buffer).await, Ok(1..)) {
                    tokio::time::sleep(delay).await;
                    stream.write_all(&answer).await.unwrap();
                }
            });
        }
    });
    address
}

fn plain(target: SocketAddr, connections: usize, count: u64) -> Load {
    let (target, connections, count) = (target.to_string(), connections.to_string(), count.to_string());
    let words = ["bench", "h1", "--plain", "--now", "--target", &target, "-c", &connections, "-n", &count];
    match Arguments::try_parse_from(words).unwrap().mode {
        Mode::H1(load) => load,
        _ => panic!("another mode"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_behind_a_slow_answer_counts_as_slow() {
    // One connection that answers every 10 ms and is asked every 2: the last of 20 is 150 ms behind its time.
    let load = plain(slow_server(Duration::from_millis(10)).await, 1, 20);
    let report = rate::run(&load, 500).await.unwrap();
    assert_eq!((report.completed, report.errors), (20, 0));
    assert!(report.tls.is_none());
    let latency = report.latency_us.unwrap();
    assert!(latency.max >= 150_000, "{}", latency.max);
    assert!(latency.p50 >= 60_000, "{}", latency.p50);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_plain_load_is_done_in_full() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(backend::connection(stream));
        }
    });
    let load = plain(target, 2, 40);
    let reports = [
        requests::http1(&load).await.unwrap(),
        handshake::full(&load).await.unwrap(),
        idle::hold(&load).await.unwrap(),
        rate::run(&load, 1000).await.unwrap(),
    ];
    for report in reports {
        assert_eq!((report.completed, report.errors, report.tls.is_none()), (40, 0, true), "{}", report.mode);
    }
    assert_eq!(bulk::download(&load).await.unwrap().bytes, 80);
    assert_eq!(bulk::upload(&load).await.unwrap().bytes, 80);
}

#[test]
fn plain_and_tls_exclude_each_other() {
    let parse = |words: &[&str]| {
        Arguments::try_parse_from([&["bench", "h1", "--target", "127.0.0.1:1"], words].concat())
    };
    assert!(parse(&[]).is_err(), "neither");
    assert!(parse(&["--plain", "--ca", "ca.crt"]).is_err(), "both");
    assert!(parse(&["--plain"]).is_ok() && parse(&["--ca", "ca.crt"]).is_ok());
}

#[test]
fn requests_to_a_control_plane_are_framed() {
    let request = ads::request(Some("n"), "t", "");
    let node = [&[0x0a, 15, 0x0a, 1, b'n', 0x12, 10][..], b"Kubernetes"].concat();
    assert_eq!(request[..5], [0, 0, 0, 0, 20]);
    assert_eq!(request[5..], [&node[..], &[0x12, 1, b't']].concat());
    assert_eq!(ads::request(None, "t", "7")[5..], [0x12, 1, b't', 0x32, 1, b'7']);
    let long = "x".repeat(300);
    assert_eq!(ads::request(None, &long, "")[5..8], [0x12, 0xac, 2], "a length of two bytes");
}

#[test]
fn answers_of_a_control_plane_are_read_whole_or_not_at_all() {
    let long = [b'r'; 200];
    let body =
        [&[0x0a, 1, b'v', 0x12, 0xc8, 1][..], &long, &[0x22, 1, b't', 0x2a, 2, b'n', b'1', 0x12, 0]].concat();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let framed = [&[0][..], &length, &body, &[0, 0]].concat();
    for cut in 0..framed.len() - 2 {
        assert!(ads::message(&mut framed[..cut].into()).unwrap().is_none(), "{cut}");
    }
    let mut read = framed[..].into();
    let message = ads::message(&mut read).unwrap().unwrap();
    assert_eq!(read.len(), 2, "what follows is left");
    let expected = ads::Answer { type_url: "t".into(), nonce: "n1".into(), resources: 2 };
    assert_eq!(ads::answer(&message).unwrap(), expected);
    assert!(ads::answer(&message[..20]).is_err(), "cut off");
    assert!(ads::message(&mut (&[1, 0, 0, 0, 0][..]).into()).is_err(), "compressed");
}
