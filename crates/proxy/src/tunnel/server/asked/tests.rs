use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{PrivateKeyDer, ServerName};
use tokio::io::AsyncWrite as _;
use tokio::net::TcpListener;

use super::*;
use crate::tls::stream::ClientStream;

/// A connection whose caller reads nothing, such that the kernel takes no more.
async fn stuck() -> (Box<ServerStream<TcpStream>>, ClientStream<TcpStream>) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let server = ServerConfig::builder_with_provider(crate::tls::provider::default_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], PrivateKeyDer::Pkcs8(signing_key.serialize_der().into()))
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(crate::tls::provider::default_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (near, _) = listener.accept().await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let (server, client) = tokio::join!(
        ServerStream::accept(near, Vec::new(), Arc::new(server), 64 << 10),
        ClientStream::connect(far, name, Arc::new(client), 64 << 10)
    );
    let (mut server, client) = (Box::new(server.ok().unwrap()), client.ok().unwrap());
    let part = vec![7; 256 << 10];
    // What is said goes to the kernel, until it is kept with the connection instead.
    while std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *server).poll_write(cx, &part)))
        .await
        .is_ready()
    {}
    (server, client)
}

#[tokio::test]
async fn a_caller_that_does_not_read_gets_no_answer_and_keeps_no_connection() {
    const LIMIT: Duration = Duration::from_millis(100);
    let open = || Open { authority: "127.0.0.1:1".into(), headers: HeaderMap::new() };
    for is_granted in [true, false] {
        let (connection, _client) = stuck().await;
        let is_free = Arc::new(AtomicBool::new(false));
        let said = Arc::clone(&is_free);
        let asked = Asked::Direct(open(), connection, Box::new(move |_| said.store(true, Ordering::SeqCst)));
        let answering = async {
            match is_granted {
                true => assert!(asked.grant(LIMIT).await.is_none()),
                false => asked.refuse(StatusCode::FORBIDDEN, LIMIT).await,
            }
        };
        timeout(Duration::from_secs(20), answering).await.expect("it is given up");
        assert!(!is_free.load(Ordering::SeqCst));
    }
}
