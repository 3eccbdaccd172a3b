//! Who may call whom: authorization policies in the form of Istio's `istio.security.Authorization`, and the decision
//! about one connection.
//!
//! A policy matches when any of its rules does; a rule when all of its clauses do; a clause when any of its matches
//! does; a match when all of its fields do. A field matches when any of its values does, and a `not_` field when none
//! does. Nothing is matched by an empty list of rules or by an empty match. A rule without clauses, and a clause without
//! matches, ask for nothing, and match everything: that is how Istio's control plane writes `rules: [{}]`, and a DENY of
//! everything must deny.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Mode, Workload, World};
use crate::codes::{Code, mesh};
use crate::identity::SpiffeId;

/// What a policy applies to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Every workload of the mesh.
    Global,
    /// Every workload of its namespace.
    #[default]
    Namespace,
    /// Workloads that list it.
    Selected,
}

/// What follows from a match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Action {
    /// The connection is allowed, unless another policy denies it; and where any policy allows, one has to.
    #[default]
    Allow,
    /// The connection is denied.
    Deny,
}

/// An authorization policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Its namespace; the root namespace for a global one.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What it applies to.
    pub scope: Scope,
    /// What follows from a match.
    pub action: Action,
    /// When it matches.
    pub rules: Vec<Rule>,
    /// Only said, never done.
    pub dry_run: bool,
}

/// All clauses have to match; without any it matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// One for each of `from`, `to` and `when`.
    pub clauses: Vec<Clause>,
}

/// One match is enough; without any it asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clause {
    /// Alternatives.
    pub matches: Vec<Match>,
}

/// All fields have to match. An empty field is not asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// The caller's namespace.
    pub namespaces: Field<Text>,
    /// The caller's identity, without `spiffe://`.
    pub principals: Field<Text>,
    /// The caller's service account.
    pub service_accounts: Field<Account>,
    /// The caller's address.
    pub source_ips: Field<Network>,
    /// The address that was called.
    pub destination_ips: Field<Network>,
    /// The workload's port that was called.
    pub destination_ports: Field<u16>,
}

/// Values of which one has to match, and values of which none may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field<T> {
    /// One of these, where there are any.
    pub any: Vec<T>,
    /// None of these.
    pub none: Vec<T>,
}

impl<T> Default for Field<T> {
    fn default() -> Self {
        Self { any: Vec::new(), none: Vec::new() }
    }
}

impl<T> Field<T> {
    fn is_empty(&self) -> bool {
        self.any.is_empty() && self.none.is_empty()
    }

    fn holds(&self, fits: impl Fn(&T) -> bool) -> bool {
        (self.any.is_empty() || self.any.iter().any(&fits)) && !self.none.iter().any(fits)
    }
}

/// How a text is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// It is this.
    Exact(String),
    /// It begins so.
    Prefix(String),
    /// It ends so.
    Suffix(String),
    /// There is one.
    Presence,
}

impl Text {
    fn fits(&self, text: Option<&str>) -> bool {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return false };
        match self {
            Self::Exact(whole) => text == whole,
            Self::Prefix(start) => text.starts_with(start.as_str()),
            Self::Suffix(end) => text.ends_with(end.as_str()),
            Self::Presence => true,
        }
    }
}

/// A service account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    length: u8,
}

impl Network {
    /// The address that they begin like.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// How many bits they have in common.
    pub fn length(&self) -> u8 {
        self.length
    }

    /// The addresses that have the first `length` bits of `address`; none where there are not so many bits.
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        (length <= bits).then_some(Self { address, length })
    }

    /// Whether an address is among them. An IPv4 address that was mapped into IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        fn same(a: u128, b: u128, bits: u8, length: u8) -> bool {
            length == 0 || (a ^ b) >> (bits - length) == 0
        }
        match (self.address.to_canonical(), address.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let length =
                    if self.address.is_ipv4() { self.length } else { self.length.saturating_sub(96) };
                same(a.to_bits().into(), b.to_bits().into(), 32, length)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128, self.length),
            _ => false,
        }
    }
}

/// A connection that arrived.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The caller, if its certificate proved one.
    pub identity: Option<&'a SpiffeId>,
    /// The caller's address.
    pub source: IpAddr,
    /// The address that was called.
    pub address: IpAddr,
    /// The workload's port that was called.
    pub port: u16,
}

/// What became of an arrival.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Why it is allowed or not.
    pub reason: Reason,
    /// What policies that are only tried (`dry_run`) would have refused: `namespace/name`, or why.
    pub would_refuse: Vec<String>,
}

impl Decision {
    /// Whether the connection may go on.
    pub fn is_allowed(&self) -> bool {
        self.reason.code().is_none()
    }
}

/// Why a connection is allowed or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No policy says who may call.
    NoPolicy,
    /// This policy allows it.
    AllowedBy(String),
    /// The port asks for mutual TLS, and this was plain text.
    Plain,
    /// A policy that applies is not known, or nobody could make sense of it (invariant 5).
    UnknownPolicy(String),
    /// This policy denies it.
    DeniedBy(String),
    /// So many rules of policies that allow were looked at, and none matched.
    NotAllowed {
        /// How many rules.
        rules: usize,
        /// The policies, `namespace/name`.
        policies: Vec<String>,
    },
}

