//! The clients that are not ours: OpenSSL, GnuTLS, curl and Go. Each makes one connection, writes, *reads after
//! the handshake*, and tells what it saw in the same words.

mod curl;
mod gnutls;
mod go;
mod openssl;
mod python;

use std::net::SocketAddr;
use std::time::Duration;

use crate::pki::Credential;

pub use go::{GoClient, Round, rounds};
pub use openssl::run as openssl;
pub use python::python_with;

/// A protocol version that a client is held to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Version {
    /// TLS 1.0.
    Tls10,
    /// TLS 1.1.
    Tls11,
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// A program to connect with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Client {
    /// `openssl s_client`.
    OpenSsl,
    /// `gnutls-cli`.
    GnuTls,
    /// `curl`, which sends its own request for the path in [`Attempt::curl_path`].
    Curl,
    /// Go's crypto/tls.
    Go,
}

/// All of them.
pub const CLIENTS: [Client; 4] = [Client::OpenSsl, Client::GnuTls, Client::Curl, Client::Go];

/// One connection to be made.
#[derive(Clone, Debug)]
pub struct Attempt<'a> {
    /// Where to.
    pub addr: SocketAddr,
    /// The version, and no other.
    pub version: Version,
    /// The server name to ask for; `None` sends none (curl always sends one).
    pub server_name: Option<&'a str>,
    /// The client certificate.
    pub credential: Option<&'a Credential>,
    /// Protocols to offer by ALPN; empty offers none.
    pub alpn: &'a [&'a str],
    /// What to write after the handshake. Curl writes a request of its own.
    pub send: &'a str,
    /// Curl's path; its `Host` is the server name.
    pub curl_path: &'a str,
    /// The only key exchange group and cipher that are offered, where the row is about them.
    pub narrow: Narrow,
    /// Stop as soon as this many bytes of application data came; 0 reads to the end of the connection.
    pub enough: usize,
    /// The longest that it may take.
    pub limit: Duration,
}

/// What a client offers, besides its version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Narrow {
    /// As it is by default.
    No,
    /// TLS 1.2 suites with CBC only, TLS 1.3 groups with finite fields only (or, in Go, P-521 only).
    NothingInCommon,
}

impl<'a> Attempt<'a> {
    /// An HTTP/1.1 request for `/` of `app.test` that ends with the connection.
    pub fn new(addr: SocketAddr, version: Version) -> Self {
        Self {
            addr,
            version,
            server_name: Some("app.test"),
            credential: None,
            alpn: &[],
            send: "GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n",
            curl_path: "/",
            narrow: Narrow::No,
            enough: 0,
            limit: Duration::from_secs(10),
        }
    }

    /// With this client certificate.
    pub fn credential(mut self, credential: Option<&'a Credential>) -> Self {
        self.credential = credential;
        self
    }
}

/// What a client saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The alert that the server sent.
    pub alert: Option<u8>,
    /// Application data that came.
    pub read: String,
    /// The client could not even try (it refuses to load this certificate, or lacks the version).
    pub unable: Option<String>,
    /// All that the program printed, for the message of a failing test.
    pub text: String,
}

impl Seen {
    /// The status of an HTTP/1.1 answer.
    pub fn status(&self) -> Option<u16> {
        let line = self.read.lines().find(|line| line.starts_with("HTTP/"))?;
        line.split(' ').nth(1)?.parse().ok()
    }
}

impl Client {
    /// Whether its program is on this machine.
    pub fn is_installed(self) -> bool {
        match self {
            Self::OpenSsl => crate::find_program("openssl").is_some(),
            Self::GnuTls => crate::find_program("gnutls-cli").is_some(),
            Self::Curl => crate::find_program("curl").is_some(),
            Self::Go => GoClient::find().is_some(),
        }
    }

    /// Makes the connection; `None` if the program is not installed.
    pub fn connect(self, attempt: &Attempt<'_>) -> Option<Seen> {
        match self {
            Self::OpenSsl => openssl::connect(attempt),
            Self::GnuTls => gnutls::connect(attempt),
            Self::Curl => curl::connect(attempt),
            Self::Go => go::connect(attempt),
        }
    }
}

/// The number behind the first of these markers in a program's output.
fn number_after(text: &str, marker: &str) -> Option<u8> {
    let rest = &text[text.find(marker)? + marker.len()..];
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}
