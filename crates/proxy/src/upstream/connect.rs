//! A new connection to one endpoint: the socket, a PROXY protocol header, TLS.

use std::io;
use std::time::Duration;

use model::codes::{Code, Coded, serving};
use model::snapshot::{Protocol, ProxyProtocol, Service};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UnixStream};

use super::address::Kind;
use super::tls::ServerIdentity;
use super::{Target, UpstreamStream};
use crate::connection::Connection;
use crate::error::Error;
use crate::state::Assembly;
use crate::transport::Transport;

/// How connections to a service are made.
pub struct Connector {
    service: String,
    tls: Option<ServerIdentity>,
    proxy_protocol: Option<ProxyProtocol>,
    timeout: Duration,
}

/// What the connection is for: decides which protocols TLS offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Application {
    /// HTTP, as the service's protocol says.
    Http,
    /// Bytes that are not looked into, after this header (in place of the service's own).
    Stream(Option<ProxyProtocol>),
}

/// Why there is no connection. Nothing of the application was sent.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No socket could be opened.
    #[error("cannot connect to {endpoint}: {error}")]
    Connect {
        /// Where to.
        endpoint: String,
        /// Why not.
        error: io::Error,
    },
    /// It took too long.
    #[error("no connection to {endpoint} within {after:?}")]
    Timeout {
        /// Where to.
        endpoint: String,
        /// How long.
        after: Duration,
    },
    /// The handshake failed: its certificate was refused by us, or ours by it.
    #[error("TLS with {endpoint} failed: {detail}")]
    Tls {
        /// Where to.
        endpoint: String,
        /// The stable reason.
        reason: &'static Code,
        /// What is wrong.
        detail: String,
    },
}

impl Coded for UpstreamError {
    fn code(&self) -> &'static Code {
        match self {
            Self::Connect { .. } => &serving::UPSTREAM_CONNECT,
            Self::Timeout { .. } => &serving::UPSTREAM_TIMEOUT,
            Self::Tls { .. } => &serving::UPSTREAM_TLS,
        }
    }
}

impl UpstreamError {
    /// Whether it is our own fault, for want of file descriptors or memory, and says nothing of the endpoint.
    pub fn is_our_own(&self) -> bool {
        use rustix::io::Errno;
        let Self::Connect { error, .. } = self else { return false };
        let ours = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL];
        error.raw_os_error().is_some_and(|code| ours.iter().any(|errno| errno.raw_os_error() == code))
    }

    /// Why in particular: for TLS the reason that the certificate was refused.
    pub fn reason(&self) -> &'static Code {
        match self {
            Self::Tls { reason, .. } => reason,
            other => other.code(),
        }
    }
}

impl Connector {
    /// Loads what connections to a service need.
    ///
    /// # Errors
    ///
    /// When a certificate, key, authority or revocation list is missing or wrong.
    pub fn new(name: &str, service: &Service, assembly: &mut Assembly<'_>) -> Result<Self, Error> {
        let protocols: &[&[u8]] = match service.protocol {
            Protocol::Http1 => &[b"http/1.1"],
            Protocol::Http10 => &[],
            Protocol::Http2 => &[b"h2"],
            Protocol::Auto => &[b"h2", b"http/1.1"],
        };
        let tls = match &service.tls {
            Some(tls) => Some(ServerIdentity::new(name, tls, protocols, assembly)?),
            None => None,
        };
        Ok(Self {
            service: name.to_owned(),
            tls,
            proxy_protocol: service.proxy_protocol,
            timeout: service.timeouts.connect.0,
        })
    }

    /// Whether connections made by the other are as good as those made by this one: same authorities, same
    /// certificate of ours, same settings.
    pub fn is_same(&self, other: &Self) -> bool {
        self.proxy_protocol == other.proxy_protocol
            && self.tls.as_ref().map(|tls| tls.content) == other.tls.as_ref().map(|tls| tls.content)
    }

    /// The service's name.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Whether connections are encrypted.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }
}

/// A new connection to one endpoint, TLS and PROXY protocol included. `client` is whom it is for: its address
/// goes into the header; health checks have none.
///
/// # Errors
///
/// An [`UpstreamError`]; nothing of the application was sent then, so another endpoint may be tried.
pub async fn connect(
    connector: &Connector,
    target: &Target,
    client: Option<&Connection>,
    application: Application,
) -> Result<UpstreamStream, UpstreamError> {
    let work = async {
        let mut transport = open(target)
            .await
            .map_err(|error| UpstreamError::Connect { endpoint: target.as_str().to_owned(), error })?;
        let header = match application {
            Application::Http | Application::Stream(None) => connector.proxy_protocol,
            Application::Stream(header) => header,
        };
        if let Some(version) = header {
            let header = crate::proxy_protocol::header(version, client);
            transport
                .write_all(&header)
                .await
                .map_err(|error| UpstreamError::Connect { endpoint: target.as_str().to_owned(), error })?;
        }
        match &connector.tls {
            Some(tls) => tls.handshake(transport, target, application == Application::Http).await,
            None => Ok(UpstreamStream::plain(transport)),
        }
    };
    match tokio::time::timeout(connector.timeout, Box::pin(work)).await {
        Ok(done) => done,
        Err(_) => {
            Err(UpstreamError::Timeout { endpoint: target.as_str().to_owned(), after: connector.timeout })
        }
    }
}

async fn open(target: &Target) -> io::Result<Transport> {
    match target.kind() {
        Kind::Unix(path) => Ok(UnixStream::connect(path).await?.into()),
        Kind::Socket(address) => tcp(*address).await,
        Kind::Name { host, port, known } => {
            let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no addresses");
            for address in known.resolve(host, *port).await? {
                match tcp(address).await {
                    Ok(transport) => return Ok(transport),
                    Err(error) => last = error,
                }
            }
            known.forget();
            Err(last)
        }
    }
}

async fn tcp(address: std::net::SocketAddr) -> io::Result<Transport> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    Ok(socket.into())
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("service", &self.service).finish_non_exhaustive()
    }
}
