//! Who may connect: the policy a person writes, on a listener, a host or a path.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is asked of clients on a listener, a host or a path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClientPolicy {
    /// Whether a certificate is asked for and needed.
    pub mode: ClientMode,
    /// PEM files of trusted authorities, whose names are sent to clients.
    pub ca: Vec<PathBuf>,
    /// PEM files of trusted authorities whose names are not sent.
    pub trusted: Vec<PathBuf>,
    /// PEM or DER files of revocation lists.
    pub crl: Vec<PathBuf>,
    /// What happens when revocation cannot be decided. Default: `require` where `crl` is given, else `off`.
    pub revocation: Option<Revocation>,
    /// How many intermediates the chain may have at most. Default 3.
    pub depth: u8,
    /// Who may pass; empty means anyone whose chain is verified. One rule that matches is enough.
    pub allow: Vec<PeerRule>,
    /// Who may not pass, asked before `allow`.
    pub deny: Vec<PeerRule>,
    /// SHA-256 fingerprints (hexadecimal, colons allowed) of leaves that are accepted without any authority.
    pub pinned: Vec<String>,
    /// How a client is refused.
    pub refuse: Refusal,
}

impl Default for ClientPolicy {
    fn default() -> Self {
        Self {
            mode: ClientMode::Required,
            ca: Vec::new(),
            trusted: Vec::new(),
            crl: Vec::new(),
            revocation: None,
            depth: 3,
            allow: Vec::new(),
            deny: Vec::new(),
            pinned: Vec::new(),
            refuse: Refusal::Alert,
        }
    }
}

impl ClientPolicy {
    /// The rule for revocation, with its default filled in.
    pub fn revocation(&self) -> Revocation {
        self.revocation.unwrap_or(if self.crl.is_empty() { Revocation::Off } else { Revocation::Require })
    }
}

/// Whether a client certificate is asked for and needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClientMode {
    /// Not asked for.
    Off,
    /// Asked for; none is accepted, a bad one is refused.
    Optional,
    /// Asked for; any is accepted if its key is proven, and its identity is not believed.
    OptionalNoCa,
    /// Asked for; none and bad ones are refused.
    #[default]
    Required,
}

/// What happens when revocation cannot be decided: no list for an issuer, or a stale one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Revocation {
    /// Refuse.
    Require,
    /// Let in, and log each use.
    FailOpen,
    /// Revocation is not looked at.
    Off,
}

/// One description of peers: all fields that are given must match.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PeerRule {
    /// A DNS name of the certificate: exact, or `*.example.com` for one label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<String>,
    /// A URI of the certificate, exact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// A prefix of a URI of the certificate; it ends at a `/` so that `/ns/a` does not match `/ns/ab`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri_prefix: Option<String>,
    /// Parts of the SPIFFE ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spiffe: Option<SpiffeRule>,
    /// An e-mail address of the certificate; `@example.com` for all of a domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The subject as RFC 2253 text, exact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The issuer as RFC 2253 text, exact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// SHA-256 fingerprint of the leaf, hexadecimal, colons allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

/// Parts of a SPIFFE ID `spiffe://trust-domain/ns/namespace/sa/service-account`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SpiffeRule {
    /// The trust domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust_domain: Option<String>,
    /// The namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The service account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
}

/// How a client is refused. An identity that is not on the list is refused after the handshake always,
/// with 403 where the choice is `alert`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// A TLS alert at the handshake.
    #[default]
    Alert,
    /// The handshake completes, and each request is answered with this HTTP status (400 to 499).
    Status(u16),
    /// The handshake completes, and each request is answered with this status and the HTML file.
    Page {
        /// The HTTP status, 400 to 499.
        status: u16,
        /// The page.
        file: PathBuf,
    },
}
