//! Somebody who is no workload, and calls a pod's proxy.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream as StdStream};
use std::sync::Arc;

use certs::{Authority, InitOptions, Request};
use model::identity::SpiffeId;
use probe::attempt::{Application, Attempt, Client, Version};
use probe::identity::ClientIdentity;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use time::OffsetDateTime;
use tokio::net::TcpStream;

use super::LIMIT;
use crate::commands::up::machine::network::Network;

fn failed(error: &dyn std::fmt::Display) -> String {
    format!("it could not be tried: {error}")
}

/// Somebody who is no workload.
#[derive(Clone, Copy)]
pub enum Stranger {
    /// Without a certificate.
    Nobody,
    /// With one of another authority, that claims to be a workload here.
    Elsewhere,
    /// Without TLS.
    Plain,
}

impl std::fmt::Display for Stranger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nobody => "no certificate",
            Self::Elsewhere => "another authority's",
            Self::Plain => "plain text",
        })
    }
}

impl Stranger {
    /// Ok: refused, and how. Err: let in, or it could not be tried.
    pub async fn call(self, network: &Network, to: SocketAddr, claims: &SpiffeId) -> Result<String, String> {
        let socket = tokio::time::timeout(LIMIT, network.connect(to)).await;
        let socket = socket.map_err(|_| failed(&format!("no connection within {LIMIT:?}")))?;
        let socket = socket.and_then(TcpStream::into_std).map_err(|error| failed(&error))?;
        let claims = claims.clone();
        let tried = tokio::task::spawn_blocking(move || self.try_it(socket, to, &claims)).await;
        tried.unwrap_or_else(|error| Err(error.to_string()))
    }

    fn try_it(self, mut socket: StdStream, to: SocketAddr, claims: &SpiffeId) -> Result<String, String> {
        socket.set_nonblocking(false).map_err(|error| failed(&error))?;
        socket.set_read_timeout(Some(LIMIT)).map_err(|error| failed(&error))?;
        if matches!(self, Self::Plain) {
            socket
                .write_all(b"GET / HTTP/1.1\r\nhost: application\r\n\r\n")
                .map_err(|error| failed(&error))?;
            let mut answer = Vec::new();
            return match socket.read_to_end(&mut answer) {
                Ok(_) if answer.starts_with(b"HTTP") => Err("answered in plain text".to_owned()),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    Err("neither answered nor closed".to_owned())
                }
                _ => Ok("refused: closed without an answer".to_owned()),
            };
        }
        let config = self.config(claims).map_err(|error| failed(&error))?;
        let mut tls = ClientConnection::new(Arc::new(config), ServerName::IpAddress(to.ip().into()))
            .map_err(|error| failed(&error))?;
        let mut stream = rustls::Stream::new(&mut tls, &mut socket);
        // In TLS 1.3 the refusal comes after the client's own handshake is over: with the first read.
        let done = stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
        let mut first = [0];
        match done.and_then(|()| stream.read_exact(&mut first)) {
            Ok(()) => Err("accepted".to_owned()),
            Err(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(rustls::Error::AlertReceived(alert)) => Ok(format!("refused: alert {alert:?}")),
                _ if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    Err("neither answered nor closed".to_owned())
                }
                _ => Ok(format!("refused: {error}")),
            },
        }
    }

    /// Of a client that takes any server: it is he who is tried.
    fn config(self, claims: &SpiffeId) -> Result<ClientConfig, Box<dyn std::error::Error>> {
        let client = match self {
            Self::Nobody | Self::Plain => None,
            Self::Elsewhere => {
                let folder = tempfile::tempdir()?;
                let now = OffsetDateTime::now_utc();
                let mut authority =
                    Authority::init(folder.path(), &InitOptions::default(), "the proof", now)?;
                let request = Request::new("stranger").with(certs::AltName::from(claims));
                let issued = authority.issue(&request, "the proof", now)?;
                let key = issued.key_pem.as_ref().map(|key| key.as_bytes()).unwrap_or_default();
                Some(ClientIdentity::from_pem(issued.chain_pem.as_bytes(), key)?)
            }
        };
        let attempt = Attempt {
            version: Some(Version::Tls13),
            name: String::new(),
            alpn: vec!["h2".to_owned()],
            client,
            application: Application::Tcp,
            timeout: LIMIT,
        };
        Ok(Client::new(&attempt, None)?.config().clone())
    }
}
