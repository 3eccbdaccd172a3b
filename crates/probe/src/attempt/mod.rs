//! One TLS connection from TCP to the application's answer, with what was seen on the way.
//!
//! A TLS 1.3 client is done before the server has looked at its certificate, so an attempt always reads
//! after the handshake before it says "accepted". [`crate::test`] and [`crate::explain`] are built on it.

mod end;
mod hooks;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, HandshakeKind, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsConnector;

pub use end::{Answer, End};
pub use hooks::{Asked, Tickets};

use crate::dial::{DialError, Endpoint};
use crate::identity::ClientIdentity;

/// A TLS version that this client speaks with rustls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub enum Version {
    /// RFC 5246.
    #[serde(rename = "TLS 1.2")]
    Tls12,
    /// RFC 8446.
    #[serde(rename = "TLS 1.3")]
    Tls13,
}

impl Version {
    /// Both, the older first.
    pub const BOTH: [Version; 2] = [Version::Tls12, Version::Tls13];

    fn supported(self) -> &'static [&'static SupportedProtocolVersion] {
        static ONLY_12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
        static ONLY_13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
        match self {
            Version::Tls12 => ONLY_12,
            Version::Tls13 => ONLY_13,
        }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Version::Tls12 => "TLS 1.2",
            Version::Tls13 => "TLS 1.3",
        })
    }
}

/// What the application behind TLS speaks, as far as needed to see whether it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Application {
    /// A GET request is sent and the status line read.
    Http {
        /// The `Host` header.
        host: String,
        /// The request's path.
        path: String,
    },
    /// Nothing is sent; a connection that stays open for a second counts as accepted.
    Tcp,
}

/// How to connect.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The only version offered, or both.
    pub version: Option<Version>,
    /// The server name to ask for; an IP address sends no SNI.
    pub name: String,
    /// Protocols to offer (ALPN); empty sends no such extension.
    pub alpn: Vec<String>,
    /// The client's certificate, sent when asked for.
    pub client: Option<ClientIdentity>,
    /// What follows the handshake.
    pub application: Application,
    /// Time for the whole attempt.
    pub timeout: Duration,
}

/// What was learnt about the server during an attempt.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The version chosen.
    pub version: Option<Version>,
    /// The cipher suite chosen, by its IANA name.
    pub suite: Option<String>,
    /// The key exchange group chosen.
    pub group: Option<String>,
    /// The application protocol chosen.
    pub alpn: Option<String>,
    /// The server's chain as sent, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The server's request for a client certificate.
    pub asked: Option<Asked>,
    /// Whether our key could sign in a way that the server accepts; `None` when there was nothing to sign.
    pub could_sign: Option<bool>,
    /// Whether the server's signature could not be checked: its RSA key is too small for the crypto library.
    pub unproven: bool,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// When the server's chain was seen.
    pub chain_at: Option<std::time::Instant>,
    /// When the server's request for a client certificate was answered.
    pub asked_at: Option<std::time::Instant>,
}

/// How an attempt went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// Whether the TLS handshake was finished from the client's side.
    pub handshake: bool,
    /// What was learnt.
    pub facts: Facts,
    /// How long it took.
    pub took: Duration,
}

/// A client configuration that can be used for several connections, so that tickets fit (rustls binds a
/// ticket to the verifier and resolver of the configuration that got it).
pub struct Client {
    config: ClientConfig,
    hooks: Arc<hooks::Hooks>,
}

