//! The client's half of TLS: offers exactly one version, suite and group, and records what came of it.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, HandshakeKind, RootCertStore, SignatureScheme};
use serde::Serialize;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::Load;
use crate::stream::Stream;

/// A cipher suite of TLS 1.3.
#[derive(Clone, Copy, ValueEnum)]
pub enum Cipher {
    /// TLS_AES_128_GCM_SHA256
    Aes128gcm,
    /// TLS_AES_256_GCM_SHA384
    Aes256gcm,
    /// TLS_CHACHA20_POLY1305_SHA256
    Chacha20,
}

/// A key exchange group.
#[derive(Clone, Copy, ValueEnum)]
pub enum Group {
    /// X25519
    X25519,
    /// secp256r1
    P256,
    /// X25519MLKEM768
    X25519mlkem768,
}

/// What one connection negotiated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Negotiated {
    /// The protocol version.
    pub version: String,
    /// The cipher suite.
    pub cipher: String,
    /// The key exchange group.
    pub group: String,
    /// Type of the server certificate's key.
    pub key: String,
    /// The application protocol, empty when none.
    pub alpn: String,
    /// Whether a client certificate was sent (or, on a resumed connection, had been sent before).
    pub mutual: bool,
}

/// Counts over all handshakes of a run, the warm-up included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Full handshakes, with a certificate.
    pub full: u64,
    /// Resumed ones.
    pub resumed: u64,
    /// How often the server asked for a client certificate.
    pub asked: u64,
}

/// How a client resumes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// Never: each handshake is a full one.
    Never,
    /// Whenever there is a ticket.
    Tickets,
}

/// Makes connections and keeps count.
pub struct Client {
    /// Absent for connections without TLS.
    connector: Option<TlsConnector>,
    name: ServerName<'static>,
    target: SocketAddr,
    answers: Arc<Answers>,
    full: AtomicU64,
    resumed: AtomicU64,
}

impl Client {
    /// A client for the load's target that offers `alpn`.
    pub fn new(load: &Load, alpn: &str, resume: Resume) -> anyhow::Result<Self> {
        let provider = Arc::new(provider(load.cipher, load.group));
        let mut roots = RootCertStore::empty();
        if let Some(ca) = &load.ca {
            for certificate in certificates(ca)? {
                roots.add(certificate)?;
            }
        }
        let key = match (&load.cert, &load.key) {
            (Some(cert), Some(key)) => {
                let key = PrivateKeyDer::from_pem_file(key)
                    .with_context(|| format!("cannot read {}", key.display()))?;
                Some(Arc::new(CertifiedKey::from_der(certificates(cert)?, key, &provider)?))
            }
            _ => None,
        };
        let answers = Arc::new(Answers { key, asked: AtomicU64::new(0) });
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_client_cert_resolver(answers.clone());
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        config.resumption = match resume {
            Resume::Never => Resumption::disabled(),
            Resume::Tickets => Resumption::in_memory_sessions(8),
        };
        Ok(Self {
            connector: (!load.plain).then(|| TlsConnector::from(Arc::new(config))),
            name: ServerName::try_from(load.name.clone()).context("not a server name")?,
            target: load.target,
            answers,
            full: AtomicU64::new(0),
            resumed: AtomicU64::new(0),
        })
    }

    /// Connects, and shakes hands where there is TLS.
    pub async fn connect(&self) -> anyhow::Result<Stream> {
        self.connect_from(None).await
    }

    /// The same from an address of this machine's.
    pub async fn connect_from(&self, source: Option<IpAddr>) -> anyhow::Result<Stream> {
        let tcp = match source {
            None => TcpStream::connect(self.target).await,
            Some(source) => {
                let socket = if source.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
                socket.bind(SocketAddr::new(source, 0))?;
                socket.connect(self.target).await
            }
        };
        let tcp = tcp.context("connect")?;
        tcp.set_nodelay(true)?;
        let Some(connector) = &self.connector else { return Ok(Stream::Plain(tcp)) };
        let stream = connector.connect(self.name.clone(), tcp).await.context("handshake")?;
        match stream.get_ref().1.handshake_kind() {
            Some(HandshakeKind::Resumed) => self.resumed.fetch_add(1, Ordering::Relaxed),
            Some(HandshakeKind::Full) => self.full.fetch_add(1, Ordering::Relaxed),
            // A second round trip would make this run another measurement than its neighbours.
            other => bail!("unexpected kind of handshake: {other:?}"),
        };
        Ok(Stream::Tls(Box::new(stream)))
    }

