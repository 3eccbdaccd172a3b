//! The SPIFFE Workload API, the methods for X.509. Its messages have no package.

use std::collections::HashMap;

/// The path of `FetchX509SVID`.
pub const FETCH_X509_SVID: &str = "/SpiffeWorkloadAPI/FetchX509SVID";
/// The path of `FetchX509Bundles`.
pub const FETCH_X509_BUNDLES: &str = "/SpiffeWorkloadAPI/FetchX509Bundles";

/// Asks for the caller's certificates.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct X509SvidRequest {}

/// The caller's certificates; sent again when they are others.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct X509SvidResponse {
    /// The certificates, the default one first.
    #[prost(message, repeated, tag = "1")]
    pub svids: Vec<X509Svid>,
    /// Revocation lists, DER.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub crl: Vec<Vec<u8>>,
    /// Roots of other trust domains, by the SPIFFE ID of each.
    #[prost(map = "string, bytes", tag = "3")]
    pub federated_bundles: HashMap<String, Vec<u8>>,
}

/// A certificate with its key.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct X509Svid {
    /// The identity.
    #[prost(string, tag = "1")]
    pub spiffe_id: String,
    /// DER certificates one after the other, the leaf first.
    #[prost(bytes = "vec", tag = "2")]
    pub x509_svid: Vec<u8>,
    /// PKCS #8, DER.
    #[prost(bytes = "vec", tag = "3")]
    pub x509_svid_key: Vec<u8>,
    /// The roots of the trust domain: DER certificates one after the other.
    #[prost(bytes = "vec", tag = "4")]
    pub bundle: Vec<u8>,
    /// A word by which the operator tells several apart.
    #[prost(string, tag = "5")]
    pub hint: String,
}

/// Asks for roots.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct X509BundlesRequest {}

/// Roots; sent again when they are others.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct X509BundlesResponse {
    /// Revocation lists, DER.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub crl: Vec<Vec<u8>>,
    /// By the SPIFFE ID of the trust domain.
    #[prost(map = "string, bytes", tag = "2")]
    pub bundles: HashMap<String, Vec<u8>>,
}
