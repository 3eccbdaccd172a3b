//! Invariant 3: what must be TLS is never plaintext.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use testkit::free_port;
use testkit::handfast::Handfast;
use testkit::http_upstream::HttpUpstream;
use testkit::pki::Pki;

use crate::site::{PLAIN, Site, yaml};

#[test]
fn invariant_3_an_upstream_that_must_be_tls_never_sees_a_request_in_plaintext() {
    // A server that does not speak TLS, and keeps every byte that it is sent.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keeping = Arc::clone(&kept);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            let mut buffer = [0; 4096];
            let n = stream.read(&mut buffer).unwrap_or(0);
            keeping.lock().unwrap().extend_from_slice(&buffer[..n]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
        }
    });
    let (pki, port) = (Pki::new(), free_port());
    let plan = crate::site::Plan { service: ", tls: {ca: [DIR/site.pem], name: app.test}", ..PLAIN };
    let handfast = Handfast::serve(testkit::binary!(), &yaml(&pki, addr, port, plan));
    let site = Site { pki, app: HttpUpstream::start(), handfast, port };
    let seen =
        site.request(Some(&site.pki.good), "GET /secret-path HTTP/1.1\r\nAuthorization: Bearer secret");
    assert_eq!(seen.status(), Some(502), "{}\n{}", seen.text, site.log());
    let kept = kept.lock().unwrap();
    let text = String::from_utf8_lossy(&kept);
    assert!(kept.first() == Some(&0x16), "a ClientHello came, and only that: {text}");
    assert!(!text.contains("secret") && !text.contains("GET "), "{text}");
}

#[test]
fn invariant_3_a_tls_listener_answers_no_plain_request() {
    let site = Site::start(PLAIN);
    let answer = testkit::handfast::ask(([127, 0, 0, 1], site.port).into(), "/").unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(site.app.counters().bytes(), 0);
}
