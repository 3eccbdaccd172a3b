//! Requests and answers through to an application and back.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;
use testkit::http_upstream::{HttpUpstream, pattern};

use super::{Served, read_all, snapshot, to_app};

#[test]
fn a_request_reaches_the_application_with_its_headers() {
    let app = HttpUpstream::start();
    let served = Served::plain(snapshot(to_app(), &[app.addr()]));
    let headers = [
        ("Host", "localhost:8443"),
        ("X-Own", "1"),
        ("Connection", "X-Hop, close"),
        ("X-Hop", "gone"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("TE", "gzip"),
        ("X-Forwarded-For", "192.0.2.1"),
        ("X-Forwarded-Proto", "gopher"),
        ("X_Forwarded_Proto", "gopher"),
    ];
    let seen = served.ask("GET", "/a%20b?c=d&e", &headers, "").seen();
    assert_eq!(seen.path, "/a%20b?c=d&e");
    assert_eq!(seen.version, "HTTP/1.1");
    assert_eq!(seen.header("host"), ["localhost:8443"]);
    assert_eq!(seen.header("x-own"), ["1"]);
    assert_eq!(seen.header("x-forwarded-for"), ["192.0.2.1, 127.0.0.1"]);
    assert_eq!(seen.header("x-forwarded-proto"), ["http"]);
    assert_eq!(seen.header("x-forwarded-host"), ["localhost:8443"]);
    for name in ["x-hop", "keep-alive", "proxy-connection", "te", "x_forwarded_proto", "connection"] {
        assert!(seen.header(name).is_empty(), "{name}: {:?}", seen.header(name));
    }
}

#[test]
fn bodies_of_each_kind_go_both_ways() {
    let app = HttpUpstream::start();
    let served = Served::plain(snapshot(to_app(), &[app.addr()]));
    let large = String::from_utf8(pattern(900_000)).unwrap();
    assert_eq!(served.ask("POST", "/body", &[], &large).text(), large);
    let chunked = "POST /body HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\nX-Trailer: 1\r\n\r\n";
    assert!(served.raw(chunked).ends_with("abcdefg"));
    assert_eq!(served.get("/bytes/300000").body, pattern(300_000));
    assert_eq!(served.get("/stream/5/1").body.len(), 5 * 1024);
    let empty = served.ask("POST", "/", &[("Content-Length", "0")], "").seen();
    assert_eq!((empty.method.as_str(), empty.header("content-length")), ("POST", vec!["0"]));
}

#[test]
fn head_and_statuses_without_body_are_right() {
    let app = HttpUpstream::start();
    let served = Served::plain(snapshot(to_app(), &[app.addr()]));
    let head = served.ask("HEAD", "/bytes/1234", &[], "");
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("1234"), 0));
    assert_eq!(served.get("/status/204").status, 204);
    assert_eq!(served.get("/status/304").body, b"");
    assert_eq!(served.get("/status/500").text(), "status 500\n", "the application's own error page");
}

#[test]
fn an_http_1_0_client_is_served_and_closed() {
    let app = HttpUpstream::start();
    let served = Served::plain(snapshot(to_app(), &[app.addr()]));
    let answer = served.raw("GET /stream/3/1 HTTP/1.0\r\n\r\n");
    assert!(!answer.contains("chunked"), "{answer}");
    assert_eq!(answer.split_once("\r\n\r\n").unwrap().1.len(), 3 * 1024);
}

