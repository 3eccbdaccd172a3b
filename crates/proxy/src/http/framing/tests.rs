use super::*;

/// Whether it is found, with the bytes in one piece and byte by byte.
fn found(text: &str) -> bool {
    let whole = Framing::default().see(text.as_bytes());
    let mut framing = Framing::default();
    let pieces = text.bytes().any(|byte| framing.see(&[byte]));
    assert_eq!(whole, pieces, "{text:?}");
    whole
}

#[test]
fn both_lengths_are_found_in_either_order() {
    assert!(found("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"));
    assert!(found("POST / HTTP/1.1\r\nTRANSFER-ENCODING: chunked\r\ncontent-length: 4\r\n\r\n"));
    assert!(found("POST / HTTP/1.1\ntransfer-encoding:x\ncontent-length:0\n\n"));
}

#[test]
fn one_of_them_is_fine() {
    assert!(!found("POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nabcdGET / HTTP/1.1\r\n\r\n"));
    assert!(!found("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"));
    assert!(!found("GET / HTTP/1.1\r\nX-Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"));
}

#[test]
fn bodies_are_not_taken_for_headers() {
    let lines = "content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n";
    let length = lines.len();
    assert!(!found(&format!(
        "POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{lines}GET / HTTP/1.1\r\n\r\n"
    )));
    assert!(!found(&format!(
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{length:x};x=y\r\n{lines}\r\n0\r\nT: x\r\n\r\nGET / HTTP/1.1\r\n\r\n"
    )));
}

#[test]
fn the_second_of_two_requests_is_looked_at_too() {
    let second = "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert!(found(&format!("GET / HTTP/1.1\r\nHost: a\r\n\r\n{second}")));
    assert!(found(&format!("\r\n\r\nPOST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nab{second}")));
    assert!(found(&format!(
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n{second}"
    )));
}

#[test]
fn nothing_makes_it_panic() {
    proptest::proptest!(|(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300))| {
        let mut framing = Framing::default();
        for piece in bytes.chunks(7) {
            framing.see(piece);
        }
    });
}
