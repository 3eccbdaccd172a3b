//! The whole of what a data plane is told: listeners, hosts, routes and services.
//!
//! A [`Snapshot`] is also what a person writes: handfast.yaml is this type with its defaults left out, an
//! nginx.conf is turned into it, and later a control plane makes it from a cluster. Crate `config` checks
//! that names resolve and values make sense before a snapshot reaches crate `proxy`.

mod host;
mod listener;
mod route;
mod service;
mod steps;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use host::{AccessLog, ErrorPage, Host, LogFormat, LogTarget, NamePattern};
pub use listener::{
    Bind, Binds, CertificateFiles, Limits, Listener, ProxyProtocol, ProxyProtocolIn, ServerTls, StreamRoute,
    TcpListener, Timeouts, TlsVersion,
};
pub use route::{
    AddressRule, BasicAuth, Compression, ConnectionLimit, Expires, Files, HeaderRule, Identity, PathRewrite,
    Proxy, RateLimit, Respond, Route,
};
pub use service::{
    ActiveHealth, Balance, Endpoint, PassiveHealth, Pool, Protocol, Retries, RetryOn, Service,
    ServiceTimeouts, UpstreamTls,
};
pub use steps::{Condition, RewriteEnd, Step};

use crate::template::Template;

/// Everything a data plane needs to know at one time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// Version of this format: 1.
    pub version: u32,
    /// The admin address: `/metrics`, `/livez`, `/readyz`. Loopback only. None: no admin port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<SocketAddr>,
    /// What is listened on.
    #[serde(default)]
    pub listeners: Vec<Listener>,
    /// Where requests and connections go, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<String, Service>,
    /// Variables computed from others, as nginx's `map`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maps: Vec<Map>,
    /// The access log of hosts that have none of their own.
    #[serde(default)]
    pub access_log: AccessLog,
    /// How many worker threads carry traffic. Default: one per core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<usize>,
    /// How long a drain waits for connections to finish. Default 30 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<crate::units::Span>,
    /// Files are relative to this folder; set from where the configuration was read, never written by a person.
    #[serde(skip)]
    pub base: PathBuf,
}

/// A variable whose value is looked up from another's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Map {
    /// The name that is defined, without `$`.
    pub variable: String,
    /// What is looked up.
    pub source: Template,
    /// Key and value in order: exact keys first (case-insensitive, as nginx does), then `*.suffix` keys where
    /// `hostnames` is set, then `~` and `~*` expressions in order.
    pub entries: Vec<(String, Template)>,
    /// The value where no key fits.
    #[serde(default)]
    pub default: Template,
    /// Whether keys may be host names with a wildcard.
    #[serde(default)]
    pub hostnames: bool,
}
