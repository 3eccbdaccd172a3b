//! A service: endpoints and how they are spoken to.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CertificateFiles, ProxyProtocol, TlsVersion};
use crate::template::Template;
use crate::units::Span;

/// Endpoints and how they are spoken to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Service {
    /// Where it is.
    pub endpoints: Vec<Endpoint>,
    /// The protocol spoken to it.
    pub protocol: Protocol,
    /// TLS to it. None: plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<UpstreamTls>,
    /// How an endpoint is chosen.
    pub balance: Balance,
    /// Asks endpoints whether they are well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_health: Option<ActiveHealth>,
    /// Leaves out endpoints that fail requests.
    pub passive_health: PassiveHealth,
    /// Retries on another endpoint.
    pub retries: Retries,
    /// Connections that are kept open.
    pub pool: Pool,
    /// How long it may take.
    pub timeouts: ServiceTimeouts,
    /// Header sent on each new connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// One address of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Endpoint {
    /// `host:port`, `[::1]:port` or `unix:/path`. A name is resolved, again when its addresses fail or after 30 s.
    pub address: String,
    /// Share of the traffic. Default 1.
    pub weight: u32,
    /// Used only where no other is left.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub backup: bool,
    /// Not used.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub down: bool,
    /// Connections at one time; 0 for no limit.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_connections: u32,
    /// This endpoint's own number of failures (see [`PassiveHealth`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_fails: Option<u32>,
    /// This endpoint's own time (see [`PassiveHealth`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_timeout: Option<Span>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Default for Endpoint {
    fn default() -> Self {
        Self {
            address: String::new(),
            weight: 1,
            backup: false,
            down: false,
            max_connections: 0,
            max_fails: None,
            fail_timeout: None,
        }
    }
}

/// The protocol spoken to a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// HTTP/1.1 with kept-alive connections.
    #[default]
    Http1,
    /// HTTP/1.0, one request per connection.
    Http10,
    /// HTTP/2, by prior knowledge where there is no TLS.
    Http2,
    /// HTTP/2 where TLS negotiates it, else HTTP/1.1.
    Auto,
}

/// TLS to a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamTls {
    /// Whether its certificate is verified. Default true; false is warned of at every start.
    pub verify: bool,
    /// PEM files of trusted authorities. Empty: the system's store.
    pub ca: Vec<PathBuf>,
    /// Revocation lists.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub crl: Vec<PathBuf>,
    /// How many intermediates its chain may have at most. Default 3.
    pub depth: u8,
    /// The name (DNS or IP) its certificate must have. Default: the host of its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// SPIFFE IDs of which its certificate must have one; then no DNS name is looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub identities: Vec<String>,
    /// Whether the name is sent as SNI. Default true.
    pub sni: bool,
    /// Our certificate: mutual TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateFiles>,
    /// Lowest version. Default 1.2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_version: Option<TlsVersion>,
    /// Highest version. Default 1.3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_version: Option<TlsVersion>,
    /// Cipher suites by their IANA names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ciphers: Vec<String>,
    /// Whether sessions are resumed. Default true.
    pub resume: bool,
}

impl Default for UpstreamTls {
    fn default() -> Self {
        Self {
            verify: true,
            ca: Vec::new(),
            crl: Vec::new(),
            depth: 3,
            name: None,
            identities: Vec::new(),
            sni: true,
            certificate: None,
            min_version: None,
            max_version: None,
            ciphers: Vec::new(),
            resume: true,
        }
    }
}

/// How an endpoint is chosen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// In turn, by weight (smooth, as nginx).
    #[default]
    RoundRobin,
    /// The one with the fewest requests under way, by weight.
    LeastRequests,
    /// The better of two random ones by moving average of their latency and requests under way.
    P2cEwma,
    /// Any.
    Random,
    /// By the client's address (nginx: first three octets of IPv4).
    IpHash,
    /// By a key, on a ring, so that few keys move when endpoints change.
    Hash {
        /// The key.
        key: Template,
        /// On a ring (ketama) rather than by remainder.
        #[serde(default = "yes")]
        consistent: bool,
    },
}

fn yes() -> bool {
    true
}

/// Asks endpoints whether they are well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ActiveHealth {
    /// The path of a GET that must answer 200 to 399; none: a connection (and TLS handshake) is enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Time between two questions. Default 5 s.
    pub interval: Span,
    /// Time for the answer. Default 2 s.
    pub timeout: Span,
    /// Good answers in a row until it is well again. Default 2.
    pub rise: u32,
    /// Bad answers in a row until it is left out. Default 3.
    pub fall: u32,
}

impl Default for ActiveHealth {
    fn default() -> Self {
        Self { path: None, interval: Span::seconds(5), timeout: Span::seconds(2), rise: 2, fall: 3 }
    }
}

/// Leaves out endpoints that fail requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PassiveHealth {
    /// Failures within `fail_timeout` until an endpoint is left out; 0: never. Default 1, as nginx.
    pub max_fails: u32,
    /// How long failures count, and how long an endpoint is left out. Default 10 s.
    pub fail_timeout: Span,
}

impl Default for PassiveHealth {
    fn default() -> Self {
        Self { max_fails: 1, fail_timeout: Span::seconds(10) }
    }
}

/// Retries on another endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retries {
    /// Tries beside the first. Default 1.
    pub attempts: u32,
    /// What is retried.
    pub on: Vec<RetryOn>,
    /// Retries as a share of requests over 10 s, in percent, beside at least 3 a second. Default 20.
    pub budget_percent: u32,
    /// Requests that are not idempotent (POST, PATCH) too, even when they may have reached the service.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub non_idempotent: bool,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            attempts: 1,
            on: vec![RetryOn::Connect, RetryOn::Reset],
            budget_percent: 20,
            non_idempotent: false,
        }
    }
}

/// What is retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RetryOn {
    /// No connection (nothing was sent).
    Connect,
    /// The connection ended before an answer began.
    Reset,
    /// No answer in time.
    Timeout,
    /// An answer with this status.
    Status(u16),
}

/// Connections that are kept open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Pool {
    /// Idle connections kept for each endpoint and worker; 0: none. Default 64.
    pub idle: usize,
    /// How long an idle connection is kept. Default 60 s.
    pub idle_timeout: Span,
}

impl Default for Pool {
    fn default() -> Self {
        Self { idle: 64, idle_timeout: Span::seconds(60) }
    }
}

/// How long a service may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceTimeouts {
    /// For the connection and its TLS handshake. Default 10 s.
    pub connect: Span,
    /// Between two reads of the answer, and until its headers. Default 60 s.
    pub read: Span,
    /// Between two writes of the request. Default 60 s.
    pub send: Span,
}

impl Default for ServiceTimeouts {
    fn default() -> Self {
        Self { connect: Span::seconds(10), read: Span::seconds(60), send: Span::seconds(60) }
    }
}
