//! What is ambiguous is refused before it reaches an application (request smuggling).

use testkit::http_upstream::HttpUpstream;

use super::{Served, snapshot, to_app};

fn status(served: &Served, request: &str) -> u16 {
    let answer = served.raw(request);
    answer.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0)
}

#[test]
fn smuggled_requests_are_refused_and_nothing_reaches_the_application() {
    let app = HttpUpstream::start();
    let served = Served::plain(snapshot(to_app(), &[app.addr()]));
    for (what, request) in [
        (
            "CL then TE",
            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "TE then CL",
            "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        ),
        (
            "two lengths",
            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
        ),
        ("a list of lengths", "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4, 5\r\n\r\nabcde"),
        ("a signed length", "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: +4\r\n\r\nabcd"),
        (
            "not chunked last",
            "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        ),
        (
            "another coding",
            "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "chunked twice",
            "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "HTTP/1.0 with chunks",
            "POST / HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        ("a space before the colon", "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length : 4\r\n\r\n"),
        ("a folded line", "GET / HTTP/1.1\r\nHost: localhost\r\nX-A: 1\r\n  folded\r\n\r\n"),
        ("two hosts", "GET / HTTP/1.1\r\nHost: localhost\r\nHost: other\r\n\r\n"),
        ("no host", "GET / HTTP/1.1\r\n\r\n"),
        ("target and Host differ", "GET http://other/ HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("a NUL in a header", "GET / HTTP/1.1\r\nHost: localhost\r\nX-A: a\0b\r\n\r\n"),
        ("the path leaves the root", "GET /a/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("so it does, encoded", "GET /%2e%2e/etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ] {
        let status = status(&served, request);
        assert!(matches!(status, 400 | 501), "{what}: {status}");
    }
    assert_eq!(app.asked().len(), 0);
    assert_eq!(app.counters().bytes(), 0, "zero bytes upstream");
}

#[test]
fn an_ambiguous_request_ends_the_connection() {
    let app = HttpUpstream::start();
    let served = Served::plain(snapshot(to_app(), &[app.addr()]));
    let answers = served.raw(
        "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n",
    );
    assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
    assert!(app.asked().is_empty());
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let app = HttpUpstream::start();
    let served = Served::plain(snapshot(to_app(), &[app.addr()]));
    let answers = served.raw(
        "POST /body HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nfirstPOST /body HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nsecond\r\n0\r\n\r\nGET /status/204 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    let first = answers.find("first").unwrap();
    let second = answers.find("second").unwrap();
    assert!(first < second && second < answers.find("204 No Content").unwrap(), "{answers}");
}

#[test]
fn headers_that_are_too_large_or_too_many_are_431() {
    let app = HttpUpstream::start();
    let served = Served::plain(snapshot(to_app(), &[app.addr()]));
    let large = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Large: {}\r\n\r\n", "a".repeat(40_000));
    assert_eq!(status(&served, &large), 431);
    let many: String = (0..150).map(|n| format!("X-{n}: 1\r\n")).collect();
    assert_eq!(status(&served, &format!("GET / HTTP/1.1\r\nHost: localhost\r\n{many}\r\n")), 431);
    assert!(app.asked().is_empty());
    let text = served.metrics.text();
    assert!(text.contains("reason=\"headers_too_large\""), "{text}");
}