#[test]
fn one_connection_to_the_application_carries_many_requests() {
    let app = HttpUpstream::start();
    let served = Served::plain(snapshot(to_app(), &[app.addr()]));
    let mut socket = TcpStream::connect(served.addr).unwrap();
    for n in 0..20 {
        socket.write_all(format!("GET /bytes/{n} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
        read_answer(&mut socket, n);
    }
    for _ in 0..5 {
        assert_eq!(served.get("/bytes/1").status, 200);
    }
    assert_eq!(app.counters().connections(), 1);
}

/// Reads one answer with a body of this length.
fn read_answer(socket: &mut TcpStream, length: usize) {
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let n = socket.read(&mut buffer).unwrap();
        assert!(n > 0, "closed after {:?}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&buffer[..n]);
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n")
            && bytes.len() == end + 4 + length
        {
            return;
        }
    }
}

#[test]
fn a_kept_connection_that_the_application_closed_is_replaced() {
    let app = super::application::one_request_each();
    let served = Served::plain(snapshot(to_app(), &[app.addr]));
    for n in 0..6 {
        let answer = served.get("/");
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "request {n}");
        std::thread::sleep(Duration::from_millis(if n % 2 == 0 { 0 } else { 30 }));
    }
}

#[test]
fn an_answer_that_is_cut_off_is_never_complete_for_the_client() {
    let app = HttpUpstream::start();
    let served = Served::plain(snapshot(to_app(), &[app.addr()]));
    let answer = served.get("/truncate");
    assert_eq!(answer.header("content-length"), Some("1000"));
    assert!(answer.body.len() < 1000);
    // A chunked one must not get its last chunk either.
    let app =
        super::application::answers(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    let served = Served::plain(snapshot(to_app(), &[app.addr]));
    let text = served.raw("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(!text.contains("\r\n0\r\n"), "{text}");
    let log = served.log(1);
    assert!(log[0].contains("HF4016") && log[0].contains("\"complete\":false"), "{log:?}");
}

#[test]
fn an_upgrade_carries_raw_bytes_both_ways() {
    let app = HttpUpstream::start();
    let served = Served::plain(snapshot(to_app(), &[app.addr()]));
    let mut socket = TcpStream::connect(served.addr).unwrap();
    socket
        .write_all(b"GET /upgrade HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: echo\r\n\r\n")
        .unwrap();
    let mut bytes = Vec::new();
    let mut buffer = [0; 1024];
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    while !bytes.ends_with(b"\r\n\r\n") {
        let n = socket.read(&mut buffer).unwrap();
        assert!(n > 0);
        bytes.extend_from_slice(&buffer[..n]);
    }
    let head = String::from_utf8(bytes).unwrap();
    assert!(head.starts_with("HTTP/1.1 101") && head.to_lowercase().contains("upgrade: echo"), "{head}");
    for round in 0..3 {
        socket.write_all(format!("ping {round}").as_bytes()).unwrap();
        let n = socket.read(&mut buffer).unwrap();
        assert_eq!(&buffer[..n], format!("ping {round}").as_bytes());
    }
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut socket), "");
}

#[test]
fn an_upgrade_to_h2c_is_not_passed_on() {
    let app = HttpUpstream::start();
    let served = Served::plain(snapshot(to_app(), &[app.addr()]));
    let headers = [
        ("Connection", "Upgrade, HTTP2-Settings, close"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABk"),
    ];
    let seen = served.ask("GET", "/", &headers, "").seen();
    assert!(seen.header("upgrade").is_empty() && seen.header("http2-settings").is_empty(), "{seen:?}");
}

#[test]
fn expect_100_continue_is_answered_when_the_body_is_wanted() {
    let app = HttpUpstream::start();
    let served = Served::plain(snapshot(to_app(), &[app.addr()]));
    let mut socket = TcpStream::connect(served.addr).unwrap();
    socket
        .write_all(b"POST /body HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        .unwrap();
    let mut buffer = [0; 1024];
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let n = socket.read(&mut buffer).unwrap();
    assert!(buffer[..n].starts_with(b"HTTP/1.1 100 Continue"), "{}", String::from_utf8_lossy(&buffer[..n]));
    socket.write_all(b"abc").unwrap();
    assert!(read_all(&mut socket).ends_with("abc"));
}

#[test]
fn a_path_is_rewritten_as_proxy_pass_with_a_uri_does() {
    let app = HttpUpstream::start();
    let routes = json!([
        {"path": "/api/", "proxy": {"service": "app", "rewrite": {"prefix": "/v1/"}}},
        {"path": "/whole", "proxy": {"service": "app", "rewrite": {"whole": "/other?from=$uri"}}},
        {"path": "/", "proxy": {"service": "app", "host": "inner.example", "headers": [
            {"name": "X-Real-IP", "value": "$remote_addr"}, {"name": "User-Agent", "value": ""}]}},
    ]);
    let served = Served::plain(snapshot(routes, &[app.addr()]));
    assert_eq!(served.get("/api/a%20b?x=1").seen().path, "/v1/a%20b?x=1");
    assert_eq!(served.get("/whole").seen().path, "/other?from=/whole");
    let seen = served.ask("GET", "/", &[("X_Real_IP", "6.6.6.6"), ("User-Agent", "x")], "").seen();
    assert_eq!(seen.header("host"), ["inner.example"]);
    assert_eq!(seen.header("x-real-ip"), ["127.0.0.1"]);
    assert!(seen.header("x_real_ip").is_empty() && seen.header("user-agent").is_empty(), "{seen:?}");
}

#[test]
fn a_path_with_dots_reaches_the_application_as_it_was_authorized() {
    let app = HttpUpstream::start();
    let served = Served::plain(snapshot(to_app(), &[app.addr()]));
    assert_eq!(served.get("/admin%2F..%2Fopen?q").seen().path, "/open?q");
    assert_eq!(served.get("/group%2Fproject").seen().path, "/group%2Fproject");
}

#[test]
fn events_pass_as_they_come() {
    let app = HttpUpstream::start();
    let served = Served::plain(snapshot(to_app(), &[app.addr()]));
    let mut socket = TcpStream::connect(served.addr).unwrap();
    socket.write_all(b"GET /stream/4/300 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let started = std::time::Instant::now();
    let mut buffer = [0; 512];
    socket.read_exact(&mut buffer).unwrap();
    assert!(started.elapsed() < Duration::from_millis(700), "{:?}", started.elapsed());
}
