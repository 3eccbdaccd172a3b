//! `istio.security`: who may call whom.

pub use super::Extension;

/// The type of [`Authorization`] within an `Any`, and on the stream.
pub const AUTHORIZATION_TYPE: &str = "type.googleapis.com/istio.security.Authorization";

/// A policy.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Authorization {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its namespace.
    #[prost(string, tag = "2")]
    pub namespace: String,
    /// What it applies to.
    #[prost(enumeration = "Scope", tag = "3")]
    pub scope: i32,
    /// What follows from a match.
    #[prost(enumeration = "Action", tag = "4")]
    pub action: i32,
    /// When it matches: any of these.
    #[prost(message, repeated, tag = "5")]
    pub rules: Vec<Rule>,
    /// Only said, never done.
    #[prost(bool, tag = "6")]
    pub dry_run: bool,
    /// What is not Istio's own.
    #[prost(message, repeated, tag = "7")]
    pub extensions: Vec<Extension>,
}

/// What a policy applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum Scope {
    /// Every workload.
    Global = 0,
    /// Those of its namespace.
    Namespace = 1,
    /// Those that list it.
    WorkloadSelector = 2,
}

/// What follows from a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum Action {
    /// The connection is allowed.
    Allow = 0,
    /// The connection is denied.
    Deny = 1,
}

/// All clauses have to match.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Rule {
    /// One for each of `from`, `to` and `when`.
    #[prost(message, repeated, tag = "1")]
    pub clauses: Vec<Clause>,
}

/// Any match is enough.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Clause {
    /// Alternatives.
    #[prost(message, repeated, tag = "2")]
    pub matches: Vec<Match>,
}

/// All fields that are filled have to match.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Match {
    /// The caller's namespace.
    #[prost(message, repeated, tag = "1")]
    pub namespaces: Vec<StringMatch>,
    /// The caller's namespace: none of these.
    #[prost(message, repeated, tag = "2")]
    pub not_namespaces: Vec<StringMatch>,
    /// The caller's identity, without `spiffe://`.
    #[prost(message, repeated, tag = "3")]
    pub principals: Vec<StringMatch>,
    /// The caller's identity: none of these.
    #[prost(message, repeated, tag = "4")]
    pub not_principals: Vec<StringMatch>,
    /// The caller's address.
    #[prost(message, repeated, tag = "5")]
    pub source_ips: Vec<Address>,
    /// The caller's address: none of these.
    #[prost(message, repeated, tag = "6")]
    pub not_source_ips: Vec<Address>,
    /// The address that was called.
    #[prost(message, repeated, tag = "7")]
    pub destination_ips: Vec<Address>,
    /// The address that was called: none of these.
    #[prost(message, repeated, tag = "8")]
    pub not_destination_ips: Vec<Address>,
    /// The port that was called.
    #[prost(uint32, repeated, tag = "9")]
    pub destination_ports: Vec<u32>,
    /// The port that was called: none of these.
    #[prost(uint32, repeated, tag = "10")]
    pub not_destination_ports: Vec<u32>,
    /// The caller's service account.
    #[prost(message, repeated, tag = "11")]
    pub service_accounts: Vec<ServiceAccountMatch>,
    /// The caller's service account: none of these.
    #[prost(message, repeated, tag = "12")]
    pub not_service_accounts: Vec<ServiceAccountMatch>,
    /// What is not Istio's own.
    #[prost(message, repeated, tag = "13")]
    pub extensions: Vec<Extension>,
}

/// How a text is compared.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct StringMatch {
    /// In one of these ways.
    #[prost(oneof = "MatchType", tags = "1, 2, 3, 4")]
    pub match_type: Option<MatchType>,
}

/// The ways of comparing a text.
#[derive(Clone, PartialEq, ::prost::Oneof)]
pub enum MatchType {
    /// It is this.
    #[prost(string, tag = "1")]
    Exact(String),
    /// It begins so.
    #[prost(string, tag = "2")]
    Prefix(String),
    /// It ends so.
    #[prost(string, tag = "3")]
    Suffix(String),
    /// There is one.
    #[prost(message, tag = "4")]
    Presence(()),
}

/// Addresses that begin with the same bits.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Address {
    /// Four bytes, or sixteen.
    #[prost(bytes = "vec", tag = "1")]
    pub address: Vec<u8>,
    /// How many bits.
    #[prost(uint32, tag = "2")]
    pub length: u32,
}

/// A service account.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct ServiceAccountMatch {
    /// Its namespace.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// Its name.
    #[prost(string, tag = "2")]
    pub service_account: String,
}
