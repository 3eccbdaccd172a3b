use std::io::IoSlice;
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;

type Pair = (ServerStream<DuplexStream>, TlsStream<DuplexStream>);

const MOST: usize = 64 << 10;

fn configs(version: &'static rustls::SupportedProtocolVersion) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

async fn pair(version: &'static rustls::SupportedProtocolVersion, pipe: usize) -> Pair {
    let (server, client) = configs(version);
    let (near, far) = duplex(pipe);
    let connect = TlsConnector::from(client).connect(ServerName::try_from("localhost").unwrap(), far);
    let (server, client) = tokio::join!(ServerStream::accept(near, Vec::new(), server, MOST), connect);
    (server.ok().unwrap(), client.unwrap())
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 31 % 251) as u8).collect()
}

#[tokio::test]
async fn bytes_that_are_no_hello_are_an_error_with_its_alert() {
    let (config, _) = configs(&rustls::version::TLS13);
    for bad in [
        // A record without content; a ClientHello that is one byte long; and a record that cannot be one.
        &b"\x16\x03\x01\x00\x00"[..],
        b"\x16\x03\x01\x00\x05\x01\x00\xff\x00aaaaaaaaaaa",
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03",
        b"\x16\x09\x01\x00\x05\x01\x00\x00\x01\x03",
        b"\x17\x03\x03\xff\xff\x01\x00\x00\x01\x03",
    ] {
        let (near, mut far) = duplex(1 << 16);
        let Err((error, near)) = ServerStream::accept(near, bad.to_vec(), Arc::clone(&config), MOST).await
        else {
            panic!("{bad:?}")
        };
        assert!(matches!(error, AcceptError::Tls(_)), "{error}");
        drop(near);
        let mut alert = Vec::new();
        far.read_to_end(&mut alert).await.unwrap();
        assert_eq!((alert.first(), alert.len()), (Some(&0x15), 7), "one alert in the clear: {alert:?}");
    }
}

#[tokio::test]
async fn bytes_arrive_whole_in_both_directions_through_narrow_and_wide_pipes() {
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        for pipe in [37, 16 << 10, 1 << 20] {
            let (mut server, mut client) = pair(version, pipe).await;
            let sent = pattern(if pipe == 37 { 20_000 } else { 1_500_000 });
            let expected = sent.clone();
            let echo = tokio::spawn(async move {
                let mut part = vec![0; 70_000];
                loop {
                    match server.read(&mut part).await.unwrap() {
                        0 => break server.shutdown().await.unwrap(),
                        n => server.write_all(&part[..n]).await.unwrap(),
                    }
                    server.flush().await.unwrap();
                }
            });
            let (mut read, mut write) = tokio::io::split(&mut client);
            let writing = async {
                write.write_all(&sent).await.unwrap();
                write.shutdown().await.unwrap();
            };
            let mut received = Vec::new();
            let reading = async { read.read_to_end(&mut received).await.unwrap() };
            tokio::join!(writing, reading);
            echo.await.unwrap();
            assert!(received == expected, "{version:?} {pipe}");
        }
    }
}

#[tokio::test]
async fn a_client_of_our_own_carries_the_same_in_both_directions() {
    for pipe in [37, 16 << 10, 1 << 20] {
        let (server, client) = configs(&rustls::version::TLS13);
        let (near, far) = duplex(pipe);
        let name = ServerName::try_from("localhost").unwrap();
        let (server, client) = tokio::join!(
            ServerStream::accept(near, Vec::new(), server, MOST),
            ClientStream::connect(far, name, client, MOST)
        );
        let (mut server, mut client) = (server.ok().unwrap(), client.ok().unwrap());
        let sent = pattern(if pipe == 37 { 20_000 } else { 1_500_000 });
        let mut received = vec![0; sent.len()];
        let writing = async {
            client.write_all(&sent).await.unwrap();
            client.flush().await.unwrap();
        };
        let (_, read) = tokio::join!(writing, server.read_exact(&mut received));
        assert!(read.is_ok() && received == sent, "{pipe}: to the server");
        received.fill(0);
        let writing = async {
            server.write_all(&sent).await.unwrap();
            server.flush().await.unwrap();
        };
        let (_, read) = tokio::join!(writing, client.read_exact(&mut received));
        assert!(read.is_ok() && received == sent, "{pipe}: to the client");
        let mut end = Vec::new();
        let (shut, read) = tokio::join!(client.shutdown(), server.read_to_end(&mut end));
        assert_eq!((shut.is_ok(), read.unwrap()), (true, 0), "{pipe}");
    }
}

