//! The probe's own reading of TLS: records, and the handshake messages in them, as any server may send them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use probe::wire::{handshake, hello, record};

fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    while let Ok(Some((record, after))) = record::next(rest) {
        assert!(after.len() < rest.len(), "a record takes at least its header");
        let _ = record.payload;
        rest = after;
    }
    for tls13 in [false, true] {
        let _ = record::clear(data, tls13);
    }
    for (_, body) in record::messages(data) {
        let _ = handshake::client_hello(&body);
        let _ = handshake::server_hello(&body);
        let _ = handshake::certificate(&body);
        let _ = handshake::certificate_request(&body);
        let _ = handshake::key_exchange_group(&body);
    }
    let _ = handshake::client_hello(data);
    let _ = handshake::server_hello(data);
    let _ = handshake::certificate(data);
    let _ = handshake::certificate_request(data);
    let _ = handshake::key_exchange_group(data);
    let _ = hello::Reply::read(data);
});
