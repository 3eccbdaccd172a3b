use proptest::prelude::*;

use super::hello::{Hello, Reply, TLS10, TLS12, TLS13};
use super::{handshake, record};
use crate::alert::Alert;
use crate::attempt::End;

fn body(hello: &Hello) -> Vec<u8> {
    record::clear(&hello.encode(), false).messages.remove(0).1
}

#[test]
fn a_hand_made_hello_reads_back_as_it_was_meant() {
    let hello = Hello { version: TLS13, suites: vec![0x1301], groups: vec![29, 23], name: "a.test".into() };
    let read = handshake::client_hello(&body(&hello)).unwrap();
    assert_eq!(read.versions, [TLS13]);
    assert_eq!(read.suites, [0x1301]);
    assert_eq!(read.groups, [29, 23]);
    assert_eq!(read.name.as_deref(), Some("a.test"));
    assert!(read.shares.is_empty());
    let old = handshake::client_hello(&body(&Hello::legacy(TLS10, "127.0.0.1"))).unwrap();
    assert_eq!(old.versions, [TLS10]);
    assert_eq!(old.name, None, "an address is no server name");
}

#[test]
fn alerts_and_choices_are_told_from_other_protocols() {
    let alert = [21, 3, 1, 0, 2, 2, 70];
    assert_eq!(Reply::read(&alert), Some(Reply::Ended(End::Alert(Alert(70)))));
    assert_eq!(Reply::read(&alert[..6]), None, "more bytes are needed");
    assert!(matches!(Reply::read(b"HTTP/1.1 400"), Some(Reply::Ended(End::NotTls(_)))));
    let mut hello = vec![3, 3];
    hello.extend([7; 32]);
    hello.extend([0, 0xc0, 0x2b, 0]);
    let mut bytes = vec![22, 3, 3, 0, hello.len() as u8 + 4, 2, 0, 0, hello.len() as u8];
    bytes.extend(hello);
    assert_eq!(Reply::read(&bytes), Some(Reply::Chosen { version: TLS12, suite: 0xc02b }));
}

#[test]
fn a_record_that_claims_too_much_is_refused_at_its_header() {
    assert_eq!(record::next(&[22, 3, 3, 0xff, 0xff]), Err(record::Broken::TooLong));
    assert_eq!(record::next(b"SSH-2.0"), Err(record::Broken::NotTls));
    assert_eq!(record::next(&[22, 3]), Ok(None));
}

/// Every parser of outside bytes, as a fuzzer would call them.
fn parse_everything(bytes: &[u8]) {
    let _ = record::next(bytes);
    let _ = record::messages(bytes);
    for tls13 in [false, true] {
        let clear = record::clear(bytes, tls13);
        assert!(clear.messages.iter().map(|(_, body)| body.len()).sum::<usize>() <= bytes.len());
    }
    let _ = handshake::client_hello(bytes);
    let _ = handshake::server_hello(bytes);
    let _ = handshake::certificate(bytes);
    let _ = handshake::certificate_request(bytes);
    let _ = handshake::key_exchange_group(bytes);
    let _ = Reply::read(bytes);
    let _ = crate::explain::diagnosis::protocol_of(bytes);
}

proptest! {
    #[test]
    fn no_bytes_make_a_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        parse_everything(&bytes);
    }

    #[test]
    fn no_damaged_hello_makes_a_parser_panic(at in 0usize..200, value: u8, cut in 0usize..220) {
        let mut bytes = Hello::legacy(TLS12, "name.test").encode();
        let length = bytes.len();
        bytes[at % length] = value;
        bytes.truncate(cut);
        parse_everything(&bytes);
        parse_everything(bytes.get(9..).unwrap_or_default());
    }
}
