//! The handshake with a client: who it wants to talk to decides the configuration, the outcome is either a
//! stream with its session, or one refusal with its reason.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use certs::verify::Rejection;
use model::codes::{Code, refusals};
use model::peer::{Peer, Verification};
use rustls::{CertificateError, HandshakeKind, PeerIncompatible, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::config::HostTls;
use super::context::{self, Notes};
use super::stream::AcceptError;
use super::terminator::Terminator;
use super::{TlsStream, peer};
use crate::connection::{Alpn, TlsSession};
use crate::detect::{self, Peeked};
use crate::transport::{TooLarge, Transport};

/// How long a refused client may take to read its alert.
const LINGER: Duration = Duration::from_secs(1);
/// How much of what a refused client still sends is read, so that it gets the alert and no reset.
const LINGER_BYTES: usize = 256 << 10;

/// A handshake that came to nothing.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) code: &'static Code,
    pub(crate) detail: String,
    pub(crate) peer: Option<Arc<Peer>>,
    /// To say good-bye with; what was not yet said is said by [`Refused::farewell`].
    transport: Option<Box<Transport>>,
    farewell: Farewell,
}

#[derive(Clone, Copy, Debug)]
enum Farewell {
    /// Said, or there is nobody to say it to.
    None,
    /// A fatal alert in the clear (RFC 8446, section 6).
    Alert(u8),
    /// HTTP 400.
    Http,
}

impl Refused {
    fn new(code: &'static Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), peer: None, transport: None, farewell: Farewell::None }
    }

    /// A refusal without a word to the client.
    pub(crate) fn silent(code: &'static Code, detail: impl Into<String>) -> Self {
        Self::new(code, detail)
    }

    fn over(self, transport: Transport, farewell: Farewell) -> Self {
        Self { transport: Some(Box::new(transport)), farewell, ..self }
    }

    fn about(self, peer: Option<Arc<Peer>>) -> Self {
        Self { peer, ..self }
    }

    /// The connection of a client that speaks plain HTTP, for a listener that has a page for that.
    pub(crate) fn into_plain_http(self) -> Result<Transport, Self> {
        match self {
            Self { farewell: Farewell::Http, transport: Some(mut transport), .. } => {
                transport.bound(usize::MAX);
                Ok(*transport)
            }
            other => Err(other),
        }
    }

    /// Tells the client as much as it may know, and lets it read that. The connection ends with it.
    pub(crate) async fn farewell(self) {
        let Some(mut transport) = self.transport else { return };
        let words: &[u8] = match self.farewell {
            Farewell::None => &[],
            Farewell::Alert(description) => &[0x15, 3, 3, 0, 2, 2, description],
            Farewell::Http => PLAIN_HTTP_ANSWER,
        };
        let work = async {
            transport.bound(LINGER_BYTES);
            transport.write_all(words).await?;
            transport.shutdown().await?;
            let mut sink = Vec::with_capacity(4096);
            while transport.read_buf(&mut sink).await? > 0 {
                sink.clear();
            }
            io::Result::Ok(())
        };
        // Whether the client listens is its own affair.
        let _ = tokio::time::timeout(LINGER, Box::pin(work)).await;
    }
}

const PLAIN_HTTP_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\n\
    content-length: 63\r\nconnection: close\r\n\r\n\
    This port speaks TLS: plain HTTP was sent. Use https:// instead\n";

