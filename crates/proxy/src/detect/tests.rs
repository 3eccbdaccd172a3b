use super::*;

/// A ClientHello as the TLS library of this very program writes it.
fn hello(name: &str) -> Vec<u8> {
    let config = rustls::ClientConfig::builder_with_provider(crate::tls::provider::default_provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = rustls_pki_types::ServerName::try_from(name.to_owned()).unwrap();
    let mut connection = rustls::ClientConnection::new(std::sync::Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    bytes
}

/// The same message over records of this size.
fn split(bytes: &[u8], size: usize) -> Vec<u8> {
    let mut records = Vec::new();
    for part in bytes[5..].chunks(size) {
        records.extend([0x16, 3, 1]);
        records.extend(u16::try_from(part.len()).unwrap().to_be_bytes());
        records.extend(part);
    }
    records
}

#[test]
fn the_server_name_is_found_however_the_message_is_cut() {
    let bytes = hello("App.Example");
    for bytes in [bytes.clone(), split(&bytes, 1), split(&bytes, 100)] {
        let Peeked::Tls(hello) = peek(&bytes) else { panic!("{:?}", peek(&bytes)) };
        assert_eq!(hello.server_name.as_deref(), Some("app.example"));
        assert_eq!(hello.version, 0x0304);
        assert!(hello.signature_schemes.contains(&0x0403), "{:?}", hello.signature_schemes);
        for end in 0..bytes.len() {
            assert_eq!(peek(&bytes[..end]), Peeked::Incomplete, "cut at {end}");
        }
    }
}

#[test]
fn an_address_is_no_server_name() {
    let Peeked::Tls(hello) = peek(&hello("127.0.0.1")) else { panic!() };
    assert_eq!(hello.server_name, None);
}

#[test]
fn other_protocols_are_told_apart() {
    assert_eq!(peek(b""), Peeked::Incomplete);
    assert_eq!(peek(b"G"), Peeked::Incomplete);
    assert_eq!(peek(b"GET "), Peeked::Http);
    assert_eq!(peek(b" GET"), Peeked::Other);
    let long = [&[b'A'; 25][..], b" "].concat();
    assert_eq!(peek(&long[..25]), Peeked::Other, "no method is that long");
    assert_eq!(peek(&long), Peeked::Other, "and one more byte does not change it");
    assert_eq!(peek(&long[1..]), Peeked::Http);
    assert_eq!(peek(b"PRI * HTTP/2.0\r\n"), Peeked::Http);
    assert_eq!(peek(b"SSH-2.0-x"), Peeked::Other);
    assert_eq!(peek(&[0x80, 0x2e, 1, 3, 1]), Peeked::Other);
    assert_eq!(peek(&[0x16, 3, 1, 0, 0]), Peeked::MalformedTls);
    assert_eq!(peek(&[0x16, 3, 1, 0, 4, 2, 0, 0, 0]), Peeked::MalformedTls);
    assert_eq!(peek(&[0x16, 9, 1, 0, 4, 1, 0, 0, 0]), Peeked::MalformedTls);
}

#[test]
fn no_cut_or_changed_byte_makes_it_panic() {
    let bytes = hello("app.example");
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        for value in [0, 1, 0x7f, 0xff] {
            changed[at] = value;
            peek(&changed);
        }
    }
}