impl Reason {
    /// The code of a refusal.
    pub fn code(&self) -> Option<&'static Code> {
        match self {
            Self::NoPolicy | Self::AllowedBy(_) => None,
            Self::Plain => Some(&mesh::PLAIN_TEXT),
            Self::UnknownPolicy(_) => Some(&mesh::POLICY_UNKNOWN),
            Self::DeniedBy(_) => Some(&mesh::DENIED),
            Self::NotAllowed { .. } => Some(&mesh::NOT_ALLOWED),
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoPolicy => write!(f, "no policy applies"),
            Self::AllowedBy(policy) => write!(f, "allowed by policy {policy}"),
            Self::Plain => write!(f, "plain text on a port that asks for mutual TLS"),
            Self::UnknownPolicy(policy) => write!(f, "policy {policy} applies, and is not known"),
            Self::DeniedBy(policy) => write!(f, "denied by policy {policy}"),
            Self::NotAllowed { rules, policies } => {
                let plural = if *rules == 1 { "" } else { "s" };
                write!(f, "{rules} rule{plural} of {} considered, none matched", policies.join(", "))
            }
        }
    }
}

impl Policy {
    /// `namespace/name`.
    pub fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    fn matches(&self, arrival: &Arrival<'_>) -> bool {
        self.matching_rule(arrival).is_some()
    }

    /// The first of its rules that matches, from 0; for people: that any does is what decides.
    pub fn matching_rule(&self, arrival: &Arrival<'_>) -> Option<usize> {
        self.rules.iter().position(|rule| rule.matches(arrival))
    }
}

impl Rule {
    fn matches(&self, arrival: &Arrival<'_>) -> bool {
        let holds = |clause: &Clause| {
            clause.matches.is_empty() || clause.matches.iter().any(|part| part.matches(arrival))
        };
        self.clauses.iter().all(holds)
    }
}

impl Match {
    fn matches(&self, arrival: &Arrival<'_>) -> bool {
        let is_empty = self.namespaces.is_empty()
            && self.principals.is_empty()
            && self.service_accounts.is_empty()
            && self.source_ips.is_empty()
            && self.destination_ips.is_empty()
            && self.destination_ports.is_empty();
        if is_empty {
            return false;
        }
        let whole = arrival.identity.map(|id| format!("{}{}", id.trust_domain(), id.path()));
        let namespace = arrival.identity.and_then(SpiffeId::namespace);
        let account = arrival.identity.and_then(SpiffeId::service_account_name);
        self.namespaces.holds(|text| text.fits(namespace))
            && self.principals.holds(|text| text.fits(whole.as_deref()))
            && self
                .service_accounts
                .holds(|own| Some(own.namespace.as_str()) == namespace && Some(own.name.as_str()) == account)
            && self.source_ips.holds(|network| network.contains(arrival.source))
            && self.destination_ips.holds(|network| network.contains(arrival.address))
            && self.destination_ports.holds(|port| *port == arrival.port)
    }
}

/// Decides about a connection to `workload`; the only gate, and it fails closed.
pub fn decide(world: &World, workload: &Workload, arrival: &Arrival<'_>) -> Decision {
    let mut would_refuse = Vec::new();
    if arrival.identity.is_none() && workload.modes.inbound.of(arrival.port) == Mode::Strict {
        return Decision { reason: Reason::Plain, would_refuse };
    }
    if let Some(key) = world.unknown_policy_of(&workload.namespace) {
        return Decision { reason: Reason::UnknownPolicy(key.to_owned()), would_refuse };
    }
    let mut found: Vec<&Arc<Policy>> = world.policies_of(&workload.namespace).collect();
    for key in &workload.policies {
        match world.policy(key) {
            Some(policy) => found.push(policy),
            None => return Decision { reason: Reason::UnknownPolicy(key.clone()), would_refuse },
        }
    }
    let (tried, real): (Vec<&Arc<Policy>>, Vec<_>) = found.into_iter().partition(|policy| policy.dry_run);
    if let Some(refusal) = refusal(&tried, arrival).err() {
        would_refuse.push(refusal.to_string());
    }
    let reason = refusal(&real, arrival).unwrap_or_else(|reason| reason);
    Decision { reason, would_refuse }
}

/// Denial first; then, where anything allows, one has to.
fn refusal(policies: &[&Arc<Policy>], arrival: &Arrival<'_>) -> Result<Reason, Reason> {
    let of = |action| policies.iter().filter(move |policy| policy.action == action);
    if let Some(policy) = of(Action::Deny).find(|policy| policy.matches(arrival)) {
        return Err(Reason::DeniedBy(policy.key()));
    }
    if let Some(policy) = of(Action::Allow).find(|policy| policy.matches(arrival)) {
        return Ok(Reason::AllowedBy(policy.key()));
    }
    let policies: Vec<String> = of(Action::Allow).map(|policy| policy.key()).collect();
    if policies.is_empty() {
        return Ok(Reason::NoPolicy);
    }
    Err(Reason::NotAllowed { rules: of(Action::Allow).map(|policy| policy.rules.len()).sum(), policies })
}