#[tokio::test]
async fn a_client_refuses_a_server_of_another_name() {
    let (server, client) = configs(&rustls::version::TLS13);
    let (near, far) = duplex(1 << 16);
    let name = ServerName::try_from("elsewhere").unwrap();
    let (server, client) = tokio::join!(
        ServerStream::accept(near, Vec::new(), server, MOST),
        ClientStream::connect(far, name, client, MOST)
    );
    assert!(matches!(client, Err((AcceptError::Tls(rustls::Error::InvalidCertificate(_)), _))));
    assert!(matches!(server, Err((AcceptError::Tls(rustls::Error::AlertReceived(_)), _))));
}

#[tokio::test]
async fn slices_are_sent_in_order_whatever_their_sizes() {
    let (mut server, mut client) = pair(&rustls::version::TLS13, 1 << 20).await;
    let whole = pattern(200_000);
    let cuts = [0, 3, 3, 1_000, 9_000, 9_001, 60_000, 190_000, 200_000];
    let expected = whole.clone();
    let writing = async {
        let mut at = 0;
        while at < whole.len() {
            let slices: Vec<_> = cuts
                .windows(2)
                .filter(|cut| cut[1] >= at)
                .map(|cut| IoSlice::new(&whole[cut[0].max(at)..cut[1]]))
                .collect();
            at += server.write_vectored(&slices).await.unwrap();
        }
        server.shutdown().await.unwrap();
    };
    let mut received = Vec::new();
    let reading = async { client.read_to_end(&mut received).await.unwrap() };
    tokio::join!(writing, reading);
    assert!(received == expected);
}

#[tokio::test]
async fn a_waiting_connection_holds_no_buffer() {
    let (mut server, mut client) = pair(&rustls::version::TLS13, 1 << 20).await;
    client.write_all(&pattern(100_000)).await.unwrap();
    let mut part = vec![0; 100_000];
    server.read_exact(&mut part).await.unwrap();
    server.write_all(&part).await.unwrap();
    server.flush().await.unwrap();
    client.read_exact(&mut part).await.unwrap();
    let waited = tokio::time::timeout(Duration::from_millis(20), server.read(&mut part)).await;
    assert!(waited.is_err());
    assert_eq!(
        (server.ciphertext.capacity(), server.plaintext.capacity(), server.unsent.capacity()),
        (0, 0, 0)
    );
}

#[tokio::test]
async fn key_updates_are_followed_and_answered() {
    let (mut server, mut client) = pair(&rustls::version::TLS13, 1 << 20).await;
    let mut part = [0; 5];
    for _ in 0..3 {
        client.get_mut().1.refresh_traffic_keys().unwrap();
        client.write_all(b"hello").await.unwrap();
        client.flush().await.unwrap();
        server.read_exact(&mut part).await.unwrap();
        assert_eq!(&part, b"hello");
        server.write_all(b"world").await.unwrap();
        server.flush().await.unwrap();
        client.read_exact(&mut part).await.unwrap();
        assert_eq!(&part, b"world");
    }
}

#[tokio::test]
async fn a_cut_connection_is_an_error_and_a_closed_one_is_an_end() {
    let (mut server, client) = pair(&rustls::version::TLS13, 1 << 20).await;
    drop(client);
    let error = server.read(&mut [0; 10]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);

    let (mut server, mut client) = pair(&rustls::version::TLS13, 1 << 20).await;
    client.shutdown().await.unwrap();
    assert_eq!(server.read(&mut [0; 10]).await.unwrap(), 0);
    // The other direction still works (half-close).
    server.write_all(b"rest").await.unwrap();
    server.shutdown().await.unwrap();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"rest");
}

#[tokio::test]
async fn altered_records_end_the_connection_with_an_alert() {
    let (server, _) = configs(&rustls::version::TLS13);
    let (near, mut far) = duplex(4096);
    let accept = tokio::spawn(ServerStream::accept(near, Vec::new(), server, MOST));
    far.write_all(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\xff").await.unwrap();
    let mut answer = [0; 7];
    far.read_exact(&mut answer).await.unwrap();
    assert!(matches!(accept.await.unwrap(), Err((AcceptError::Tls(_), _))));
    assert_eq!((answer[0], answer[5]), (21, 2), "a fatal alert record: {answer:?}");
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_cut_at_its_limit() {
    let (server, _) = configs(&rustls::version::TLS13);
    let (near, mut far) = duplex(1 << 20);
    // One handshake message that claims 0xfff0 bytes, in many records.
    let mut flood = vec![0x16, 3, 1, 0x40, 0, 1, 0, 0xff, 0xf0];
    flood.resize(5 + 0x4000, 0);
    for _ in 0..8 {
        far.write_all(&flood).await.unwrap();
    }
    let refused = ServerStream::accept(near, Vec::new(), server, 40_000).await;
    assert!(refused.is_err());
}

/// Reads as one who has so much room, and takes nothing.
struct Roomy(usize);

impl Sink for Roomy {
    fn room(&self) -> usize {
        self.0
    }

    fn take(&mut self, bytes: &[u8]) -> usize {
        bytes.len()
    }

    fn is_satisfied(&self) -> bool {
        false
    }
}

/// A record of TLS 1.3 with a part of a handshake message (RFC 8446, section 5.2), as a client would have written it.
fn sealed(secrets: &rustls::ConnectionTrafficSecrets, number: u64, part: &[u8]) -> Vec<u8> {
    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
    let rustls::ConnectionTrafficSecrets::Aes256Gcm { key, iv } = secrets else { panic!("another cipher") };
    let mut nonce: [u8; 12] = iv.as_ref().try_into().unwrap();
    for (byte, of_number) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
        *byte ^= of_number;
    }
    let length = u16::try_from(part.len() + 1 + 16).unwrap().to_be_bytes();
    let head = [0x17, 3, 3, length[0], length[1]];
    let mut content = [part, &[0x16]].concat();
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).unwrap())
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(head), &mut content)
        .unwrap();
    [&head[..], &content].concat()
}

