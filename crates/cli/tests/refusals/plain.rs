//! Rows about what is no TLS, and about how connections end.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use model::codes::refusals;
use testkit::clients::GoClient;

use crate::server::{At, Server};

#[test]
fn plain_http_on_the_tls_port_gets_400_with_a_sentence() {
    let server = Server::start();
    let (failures, code) = (server.failures("plain_http_on_tls_port"), refusals::PLAIN_HTTP.id);
    let mut stream = TcpStream::connect(server.addr(At::Strict)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer, then the end");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(body.to_lowercase().contains("https"), "the sentence says what to do: {body}");
    assert_eq!(server.new_lines(code, 0).len(), 1, "{}", server.handfast.program.output());
    assert_eq!(server.failures("plain_http_on_tls_port") - failures, 1.0);
    assert_eq!(server.upstream(), (0, 0));
}

#[test]
fn bytes_that_are_no_protocol_are_closed() {
    let server = Server::start();
    for garbage in [
        &b"\x00\x01\x02\x03\x04\x05\x06\x07\x08"[..],
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10",
    ] {
        let before = server.lines(refusals::NOT_TLS.id).len();
        let mut stream = TcpStream::connect(server.addr(At::Strict)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(garbage).unwrap();
        let mut answer = Vec::new();
        // A reset is an end, too.
        let ended = stream.read_to_end(&mut answer);
        assert!(
            !matches!(&ended, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock),
            "left open: {garbage:?}"
        );
        assert_eq!(
            server.new_lines(refusals::NOT_TLS.id, before).len(),
            1,
            "{garbage:?}\n{}",
            server.handfast.program.output()
        );
    }
    assert_eq!(server.upstream(), (0, 0));
}

#[test]
fn a_malformed_hello_gets_one_alert_and_one_line() {
    let server = Server::start();
    for hello in [
        &b"\x16\x03\x01\x00\x00"[..],
        b"\x16\x03\x01\x00\x05\x01\x00\xff\x00aaaaaaaaaaa",
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03",
    ] {
        let refused = || server.handfast.metric("handfast_tls_handshake_failures_total", &[]);
        let (before, lines) = (refused(), server.refusals().len());
        let mut stream = TcpStream::connect(server.addr(At::Strict)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(hello).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert_eq!((answer.first(), answer.len()), (Some(&0x15), 7), "an alert: {answer:?}");
        let log = || server.handfast.program.output();
        assert!(testkit::handfast::eventually(Duration::from_secs(3), || refused() > before), "{}", log());
        assert_eq!((refused() - before, server.refusals().len() - lines), (1.0, 1), "{}", log());
        assert!(!log().contains("panicked"), "{}", log());
    }
    assert_eq!(server.upstream(), (0, 0));
}

#[test]
fn after_a_half_close_the_other_direction_still_drains() {
    let server = Server::start();
    let Some(go) = GoClient::find() else { return testkit::skipped("go is not installed") };
    let (addr, pki) = (server.addr(At::StrictTcp).to_string(), &server.pki);
    let payload = "x".repeat(60_000);
    for version in ["1.2", "1.3"] {
        let flags = [
            "-addr",
            &addr,
            "-servername",
            "app.test",
            "-half-close",
            "-send",
            &payload,
            "-min",
            version,
            "-max",
            version,
            "-cert",
            pki.good.chain.to_str().unwrap(),
            "-key",
            pki.good.key.to_str().unwrap(),
        ];
        let round = go.run(&flags).pop().unwrap();
        assert_eq!(round.read_bytes, payload.len(), "{} {}", round.error, server.handfast.program.output());
        assert_eq!(round.closed, "eof", "a close_notify ends it: {}", round.error);
    }
}

#[test]
fn a_truncated_answer_of_the_upstream_never_passes_as_complete() {
    let server = Server::start();
    let Some(go) = GoClient::find() else { return testkit::skipped("go is not installed") };
    let (addr, pki) = (server.addr(At::Strict).to_string(), &server.pki);
    let flags = [
        "-addr",
        &addr,
        "-servername",
        "app.test",
        "-send",
        "GET /truncate HTTP/1.1\r\nHost: app.test\r\n\r\n",
        "-cert",
        pki.good.chain.to_str().unwrap(),
        "-key",
        pki.good.key.to_str().unwrap(),
    ];
    let round = go.run(&flags).pop().unwrap();
    let (_, body) = round.read.split_once("\r\n\r\n").unwrap();
    assert!(body.len() < 1000, "{} bytes", body.len());
    // Either the length shows that it is short, or the connection ends without close_notify.
    assert!(
        round.read.to_lowercase().contains("content-length: 1000") || round.closed == "truncated",
        "{round:?}"
    );
    let code = model::codes::serving::UPSTREAM_TRUNCATED.id;
    assert_eq!(server.new_lines(code, 0).len(), 1, "{}", server.handfast.program.output());
}

#[test]
fn a_client_that_vanishes_without_close_notify_is_logged_as_truncated() {
    let server = Server::start();
    let mut stream = TcpStream::connect(server.addr(At::Strict)).unwrap();
    // A ClientHello record that announces more than it holds, then the end.
    stream.write_all(&[0x16, 0x03, 0x01, 0x00, 0xc8, 0x01, 0x00, 0x00, 0xc4, 0x03, 0x03]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert_eq!(
        server.new_lines(refusals::PEER_CLOSED.id, 0).len(),
        1,
        "{}",
        server.handfast.program.output()
    );
    assert_eq!(server.upstream(), (0, 0));
}