impl Client {
    /// Offers what `attempt` says; `tickets` keeps sessions across names on purpose.
    pub fn new(attempt: &Attempt, tickets: Option<Arc<Tickets>>) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        Self::with_provider(attempt, tickets, provider)
    }

    fn with_provider(
        attempt: &Attempt,
        tickets: Option<Arc<Tickets>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, rustls::Error> {
        let hooks = Arc::new(hooks::Hooks::new(provider.clone(), attempt.client.clone()));
        let versions = attempt.version.map_or(rustls::ALL_VERSIONS, Version::supported);
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .dangerous()
            // The probe looks at servers that nobody should trust; `test::server` judges the chain.
            .with_custom_certificate_verifier(hooks.clone())
            .with_client_cert_resolver(hooks.clone());
        config.alpn_protocols = attempt.alpn.iter().map(|name| name.clone().into_bytes()).collect();
        config.resumption = match tickets {
            Some(store) => Resumption::store(store),
            None => Resumption::disabled(),
        };
        Ok(Self { config, hooks })
    }

    /// Changes whom the client says it is, from the next connection on.
    pub fn set_identity(&self, client: Option<ClientIdentity>) {
        self.hooks.set_identity(client);
    }

    /// The configuration, to make connections by hand.
    pub fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// Adds what the last connection's hooks saw.
    pub(crate) fn observe(&self, facts: &mut Facts) {
        self.hooks.fill(facts);
    }

    /// Connects once and reads to the end.
    pub async fn run(&self, endpoint: &Endpoint, attempt: &Attempt) -> Outcome {
        self.observed(attempt.timeout, async |known| {
            let tcp = match endpoint.connect(attempt.timeout).await {
                Ok(tcp) => tcp,
                Err(error) => return End::from(error),
            };
            self.steps(tcp, attempt, known).await
        })
        .await
    }

    /// The same over a stream that is there already, as through a port that is forwarded.
    pub async fn over<S>(&self, stream: S, attempt: &Attempt) -> Outcome
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.observed(attempt.timeout, async |known| self.steps(stream, attempt, known).await).await
    }

    async fn observed(
        &self,
        timeout: Duration,
        steps: impl AsyncFnOnce(&Mutex<(bool, Facts)>) -> End,
    ) -> Outcome {
        let started = std::time::Instant::now();
        self.hooks.clear();
        let known = Mutex::new((false, Facts::default()));
        let end = match tokio::time::timeout(timeout, steps(&known)).await {
            Ok(end) => end,
            Err(_) => End::Silent,
        };
        let (handshake, mut facts) = known.into_inner().unwrap_or_default();
        self.hooks.fill(&mut facts);
        Outcome { end, handshake, facts, took: started.elapsed() }
    }

    async fn steps<S>(&self, stream: S, attempt: &Attempt, known: &Mutex<(bool, Facts)>) -> End
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Ok(name) = ServerName::try_from(attempt.name.clone()) else {
            return End::Local(format!("'{}' is not a server name", attempt.name));
        };
        let connector = TlsConnector::from(Arc::new(self.config.clone()));
        let mut tls = match connector.connect(name, stream).await {
            Ok(tls) => tls,
            Err(error) => return End::from(error),
        };
        if let Ok(mut known) = known.lock() {
            let connection = tls.get_ref().1;
            known.0 = true;
            known.1 = facts_of(connection);
        }
        let end = converse(&mut tls, &attempt.application).await;
        let _ = tokio::time::timeout(Duration::from_millis(200), tls.shutdown()).await;
        end
    }
}

/// What a finished handshake has agreed on.
pub(crate) fn facts_of(connection: &rustls::ClientConnection) -> Facts {
    let suite = connection.negotiated_cipher_suite().and_then(|s| s.suite().as_str());
    Facts {
        version: connection.protocol_version().and_then(|version| match version {
            rustls::ProtocolVersion::TLSv1_2 => Some(Version::Tls12),
            rustls::ProtocolVersion::TLSv1_3 => Some(Version::Tls13),
            _ => None,
        }),
        suite: suite.map(|name| name.replacen("TLS13_", "TLS_", 1)),
        group: connection.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name())),
        alpn: connection.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
        resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        ..Facts::default()
    }
}

/// Connects once, with a client of its own.
pub async fn attempt(endpoint: &Endpoint, attempt: &Attempt) -> Outcome {
    match Client::new(attempt, None) {
        Ok(client) => client.run(endpoint, attempt).await,
        Err(error) => Outcome {
            end: End::Local(error.to_string()),
            handshake: false,
            facts: Facts::default(),
            took: Duration::ZERO,
        },
    }
}

/// Asks the application for an answer, and reads what comes: an alert, a status line, bytes or the end.
pub(crate) async fn converse<S>(stream: &mut S, application: &Application) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // The answer's beginning is enough: the status line and the sentence of an error page.
    const MOST: usize = 16 * 1024;
    let mut seen = Vec::new();
    if let Application::Http { host, path } = application {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: handfast-test\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        );
        // A refusal may be on its way already: a failed write is no reason not to read it.
        let _ = stream.write_all(request.as_bytes()).await;
        let _ = stream.flush().await;
    }
    let mut buffer = [0u8; 4096];
    loop {
        let read = match application {
            Application::Http { .. } => stream.read(&mut buffer).await,
            Application::Tcp => match tokio::time::timeout(QUIET, stream.read(&mut buffer)).await {
                Ok(read) => read,
                Err(_) => return End::Answered(Answer::Open),
            },
        };
        match read {
            Ok(0) => return end::of_bytes(&seen, None),
            Ok(count) => {
                seen.extend_from_slice(&buffer[..count]);
                if *application == Application::Tcp {
                    return End::Answered(Answer::Bytes);
                }
                if seen.len() >= MOST || end::is_whole(&seen) {
                    return end::of_bytes(&seen, None);
                }
            }
            Err(error) => return end::of_bytes(&seen, Some(error)),
        }
    }
}

/// How long a connection that says nothing must stay open to count as accepted.
const QUIET: Duration = Duration::from_millis(1000);

impl From<DialError> for End {
    fn from(error: DialError) -> Self {
        End::Unreachable(error.to_string())
    }
}
