//! Callers who want too much.

use std::time::Duration;

use bytes::Bytes;
use handfast_wire::catalog::Type;
use handfast_wire::proto::discovery::{DELTA_AGGREGATED_RESOURCES, DeltaDiscoveryRequest};
use handfast_wire::server::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::plane::*;

/// How HTTP/2 begins: its preface, and settings that say nothing.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Whether the other end closes the connection, whatever it says before.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 4096];
    let closed = async {
        while let Ok(read) = stream.read(&mut buffer).await {
            if read == 0 {
                break;
            }
        }
    };
    tokio::time::timeout(LIMIT, closed).await.is_ok()
}

async fn still_serves(plane: &Plane) {
    let proxy = plane.listen(Some("good"));
    tokio::time::timeout(LIMIT, proxy.ready()).await.expect("nobody is served any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_too_long_ends_its_stream_and_no_other() {
    let plane =
        Plane::start_with(world(1), Limits { message: 64 << 10, names: 5, ..Limits::default() }).await;
    let channel = plane.channel().await;
    let mut other = channel.stream("other").await;
    other.ask(Type::Address).await;
    other.ask(Type::Authorization).await;
    other.hear().await.unwrap();
    let mut long = channel.stream("long").await;
    let name = "x".repeat(65 << 10);
    long.say(DeltaDiscoveryRequest { resource_names_subscribe: vec![name], ..Default::default() }).await;
    let status = long.hear().await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::OutOfRange, "{status:?}");
    let mut many = channel.stream("many").await;
    let names = (0..6).map(|number| number.to_string()).collect();
    let type_url = Type::Address.url().into();
    many.say(DeltaDiscoveryRequest { type_url, resource_names_subscribe: names, ..Default::default() }).await;
    assert_eq!(many.hear().await.unwrap_err().code(), tonic::Code::ResourceExhausted);
    let mut nobody = channel.stream("").await;
    nobody.ask(Type::Address).await;
    assert_eq!(nobody.hear().await.unwrap_err().code(), tonic::Code::InvalidArgument);
    other.hear().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_resets_streams_without_end_loses_the_connection() {
    let plane = Plane::start(world(1)).await;
    let mut stream = TcpStream::connect(plane.plain).await.unwrap();
    stream.write_all(PREFACE).await.unwrap();
    // All in one go, so that they arrive faster than they can be looked at.
    let mut bytes = Vec::new();
    for number in 0..100_000_u32 {
        let id = (2 * number + 1).to_be_bytes();
        // HEADERS: POST, http, /, and RST_STREAM: CANCEL.
        bytes.extend([0, 0, 3, 1, 4]);
        bytes.extend(id);
        bytes.extend([0x83, 0x86, 0x84]);
        bytes.extend([0, 0, 4, 3, 0]);
        bytes.extend(id);
        bytes.extend([0, 0, 0, 8]);
    }
    let mut written = 0;
    for chunk in bytes.chunks(64 << 10) {
        match stream.write_all(chunk).await {
            Ok(()) => written += chunk.len(),
            Err(_) => break,
        }
    }
    assert!(written < bytes.len() || is_closed(&mut stream).await, "it goes on and on");
    still_serves(&plane).await;
    wait("nothing is left of it", || plane.proxies.len() <= 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_without_end_close_the_connection() {
    let plane = Plane::start(world(1)).await;
    let mut stream = TcpStream::connect(plane.plain).await.unwrap();
    let mut bytes = PREFACE.to_vec();
    // HEADERS of stream 1 without END_HEADERS, then CONTINUATION without end: literals that nobody will read.
    bytes.extend([0, 0, 1, 1, 0, 0, 0, 0, 1, 0x82]);
    stream.write_all(&bytes).await.unwrap();
    let mut frame = vec![0, 0x40, 0, 9, 0, 0, 0, 0, 1];
    frame.extend(std::iter::repeat_n([0x40, 1, b'a', 1, b'b'], 0x4000 / 5 + 1).flatten().take(0x4000));
    let mut written = 0;
    while written < 64 << 20 && stream.write_all(&frame).await.is_ok() {
        written += frame.len();
    }
    assert!(written < 64 << 20, "it reads on and on");
    still_serves(&plane).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_nothing_loses_his_place() {
    let limits = Limits {
        connections: 3,
        handshake: Duration::from_millis(300),
        idle: Duration::from_millis(300),
        ..Limits::default()
    };
    let plane = Plane::start_with(world(1), limits).await;
    // Neither TLS nor HTTP/2 ever begins; then nobody asks for anything.
    let mut silent = TcpStream::connect(plane.address).await.unwrap();
    let mut plain = TcpStream::connect(plane.plain).await.unwrap();
    let _idle = plane.channel().await;
    assert!(is_closed(&mut silent).await && is_closed(&mut plain).await);
    still_serves(&plane).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_does_not_take_all_places() {
    let plane =
        Plane::start_with(world(1), Limits { connections_of_one_address: 2, ..Limits::default() }).await;
    let first = TcpStream::connect(plane.plain).await.unwrap();
    let _second = TcpStream::connect(plane.plain).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut third = TcpStream::connect(plane.plain).await.unwrap();
    assert!(is_closed(&mut third).await);
    drop(first);
    still_serves(&plane).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_grpc_is_answered_and_nothing_more() {
    let plane = Plane::start(world(1)).await;
    let tcp = TcpStream::connect(plane.plain).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(tcp).await.unwrap();
    tokio::spawn(connection);
    for (path, body, status) in [
        ("/x.y/Z", &b""[..], "12"),
        (DELTA_AGGREGATED_RESOURCES, &b""[..], "16"),
        ("/istio.v1.auth.IstioCertificateService/CreateCertificate", &[9, 9, 9, 9, 9, 9][..], "13"),
        ("/istio.v1.auth.IstioCertificateService/CreateCertificate", &[0, 0, 0, 0, 2, 0xff, 0xff][..], "13"),
        (
            "/istio.v1.auth.IstioCertificateService/CreateCertificate",
            &[0, 0xff, 0xff, 0xff, 0xff, 1][..],
            "11",
        ),
    ] {
        sender = sender.ready().await.unwrap();
        let request = http::Request::post(format!("http://plane.test{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .unwrap();
        let (response, mut stream) = sender.send_request(request, false).unwrap();
        // It may have been answered before it was whole.
        let _ = stream.send_data(Bytes::from_static(body), true);
        let mut response = tokio::time::timeout(LIMIT, response).await.unwrap().unwrap();
        let found = match response.headers().get("grpc-status").cloned() {
            Some(found) => found,
            None => {
                while let Some(data) = response.body_mut().data().await {
                    let _ = data;
                }
                let trailers = response.body_mut().trailers().await.unwrap().unwrap();
                trailers.get("grpc-status").unwrap().clone()
            }
        };
        assert_eq!(found, status, "{path} {body:?}");
    }
    still_serves(&plane).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_says_yes_or_no_has_to_come_again() {
    let patience = Duration::from_millis(500);
    let plane = Plane::start_with(world(1), Limits { patience, ..Limits::default() }).await;
    let (mut silent, mut good) = (plane.raw().await, plane.raw().await);
    for proxy in [&mut silent, &mut good] {
        proxy.ask(Type::Address).await;
        proxy.ask(Type::Authorization).await;
    }
    for _ in 0..2 {
        let answer = good.hear().await.unwrap();
        good.yes(&answer).await;
        silent.hear().await.unwrap();
    }
    // Other requests are no answer.
    silent.ask(Type::Trust).await;
    let ended = loop {
        match silent.hear().await {
            Ok(_) => {}
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), tonic::Code::DeadlineExceeded, "{ended}");
    good.hears_nothing().await;
}
