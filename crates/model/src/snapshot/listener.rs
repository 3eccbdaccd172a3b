//! A listener: an address, its TLS, and what happens with the connections.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AccessLog, Host};
use crate::policy::ClientPolicy;
use crate::units::{Size, Span};

/// An address, its TLS, and what happens with the connections. Exactly one of `hosts` (HTTP) and `tcp`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// A name for logs and metrics, unique.
    pub name: String,
    /// Addresses: `127.0.0.1:8443`, `[::]:443`, `:443` (all addresses), `unix:/path`.
    pub bind: Vec<Bind>,
    /// A PROXY protocol header (v1 or v2) is read first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocolIn>,
    /// TLS is ended here. None: plain text, or passed through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTls>,
    /// HTTP: the virtual hosts. The first one marked `default`, else the first, takes unknown names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<Host>,
    /// Raw TCP, or TLS passed through by server name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpListener>,
    /// Bounds on what clients may take.
    #[serde(default)]
    pub limits: Limits,
    /// How long clients may take.
    #[serde(default)]
    pub timeouts: Timeouts,
}

/// Where connections go that are not looked into.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TcpListener {
    /// Looks at the ClientHello for the server name without ending TLS (only where the listener has no `tls`).
    pub peek: bool,
    /// By server name (SNI), first match; a route without names takes the rest. No match: refused.
    pub routes: Vec<StreamRoute>,
    /// Header sent to the service first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Where each connection is logged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLog>,
}

/// One service behind a TCP listener.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StreamRoute {
    /// Server names: exact or `*.example.com`; empty for all.
    pub names: Vec<String>,
    /// The service's name.
    pub service: String,
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Bind {
    /// An IP address and port.
    Socket(SocketAddr),
    /// A path in the file system.
    Unix(PathBuf),
}

/// TLS as a server: certificates, versions, clients. A host may refine the listener's; a field that is not
/// set there is inherited.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServerTls {
    /// Chains and keys; several of different key types may serve the same names.
    pub certificates: Vec<CertificateFiles>,
    /// Lowest version. Default 1.2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_version: Option<TlsVersion>,
    /// Highest version. Default 1.3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_version: Option<TlsVersion>,
    /// Cipher suites by their IANA names, in order. Empty: the safe default of the TLS library.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ciphers: Vec<String>,
    /// Key exchange groups in order: X25519MLKEM768, X25519, P-256, P-384. Empty: all, in this order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Application protocols in order. Default `h2`, `http/1.1` for HTTP, none for TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpn: Option<Vec<String>>,
    /// What is asked of clients. None: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<ClientPolicy>,
    /// Session tickets. Default true. They are bound to this policy and trust (invariant 6).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tickets: Option<bool>,
    /// How long a ticket may be used. Default 12 h; keys rotate at half of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket_lifetime: Option<Span>,
    /// Refuses the handshake for names that no host has (alert unrecognized_name). Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reject_unknown_names: Option<bool>,
    /// Refuses every handshake of this host, as nginx's `ssl_reject_handshake`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reject: Option<bool>,
}

/// Where a certificate and its key are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateFiles {
    /// PEM file: the leaf, then its intermediates (the key may be in it too).
    pub chain: PathBuf,
    /// PEM file of the private key (PKCS#8, PKCS#1 or SEC1, also encrypted PKCS#8).
    pub key: PathBuf,
    /// File with passwords for an encrypted key, one per line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// TLS 1.2, RFC 5246.
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3, RFC 8446.
    #[serde(rename = "1.3")]
    V1_3,
}

/// A PROXY protocol header that is expected from clients.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProxyProtocolIn {
    /// Networks (`10.0.0.0/8`) whose header is believed; from any other address a connection is refused. Empty: the
    /// header is read, and the addresses in it are believed from nobody.
    pub trusted: Vec<String>,
}

/// A PROXY protocol header that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyProtocol {
    /// Version 1, text.
    V1,
    /// Version 2, binary.
    V2,
}

/// Bounds on what clients may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections of this listener at one time. Default 10000.
    pub connections: usize,
    /// Size of a request's line and headers together. Default 32k.
    pub header_bytes: Size,
    /// Number of headers. Default 100.
    pub headers: usize,
    /// Streams of one HTTP/2 connection at one time. Default 128.
    pub streams: u32,
    /// Size of a request's body; `0` for no limit. Default 1m, as nginx. Routes may set their own.
    pub body_bytes: Size,
    /// Size of a client's handshake messages. Default 64k.
    pub handshake_bytes: Size,
    /// Requests of one connection, after which it is closed. Default 10000.
    pub requests: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            header_bytes: Size(32 << 10),
            headers: 100,
            streams: 128,
            body_bytes: Size(1 << 20),
            handshake_bytes: Size(64 << 10),
            requests: 10_000,
        }
    }
}

/// How long clients may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// From accept to the end of the handshake. Default 10 s.
    pub handshake: Span,
    /// For all headers of a request. Default 60 s.
    pub header: Span,
    /// Between two reads of a body. Default 60 s.
    pub body: Span,
    /// Between two writes to a client that does not read. Default 60 s.
    pub send: Span,
    /// A kept-alive connection without a request. Default 75 s.
    pub idle: Span,
    /// A TCP connection without a byte either way. Default 10 min.
    pub tcp_idle: Span,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Span::seconds(10),
            header: Span::seconds(60),
            body: Span::seconds(60),
            send: Span::seconds(60),
            idle: Span::seconds(75),
            tcp_idle: Span::seconds(600),
        }
    }
}

/// Why an address was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address to listen on: write 127.0.0.1:8443, [::1]:8443, :443 or unix:/path")]
pub struct BindError(String);

impl FromStr for Bind {
    type Err = BindError;

    fn from_str(text: &str) -> Result<Self, BindError> {
        let wrong = || BindError(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') { Ok(Self::Unix(path.into())) } else { Err(wrong()) };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port: u16 = port.parse().map_err(|_| wrong())?;
        let ip: IpAddr = match host {
            "" | "*" => IpAddr::from([0, 0, 0, 0]),
            "localhost" => IpAddr::from([127, 0, 0, 1]),
            host => host
                .strip_prefix('[')
                .and_then(|h| h.strip_suffix(']'))
                .unwrap_or(host)
                .parse()
                .map_err(|_| wrong())?,
        };
        Ok(Self::Socket(SocketAddr::new(ip, port)))
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

crate::text::text_form!(Bind, "127.0.0.1:8443, [::1]:8443, :443 or unix:/path");
