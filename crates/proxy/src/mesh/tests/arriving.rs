//! Somebody calls a workload's proxy: whoever is not what the mesh asks for sends nothing to the application.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use model::codes::{Code, mesh as codes, refusals};
use model::mesh::Change;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;

/// A client of our own making, that lies as it likes: with a pair or none, over a version of TLS.
async fn dial(
    machine: &Machine,
    to: SocketAddr,
    pair: Option<(String, String)>,
    version: &'static rustls::SupportedProtocolVersion,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(machine.ca.root.as_bytes()).unwrap()).unwrap();
    let provider = crate::tls::provider::default_provider();
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone));
    let mut config = match pair {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder
            .with_client_auth_cert(
                CertificateDer::pem_slice_iter(chain.as_bytes()).map(Result::unwrap).collect(),
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let socket = TcpStream::connect(to).await?;
    let name = ServerName::IpAddress(to.ip().into());
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await?;
    // In TLS 1.3 a refusal comes after the client's own handshake is over.
    let mut first = [0];
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await?;
    stream.read_exact(&mut first).await?;
    Ok(stream)
}

#[derive(Debug)]
pub(super) struct Anyone;

impl rustls::client::danger::ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls_pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        crate::tls::provider::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

const WEB: &str = "spiffe://cluster.local/ns/bank/sa/web";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_without_a_good_identity_is_refused_in_the_handshake_with_one_record() {
    let machine = Machine::new();
    let ledger = machine.join("ledger", 3);
    let application = Application::start(SocketAddr::new(machine.ip(3), 8080)).await;
    let to = ledger.attached.hbone();
    let other = Ca::new();
    let ca = &machine.ca;
    let past = |params: &mut rcgen::CertificateParams| params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let future = |params: &mut rcgen::CertificateParams| params.not_before = rcgen::date_time_ymd(2090, 1, 1);
    let for_servers = |params: &mut rcgen::CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    };
    type Case = (&'static str, Option<(String, String)>, &'static Code);
    let cases: Vec<Case> = vec![
        ("none", None, &refusals::CLIENT_CERTIFICATE_MISSING),
        ("another authority's", Some(other.pair(&[WEB], |_| ())), &refusals::UNKNOWN_ISSUER),
        ("expired", Some(ca.pair(&[WEB], past)), &refusals::CERTIFICATE_EXPIRED),
        ("not yet valid", Some(ca.pair(&[WEB], future)), &refusals::CERTIFICATE_NOT_YET_VALID),
        ("a server's", Some(ca.pair(&[WEB], for_servers)), &refusals::WRONG_USAGE),
        (
            "without a URI",
            Some(ca.pair(&[], |params| {
                params.subject_alt_names = vec![SanType::DnsName("web.bank".try_into().unwrap())];
            })),
            &refusals::IDENTITY_NOT_ALLOWED,
        ),
        (
            "with two",
            Some(ca.pair(&[WEB, "spiffe://cluster.local/ns/bank/sa/boss"], |_| ())),
            &refusals::IDENTITY_NOT_ALLOWED,
        ),
        (
            "no SPIFFE ID",
            Some(ca.pair(&["https://cluster.local/ns/bank/sa/web"], |_| ())),
            &refusals::IDENTITY_NOT_ALLOWED,
        ),
        (
            "of another trust domain",
            Some(ca.pair(&["spiffe://other/ns/bank/sa/web"], |_| ())),
            &refusals::IDENTITY_NOT_ALLOWED,
        ),
    ];
    for (what, pair, code) in cases {
        assert!(dial(&machine, to, pair, &rustls::version::TLS13).await.is_err(), "{what}");
        let records = machine.records(1).await;
        assert_eq!(records.len(), 1, "{what}: {records:#?}");
        assert_eq!(records[0].code, Some(code), "{what}: {records:#?}");
        assert_eq!(records[0].destination, "spiffe://cluster.local/ns/bank/sa/ledger");
    }
    let good = || Some(machine.ca.pair(&[WEB], |_| ()));
    assert!(dial(&machine, to, good(), &rustls::version::TLS12).await.is_err(), "TLS 1.2");
    assert_eq!(machine.records(1).await[0].code, Some(&refusals::PROTOCOL_VERSION));
    let mut plain = TcpStream::connect(to).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nhost: ledger\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("hello"));
    assert_eq!(machine.records(1).await[0].code, Some(&codes::PLAIN_TEXT));
    assert!(dial(&machine, to, good(), &rustls::version::TLS13).await.is_ok());
    assert_eq!(application.count(), 0);
}