#[tokio::test]
async fn a_handshake_message_without_end_is_refused_whatever_room_its_reader_has() {
    // Readers with little room and with much, one after the other; and all of it at once.
    for (rooms, at_once) in
        [([0, 0], 10_000), ([1 << 20, 0], 10_000), ([1 << 20, 1 << 20], 10_000), ([1 << 20, 0], 1 << 20)]
    {
        let (server, client) = configs(&rustls::version::TLS13);
        let mut client = (*client).clone();
        client.enable_secret_extraction = true;
        let (near, far) = duplex(1 << 20);
        let name = ServerName::try_from("localhost").unwrap();
        let connect = TlsConnector::from(Arc::new(client)).connect(name, far);
        let (server, client) = tokio::join!(ServerStream::accept(near, Vec::new(), server, MOST), connect);
        let (mut server, (mut far, client)) = (server.ok().unwrap(), client.unwrap().into_inner());
        let (number, secrets) = client.dangerous_extract_secrets().unwrap().tx;
        // A ticket of 65,280 bytes that never is whole, in records of a hundred bytes.
        let mut message = vec![0x04, 0, 0xff, 0];
        message.resize(60_000, 0);
        let records: Vec<u8> =
            message.chunks(100).zip(number..).flat_map(|(part, n)| sealed(&secrets, n, part)).collect();
        let mut rooms = rooms.into_iter().cycle();
        let mut refused = None;
        for part in records.chunks(at_once) {
            far.write_all(part).await.unwrap();
            let mut sink = Roomy(rooms.next().unwrap());
            let read = std::future::poll_fn(|cx| Poll::Ready(server.poll_read_into(cx, &mut sink))).await;
            if let Poll::Ready(result) = read {
                refused = Some(result.unwrap_err());
                break;
            }
        }
        let refused = refused.expect("it is refused");
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
        assert_eq!(refused.to_string(), "more than a record came that is not finished");
    }
}

#[tokio::test]
async fn a_long_chain_of_certificates_is_taken_within_the_handshake() {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = vec![cert.der().clone(); 48_000 / cert.der().len()];
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::Pkcs8(signing_key.serialize_der().into()))
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (near, far) = duplex(1 << 16);
    let name = ServerName::try_from("localhost").unwrap();
    let (server, client) = tokio::join!(
        ServerStream::accept(near, Vec::new(), Arc::new(server), MOST),
        ClientStream::connect(far, name, Arc::new(client), MOST)
    );
    let (mut server, mut client) = (server.ok().unwrap(), client.ok().unwrap());
    server.write_all(b"hello").await.unwrap();
    server.flush().await.unwrap();
    let mut said = [0; 5];
    client.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"hello");
}

#[tokio::test]
async fn a_client_that_is_refused_in_the_middle_of_its_flight_is_sent_the_alert() {
    let (plain, client) = configs(&rustls::version::TLS13);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    let CertifiedKey { cert, .. } = generate_simple_self_signed(["nobody".to_owned()]).unwrap();
    roots.add(cert.der().clone()).unwrap();
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .unwrap();
    let server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(plain.cert_resolver.clone());
    // The client's empty certificate and its Finished come in one write: the first is refused, the second waits.
    let (near, far) = duplex(1 << 16);
    let connect = TlsConnector::from(client).connect(ServerName::try_from("localhost").unwrap(), far);
    let (refused, client) =
        tokio::join!(ServerStream::accept(near, Vec::new(), Arc::new(server), MOST), connect);
    assert!(matches!(refused, Err((AcceptError::Tls(_), _))));
    let error = client.unwrap().read(&mut [0; 1]).await.unwrap_err().to_string();
    assert!(error.contains("CertificateRequired"), "{error}");
}
