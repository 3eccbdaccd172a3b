//! Where a probe goes: `host:port`, and the TCP connection to it.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use tokio::net::TcpStream;

/// A host (name or address) and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// A DNS name or an IP address, without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl FromStr for Endpoint {
    type Err = String;

    /// Takes `host`, `host:port`, `[v6]:port` and `https://host[:port][/path]`; the port is 443 when none is given.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.starts_with("http://") {
            return Err(format!(
                "{text} is plain HTTP; a TLS address is needed, as in https://host or host:443"
            ));
        }
        let rest = text.strip_prefix("https://").unwrap_or(text);
        let rest = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        let whole_address = rest.trim_matches(['[', ']']).parse::<IpAddr>();
        let (host, port) = match (whole_address, rest.rsplit_once(':')) {
            (Ok(address), _) => (address.to_string(), None),
            (_, Some((host, port))) => (host.trim_matches(['[', ']']).to_owned(), Some(port)),
            (_, None) => (rest.to_owned(), None),
        };
        let port = match port {
            None => 443,
            Some(digits) => digits.parse().map_err(|_| format!("'{digits}' is not a port, in {text}"))?,
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
        if host.is_empty() || !host.chars().all(fits) {
            return Err(format!("'{text}' is not an address; write host:port"));
        }
        Ok(Self { host, port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Why there is no TCP connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name has no address.
    #[error("the name {0} cannot be resolved: {1}")]
    Name(String, String),
    /// No address answered; the last reason.
    #[error("no connection to {0}: {1}")]
    Connect(String, String, io::ErrorKind),
}

impl Endpoint {
    /// The addresses of the host, in the order of the resolver.
    pub async fn resolve(&self) -> Result<Vec<SocketAddr>, DialError> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        match found.map(Iterator::collect::<Vec<_>>) {
            Ok(list) if !list.is_empty() => Ok(list),
            Ok(_) => Err(DialError::Name(self.host.clone(), "it has no address".into())),
            Err(error) => Err(DialError::Name(self.host.clone(), error.to_string())),
        }
    }

    /// Connects to the first address that answers, each within `timeout`.
    pub async fn connect(&self, timeout: Duration) -> Result<TcpStream, DialError> {
        let mut last = (String::from("no address"), io::ErrorKind::NotFound);
        for address in self.resolve().await? {
            match tokio::time::timeout(timeout, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // Small handshake messages must not wait for each other.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => last = (error.to_string(), error.kind()),
                Err(_) => last = (format!("no answer in {} s", timeout.as_secs()), io::ErrorKind::TimedOut),
            }
        }
        Err(DialError::Connect(self.to_string(), last.0, last.1))
    }
}