/// Asks for a tunnel in the words given; gives the answer's status.
async fn ask(send: &mut h2::client::SendRequest<Bytes>, method: Method, authority: &str) -> StatusCode {
    let uri = match method {
        Method::CONNECT => http::Uri::builder().authority(authority).build().unwrap(),
        _ => format!("http://{authority}/").parse().unwrap(),
    };
    let request = Request::builder().method(method).uri(uri).body(()).unwrap();
    let (response, _stream) = send.send_request(request, false).unwrap();
    response.await.unwrap().status()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_is_refused_by_its_words_by_policy_and_by_an_application_that_is_away() {
    let machine = Machine::new();
    let web = machine.join("web", 2);
    let ledger = machine.join("ledger", 3);
    let application = Application::start(SocketAddr::new(machine.ip(3), 8080)).await;
    let credential = web.renew.borrow().clone();
    let config =
        credential.client(&"spiffe://cluster.local/ns/bank/sa/ledger".parse().unwrap(), false).unwrap();
    let connector = TlsConnector::from(config);
    let socket = TcpStream::connect(ledger.attached.hbone()).await.unwrap();
    let name = ServerName::IpAddress(machine.ip(3).into());
    let (mut send, connection) =
        h2::client::handshake(connector.connect(name, socket).await.unwrap()).await.unwrap();
    tokio::spawn(connection);
    let own = machine.ip(3);
    let way_out = ledger.proxy();
    let cases: [(Method, String, StatusCode, &Code); 8] = [
        // Through the ledger's explicit proxy the caller would call out as the ledger.
        (Method::CONNECT, way_out.to_string(), StatusCode::BAD_REQUEST, &codes::LOOP),
        (Method::CONNECT, ledger.mapped().to_string(), StatusCode::BAD_REQUEST, &codes::LOOP),
        (Method::GET, format!("{own}:8080"), StatusCode::BAD_REQUEST, &codes::TUNNEL_INVALID),
        (Method::CONNECT, "ledger:8080".into(), StatusCode::BAD_REQUEST, &codes::TUNNEL_INVALID),
        (Method::CONNECT, format!("{}:8080", machine.ip(2)), StatusCode::BAD_REQUEST, &codes::TUNNEL_INVALID),
        (Method::CONNECT, "127.0.0.1:8080".into(), StatusCode::BAD_REQUEST, &codes::TUNNEL_INVALID),
        (Method::CONNECT, format!("{own}:15008"), StatusCode::BAD_REQUEST, &codes::LOOP),
        (
            Method::CONNECT,
            format!("{own}:8081"),
            StatusCode::SERVICE_UNAVAILABLE,
            &codes::APPLICATION_UNREACHABLE,
        ),
    ];
    for (method, authority, status, code) in cases {
        assert_eq!(ask(&mut send, method.clone(), &authority).await, status, "{method} {authority}");
        assert_eq!(machine.records(1).await[0].code, Some(code), "{method} {authority}");
    }
    machine.change(Change::Policy(allow("only-batch", &["batch"])));
    assert_eq!(ask(&mut send, Method::CONNECT, &format!("{own}:8080")).await, StatusCode::UNAUTHORIZED);
    let record = machine.records(1).await.remove(0);
    assert_eq!(record.code, Some(&codes::NOT_ALLOWED));
    assert_eq!(record.detail, "1 rule of bank/only-batch considered, none matched");
    assert_eq!(record.source, WEB);
    let mut listed = machine.workload("ledger", 3);
    listed.policies = vec!["bank/lost".into()];
    machine.change(Change::PolicyGone("bank/only-batch".into()));
    machine.change(Change::Workload(listed));
    assert_eq!(ask(&mut send, Method::CONNECT, &format!("{own}:8080")).await, StatusCode::UNAUTHORIZED);
    assert_eq!(machine.records(1).await[0].code, Some(&codes::POLICY_UNKNOWN));
    machine.change(Change::WorkloadGone("here//Pod/bank/ledger".into()));
    assert_eq!(ask(&mut send, Method::CONNECT, &format!("{own}:8080")).await, StatusCode::UNAUTHORIZED);
    assert_eq!(application.count(), 0, "a refused connection sends nothing upstream");
}
