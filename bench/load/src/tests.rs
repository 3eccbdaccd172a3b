//! Tests of the load client: it must count right, and must not pass what is wrong.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::backend::{self, Body, parse_request};
use crate::http1::{Connection, Head, parse_head};
use crate::report::summarise;
use crate::tls::{Negotiated, agree};

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
    agree(&mut run, one.clone()).unwrap();
    agree(&mut run, one.clone()).unwrap();
    assert!(agree(&mut run, Negotiated { alpn: "http/1.1".into(), ..one }).is_err());
}