/// Makes the handshake. `asked` receives the server name as soon as it is known, for the log line of a
/// handshake that takes too long.
pub(crate) async fn accept(
    mut transport: Transport,
    terminator: &Terminator,
    most: usize,
    asked: &mut Option<Box<str>>,
) -> Result<(TlsStream, TlsSession), Refused> {
    transport.bound(most);
    let (peeked, bytes) = match detect::read(&mut transport, most).await {
        Ok(read) => read,
        Err(error) => return Err(ended(&error, 0).over(transport, Farewell::None)),
    };
    let hello = match peeked {
        Peeked::Tls(hello) => hello,
        Peeked::MalformedTls => detect::ClientHello { version: 0x0303, ..Default::default() },
        Peeked::Incomplete => return Err(ended(&io::ErrorKind::UnexpectedEof.into(), bytes.len())),
        Peeked::Http => {
            let refused = Refused::new(&refusals::PLAIN_HTTP, refusals::PLAIN_HTTP.title);
            transport.put_back(bytes);
            return Err(refused.over(transport, Farewell::Http));
        }
        Peeked::Other => {
            let first = bytes.first().copied().unwrap_or_default();
            let detail = format!("the first byte is 0x{first:02x}");
            return Err(Refused::new(&refusals::NOT_TLS, detail).over(transport, Farewell::None));
        }
    };
    asked.clone_from(&hello.server_name);
    if hello.version < 0x0303 {
        // A client of this age sends no signature algorithms, and the TLS library would stumble over that.
        let detail = format!("the client offers TLS 1.{} at most", (hello.version & 0xff).saturating_sub(1));
        return Err(Refused::new(&refusals::PROTOCOL_VERSION, detail).over(transport, Farewell::Alert(70)));
    }
    let Some(chosen) = terminator.choose(hello.server_name.as_deref()) else {
        let detail = match &hello.server_name {
            Some(name) => format!("no host is named {name}"),
            None => "no server name was sent, and names are enforced here".to_owned(),
        };
        return Err(Refused::new(&refusals::UNRECOGNIZED_NAME, detail).over(transport, Farewell::Alert(112)));
    };
    if chosen.host.reject {
        let detail = "this host refuses every handshake";
        return Err(Refused::new(&refusals::UNRECOGNIZED_NAME, detail).over(transport, Farewell::Alert(112)));
    }
    if let Err(detail) = something_in_common(&hello, chosen.host) {
        return Err(Refused::new(&refusals::NO_COMMON_CIPHER, detail).over(transport, Farewell::Alert(40)));
    }
    let config = Arc::clone(&chosen.host.config);
    let handshake = TlsStream::accept(transport, bytes, config, most);
    let (done, notes) = context::within(handshake).await;
    let mut stream = match done {
        Ok(stream) => stream,
        Err((error, transport)) => return Err(failed(&error, notes).over(transport, Farewell::None)),
    };
    stream.io_mut().bound(usize::MAX);
    let session = session(&stream, chosen.index, chosen.host, hello.server_name)?;
    Ok((stream, session))
}

/// Whether there is a cipher suite, and a certificate that goes with it and with what the client can verify.
/// The TLS library would find out too, but says "access denied" and that no certificate was found.
fn something_in_common(hello: &detect::ClientHello, host: &HostTls) -> Result<(), &'static str> {
    if hello.cipher_suites.is_empty() {
        // Malformed: the TLS library says how.
        return Ok(());
    }
    let provider = host.config.crypto_provider();
    let mut common = provider
        .cipher_suites
        .iter()
        .filter(|suite| hello.cipher_suites.contains(&u16::from(suite.suite())))
        .peekable();
    if common.peek().is_none() {
        return Err("the client offers none of our cipher suites");
    }
    let mut schemes: Vec<SignatureScheme> =
        hello.signature_schemes.iter().copied().map(SignatureScheme::from).collect();
    if schemes.is_empty() {
        return Ok(());
    }
    if hello.version < 0x0304 {
        // In TLS 1.2 the suite says which kind of key signs (RFC 5246, section 7.4.2).
        let signable: Vec<SignatureScheme> = common
            .filter_map(|suite| match suite {
                rustls::SupportedCipherSuite::Tls12(suite) => Some(suite.sign),
                _ => None,
            })
            .flatten()
            .copied()
            .collect();
        schemes.retain(|scheme| signable.contains(scheme));
    }
    match host.certificates.choose(hello.server_name.as_deref(), &schemes) {
        Some(_) => Ok(()),
        None => Err("the client can verify none of our certificates' signatures"),
    }
}

