//! The first bytes of a connection, before anything is known about who sent them: TLS, HTTP or neither.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proxy::detect::{Peeked, peek};

fuzz_target!(|data: &[u8]| {
    let whole = peek(data);
    match &whole {
        Peeked::Tls(hello) => {
            assert!(hello.cipher_suites.len() <= data.len() / 2 && hello.signature_schemes.len() <= data.len() / 2);
            if let Some(name) = &hello.server_name {
                assert!(name.len() <= 253 && !name.bytes().any(|byte| byte.is_ascii_uppercase()));
            }
        }
        Peeked::Incomplete => {}
        _ => assert!(!data.is_empty(), "nothing is known of nothing"),
    }
    // What is decided of the first half stays decided: more bytes never change it.
    let half = peek(&data[..data.len() / 2]);
    assert!(half == Peeked::Incomplete || half == whole, "{half:?}, then {whole:?}");
});
