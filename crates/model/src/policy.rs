//! Who may connect: the policy a person writes, on a listener, a host or a path, and the decision about one
//! peer ([`evaluate`]).

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::codes::{Code, refusals};
use crate::peer::{Peer, Verification};

/// What is asked of clients on a listener, a host or a path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClientPolicy {
    /// Whether a certificate is asked for and needed.
    pub mode: ClientMode,
    /// PEM files of trusted authorities, whose names are sent to clients.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ca: Vec<PathBuf>,
    /// PEM files of trusted authorities whose names are not sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trusted: Vec<PathBuf>,
    /// PEM or DER files of revocation lists.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub crl: Vec<PathBuf>,
    /// What happens when revocation cannot be decided. Default: `require` where `crl` is given, else `off`.
    pub revocation: Option<Revocation>,
    /// How many intermediates the chain may have at most. Default 3.
    pub depth: u8,
    /// Who may pass; left out it means anyone whose chain is verified. One rule that matches is enough.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<PeerRule>,
    /// Who may not pass, asked before `allow`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<PeerRule>,
    /// SHA-256 fingerprints (hexadecimal, colons allowed) of leaves that are accepted without any authority.
    #[serde(skip_serializing_if = "Vec::is_empty")]
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

/// What a policy says about a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may pass.
    Allow,
    /// It may not.
    Refuse(Denial),
}

/// Why a peer may not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The stable reason.
    pub code: &'static Code,
    /// One sentence about this very case.
    pub what: String,
}

impl Decision {
    fn refuse(code: &'static Code, what: impl Into<String>) -> Self {
        Self::Refuse(Denial { code, what: what.into() })
    }
}

/// Decides about a peer whose chain was judged already ([`Peer::verification`]). Nothing here looks at a clock,
/// a file or a socket.
pub fn evaluate(policy: &ClientPolicy, peer: Option<&Peer>) -> Decision {
    if policy.mode == ClientMode::Off {
        return Decision::Allow;
    }
    let Some(peer) = peer else {
        return match policy.mode {
            ClientMode::Required => {
                Decision::refuse(&refusals::CLIENT_CERTIFICATE_MISSING, "the client sent no certificate")
            }
            _ => Decision::Allow,
        };
    };
    match (peer.verification, policy.mode) {
        (Verification::Failed(code), _) => return Decision::refuse(code, code.title),
        (Verification::Unverified, ClientMode::Required | ClientMode::Optional) => {
            return Decision::refuse(&refusals::UNKNOWN_ISSUER, refusals::UNKNOWN_ISSUER.title);
        }
        _ => {}
    }
    if let Some(rule) = policy.deny.iter().find(|rule| rule.names(peer)) {
        let what = format!("{} is refused by the rule {}", peer.name(), rule.in_words());
        return Decision::refuse(&refusals::IDENTITY_NOT_ALLOWED, what);
    }
    if policy.allow.is_empty() || policy.allow.iter().any(|rule| rule.allows(peer)) {
        return Decision::Allow;
    }
    Decision::refuse(&refusals::IDENTITY_NOT_ALLOWED, format!("no rule names {}", peer.name()))
}

impl PeerRule {
    /// Whether an identity that is believed matches. Where the identity is not believed, only a fingerprint
    /// counts: it is the certificate itself, whose key was proven.
    fn allows(&self, peer: &Peer) -> bool {
        let only_fingerprint = Self { fingerprint: self.fingerprint.clone(), ..Self::default() } == *self
            && self.fingerprint.is_some();
        (peer.verification.is_trusted() || only_fingerprint) && self.names(peer)
    }

    /// Whether all fields that are given match; a rule without fields matches nobody.
    fn names(&self, peer: &Peer) -> bool {
        let Self { dns, uri, uri_prefix, spiffe, email, subject, issuer, fingerprint } = self;
        let all = [
            dns.as_ref().map(|dns| peer.dns.iter().any(|name| dns_matches(dns, name))),
            uri.as_ref().map(|uri| peer.uris.iter().any(|name| name == uri)),
            uri_prefix.as_ref().map(|prefix| peer.uris.iter().any(|name| prefix_matches(prefix, name))),
            spiffe.as_ref().map(|rule| rule.names(peer)),
            email.as_ref().map(|email| peer.emails.iter().any(|name| email_matches(email, name))),
            subject.as_ref().map(|subject| peer.subject == *subject),
            issuer.as_ref().map(|issuer| peer.issuer == *issuer),
            fingerprint.as_ref().map(|text| fingerprint_matches(text, &peer.sha256)),
        ];
        let mut given = all.into_iter().flatten().peekable();
        given.peek().is_some() && given.all(|matches| matches)
    }