/// What was negotiated, and with whom. A resumed session passes the same gate as a full handshake.
fn session(
    stream: &TlsStream,
    index: usize,
    host: &HostTls,
    sni: Option<Box<str>>,
) -> Result<TlsSession, Refused> {
    let tls = stream.session();
    let resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
    let chain = tls.peer_certificates().unwrap_or_default();
    if resumed && let Some(verifier) = &host.verifier {
        let passed = if chain.is_empty() {
            if verifier.is_mandatory() { Err(missing()) } else { Ok(()) }
        } else {
            verifier.verify(chain, UnixTime::now())
        };
        if let Err(rejection) = passed {
            let seen = peer::shared(chain, Verification::Failed(rejection.code));
            let detail = format!("a session was resumed, but {rejection}");
            return Err(Refused::new(rejection.code, detail).about(Some(seen)));
        }
    }
    Ok(TlsSession {
        version: tls.protocol_version().unwrap_or(rustls::ProtocolVersion::TLSv1_2),
        cipher: tls
            .negotiated_cipher_suite()
            .map_or(rustls::CipherSuite::TLS_NULL_WITH_NULL_NULL, |suite| suite.suite()),
        group: tls.negotiated_key_exchange_group().map(|group| group.name()),
        sni,
        alpn: tls.alpn_protocol().map(Alpn::from),
        resumed,
        peer: (!chain.is_empty()).then(|| describe(chain, host)),
        host: Some(index),
        policy_key: host.key,
    })
}

fn missing() -> Rejection {
    Rejection {
        code: &refusals::CLIENT_CERTIFICATE_MISSING,
        what: "it has no client certificate".to_owned(),
        evidence: Vec::new(),
    }
}

/// The peer as the host's own policy sees it.
fn describe(chain: &[CertificateDer<'_>], host: &HostTls) -> Arc<Peer> {
    match &host.policy {
        Some(policy) => policy.peer(chain, UnixTime::now()).0,
        None => peer::shared(chain, Verification::Unverified),
    }
}

/// The reason why a handshake failed.
fn failed(error: &AcceptError, notes: Notes) -> Refused {
    if let Some(rejection) = notes.rejection {
        return Refused::new(rejection.code, rejection.to_string()).about(notes.peer);
    }
    let tls = match error {
        AcceptError::Tls(error) => error,
        AcceptError::Io(error) => return ended(error, 1),
        AcceptError::TooLarge(_) => return Refused::new(&refusals::HANDSHAKE_TOO_LARGE, error.to_string()),
    };
    let code = match tls {
        rustls::Error::NoCertificatesPresented => &refusals::CLIENT_CERTIFICATE_MISSING,
        rustls::Error::NoApplicationProtocol => &refusals::NO_APPLICATION_PROTOCOL,
        rustls::Error::AlertReceived(_) => &refusals::PEER_ALERT,
        rustls::Error::InvalidCertificate(CertificateError::BadSignature) => &refusals::BAD_SIGNATURE,
        rustls::Error::InvalidCertificate(_) => &refusals::BAD_CERTIFICATE,
        rustls::Error::PeerIncompatible(
            PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::Tls13RequiredForQuic,
        ) => &refusals::PROTOCOL_VERSION,
        rustls::Error::PeerIncompatible(_) => &refusals::NO_COMMON_CIPHER,
        rustls::Error::PeerSentOversizedRecord => &refusals::HANDSHAKE_TOO_LARGE,
        rustls::Error::InvalidMessage(
            rustls::InvalidMessage::HandshakePayloadTooLarge
            | rustls::InvalidMessage::CertificatePayloadTooLarge,
        ) => &refusals::HANDSHAKE_TOO_LARGE,
        _ => &refusals::PROTOCOL_ERROR,
    };
    Refused::new(code, tls.to_string())
}

/// The reason why a connection ended before its handshake did.
fn ended(error: &io::Error, received: usize) -> Refused {
    if error.get_ref().is_some_and(|inner| inner.is::<TooLarge>()) {
        return Refused::new(&refusals::HANDSHAKE_TOO_LARGE, refusals::HANDSHAKE_TOO_LARGE.title);
    }
    let detail = match received {
        0 => format!("closed before a single byte: {error}"),
        _ => format!("closed in the middle of the handshake: {error}"),
    };
    Refused::new(&refusals::PEER_CLOSED, detail)
}