    /// What has been counted until now.
    pub fn tally(&self) -> Tally {
        Tally {
            full: self.full.load(Ordering::Relaxed),
            resumed: self.resumed.load(Ordering::Relaxed),
            asked: self.answers.asked.load(Ordering::Relaxed),
        }
    }

    /// What a connection negotiated, nothing without TLS. A server that never asked for the certificate is not "mutual".
    pub fn negotiated(&self, stream: &Stream) -> anyhow::Result<Option<Negotiated>> {
        let Stream::Tls(stream) = stream else { return Ok(None) };
        let session = stream.get_ref().1;
        let text = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
        Ok(Some(Negotiated {
            version: text(session.protocol_version().map(|version| format!("{version:?}"))),
            cipher: text(session.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()))),
            group: text(session.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name()))),
            key: key_type(session.peer_certificates().and_then(<[_]>::first))?,
            alpn: String::from_utf8_lossy(session.alpn_protocol().unwrap_or_default()).into_owned(),
            mutual: self.answers.key.is_some() && self.answers.asked.load(Ordering::Relaxed) > 0,
        }))
    }

    /// Checks at the end of a run that the server asked for a certificate in each full handshake, or in none.
    pub fn check(&self) -> anyhow::Result<Tally> {
        let tally = self.tally();
        let expected = if self.answers.key.is_some() { tally.full } else { 0 };
        ensure!(
            tally.asked == expected,
            "the server asked for a client certificate in {} of {} full handshakes",
            tally.asked,
            tally.full
        );
        Ok(tally)
    }
}

/// Adds one connection's parameters to those of the run; a difference is an error.
pub fn agree(run: &mut Option<Negotiated>, one: Option<Negotiated>) -> anyhow::Result<()> {
    match (&run, one) {
        (Some(first), Some(one)) if *first != one => {
            bail!("connections of one run differ: {first:?} and {one:?}")
        }
        (None, Some(one)) => *run = Some(one),
        _ => {}
    }
    Ok(())
}

fn provider(cipher: Cipher, group: Group) -> CryptoProvider {
    let suite = match cipher {
        Cipher::Aes128gcm => aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
        Cipher::Aes256gcm => aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384,
        Cipher::Chacha20 => aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    };
    let group = match group {
        Group::X25519 => aws_lc_rs::kx_group::X25519,
        Group::P256 => aws_lc_rs::kx_group::SECP256R1,
        Group::X25519mlkem768 => aws_lc_rs::kx_group::X25519MLKEM768,
    };
    CryptoProvider { cipher_suites: vec![suite], kx_groups: vec![group], ..aws_lc_rs::default_provider() }
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(!certificates.is_empty(), "no certificate in {}", path.display());
    Ok(certificates)
}

fn key_type(certificate: Option<&CertificateDer<'_>>) -> anyhow::Result<String> {
    let certificate = certificate.context("no server certificate")?;
    let (_, parsed) = X509Certificate::from_der(certificate)?;
    let algorithm = &parsed.public_key().algorithm;
    let curve =
        algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok()).map(|oid| oid.to_id_string());
    Ok(match (algorithm.algorithm.to_id_string().as_str(), curve.as_deref()) {
        ("1.2.840.10045.2.1", Some("1.2.840.10045.3.1.7")) => "ECDSA P-256".to_owned(),
        ("1.2.840.10045.2.1", Some("1.3.132.0.34")) => "ECDSA P-384".to_owned(),
        ("1.2.840.113549.1.1.1", _) => "RSA".to_owned(),
        ("1.3.101.112", _) => "Ed25519".to_owned(),
        (other, _) => other.to_owned(),
    })
}

/// Answers the server's request for a certificate, and counts it.
#[derive(Debug)]
struct Answers {
    key: Option<Arc<CertifiedKey>>,
    asked: AtomicU64,
}

impl ResolvesClientCert for Answers {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.key.clone()
    }

    fn has_certs(&self) -> bool {
        // Also without a certificate: whether the server asks must be counted either way.
        true
    }
}