    fn in_words(&self) -> String {
        let fields = [
            ("dns", &self.dns),
            ("uri", &self.uri),
            ("uri_prefix", &self.uri_prefix),
            ("email", &self.email),
            ("subject", &self.subject),
            ("issuer", &self.issuer),
            ("fingerprint", &self.fingerprint),
        ];
        let mut words: Vec<String> = fields
            .into_iter()
            .filter_map(|(name, value)| value.as_ref().map(|value| format!("{name} {value}")))
            .collect();
        if let Some(SpiffeRule { trust_domain, namespace, service_account }) = &self.spiffe {
            let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "*".to_owned());
            let (domain, ns, sa) = (part(trust_domain), part(namespace), part(service_account));
            words.push(format!("spiffe {domain}/ns/{ns}/sa/{sa}"));
        }
        words.join(" and ")
    }
}

impl SpiffeRule {
    fn names(&self, peer: &Peer) -> bool {
        let Some(id) = peer.spiffe_id().and_then(SpiffeId::parse) else { return false };
        let fits = |rule: &Option<String>, value: Option<&str>| {
            rule.as_deref().is_none_or(|rule| value == Some(rule))
        };
        (self.trust_domain.is_some() || self.namespace.is_some() || self.service_account.is_some())
            && fits(&self.trust_domain, Some(id.trust_domain))
            && fits(&self.namespace, id.namespace)
            && fits(&self.service_account, id.service_account)
    }
}

/// The parts of a SPIFFE ID. The parts of its path are known only in the form `/ns/NAMESPACE/sa/ACCOUNT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpiffeId<'a> {
    /// The trust domain.
    pub trust_domain: &'a str,
    /// The namespace.
    pub namespace: Option<&'a str>,
    /// The service account.
    pub service_account: Option<&'a str>,
}

impl<'a> SpiffeId<'a> {
    /// Takes an ID apart; none where the SPIFFE-ID standard (section 2) does not allow it.
    pub fn parse(id: &'a str) -> Option<Self> {
        let rest = id.strip_prefix("spiffe://")?;
        let (trust_domain, path) =
            rest.split_once('/').map_or((rest, None), |(domain, path)| (domain, Some(path)));
        let domain_ok =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
        if trust_domain.is_empty() || !trust_domain.bytes().all(domain_ok) || id.len() > 2048 {
            return None;
        }
        let Some(path) = path else {
            return Some(Self { trust_domain, namespace: None, service_account: None });
        };
        let segments: Vec<&str> = path.split('/').collect();
        let segment_ok = |segment: &&str| {
            !segment.is_empty()
                && *segment != "."
                && *segment != ".."
                && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        };
        if !segments.iter().all(segment_ok) {
            return None;
        }
        let (namespace, service_account) = match segments.as_slice() {
            ["ns", namespace, "sa", account] => (Some(*namespace), Some(*account)),
            _ => (None, None),
        };
        Some(Self { trust_domain, namespace, service_account })
    }
}

fn dns_matches(rule: &str, name: &str) -> bool {
    // A wildcard in the certificate is a server's affair; as a client's identity it names nobody.
    if name.contains('*') {
        return false;
    }
    match rule.strip_prefix("*.") {
        Some(domain) => name
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(domain)),
        None => rule.eq_ignore_ascii_case(name),
    }
}

fn prefix_matches(prefix: &str, uri: &str) -> bool {
    // `/ns/a/../b` and its encoded forms must not pass for something below `/ns/a/`.
    let tail = uri.split_once("://").map_or(uri, |(_, tail)| tail);
    if tail.contains('%') || tail.split('/').any(|segment| matches!(segment, "." | "..")) || prefix.is_empty()
    {
        return false;
    }
    uri.strip_prefix(prefix)
        .is_some_and(|rest| prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/'))
}

fn email_matches(rule: &str, name: &str) -> bool {
    let Some((local, domain)) = name.rsplit_once('@') else { return false };
    match rule.rsplit_once('@') {
        Some(("", wanted)) => !local.is_empty() && domain.eq_ignore_ascii_case(wanted),
        Some((wanted_local, wanted)) => local == wanted_local && domain.eq_ignore_ascii_case(wanted),
        None => false,
    }
}

fn fingerprint_matches(rule: &str, sha256: &str) -> bool {
    let digits = rule.bytes().filter(|b| *b != b':');
    digits.clone().count() == 64 && digits.map(|b| b.to_ascii_lowercase()).eq(sha256.bytes())
}
